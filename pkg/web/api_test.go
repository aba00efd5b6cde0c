package web

import (
	"bufio"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mysql-mmm/docs/api"
	"mysql-mmm/docs/api/apitest"
	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/monitor"
)

// full is a report in which every field has a value somewhere.
func full() monitor.Report {
	r := well().report
	at := r.History[0].At
	r.Cause, r.Warnings = "why", []string{"w"}
	r.Hosts[1].Flapping, r.Hosts[1].Lacks = true, "something"
	r.Hosts[1].Audit = &cluster.Finding{At: "bin.000001:4", Looked: true, Beyond: 3, Finding: "it has 3 transactions"}
	r.Roles[0].Leaving, r.Roles[0].Prefer = "db2", "db1"
	r.Role = "writer"
	r.Checks[1].LastChange = at
	r.History = append(r.History, history.Record{ID: 3, At: at, Kind: history.Role, Level: "INFO", Host: "db2",
		Topic: "conflict", Role: "writer(10.0.0.100)", From: "db1", To: "db2", Text: "t", Cause: "c",
		Evidence: []string{"ping: no"}, Planned: true, Seconds: 0.31})
	return r
}

// document holds the parts of an OpenAPI document that the tests look at.
type document struct {
	Paths      map[string]map[string]operation
	Components struct{ Responses map[string]response }
}

type operation struct {
	OperationID string
	Parameters  []struct{ Name, In string }
	Responses   map[string]response
}

type response struct {
	Ref     string `json:"$ref"`
	Content map[string]json.RawMessage
}

func describedIn(t *testing.T, file string) document {
	t.Helper()
	text, err := api.Files.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// describedPath is the path of a route as OpenAPI writes it.
func (r route) describedPath() string { return strings.ReplaceAll(r.path, "{$}", "") }

// TestEveryRouteIsDescribed: the documents describe all routes, with their parameters, and no others.
func TestEveryRouteIsDescribed(t *testing.T) {
	for file, routes := range map[string][]route{
		"monitor.openapi.json": monitorRoutes(well(), NewMetrics("")),
		"agent.openapi.json":   agentRoutes(&watchedAgent{}, prometheus.NewRegistry()),
	} {
		d := describedIn(t, file)
		var ids []string
		for _, r := range routes {
			o, ok := d.Paths[r.describedPath()]["get"]
			if !ok {
				t.Errorf("%s lacks %s", file, r.path)
				continue
			}
			if slices.Contains(ids, o.OperationID) || o.OperationID == "" {
				t.Errorf("%s, %s: operationId %q", file, r.path, o.OperationID)
			}
			ids = append(ids, o.OperationID)
			inPath := strings.Count(r.describedPath(), "{")
			for _, p := range o.Parameters {
				if p.In == "path" && strings.Contains(r.path, "{"+p.Name+"}") {
					inPath--
				}
			}
			if inPath != 0 {
				t.Errorf("%s, %s: not all parameters of the path are described", file, r.path)
			}
		}
		if len(d.Paths) != len(routes) {
			t.Errorf("%s has %d paths, there are %d routes", file, len(d.Paths), len(routes))
		}
	}
}

// answers collects which of the answers in an OpenAPI document were seen.
type answers struct {
	file string
	doc  document
	seen map[string]bool // "PATH STATUS"
}

// take compares an answer with the description of its path.
func (a *answers) take(t *testing.T, path string, got *http.Response, body []byte) {
	t.Helper()
	status := fmt.Sprint(got.StatusCode)
	at := fmt.Sprintf("/paths/%s/get/responses/%s", strings.ReplaceAll(path, "/", "~1"), status)
	r, ok := a.doc.Paths[path]["get"].Responses[status]
	if name, refers := strings.CutPrefix(r.Ref, "#/components/responses/"); refers {
		r, ok = a.doc.Components.Responses[name]
		at = "/components/responses/" + name
	}
	media, _, err := mime.ParseMediaType(got.Header.Get("Content-Type"))
	if _, has := r.Content[media]; err != nil || !ok || !has {
		t.Errorf("%s: an answer %s of type %s is not described in %s (%v)", path, status, media, a.file, err)
		return
	}
	a.seen[path+" "+status] = true
	if strings.HasSuffix(media, "json") {
		apitest.Check(t, a.file+"#"+at+"/content/"+strings.ReplaceAll(media, "/", "~1")+"/schema",
			path, body)
	}
}

func (a *answers) ask(t *testing.T, h http.Handler, path, url string) {
	t.Helper()
	rec := httptest.NewRecorder()
	guard(h).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, url, nil))
	a.take(t, path, rec.Result(), rec.Body.Bytes())
}

// expectAll fails where an answer that is described was not seen, unless it is in apart.
func (a *answers) expectAll(t *testing.T, apart ...string) {
	t.Helper()
	for path, methods := range a.doc.Paths {
		for status := range methods["get"].Responses {
			if id := path + " " + status; !a.seen[id] && !slices.Contains(apart, id) {
				t.Errorf("%s describes an answer that was not seen: %s", a.file, id)
			}
		}
	}
}

func newAnswers(t *testing.T, file string) *answers {
	return &answers{file: file, doc: describedIn(t, file), seen: map[string]bool{}}
}

