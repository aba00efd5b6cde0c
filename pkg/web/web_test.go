package web

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/monitor"
	"mysql-mmm/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// watched is a MonitorSource with a report that tests change.
type watched struct {
	mu      sync.Mutex
	report  monitor.Report
	changed chan struct{}
	up      bool
	stuck   bool
}

func (w *watched) Report() (monitor.Report, <-chan struct{}, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.report, w.changed, w.up
}

func (w *watched) Fresh() bool { w.mu.Lock(); defer w.mu.Unlock(); return !w.stuck }

// change changes the report as a new snapshot would.
func (w *watched) change(f func(*monitor.Report)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(&w.report)
	close(w.changed)
	w.changed = make(chan struct{})
}

func well() *watched {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	return &watched{up: true, changed: make(chan struct{}), report: monitor.Report{
		View: cluster.View{Mode: cluster.Active, Warnings: []string{},
			Hosts: []cluster.HostView{{Name: "db1", IP: "10.0.0.1", Mode: "master", State: cluster.Online,
				AgentUp: true, Roles: []string{"writer(10.0.0.100)"}, Problems: []string{}},
				{Name: "db2", IP: "10.0.0.2", Mode: "master", State: cluster.ReplicationDelay, AgentUp: true,
					Roles: []string{}, Problems: []string{"no"}, Audit: &cluster.Finding{Beyond: 3}}},
			Roles: []cluster.RoleView{{Role: "writer", IP: "10.0.0.100", Host: "db1", Confirmed: true},
				{Role: "reader", IP: "10.0.0.101"}}},
		Network: true, Epoch: 7, Writer: "db1", Lease: true, LeaseLeft: 5500 * time.Millisecond,
		Since: map[string]time.Time{"db2": at}, Remarks: []string{"Warning: x"},
		Checks: []monitor.CheckLine{{Host: "db1", Check: "ping", Good: true, Message: "OK", LastChange: at},
			{Host: "db2", Check: "mysql", Failing: true, Message: "ERROR: <b>"}},
		Links: []monitor.Link{{From: "db1", To: "db2", Runs: true, Known: true, Lag: 61}, {From: "db2", To: "db1"}},
		History: []history.Record{{ID: 1, At: at, Kind: history.Note, Level: "INFO", Text: "one"},
			{ID: 2, At: at, Kind: history.Note, Level: "INFO", Text: "two"}}}}
}

func get(t *testing.T, h http.Handler, path string) (int, string) {
	t.Helper()
	rec := httptest.NewRecorder()
	guard(h).ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
	return rec.Code, rec.Body.String()
}

