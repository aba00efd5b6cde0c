package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestFirstStart: no host has ever been the writer, and one master is dead. The replication of the other one can't run
// for that reason, so it counts for nothing, and that host becomes the writer as it would with a healthy replication.
func TestFirstStart(t *testing.T) {
	topology := lab()
	well := Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
	broken := well
	broken.RepThreads, broken.Lost = false, 1
	verdicts := map[string]Verdicts{"db1": {RepThreads: true, RepBacklog: true}, "db2": broken, "db3": broken}
	found := map[string]Found{"db2": {Agent: &StoredHost{State: Unknown}, System: &SystemFound{}},
		"db3": {Agent: &StoredHost{State: Unknown}, System: &SystemFound{}}}
	for name, last := range map[string]string{"db2": "", "": "db1"} { // with a last writer, that one is waited for
		s, _ := Start(topology, Active, Durable{Writer: last}, found, verdicts, time.Second)
		for now := time.Second; now < 20*time.Second; now += time.Second {
			s, _ = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: verdicts})
		}
		if got := s.ActiveMaster(topology); got != name {
			t.Errorf("last writer %q: the writer is %q, want %q", last, got, name)
		}
		if st := s.Hosts["db3"].State; st != AwaitingRecovery {
			t.Errorf("a slave whose replication fails is %s", st)
		}
	}
}

// TestAwaitsTheAdmin: nothing but good replication and time, or an admin, leads out of AWAITING_RECOVERY.
func TestAwaitsTheAdmin(t *testing.T) {
	topology := lab()
	topology.AutoSetOnline = 0
	w := newWorld(topology)
	w.do("set_online db1")
	w.do("after 100s")
	for _, line := range []string{
		"check db2 rep_threads bad", "after 1s", "check db3 rep_threads bad", "after 1s", "check db2 rep_threads good",
		"after 1s", "check db3 rep_backlog bad", "check db3 rep_threads good",
		"after 1s", "check db3 rep_backlog good", "after 1s", "check db2 mysql bad", "check db2 mysql good",
		"check db3 rep_threads bad", "check db3 mysql bad", "check db1 mysql bad", "check db3 mysql good", "after 1s",
		"check db3 rep_threads good", "after 1s",
	} {
		w.do(line)
		for _, host := range []string{"db2", "db3"} {
			if st := w.s.Hosts[host].State; st != AwaitingRecovery && st != HardOffline {
				t.Fatalf("after %q: %s is %s", line, host, st)
			}
		}
	}
}

// TestHungServer: a server that greets this monitor and then hangs is dead, although other hosts can connect to it or
// pass orders on to its agent.
func TestHungServer(t *testing.T) {
	x := stepper{t: lab()}
	for _, h := range []HostInfo{
		{ReachedBy: "db2"},
		{AgentUp: true, Via: "db2"},
	} {
		h.Good = Verdicts{Mute: true}
		if !x.alive(h) {
			t.Errorf("%+v: a cut line is a death", h)
		}
		h.Good.Greeted = true
		if x.alive(h) {
			t.Errorf("%+v: a server that hangs is alive", h)
		}
	}
}

// TestStoredLack: what a status file says about what a host lacks. Where it says nothing, the host's state counts.
func TestStoredLack(t *testing.T) {
	for _, c := range []struct {
		host StoredHost
		want Lack
	}{
		{StoredHost{State: Online, Fitness: Lacking, LackOf: "db1"}, Lack{Missed: true, Of: "db1"}},
		{StoredHost{State: ReplicationDelay, Fitness: Fit}, Lack{}},
		{StoredHost{State: Online, Fitness: Acknowledged}, Lack{Acked: true}},
		{StoredHost{State: Online}, Lack{}},
		{StoredHost{State: AwaitingRecovery}, Lack{}},
		{StoredHost{State: ReplicationFail}, Lack{Missed: true, Of: "db1"}},
		{StoredHost{State: ReplicationDelay}, Lack{Missed: true, Of: "db1"}},
		{StoredHost{State: HardOffline}, Lack{Missed: true, Of: "db1"}},
		{StoredHost{State: AdminOffline}, Lack{Missed: true, Of: "db1"}},
	} {
		if got := c.host.lack("db2", "db1"); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.host, got, c.want)
		}
		if back := (State{Hosts: map[string]HostInfo{"db2": {Lack: c.want}}}).Durable().Hosts["db2"].lack("db2",
			"db1"); back != c.want {
			t.Errorf("%+v is stored and read as %+v", c.want, back)
		}
	}
	if got := (StoredHost{State: HardOffline}).lack("db1", "db1"); got.Missed {
		t.Error("the writer lacks something of its own")
	}
}