// TestMonitorAnswersAsDescribed: each status and type of answer is in the document, and JSON is what its schema says.
func TestMonitorAnswersAsDescribed(t *testing.T) {
	source := well()
	source.report = full()
	apitest.Full(t, source.report)
	a := newAnswers(t, "monitor.openapi.json")
	h := Monitor(source, NewMetrics("1.2"))
	for _, path := range []string{"/", "/api/v1/show", "/api/v1/checks", "/api/v1/history", "/metrics", "/healthz",
		"/readyz", "/openapi.json"} {
		a.ask(t, h, path, path)
	}
	a.ask(t, h, "/api/v1/history", "/api/v1/history?n=1")
	a.ask(t, h, "/api/v1/history", "/api/v1/history?n=x")
	names, err := api.Files.ReadDir("schema")
	if err != nil || len(names) < 8 {
		t.Fatal(names, err)
	}
	for _, f := range names {
		a.ask(t, h, "/schema/{name}", "/schema/"+f.Name())
		apitest.Check(t, "monitor.openapi.json#/paths/~1schema~1{name}/get/parameters/0/schema", "the list of schemas",
			[]byte(`"`+f.Name()+`"`))
	}
	for _, none := range []string{"/schema/none.json", "/schema/..%2Fmonitor.openapi.json", "/schema/.", "/schema/%2E"} {
		if code, _ := get(t, h, none); code == http.StatusOK {
			t.Errorf("%s is served", none)
		}
	}
	a.ask(t, h, "/schema/{name}", "/schema/none.json")
	source.stuck = true
	a.ask(t, h, "/healthz", "/healthz")
	source.up = false
	for _, path := range []string{"/api/v1/show", "/api/v1/checks", "/api/v1/history", "/readyz"} {
		a.ask(t, h, path, path)
	}
	source.up, source.stuck = true, false
	report, got := firstEvent(t, start(t, h))
	a.take(t, "/api/v1/events", got, nil)
	apitest.Check(t, "monitor.openapi.json#/components/schemas/report", "an event", report)
	a.expectAll(t, "/api/v1/events 503", "/metrics 503") // TestEvents sees the first, the second comes from the library
}

// firstEvent returns the data of the first event that a server sends.
func firstEvent(t *testing.T, addr string) ([]byte, *http.Response) {
	t.Helper()
	r, err := http.Get("http://" + addr + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	defer r.Body.Close()
	in := bufio.NewScanner(r.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if text, ok := strings.CutPrefix(in.Text(), "data: "); ok {
			return []byte(text), r
		}
	}
	t.Fatal("no event: ", in.Err())
	return nil, nil
}

// TestWordsAreDescribed: the schemas allow every state, mode, check, kind and topic.
func TestWordsAreDescribed(t *testing.T) {
	source := well()
	source.report = full()
	h := Monitor(source, NewMetrics(""))
	try := func(change func(r *monitor.Report)) {
		t.Helper()
		source.report = full()
		change(&source.report)
		for path, schema := range map[string]string{"show": "show", "checks": "checks", "history": "history"} {
			_, text := get(t, h, "/api/v1/"+path)
			apitest.Check(t, "schema/"+schema+".json", path, []byte(text))
		}
	}
	for _, s := range states() {
		try(func(r *monitor.Report) { r.Hosts[0].State = s })
	}
	for _, m := range []cluster.Mode{cluster.Active, cluster.Manual, cluster.Wait, cluster.Passive} {
		try(func(r *monitor.Report) { r.Mode = m })
	}
	for _, n := range check.Known().Names() {
		try(func(r *monitor.Report) { r.Checks[0].Check = string(n) })
	}
	for _, k := range []history.Kind{history.State, history.Role, history.Check, history.Note} {
		try(func(r *monitor.Report) { r.History[0].Kind = k })
	}
	for _, topic := range []event.Name{event.Conflict, event.Unprotected, event.Protected} {
		try(func(r *monitor.Report) { r.History[0].Topic = string(topic) })
	}
	try(func(r *monitor.Report) { r.Hosts[0].IP, r.Roles[0].IP = "2001:db8::1", "fe80::1" })
	try(func(r *monitor.Report) { r.Hosts[0].Roles = []string{"writer(2001:db8::100)"} })
	try(func(r *monitor.Report) { r.Checks[0].LastChange = time.Time{} })
}

// TestSchemasAreStrict: no schema allows fields that it does not describe, as a new field would pass unseen.
func TestSchemasAreStrict(t *testing.T) {
	names, err := api.Files.ReadDir("schema")
	if err != nil || len(names) < 8 {
		t.Fatal(names, err)
	}
	for _, f := range names {
		text, err := api.Files.ReadFile("schema/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		var s any
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if n := strict(t, f.Name(), s); n == 0 {
			t.Errorf("%s describes no object", f.Name())
		}
	}
}

// strict fails where an object in the schema s may have other fields, and returns the number of objects.
func strict(t *testing.T, at string, s any) int {
	t.Helper()
	n := 0
	switch s := s.(type) {
	case map[string]any:
		if properties, ok := s["properties"].(map[string]any); ok {
			n++
			if s["additionalProperties"] != false || len(properties) == 0 {
				t.Errorf("%s: an object may have more than its schema says", at)
			}
		}
		for name, inner := range s {
			n += strict(t, at+"/"+name, inner)
		}
	case []any:
		for _, inner := range s {
			n += strict(t, at, inner)
		}
	}
	return n
}

func TestAgentAnswersAsDescribed(t *testing.T) {
	w := &watchedAgent{serves: map[string]string{"writer": "the lease is over", "reader": ""}}
	a := newAnswers(t, "agent.openapi.json")
	h := Agent(w, "1.2")
	for _, path := range []string{"/healthz", "/readyz"} {
		a.ask(t, h, path, path)
	}
	w.up, w.status.Heard = true, time.Now()
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/openapi.json"} {
		a.ask(t, h, path, path)
	}
	for _, role := range []string{"writer", "reader", "other"} {
		a.ask(t, h, "/role/{role}", "/role/"+role)
	}
	a.expectAll(t, "/metrics 503")
}
