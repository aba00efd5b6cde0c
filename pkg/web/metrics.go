package web

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/monitor"
)

// newRegistry makes a registry with the metrics of the Go runtime and the process, and mmm_build_info.
func newRegistry(program, version string) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "mmm_build_info",
		Help:        "Always 1; the labels say what runs.",
		ConstLabels: prometheus.Labels{"program": program, "version": version, "goversion": runtime.Version()}})
	build.Set(1)
	r.MustRegister(build, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// Metrics counts what happens in a monitor (monitor.Observer). Metrics of the present state are made when they are
// scraped: see monitorGauges.
type Metrics struct {
	registry  *prometheus.Registry
	durations *prometheus.HistogramVec
	probes    *prometheus.CounterVec
	asked     *prometheus.HistogramVec
	silent    *prometheus.CounterVec
	killed    *prometheus.CounterVec
	moves     *prometheus.HistogramVec
	back      *prometheus.CounterVec
	changes   *prometheus.CounterVec
	events    *prometheus.CounterVec
}

var _ monitor.Observer = (*Metrics)(nil)

// Kinds of moves of a role.
const (
	failover   = "failover"
	switchover = "switchover"
)

// NewMetrics makes the metrics of a monitor, in a registry of their own. version is that of the program.
func NewMetrics(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	quick := []float64{.001, .005, .01, .05, .1, .25, .5, 1, 2, 5, 10}
	m := &Metrics{
		registry:  newRegistry("mmm_mond", version),
		durations: histogram("mmm_check_duration_seconds", "How long probes of a check took.", quick, "host", "check"),
		probes: counter("mmm_check_probes_total", "Probes of a check by what they found.", "host", "check",
			"result"),
		asked:  histogram("mmm_agent_round_trip_seconds", "How long agents took to answer an order.", quick, "host"),
		silent: counter("mmm_agent_failed_round_trips_total", "Orders that were not answered.", "host"),
		killed: counter("mmm_kill_host_total", "Runs of kill_host by whether the host is off for certain.", "host",
			"result"),
		moves: histogram("mmm_role_move_duration_seconds",
			"Time from the decision to take a role from its host until the next host's agent says that it has the role. "+
				"A failover follows from trouble, a switchover was planned.",
			[]float64{.05, .1, .25, .5, 1, 2, 5, 10, 20, 30, 60, 120}, "role", "kind"),
		back:    counter("mmm_role_moves_failed_total", "Moves of a role that ended where they began.", "role"),
		changes: counter("mmm_host_state_changes_total", "How often the host has entered the state.", "host", "state"),
		events:  counter("mmm_events_total", "Events that the history has kept, by level.", "level"),
	}
	m.registry.MustRegister(m.durations, m.probes, m.asked, m.silent, m.killed, m.moves, m.back, m.changes, m.events)
	return m
}

// Probed counts a probe.
func (m *Metrics) Probed(u check.Update) {
	m.durations.WithLabelValues(u.Host, string(u.Name)).Observe(u.Took.Seconds())
	m.probes.WithLabelValues(u.Host, string(u.Name), statusName(u.Result.Status)).Inc()
}

func statusName(s check.Status) string {
	switch s {
	case check.OK:
		return "ok"
	case check.Error:
		return "error"
	case check.Unknown:
		return "unknown"
	}
	panic(fmt.Sprintf("impossible status %d", s))
}

// Asked counts an order to an agent, and how long the answer took if there was one.
func (m *Metrics) Asked(host string, took time.Duration, answered bool) {
	if !answered {
		m.silent.WithLabelValues(host).Inc()
		return
	}
	m.asked.WithLabelValues(host).Observe(took.Seconds())
}

// Killed counts a run of kill_host.
func (m *Metrics) Killed(host string, ok bool) {
	result := "failed"
	if ok {
		result = "ok"
	}
	m.killed.WithLabelValues(host, result).Inc()
}

// Happened counts an event.
func (m *Metrics) Happened(e event.Event) {
	m.events.WithLabelValues(e.Level).Inc()
	switch {
	case e.Name == event.State:
		m.changes.WithLabelValues(e.Host, e.To).Inc()
	case e.Role == "" || e.From == "" || e.To != e.Host:
		// not about a role, or the role has only begun to leave, or no host had it before
	case e.From == e.To:
		m.back.WithLabelValues(e.Role).Inc()
	case e.Planned:
		m.moves.WithLabelValues(e.Role, switchover).Observe(e.Seconds)
	default:
		m.moves.WithLabelValues(e.Role, failover).Observe(e.Seconds)
	}
}
