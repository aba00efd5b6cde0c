package web

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"mysql-mmm/pkg/cluster"
)

// describe makes the description of a metric.
func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// states are the states that a host can be in.
func states() []cluster.HostState {
	return []cluster.HostState{cluster.Online, cluster.AdminOffline, cluster.HardOffline, cluster.AwaitingRecovery,
		cluster.ReplicationFail, cluster.ReplicationDelay}
}

// monitorGauges are metrics that are made from a monitor's newest report whenever they are scraped, so that no value
// has to be kept up to date.
type monitorGauges struct{ source MonitorSource }

// Describe says nothing, so that Collect may give other metrics each time (client_golang, "unchecked Collector").
func (g monitorGauges) Describe(chan<- *prometheus.Desc) {}

// Collect gives the metrics of the newest report.
func (g monitorGauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(name, help string, value float64, pairs ...string) {
		emit(out, prometheus.GaugeValue, name, help, value, pairs)
	}
	r, _, ready := g.source.Report()
	gauge("mmm_ready", "1 once the monitor has checked all hosts for the first time.", number(ready))
	if !ready {
		return
	}
	for _, mode := range []cluster.Mode{cluster.Active, cluster.Manual, cluster.Wait, cluster.Passive} {
		gauge("mmm_mode", "1 for the mode that the monitor is in.", number(r.Mode == mode), "mode", string(mode))
	}
	gauge("mmm_network_up", "1 while the monitor's own network is up.", number(r.Network))
	gauge("mmm_warnings", "Lines of `mmm_control show` that begin with #.", float64(len(r.Remarks)))
	gauge("mmm_epoch", "Number of the newest decision about the writer.", float64(r.Epoch))
	if r.Lease {
		gauge("mmm_writer_lease_remaining_seconds",
			"The time until the writer role may move if nothing more is heard of the writer. "+
				"Until then the writer is certain to be vouched for.", r.LeaseLeft.Seconds())
	}
	for _, h := range r.Hosts {
		for _, s := range states() {
			gauge("mmm_host_state", "1 for the state that the host is in.", number(h.State == s), "host", h.Name,
				"state", string(s))
		}
		gauge("mmm_host_agent_up", "1 while the host's agent answers.", number(h.AgentUp), "host", h.Name)
		gauge("mmm_host_flapping", "1 while the host is flapping.", number(h.Flapping), "host", h.Name)
		gauge("mmm_host_agent_problems", "Number of things that the host's agent could not do.",
			float64(len(h.Problems)), "host", h.Name)
		gauge("mmm_host_own_transactions", "How many transactions only this former writer has.", transactions(h), "host",
			h.Name)
		if at, ok := r.Since[h.Name]; ok {
			gauge("mmm_host_state_entered_timestamp_seconds", "When the host came to its state.",
				float64(at.UnixMilli())/1000, "host", h.Name)
		}
	}
	for _, c := range r.Checks {
		gauge("mmm_check_good", "0 once a check has failed for its trap_period.", number(c.Good), "host", c.Host,
			"check", c.Check)
		gauge("mmm_check_failing", "1 while the newest probe of a check has failed.", number(c.Failing), "host", c.Host,
			"check", c.Check)
	}
	for _, l := range r.Links {
		gauge("mmm_replication_running", "1 while both replication threads run.", number(l.Runs), "host", l.To,
			"source", l.From)
		if l.Known {
			gauge("mmm_replication_lag_seconds", "How far the host is behind its source.", l.Lag, "host", l.To,
				"source", l.From)
		}
	}
	for _, a := range r.Roles {
		gauge("mmm_role_served", "1 while a host has said that it has the role's address.",
			number(a.Host != "" && a.Confirmed), "role", a.Role, "ip", a.IP)
		for _, h := range r.Hosts {
			gauge("mmm_role_holder", "1 for the host that is to have the role's address.", number(a.Host == h.Name),
				"role", a.Role, "ip", a.IP, "host", h.Name)
		}
	}
}

func transactions(h cluster.HostView) float64 {
	if h.Audit == nil {
		return 0
	}
	return float64(h.Audit.Beyond)
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// emit sends one value; pairs are label, value, label, value and so on.
func emit(out chan<- prometheus.Metric, kind prometheus.ValueType, name, help string, value float64, pairs []string) {
	var labels, values []string
	for i := 0; i < len(pairs); i += 2 {
		labels, values = append(labels, pairs[i]), append(values, pairs[i+1])
	}
	out <- prometheus.MustNewConstMetric(describe(name, help, labels...), kind, value, values...)
}

// agentMetrics are made from an agent's newest status whenever they are scraped.
type agentMetrics struct{ source AgentSource }

func newAgentMetrics(a AgentSource) agentMetrics { return agentMetrics{a} }

// Describe says nothing, as in monitorGauges.
func (g agentMetrics) Describe(chan<- *prometheus.Desc) {}

// Collect gives the metrics of the newest status; none before there is one.
func (g agentMetrics) Collect(out chan<- prometheus.Metric) {
	s, ok := g.source.Status()
	if !ok {
		return
	}
	gauge := func(name, help string, value float64, pairs ...string) {
		emit(out, prometheus.GaugeValue, name, help, value, pairs)
	}
	for _, st := range append(states(), cluster.Unknown) {
		gauge("mmm_agent_state", "1 for the state that the monitor has last told this host.", number(s.State == st),
			"state", string(st))
	}
	for _, r := range s.Known {
		gauge("mmm_agent_role_present", "1 while the role's address is on this host.",
			number(slices.Contains(s.Present, r)), "role", r.Role, "ip", r.IP.String())
	}
	if w := s.Writable.String(); w != "?" {
		gauge("mmm_agent_server_writable",
			"1 while the server takes writes of clients; missing where it does not answer.", number(w == "1"))
	}
	gauge("mmm_agent_server_down", "1 while the server's port refuses.", number(s.Down))
	gauge("mmm_agent_fence_closed",
		"1 while the server's port is closed to clients because the server could not be closed for writes.",
		number(s.Fenced))
	gauge("mmm_agent_problems", "Number of things that the agent could not do.", float64(len(s.Problems)))
	gauge("mmm_agent_epoch", "Number of the newest decision about the writer that the agent knows.",
		float64(s.Epoch.Number))
	gauge("mmm_agent_lease_remaining_seconds",
		"What is left of the lease on the writer role; 0 where this host is not the writer.", s.Left.Seconds())
	if !s.Heard.IsZero() {
		gauge("mmm_agent_order_timestamp_seconds", "When the newest order of a monitor came.",
			float64(s.Heard.UnixMilli())/1000)
	}
	emit(out, prometheus.CounterValue, "mmm_agent_lease_lapses_total",
		"How often the lease ran out while this host was the writer.", float64(s.Lapses), nil)
}
