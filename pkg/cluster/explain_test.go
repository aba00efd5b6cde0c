package cluster

import (
	"strings"
	"testing"
	"time"
)

func TestExplain(t *testing.T) {
	for _, c := range []struct {
		name, host string
		topology   func(*Topology)
		do         []string
		want       []string // parts of the text, in this order
		lacks      string
	}{
		{"the writer", "db1", nil, []string{"after 11s"},
			[]string{"db1 is ONLINE", "Its server answers.",
				"writer(10.77.0.100) is here; should this host fail now, it would go to db2: as soon as its agent"},
			"To become ONLINE"},
		{"the writer under a lease", "db1", func(t *Topology) { t.Lease = Lease(6 * time.Second) },
			[]string{"agent db1 classic", "after 11s"},
			[]string{"it would go to db2: as soon as its agent has given it up\n"}, "after it was last heard"},
		{"the only master", "db1", nil, []string{"after 11s", "set_offline db2"},
			[]string{"writer(10.77.0.100) is here; should this host fail now, it would have nowhere to go"}, ""},
		{"a preference does not count for a host that is out", "db1", func(t *Topology) { t.Roles[1].Prefer = "db2" },
			[]string{"after 11s", "set_offline db2"}, []string{"nowhere to go"}, "go to db2"},
		{"manual mode", "db1", nil, []string{"after 11s", "set_manual"},
			[]string{"writer(10.77.0.100) is here, and stays here whatever happens: mode MANUAL"}, ""},
		{"passive mode", "db1", nil, []string{"after 11s", "set_passive"},
			[]string{"the monitor is passive and moves nothing"}, ""},
		{"set offline", "db2", nil, []string{"after 11s", "set_offline db2"},
			[]string{"db2 is ADMIN_OFFLINE", "An operator has set it offline", "[x] its server answers",
				"[ ] an operator says so: mmm_control set_online db2", "writer can come here once it is ONLINE"},
			"auto_set_online"},
		{"dead", "db2", nil, []string{"after 11s", "check db2 mysql bad"},
			[]string{"db2 is HARD_OFFLINE", "ping: OK, mysql: not OK", "[ ] its server answers",
				"[ ] 10s in AWAITING_RECOVERY (auto_set_online; without a reboot it needs no waiting after less than 1m0s): 10 seconds left"}, "or: "},
		{"back", "db2", nil, []string{"after 11s", "check db2 mysql bad", "after 2m", "check db2 mysql good",
			"after 4s"},
			[]string{"db2 is AWAITING_RECOVERY for 4s", "[x] its server answers", "[x] its replication runs",
				"[ ] 10s in AWAITING_RECOVERY", "6 seconds left", "or: mmm_control set_online db2"}, ""},
		{"back, by hand only", "db2", func(t *Topology) { t.AutoSetOnline = 0 }, nil,
			[]string{"db2 is AWAITING_RECOVERY", "[ ] an operator says so, as auto_set_online is 0\n",
				"or: mmm_control set_online db2"}, "short"},
		{"replication fails", "db3", nil, []string{"after 80s", "check db3 rep_threads bad"},
			[]string{"db3 is REPLICATION_FAIL", "Its replication does not run", "[ ] its replication runs",
				"reader can come here"}, "auto_set_online"},
		{"replication is late", "db3", nil, []string{"after 80s", "check db3 rep_backlog bad"},
			[]string{"db3 is REPLICATION_DELAY", "further behind than max_backlog", "rep_backlog: not OK"}, ""},
		{"the writer's replication does not count", "db1", nil, []string{"after 80s", "check db1 rep_threads bad"},
			[]string{"db1 is ONLINE", "which does not count for the writer"}, ""},
		{"a fresh source", "db2", nil, []string{"after 11s", "check db2 rep_threads bad"},
			[]string{"db2 is ONLINE", "came back less than 1m0s ago"}, ""},
		{"flapping", "db2", func(t *Topology) { t.FlapCount = 1 },
			[]string{"after 11s", "check db2 mysql bad", "check db2 mysql good", "after 12s", "check db2 mysql bad",
				"check db2 mysql good"},
			[]string{"It is flapping: it left ONLINE more than 1 times within 1h0m0s",
				"1h0m0s in AWAITING_RECOVERY (flap_duration, as it is flapping)"}, ""},
		{"its agent is away", "db3", nil, []string{"after 11s", "agent db3 down", "after 2s"},
			[]string{"db3 is ONLINE", "Its agent can't be reached."}, ""},
		{"own transactions", "db2", nil, []string{"after 11s", "move_role writer db2", "after 2s",
			"check db2 mysql bad", "after 2s", "embargo db1 on db2 at bin.1:5",
			"audit db2 finds 3", "check db2 mysql good", "after 20s"},
			[]string{"It was the writer, and it has 3 transactions that nobody else has.",
				"[ ] it is set up anew, or an operator lets it in"}, ""},
		{"a role that can't leave", "db1", nil, []string{"after 11s", "agent db1 busy", "move_role writer db2"},
			[]string{"writer(10.77.0.100) is leaving: it is free once its agent says so"}, "lease"},
		{"a role on its way", "db2", nil, []string{"after 11s", "agent db1 busy", "move_role writer db2"},
			[]string{"writer(10.77.0.100) is on its way here"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			top := lab()
			if c.topology != nil {
				c.topology(&top)
			}
			w := newWorld(top)
			for _, line := range c.do {
				w.do(line)
			}
			before := Show(w.t, w.s)
			e, ok := Explain(w.t, w.s, c.host)
			text := e.String()
			rest := text
			for _, part := range c.want {
				_, after, found := strings.Cut(rest, part)
				if !found {
					t.Fatalf("lacks %q after what was found:\n%s\n%v", part, text, w.log)
				}
				rest = after
			}
			if c.lacks != "" && strings.Contains(text, c.lacks) {
				t.Errorf("has %q:\n%s", c.lacks, text)
			}
			if !ok || Show(w.t, w.s) != before {
				t.Error("to explain has changed the state")
			}
		})
	}
	if _, ok := Explain(lab(), State{}, "nobody"); ok {
		t.Error("explains a host that there is not")
	}
}

