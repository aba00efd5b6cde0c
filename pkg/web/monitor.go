package web

import (
	_ "embed"
	"encoding/json"
	"net/http"
	"strconv"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/monitor"
)

//go:embed page.html
var page []byte

// MonitorSource is what this package needs of a monitor (monitor.Monitor).
type MonitorSource interface {
	Report() (r monitor.Report, changed <-chan struct{}, ok bool)
	Fresh() bool
}

// Monitor serves a monitor's status page, API, metrics and health checks. m has the metrics that are counted while the
// monitor runs: see NewMetrics.
func Monitor(source MonitorSource, m *Metrics) http.Handler {
	m.registry.MustRegister(monitorGauges{source})
	return serve(monitorRoutes(source, m))
}

// monitorRoutes are the routes that docs/api/monitor.openapi.json describes.
func monitorRoutes(source MonitorSource, m *Metrics) []route {
	return []route{
		{"/{$}", http.HandlerFunc(statusPage)},
		{"/api/v1/show", answer(source, func(r monitor.Report, _ *http.Request) (any, string) { return r.View, "" })},
		{"/api/v1/checks", answer(source, func(r monitor.Report, _ *http.Request) (any, string) { return r.Checks, "" })},
		{"/api/v1/history", answer(source, newest)},
		{"/api/v1/events", newFeed(source)},
		{"/metrics", metricsHandler(m.registry)},
		{"/healthz", alive(source)},
		{"/readyz", ready(source)},
		{"/openapi.json", described("monitor.openapi.json", "application/json")},
		{"/schema/{name}", http.HandlerFunc(schema)},
	}
}

func statusPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page)
}

func alive(source MonitorSource) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if !source.Fresh() {
			healthy(w, false, "the monitor is not at work")
			return
		}
		healthy(w, true, "OK")
	}
}

func ready(source MonitorSource) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		r, _, ok := source.Report()
		switch {
		case !ok:
			healthy(w, false, "the monitor is starting")
		case !source.Fresh():
			healthy(w, false, "the monitor is not at work")
		case r.Mode == cluster.Passive:
			healthy(w, false, "the monitor is passive: it moves nothing")
		case !r.Network:
			healthy(w, false, "the monitor's own network is down")
		default:
			healthy(w, true, "OK")
		}
	}
}

// newest picks the records of the history that a request asks for: the newest n, or all without n.
func newest(r monitor.Report, req *http.Request) (any, string) {
	n := len(r.History)
	if text := req.URL.Query().Get("n"); text != "" {
		var err error
		if n, err = strconv.Atoi(text); err != nil || n < 1 {
			return nil, "n must be a number of records"
		}
	}
	return r.History[max(0, len(r.History)-n):], ""
}

// answer makes a handler that answers with the value that pick takes from the newest report, as JSON. wrong says what
// is wrong with the request; "": nothing.
func answer(source MonitorSource,
	pick func(monitor.Report, *http.Request) (value any, wrong string)) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		r, _, ok := source.Report()
		if !ok {
			healthy(w, false, "the monitor is starting")
			return
		}
		value, wrong := pick(r, req)
		if wrong != "" {
			http.Error(w, wrong, http.StatusBadRequest)
			return
		}
		text, err := json.MarshalIndent(value, "", "  ")
		if err != nil {
			http.Error(w, "The answer can't be encoded as JSON.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(text, '\n'))
	}
}
