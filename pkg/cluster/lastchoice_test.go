package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestLastChoiceForWriter: of two hosts that could replace the writer, the one is taken that is neither being backed up
// nor delayed on purpose. Where that is out, the other one is taken.
func TestLastChoiceForWriter(t *testing.T) {
	for name, c := range map[string]struct {
		backup map[string]string
		delay  map[string]time.Duration
		down   string
		want   string
	}{
		"nobody is":         {want: "db2"},
		"the first by name": {backup: map[string]string{"db2": "mysqldump (process 7)"}, want: "db3"},
		"on purpose":        {delay: map[string]time.Duration{"db2": time.Hour}, want: "db3"},
		"both": {backup: map[string]string{"db2": "mysqldump (process 7)"},
			delay: map[string]time.Duration{"db3": time.Hour}, want: "db2"},
		"the other one is out": {backup: map[string]string{"db2": "mysqldump (process 7)"}, down: "db3", want: "db2"},
	} {
		t.Run(name, func(t *testing.T) {
			top := lab()
			top.Roles = top.Roles[1:]
			top.Roles[0].Hosts = []string{"db1", "db2", "db3"}
			w := newWorld(top)
			w.do("after 80s")
			for host, program := range c.backup {
				w.agents[host].backup = program
			}
			for host, d := range c.delay {
				v := w.verdicts[host]
				v.Delay = d
				w.verdicts[host] = v
			}
			w.do("after 1s")
			if c.down != "" {
				w.do("check " + c.down + " mysql bad")
			}
			w.do("agent db1 down")
			w.do("kill_host works")
			w.do("check db1 mysql bad")
			w.do("after 5s")
			if got := w.s.ActiveMaster(top); got != c.want {
				t.Errorf("%q is the writer, want %q", got, c.want)
			}
		})
	}
}

// TestAstray: a slave that has transactions which the writer lacks serves nobody while other hosts can.
func TestAstray(t *testing.T) {
	top := lab()
	w := newWorld(top)
	w.do("after 80s")
	if len(w.s.RolesOf("db3")) == 0 {
		t.Fatal("db3 has no roles to lose")
	}
	w.agents["db3"].astray = true
	w.do("after 5s")
	if got := w.s.RolesOf("db3"); len(got) > 0 {
		t.Errorf("db3 has %v", got)
	}
	if text, _ := Explain(top, w.s, "db3"); !strings.Contains(text.String(), "transactions that the writer lacks") {
		t.Errorf("explain:\n%s", text)
	}
	for _, other := range []string{"db1", "db2"} {
		w.do("set_offline " + other)
	}
	w.do("after 5s")
	if len(w.s.RolesOf("db3")) == 0 {
		t.Error("nobody else is there, and db3 has no roles")
	}
	w.do("set_online db2")
	w.agents["db3"].astray = false
	w.do("after 5s")
	if got := w.s.RolesOf("db3"); len(got) == 0 {
		t.Errorf("after it was set up anew db3 has %v", got)
	}
}

// TestPreferredLast: of hosts that may be the writer the preferred one comes first, but not before one that can write
// where it can't, nor before one that has more of what the dead writer wrote.
func TestPreferredLast(t *testing.T) {
	well := HostInfo{State: Online, AgentUp: true,
		Good: Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}}
	lacking, stalled, backedUp := well, well, well
	lacking.Lack = Lack{Missed: true, Of: "db1", For: time.Minute}
	stalled.Writing = Writing{Stalled: time.Minute, Stall: "the disk hangs"}
	backedUp.Backup = "mariadb-backup"
	for name, c := range map[string]struct {
		db2, db3 HostInfo
		want     string
	}{
		"both are well":             {well, well, "db3"},
		"it lacks something":        {well, lacking, "db2"},
		"both lack something":       {lacking, lacking, "db3"},
		"it can't write":            {well, stalled, "db2"},
		"it is being backed up":     {well, backedUp, "db2"},
		"it alone has everything":   {lacking, backedUp, "db3"},
		"it alone can write":        {stalled, lacking, "db3"},
		"the other one backs up":    {backedUp, well, "db3"},
		"the other one can't write": {stalled, well, "db3"},
	} {
		topology := lab()
		topology.FailoverLoss = LossAny
		topology.Roles[1].Hosts, topology.Roles[1].Prefer = []string{"db1", "db2", "db3"}, "db3"
		s := State{LastWriter: "db1", NetworkUp: true, Hosts: map[string]HostInfo{
			"db1": {State: HardOffline}, "db2": c.db2, "db3": c.db3}}
		x := stepper{t: topology, s: &s, in: Input{Now: time.Hour}, out: &Output{}}
		if got := x.fewest(topology.Roles[1]); got != c.want {
			t.Errorf("%s: %q is the next writer, want %q", name, got, c.want)
		}
		s.Addresses = []Address{{RoleIP: RoleIP{Role: "writer", IP: topology.Roles[1].IPs[0]}, Holder: "db2"}}
		if x.prefer(); (s.Addresses[0].Next == "db3") != (c.db3.Writing == Writing{} && c.db3.Backup == "") {
			t.Errorf("%s: as db2 is the writer, the role is to go to %q", name, s.Addresses[0].Next)
		}
	}
}