// TestMissing: what each host would lack.
func TestMissing(t *testing.T) {
	topology := lab()
	topology.Roles[1].Hosts = []string{"db1", "db2", "db3"}
	acked := HostInfo{Lack: Lack{Acked: true}, Good: Verdicts{MySQL: true,
		Reception: Reception{From: "db1", GTID: true, Logs: true}}}
	mute := acked
	mute.Good.MySQL = false
	broken := acked
	broken.Good.Lost = 5
	missed := HostInfo{Lack: Lack{Missed: true, Of: "db1", For: time.Minute},
		Good: Verdicts{MySQL: true, Reception: Reception{From: "db1", GTID: true}}}
	position := missed
	position.Good.GTID = false
	stopped := HostInfo{Good: Verdicts{MySQL: true, Reception: Reception{Stopped: true}}}
	for name, c := range map[string]struct {
		loss     Loss
		answered time.Duration
		db2, db3 HostInfo
		want     bool // db2 lacks something
	}{
		"nothing is known":                               {LossNamed, 10, HostInfo{}, HostInfo{}, false},
		"it did not receive":                             {LossNamed, 10, missed, HostInfo{}, true},
		"it can fetch":                                   {LossNamed, 10, missed, acked, false},
		"it can't fetch by position":                     {LossNamed, 10, position, acked, true},
		"who has it is dead":                             {LossNamed, 10, missed, mute, true},
		"who has it lacks it too":                        {LossNamed, 10, missed, missed, true},
		"the writer was never seen, and it has given up": {LossNamed, 0, stopped, HostInfo{}, true},
		"it was stopped later":                           {LossNamed, 10, stopped, HostInfo{}, false},
		"none: not acknowledged":                         {LossNone, 10, HostInfo{}, HostInfo{}, true},
		"none: acknowledged":                             {LossNone, 10, acked, HostInfo{}, false},
		"none: either has acknowledged":                  {LossNone, 10, acked, acked, false},
		"none: either has, and the other is dead":        {LossNone, 10, acked, mute, true},
		"none: for a moment it was not":                  {LossNone, 10, broken, HostInfo{}, true},
		"none: it was not when the writer was dead":      {LossNone, 4, broken, HostInfo{}, false},
	} {
		topology.FailoverLoss = c.loss
		s := State{LastWriter: "db1",
			Hosts: map[string]HostInfo{"db1": {Good: Verdicts{Reception: Reception{Answered: c.answered}}},
				"db2": c.db2, "db3": c.db3}}
		if got := s.missing(topology, "db2"); (got != "") != c.want {
			t.Errorf("%s: %q", name, got)
		}
		if got := s.missing(topology, "db1"); got != "" {
			t.Errorf("%s: the writer itself lacks: %q", name, got)
		}
	}
}

// TestElsewhere: a host that replicates from another host than the writer, or from a server that is no host, receives
// nothing of what the writer writes. Where the source is not known, that counts for nothing.
func TestElsewhere(t *testing.T) {
	w := Reception{ServerID: 1}
	for _, c := range []struct {
		of   Reception
		w    Reception
		want bool
	}{
		{Reception{From: "db1"}, w, false},
		{Reception{From: "db1", SourceID: 9}, w, false}, // its id has just been changed
		{Reception{From: "db3"}, w, true},
		{Reception{}, w, false},
		{Reception{SourceID: 9}, w, true},
		{Reception{SourceID: 9}, Reception{}, false},
		{Reception{SourceID: 1}, w, false},
	} {
		if got := c.of.elsewhere("db1", c.w); got != c.want {
			t.Errorf("%+v: %v", c.of, got)
		}
	}
}

