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

// MonitorSource is a monitor, as far as it can be watched.
type MonitorSource interface {
	Report() (r monitor.Report, changed <-chan struct{}, ok bool)
	Fresh() bool
}

// Monitor serves a monitor's status page, API, metrics and health checks. m counts for it: see NewMetrics.
func Monitor(source MonitorSource, m *Metrics) http.Handler {
	mux := http.NewServeMux()
	m.registry.MustRegister(monitorGauges{source})
	feed := newFeed(source)
	mux.Handle("GET /metrics", metricsHandler(m.registry))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !source.Fresh() {
			healthy(w, false, "the monitor is not at work")
			return
		}
		healthy(w, true, "OK")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
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
	})
	api(mux, "/api/v1/show", source, func(r monitor.Report, _ *http.Request) (any, string) { return r.View, "" })
	api(mux, "/api/v1/checks", source, func(r monitor.Report, _ *http.Request) (any, string) { return r.Checks, "" })
	api(mux, "/api/v1/history", source, func(r monitor.Report, req *http.Request) (any, string) {
		n := len(r.History)
		if text := req.URL.Query().Get("n"); text != "" {
			var err error
			if n, err = strconv.Atoi(text); err != nil || n < 1 {
				return nil, "n must be a number of records"
			}
		}
		return r.History[max(0, len(r.History)-n):], ""
	})
	mux.Handle("GET /api/v1/events", feed)
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	return mux
}

// api answers with JSON, or with what is wrong with the request.
func api(mux *http.ServeMux, path string, source MonitorSource,
	pick func(monitor.Report, *http.Request) (value any, wrong string)) {
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, req *http.Request) {
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
			http.Error(w, "It can't be encoded.", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(append(text, '\n'))
	})
}