func TestAPI(t *testing.T) {
	source := well()
	h := Monitor(source, NewMetrics("1.2"))
	for path, into := range map[string]any{"/api/v1/show": &cluster.View{}, "/api/v1/checks": &[]monitor.CheckLine{},
		"/api/v1/history": &[]history.Record{}} {
		code, text := get(t, h, path)
		if err := json.Unmarshal([]byte(text), into); code != 200 || err != nil {
			t.Errorf("%s: %d, %v", path, code, err)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/show": `"state": "REPLICATION_DELAY"`, "/api/v1/checks": `"check": "mysql"`,
		"/api/v1/history?n=1": `"text": "two"`, "/": "<!doctype html>", "/healthz": "OK\n", "/readyz": "OK\n",
	} {
		if code, text := get(t, h, path); code != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d, %s", path, code, text)
		}
	}
	if _, text := get(t, h, "/api/v1/history?n=1"); strings.Contains(text, "one") {
		t.Errorf("n is not looked at: %s", text)
	}
	for path, want := range map[string]int{"/api/v1/history?n=x": 400, "/api/v1/history?n=0": 400, "/nothing": 404,
		"/api/v1/show/": 404} {
		if code, _ := get(t, h, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
	for _, c := range []struct {
		name   string
		change func()
		path   string
		want   int
	}{
		{"own network down", func() { source.report.Network = false }, "/readyz", 503},
		{"passive", func() { source.report.Network, source.report.Mode = true, cluster.Passive }, "/readyz", 503},
		{"passive is healthy", func() {}, "/healthz", 200},
		{"the owner hangs", func() { source.stuck = true }, "/healthz", 503},
		{"starting", func() { source.up, source.stuck = false, false }, "/readyz", 503},
		{"starting is healthy", func() {}, "/healthz", 200},
		{"starting has no report", func() {}, "/api/v1/show", 503},
		{"starting has metrics", func() {}, "/metrics", 200},
	} {
		c.change()
		if code, text := get(t, h, c.path); code != c.want {
			t.Errorf("%s: %s: %d %s", c.name, c.path, code, text)
		}
	}
}

// watchedAgent is an AgentSource with a status that tests change.
type watchedAgent struct {
	status agent.Status
	up     bool
	serves map[string]string
}

func (w *watchedAgent) Status() (agent.Status, bool) { return w.status, w.up }
func (w *watchedAgent) Alive() bool                  { return w.up }
func (w *watchedAgent) KnowsRole(role string) bool   { _, ok := w.serves[role]; return ok }
func (w *watchedAgent) Serves(role string) (bool, string) {
	return w.serves[role] == "", w.serves[role]
}

func TestAgentHealth(t *testing.T) {
	a := &watchedAgent{serves: map[string]string{"writer": "the lease is over", "reader": ""}}
	h := Agent(a, "1.2")
	expect := func(path string, want int, part string) {
		t.Helper()
		if code, text := get(t, h, path); code != want || !strings.Contains(text, part) {
			t.Errorf("%s: %d %q, want %d %q", path, code, text, want, part)
		}
	}
	expect("/healthz", 503, "not at work")
	expect("/readyz", 503, "no monitor")
	expect("/metrics", 200, "mmm_build_info{")
	a.up = true
	expect("/healthz", 200, "OK")
	expect("/readyz", 503, "no monitor")
	a.status.Heard, a.status.Host, a.status.State = time.Now(), "db1", cluster.Online
	expect("/readyz", 200, "db1 is ONLINE")
	expect("/role/writer", 503, "the lease is over")
	expect("/role/reader", 200, "OK")
	expect("/role/other", 404, "no such role")
	expect("/", 404, "")
}

// start serves on a port of its own until the test ends.
func start(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	runServer(t, Server{Addr: netip.MustParseAddrPort(addr), Handler: h, Log: slog.New(slog.DiscardHandler),
		retry: 10 * time.Millisecond})
	for deadline := time.Now().Add(5 * time.Second); ; {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
			return addr
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func runServer(t *testing.T, s Server) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestPortInUse: a port in use is logged once, Run does not end, and the port is served once it is free.
func TestPortInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	log := &safeBuilder{}
	addr := l.Addr().String()
	runServer(t, Server{Addr: netip.MustParseAddrPort(addr), Handler: http.NotFoundHandler(),
		Log: slog.New(slog.NewTextHandler(log, nil)), retry: time.Millisecond})
	until(t, "the complaint", func() bool { return strings.Contains(log.String(), "address already in use") })
	time.Sleep(20 * time.Millisecond) // enough for many tries
	l.Close()
	until(t, "the port", func() bool {
		r, err := http.Get("http://" + addr)
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == 404
	})
	http.DefaultClient.CloseIdleConnections()
	if n := strings.Count(log.String(), "No HTTP on metrics_listen"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
}

// TestRudeClients: whatever some clients send, others are answered.
func TestRudeClients(t *testing.T) {
	addr := start(t, Monitor(well(), NewMetrics("")))
	say := func(text string) string {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, text)
		line, _ := bufio.NewReader(c).ReadString('\n')
		return strings.TrimSpace(line)
	}
	for text, want := range map[string]string{
		"rubbish\r\n\r\n": "HTTP/1.1 400 Bad Request",
		"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20) +
			"\r\n\r\n": "HTTP/1.1 431 Request Header Fields Too Large",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nxxx":       "HTTP/1.1 405 Method Not Allowed",
		"DELETE /api/v1/show HTTP/1.1\r\nHost: x\r\n\r\n":                           "HTTP/1.1 405 Method Not Allowed",
		"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\nxxx": "HTTP/1.1 200 OK",
		"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n":                         "HTTP/1.1 307 Temporary Redirect",
		"HEAD /api/v1/events HTTP/1.1\r\nHost: x\r\n\r\n":                           "HTTP/1.1 200 OK",
	} {
		if got := say(text); got != want {
			t.Errorf("%.40q: %q, want %q", text, got, want)
		}
	}
	for range maxConns { // clients that send half a request each, and then nothing
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\n")
	}
	if got := say("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); got != "HTTP/1.1 200 OK" {
		t.Errorf("beside %d slow clients: %q", maxConns, got)
	}
}

// TestEvents: each change is sent once, also while another client reads nothing. A client above maxWatchers is refused.
func TestEvents(t *testing.T) {
	source := well()
	addr := start(t, Monitor(source, NewMetrics("")))
	open := func() (*http.Response, *bufio.Reader) {
		t.Helper()
		r, err := http.Get("http://" + addr + "/api/v1/events")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Body.Close() })
		return r, bufio.NewReader(r.Body)
	}
	next := func(in *bufio.Reader) (r monitor.Report) {
		t.Helper()
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if text, ok := strings.CutPrefix(line, "data: "); ok {
				if err := json.Unmarshal([]byte(text), &r); err != nil {
					t.Fatal(err)
				}
				return r
			}
		}
	}
	deaf, _ := open()
	if deaf.Header.Get("Content-Type") != "text/event-stream" {
		t.Error(deaf.Header)
	}
	_, in := open()
	if r := next(in); r.Writer != "db1" || len(r.History) != 2 {
		t.Errorf("%+v", r)
	}
	source.change(func(*monitor.Report) {}) // a new snapshot with the same report
	source.change(func(r *monitor.Report) {
		r.Writer = "db2"
		r.History = append(r.History, make([]history.Record, 100)...)
	})
	if r := next(in); r.Writer != "db2" || len(r.History) != pageRecords {
		t.Errorf("the next event has the writer on %s and %d records", r.Writer, len(r.History))
	}
	for i := range 20 {
		began := time.Now()
		source.change(func(r *monitor.Report) { r.Epoch = uint64(100 + i) })
		if r := next(in); r.Epoch != uint64(100+i) {
			t.Errorf("epoch %d, want %d", r.Epoch, 100+i)
		}
		if d := time.Since(began); d > time.Second {
			t.Errorf("told after %v", d)
		}
	}
	for range maxWatchers - 2 {
		open()
	}
	if r, _ := open(); r.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many gets %d", r.StatusCode)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
}