// TestStrangersReplica: a host that replicates from a server outside of the configuration can't fetch what it lacks,
// though another host has it all.
func TestStrangersReplica(t *testing.T) {
	topology := lab()
	for id, want := range map[uint32]string{0: "", 9: "'db2' had received nothing of 'db1' for 5 seconds when 'db1' last answered"} {
		s := State{LastWriter: "db1", Hosts: map[string]HostInfo{
			"db1": {Good: Verdicts{Reception: Reception{ServerID: 1, Answered: 1}}},
			"db2": {Lack: Lack{Missed: true, Of: "db1", For: 5 * time.Second},
				Good: Verdicts{MySQL: true, Reception: Reception{GTID: true, SourceID: id}}},
			"db3": {Good: Verdicts{MySQL: true, Reception: Reception{From: "db1", GTID: true, Logs: true}}}}}
		if got := s.missing(topology, "db2"); got != want {
			t.Errorf("connected to server_id %d: %q, want %q", id, got, want)
		}
	}
}

// TestBootedCandidate: a host that was booted may have lost what it had received and acknowledged. It is not fit before
// it has received again for trap_period, also while no host is known to be open for writes.
func TestBootedCandidate(t *testing.T) {
	top := lab()
	w := newWorld(top)
	w.do("after 80s")
	w.do("reboot db3")
	w.do("after 1s")
	if why := w.s.missing(top, "db2"); why != "" {
		t.Errorf("db2 lacks something because db3 was booted: %s", why)
	}
	w.do("reboot db2")
	w.do("after 1s")
	if why := w.s.missing(top, "db2"); !strings.Contains(why,
		"the server of 'db2' has ended and has not replicated from 'db1' since") {
		t.Errorf("just booted it lacks %q", why)
	}
	w.do("after 12s")
	if why := w.s.missing(top, "db2"); why != "" {
		t.Errorf("after it has received for a while it lacks %q", why)
	}
	w.do("reboot db1") // the writer has its own log
	w.do("after 1s")
	if why := w.s.missing(top, "db1"); why != "" {
		t.Errorf("the writer lacks %q", why)
	}
}

// TestRestartedCandidate: that a host was booted is known by the id of its boot, however long ago that was, also to a
// monitor that did not run at the time. That its server has ended is known by its port, which refused.
func TestRestartedCandidate(t *testing.T) {
	boot := func(w *world, host, id string, up float64) {
		w.step(Input{Answers: []Answer{{Host: host, Seq: w.s.Seq, Reached: true, OK: true, Extended: true, Uptime: up,
			Stamp: Stamp{Boot: id, At: w.now}}}})
	}
	ended := func(w *world, host string) {
		v := w.verdicts[host]
		v.Ended = w.now
		w.verdicts[host] = v
		w.step(Input{})
	}
	again := func(w *world) {
		saved := w.s.Durable()
		found := map[string]Found{}
		for _, h := range w.t.Hosts {
			stored := saved.Hosts[h.Name]
			found[h.Name] = Found{Stored: &stored, Agent: &stored,
				Stamp: Stamp{Boot: map[bool]string{true: "b2", false: "b1"}[h.Name != "db3"], At: 1}}
		}
		w.s, _ = Start(w.t, Active, saved, found, w.verdicts, w.now)
	}
	for name, c := range map[string]struct {
		do    func(w *world)
		lacks bool
	}{
		"another boot, on for longer":          {func(w *world) { boot(w, "db2", "b2", 5000) }, true},
		"the same boot":                        {func(w *world) { boot(w, "db2", "b1", 1) }, false},
		"the same boot, after a pause":         {func(w *world) { boot(w, "db2", "b1+1", 1) }, false},
		"booted while no monitor ran":          {again, true},
		"its server has ended":                 {func(w *world) { ended(w, "db2") }, true},
		"its server has ended, and it is back": {func(w *world) { ended(w, "db2"); w.do("after 12s") }, false},
		"another one's server has ended":       {func(w *world) { ended(w, "db3") }, false},
	} {
		w := newWorld(lab())
		w.do("after 80s")
		for _, host := range []string{"db1", "db2", "db3"} {
			boot(w, host, "b1", (w.now + 1000*time.Second).Seconds())
		}
		c.do(w)
		if why := w.s.missing(w.t, "db2"); strings.Contains(why,
			"the server of 'db2' has ended and has not replicated from 'db1' since") != c.lacks {
			t.Errorf("%s: it lacks %q", name, why)
		}
		if why := w.s.missing(w.t, "db1"); why != "" {
			t.Errorf("%s: the writer lacks %q", name, why)
		}
	}
}