// The needs that Explain lists are those of the rules: a host with all needs met is ONLINE after the next step, and a
// host that lacks one is not.
func TestExplainAgreesWithStep(t *testing.T) {
	for _, script := range [][]string{
		{"after 11s", "check db2 mysql bad", "after 2m", "check db2 mysql good"},
		{"after 80s", "check db3 rep_threads bad"},
		{"after 11s", "check db2 mysql bad", "after 2m", "check db2 rep_threads bad", "check db2 mysql good"},
	} {
		w := newWorld(lab())
		for _, line := range script {
			w.do(line)
		}
		host := strings.Fields(script[1])[1]
		for range 30 {
			e, _ := Explain(w.t, w.s, host)
			met := true
			for _, n := range e.Needs {
				met = met && n.Met
			}
			if met != (e.State == Online) {
				t.Errorf("%v: %s, all needs met: %v", script, e.State, met)
			}
			w.do("after 1s")
		}
		w.do("check " + host + " rep_threads good")
		w.do("after 20s")
		if st := w.s.Hosts[host].State; st != Online {
			t.Errorf("%v: ends as %s", script, st)
		}
	}
}

// Where the writer's agent knows leases, Explain names the end of the lease as what moves the role at the latest.
func TestExplainLease(t *testing.T) {
	top := lab()
	top.Lease = Lease(6 * time.Second)
	w := newWorld(top)
	w.do("after 11s")
	h := w.s.Hosts["db1"]
	h.Classic = false
	w.s.Hosts["db1"] = h
	e, _ := Explain(w.t, w.s, "db1")
	if text := e.String(); !strings.Contains(text,
		"it would go to db2: as soon as its agent has given it up, or 7.4 seconds after it was last heard") {
		t.Error(text)
	}
	h.AgentUp, h.Good.MySQL = false, false
	w.s.Hosts["db1"] = h
	e, _ = Explain(w.t, w.s, "db1")
	if text := e.String(); !strings.Contains(text, "nobody hears of it: it is condemned in 7.4 seconds at most") ||
		!strings.Contains(text, "Its agent can't be reached") {
		t.Error(text)
	}
}