// TestEventsFromTheStart: a client that watches a monitor which starts gets the first report.
func TestEventsFromTheStart(t *testing.T) {
	source := well()
	source.up = false
	addr := start(t, Monitor(source, NewMetrics("")))
	r, err := http.Get("http://" + addr + "/api/v1/events")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	source.mu.Lock()
	source.up = true
	source.mu.Unlock()
	in := bufio.NewScanner(r.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "data: ") {
			return
		}
	}
	t.Error("no event: ", in.Err())
}

func TestMetrics(t *testing.T) {
	m := NewMetrics("1.2")
	source := well()
	h := Monitor(source, m)
	for _, e := range []event.Event{
		{Name: event.State, Level: "FATAL", Host: "db1", To: "ONLINE"},
		{Name: event.AfterPromotion, Level: "INFO", Host: "db1", Role: "writer", From: "db1", To: "db2", Planned: true},
		{Name: event.AfterPromotion, Level: "INFO", Host: "db2", Role: "writer", From: "db1", To: "db2", Planned: true,
			Seconds: 0.2},
		{Name: event.AfterPromotion, Level: "INFO", Host: "db1", Role: "writer", From: "db1"},
		{Name: event.AfterPromotion, Level: "INFO", Host: "db2", Role: "writer", From: "db1", To: "db2", Seconds: 3},
		{Name: event.AfterPromotion, Level: "INFO", Host: "db2", Role: "writer", From: "db2", To: "db2", Planned: true,
			Seconds: 10},
		{Name: event.Role, Level: "INFO", Host: "db2", Role: "reader", To: "db2"},
	} {
		m.Happened(e)
	}
	m.Killed("db1", false)
	m.Asked("db1", time.Millisecond, true)
	m.Asked("db1", time.Millisecond, false)
	_, text := get(t, h, "/metrics")
	for _, line := range []string{
		`mmm_role_move_duration_seconds_count{kind="switchover",role="writer"} 1`,
		`mmm_role_move_duration_seconds_sum{kind="failover",role="writer"} 3`,
		`mmm_role_moves_failed_total{role="writer"} 1`,
		`mmm_host_state_changes_total{host="db1",state="ONLINE"} 1`,
		`mmm_kill_host_total{host="db1",result="failed"} 1`, `mmm_agent_failed_round_trips_total{host="db1"} 1`,
		`mmm_events_total{level="INFO"} 6`,
		`mmm_agent_round_trip_seconds_count{host="db1"} 1`, `mmm_host_state{host="db2",state="REPLICATION_DELAY"} 1`,
		`mmm_host_state{host="db2",state="ONLINE"} 0`, `mmm_replication_lag_seconds{host="db2",source="db1"} 61`,
		`mmm_replication_running{host="db1",source="db2"} 0`,
		`mmm_role_holder{host="db1",ip="10.0.0.100",role="writer"} 1`,
		`mmm_role_holder{host="db2",ip="10.0.0.100",role="writer"} 0`,
		`mmm_role_served{ip="10.0.0.101",role="reader"} 0`, `mmm_writer_lease_remaining_seconds 5.5`, `mmm_epoch 7`,
		`mmm_check_good{check="mysql",host="db2"} 0`, `mmm_check_failing{check="mysql",host="db2"} 1`,
		`mmm_mode{mode="ACTIVE"} 1`, `mmm_ready 1`, `mmm_host_own_transactions{host="db2"} 3`, `mmm_warnings 1`,
	} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("lacks %s:\n%s", line, ours(text))
		}
	}
	if strings.Contains(text, "mmm_replication_lag_seconds{host=\"db1\"") {
		t.Error("a lag that is not known is given")
	}
	ip := netip.MustParseAddr("10.0.0.100")
	writer := cluster.RoleIP{Role: "writer", IP: ip}
	a := &watchedAgent{up: true, status: agent.Status{State: cluster.Online,
		Known: []cluster.RoleIP{writer, {Role: "reader", IP: ip}}, Present: []cluster.RoleIP{writer},
		Writable: wire.Yes,
		Left:     2 * time.Second, Lapses: 4, Epoch: cluster.Epoch{Number: 9}, Heard: time.Unix(1000, 0), Fenced: true}}
	_, text = get(t, Agent(a, "1.2"), "/metrics")
	for _, line := range []string{`mmm_agent_state{state="ONLINE"} 1`,
		`mmm_agent_role_present{ip="10.0.0.100",role="writer"} 1`,
		`mmm_agent_role_present{ip="10.0.0.100",role="reader"} 0`,
		`mmm_agent_server_writable 1`, `mmm_agent_lease_remaining_seconds 2`, `mmm_agent_lease_lapses_total 4`,
		`mmm_agent_epoch 9`, `mmm_agent_order_timestamp_seconds 1000`, `mmm_agent_fence_closed 1`} {
		if !strings.Contains(text, "\n"+line+"\n") {
			t.Errorf("lacks %s:\n%s", line, ours(text))
		}
	}
}

// ours returns the metrics of this program, without those of the Go runtime and the process.
func ours(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "mmm_") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// safeBuilder is a log that may be read while it is written.
type safeBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *safeBuilder) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuilder) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for " + what)
		}
	}
}