// TestRestartedSuccessor: a host that was appointed, and whose server ends before it has taken over, lacks what the
// former writer had. Once it has taken over it lacks nothing.
func TestRestartedSuccessor(t *testing.T) {
	for opened, want := range map[bool]string{false: "db1", true: ""} {
		w := newWorld(lab())
		w.do("after 80s")
		w.s.LastWriter, w.s.Switch, w.s.opened = "db2", Switch{From: "db1", To: "db2"}, ""
		if opened {
			w.s.Switch.Start = "bin.000001:4"
		}
		for i := range w.s.Addresses {
			if a := &w.s.Addresses[i]; a.Role == w.t.ActiveMasterRole {
				a.Holder, a.Confirmed = "db2", false
			}
		}
		v := w.verdicts["db2"]
		v.Ended = w.now
		w.verdicts["db2"] = v
		w.step(Input{})
		if got := w.s.Hosts["db2"].Lack.Of; got != want {
			t.Errorf("taken over %v: it lacks what %q wrote, want %q", opened, got, want)
		}
	}
}

// TestPassedOnToTheFit: a holder that waits for the former writer's server loses the role to a host that lacks nothing.
// It does not lose it to a host that would have to wait as well: the role would go from one to the other for ever.
func TestPassedOnToTheFit(t *testing.T) {
	for ended, want := range map[string]string{"": "db3", "db3": "db2"} {
		top := lab()
		top.Roles[1].Hosts = []string{"db1", "db2", "db3"}
		w := newWorld(top)
		for _, line := range []string{"after 80s", "set_offline db3", "ended db2", "hidden db1", "set_offline db1"} {
			w.do(line)
		}
		if ended != "" {
			w.do("ended " + ended)
		}
		w.do("set_online db3")
		if got := w.s.ActiveMaster(top); got != "db2" {
			t.Fatalf("%q: the role is with %q", ended, got)
		}
		w.do("after 60s")
		if got := w.s.ActiveMaster(top); got != want {
			t.Errorf("%q has ended too: the role is with %q, want %q", ended, got, want)
		}
		if ended == "" {
			continue
		}
		// What db2 lacks is given up after wait_for_other_master. From then on db2 has as much time to open as any
		// host: the others lack something too, and would only begin to wait.
		w.do("after 70s")
		var confirmed bool
		for _, a := range w.s.Addresses {
			confirmed = confirmed || a.Role == top.ActiveMasterRole && a.Confirmed
		}
		if got := w.s.ActiveMaster(top); got != want || !confirmed {
			t.Errorf("after wait_for_other_master the role is with %q, confirmed %v\n%s", got, confirmed,
				strings.Join(w.log, "\n"))
		}
	}
}

// TestLacksOutlivesTheMonitor: a monitor that starts tells a holder that it lacks something, by the status file, from
// its first order on, before it has asked anybody.
func TestLacksOutlivesTheMonitor(t *testing.T) {
	for name, c := range map[string]struct {
		fitness Fitness
		loss    Loss
		lacks   bool
	}{
		"it lacks something":           {Lacking, LossNamed, true},
		"it does, and that is allowed": {Lacking, LossAny, false},
		"it is fit":                    {Fit, LossNamed, false},
	} {
		top := lab()
		top.Lease, top.FailoverLoss = Lease(3*time.Second), c.loss
		saved := Durable{Writer: "db2", Switch: Switch{From: "db1", To: "db2"}, Successors: "db1,db2",
			Epoch: Epoch{Number: 3, Holder: "db2", Since: 3, Gone: "db1", Terms: top.terms()},
			Hosts: map[string]StoredHost{"db1": {State: HardOffline},
				"db2": {State: Online, Fitness: c.fitness, LackOf: "db1"}}}
		o, ok := Standing(top, saved)
		if !ok || o.Host != "db2" || o.Lacks != c.lacks {
			t.Errorf("%s: its first order is %+v", name, o)
		}
		found := map[string]Found{}
		for host, h := range saved.Hosts {
			found[host] = Found{Stored: &h, Agent: &StoredHost{State: h.State}}
		}
		s, _ := Start(top, Active, saved, found, map[string]Verdicts{"db2": {Ping: true, MySQL: true, RepThreads: true,
			RepBacklog: true}}, time.Second)
		for _, o := range Orders(top, s) {
			if o.Lacks != (c.lacks && o.Host == "db2") {
				t.Errorf("%s: after the start %s is told that it lacks something: %v", name, o.Host, o.Lacks)
			}
		}
	}
}
