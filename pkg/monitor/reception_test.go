package monitor

import (
	"net/netip"
	"testing"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
)

// TestReceptions: what the brain is told of a host's replication after each probe.
func TestReceptions(t *testing.T) {
	runs := check.Threads{Known: true, Receiving: true, Executing: true}
	stuck := check.Threads{Known: true, Receiving: true}
	connecting := check.Threads{Known: true, Executing: true}
	stopped := check.Threads{Known: true, Stopped: true, Executing: true}
	r := newReceptions(topology())
	for i, step := range []struct {
		name    check.Name
		status  check.Status
		threads check.Threads
		source  string
		want    cluster.Reception
	}{
		{check.RepThreads, check.OK, runs, "10.0.0.1", cluster.Reception{Received: 1, From: "db1"}},
		{check.MySQL, check.OK, check.Threads{}, "", cluster.Reception{Answered: 2, Received: 1, From: "db1"}},
		{check.MySQL, check.Unknown, check.Threads{}, "", cluster.Reception{Answered: 3, Received: 1, From: "db1"}},
		{check.MySQL, check.Error, check.Threads{}, "", cluster.Reception{Answered: 3, Received: 1, From: "db1"}},
		{check.RepThreads, check.Unknown, check.Threads{}, "",
			cluster.Reception{Answered: 3, Received: 1, From: "db1"}},
		{check.RepThreads, check.Error, stuck, "10.0.0.1", cluster.Reception{Answered: 3, Received: 6, From: "db1",
			Stuck: true}},
		{check.RepThreads, check.Error, connecting, "10.0.0.1",
			cluster.Reception{Answered: 3, Received: 6, From: "db1", Lost: 7}},
		{check.RepThreads, check.Error, stopped, "10.0.0.3",
			cluster.Reception{Answered: 3, Received: 6, From: "db3", Lost: 7, Stopped: true}},
		{check.RepThreads, check.Error, check.Threads{}, "",
			cluster.Reception{Answered: 3, Received: 6, From: "db3", Lost: 7}},
		{check.RepThreads, check.OK, runs, "db1.example.com", cluster.Reception{Answered: 3, Received: 10}},
		{check.RepBacklog, check.Error, check.Threads{}, "", cluster.Reception{Answered: 3, Received: 10}},
	} {
		r.note(check.Update{Host: "db2", Name: step.name, Result: check.Result{Status: step.status,
			Threads: step.threads, Source: identity.Source{Address: step.source}}}, false, time.Duration(i+1))
		if got := r.of["db2"]; got != step.want {
			t.Errorf("step %d: %+v, want %+v", i+1, got, step.want)
		}
	}
	r.survey(Surveyed{Host: "db1", Survey: mysqlctl.Survey{Settings: mysqlctl.Settings{ServerID: 7},
		SemiSync: mysqlctl.SemiSync{Enabled: true, Waiting: true, Clients: 2}}}, 20)
	r.survey(Surveyed{Host: "db2", Survey: mysqlctl.Survey{Settings: mysqlctl.Settings{ServerID: 8, LogBin: true,
		LogSlaveUpdates: true}, SemiSync: mysqlctl.SemiSync{Enabled: true, Acks: true},
		Replica: &mysqlctl.Replica{SourceHost: "db1.example.com", SourceID: 7, IORunning: "Yes", UsesGTID: true}}}, 21)
	if got, want := r.of["db1"], (cluster.Reception{Surveyed: 20, ServerID: 7, Waits: true, Ackers: 2}); got != want {
		t.Errorf("the writer: %+v, want %+v", got, want)
	}
	want := cluster.Reception{Answered: 3, Received: 10, From: "db1", SourceID: 7, Surveyed: 21, ServerID: 8,
		GTID: true, Logs: true, Acks: true}
	if got := r.of["db2"]; got != want {
		t.Errorf("by server_id: %+v, want %+v", got, want)
	}
}

// TestAnotherServerOnTheMachine: a host that replicates from another server on the writer's machine does not count as
// one that replicates from the writer.
func TestAnotherServerOnTheMachine(t *testing.T) {
	top := topology()
	for i := range top.Hosts {
		top.Hosts[i].Port = 3306
	}
	r := newReceptions(top)
	r.survey(Surveyed{Host: "db1", Survey: mysqlctl.Survey{Settings: mysqlctl.Settings{ServerID: 1}}}, 1)
	for port, want := range map[int]cluster.Reception{3306: {From: "db1", SourceID: 1}, 3307: {SourceID: 99}} {
		r.note(check.Update{Host: "db2", Name: check.RepThreads, Result: check.Result{Status: check.OK,
			Threads: check.Threads{Known: true, Receiving: true, Executing: true},
			Source:  identity.Source{Address: "10.0.0.1", Port: port, ID: want.SourceID, Live: true}}}, false, 2)
		want.Received = 2
		if got := r.of["db2"]; got != want {
			t.Errorf("port %d: %+v, want %+v", port, got, want)
		}
	}
}

// TestServerEnds: a port that refuses means that the server has ended; a server that only does not answer may still
// run.
func TestServerEnds(t *testing.T) {
	r := newReceptions(topology())
	r.note(check.Update{Host: "db2", Name: check.MySQL, Result: check.Result{Status: check.Error}}, false, 1)
	r.note(check.Update{Host: "db2", Name: check.MySQL,
		Result: check.Result{Status: check.Error, Refused: true}}, false, 2)
	r.note(check.Update{Host: "db2", Name: check.MySQL, Result: check.Result{Status: check.OK}}, false, 3)
	if got, want := r.of["db2"], (cluster.Reception{Ended: 2, Answered: 3}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestFencedServer: a port that refuses while the server's agent says that it can't write, or that its port is closed
// to clients, does not mean that the server has ended. Its uptime tells later whether it was started meanwhile.
func TestFencedServer(t *testing.T) {
	refuses := check.Update{Host: "db2", Name: check.MySQL, Result: check.Result{Status: check.Error, Refused: true}}
	fenced, stalled := cluster.Writing{Fenced: true}, cluster.Writing{Stalled: 10 * time.Second}
	for name, c := range map[string]struct {
		says   cluster.HostInfo
		uptime time.Duration // of the server when its port is open again, a minute after it was last asked
		ended  time.Duration
	}{
		"fenced, and it runs on":     {cluster.HostInfo{AgentUp: true, Writing: fenced}, time.Hour, 0},
		"fenced, and it was started": {cluster.HostInfo{AgentUp: true, Writing: fenced}, 5 * time.Second, 2 * time.Minute},
		"about to be fenced":         {cluster.HostInfo{AgentUp: true, Writing: stalled}, time.Hour, 0},
		"its agent is silent":        {cluster.HostInfo{Writing: fenced}, time.Hour, 90 * time.Second},
		"its agent says nothing":     {cluster.HostInfo{AgentUp: true}, time.Hour, 90 * time.Second},
	} {
		r := newReceptions(topology())
		r.survey(Surveyed{Host: "db2", Survey: mysqlctl.Survey{Uptime: time.Hour}}, time.Minute)
		r.note(refuses, keptOut(c.says), 90*time.Second)
		r.survey(Surveyed{Host: "db2", Survey: mysqlctl.Survey{Uptime: c.uptime}}, 2*time.Minute)
		if got := r.of["db2"].Ended; got != c.ended {
			t.Errorf("%s: its server ended at %v, want %v", name, got, c.ended)
		}
	}
}

// TestServerRestarted: where no check has found a server's port closed, its uptime tells whether it was started since
// it was last asked.
func TestServerRestarted(t *testing.T) {
	const first, second = time.Minute, time.Minute + 10*time.Second
	for name, c := range map[string]struct {
		uptime  time.Duration // at the second survey
		refused time.Duration // when its port was found closed; 0: never
		ended   time.Duration
	}{
		"it runs on":                     {uptime: time.Hour},
		"it does not say":                {},
		"it was started between the two": {uptime: 4 * time.Second, ended: second},
		"just after the first":           {uptime: 9 * time.Second, ended: second},
		"perhaps just before":            {uptime: 10 * time.Second},
		"its port was found closed":      {uptime: 4 * time.Second, refused: first + time.Second, ended: first + time.Second},
		"it was closed long before":      {uptime: 4 * time.Second, refused: time.Second, ended: second},
	} {
		r := newReceptions(topology())
		says := func(up time.Duration) Surveyed { return Surveyed{Host: "db2", Survey: mysqlctl.Survey{Uptime: up}} }
		refuses := check.Update{Host: "db2", Name: check.MySQL, Result: check.Result{Status: check.Error, Refused: true}}
		if c.refused > 0 && c.refused < first {
			r.note(refuses, false, c.refused)
		}
		r.survey(says(time.Hour), first)
		if c.refused > first {
			r.note(refuses, false, c.refused)
		}
		r.survey(says(c.uptime), second)
		if got := r.of["db2"].Ended; got != c.ended {
			t.Errorf("%s: its server ended at %v, want %v", name, got, c.ended)
		}
	}
}

// TestStrangerIsTold: a source that is no host of the configuration is recognised by its ids, and the name of a dead
// host by the addresses that it resolves to.
func TestStrangerIsTold(t *testing.T) {
	r := newReceptions(topology())
	r.survey(Surveyed{Host: "db1", Survey: mysqlctl.Survey{Settings: mysqlctl.Settings{ServerID: 7, UUID: "u7"}}}, 1)
	for _, c := range []struct {
		replica  mysqlctl.Replica
		resolved []netip.Addr
		from     string
		id       uint32
	}{
		{mysqlctl.Replica{SourceHost: "192.0.2.9", SourceID: 9, IORunning: "Yes"}, nil, "", 9},
		{mysqlctl.Replica{SourceHost: "192.0.2.9", SourceID: 9, IORunning: "Connecting"}, nil, "", 0},
		{mysqlctl.Replica{SourceHost: "192.0.2.9", SourceID: 7, IORunning: "Yes"}, nil, "db1", 7},
		{mysqlctl.Replica{SourceHost: "192.0.2.9", SourceUUID: "u7"}, nil, "db1", 0},
		{mysqlctl.Replica{SourceHost: "db1.example.com"}, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, "db1", 0},
	} {
		r.survey(Surveyed{Host: "db2", Survey: mysqlctl.Survey{Replica: &c.replica}, Resolved: c.resolved}, 2)
		if got := r.of["db2"]; got.From != c.from || got.SourceID != c.id {
			t.Errorf("%+v: from %q, server_id %d", c.replica, got.From, got.SourceID)
		}
		r.note(check.Update{Host: "db2", Name: check.RepThreads,
			Result: check.Result{Status: check.OK, Source: identity.SourceOf(c.replica)}}, false, 3)
		if got := r.of["db2"]; got.From != c.from || got.SourceID != c.id {
			t.Errorf("%+v, by a check: from %q, server_id %d", c.replica, got.From, got.SourceID)
		}
	}
}

// TestHungServerIsNotReached: another host's connection proves nothing about a server that greets this monitor and then
// says nothing more.
func TestHungServerIsNotReached(t *testing.T) {
	s := newSuspects(time.Second)
	s.note(check.Update{Host: "db1", Name: check.Ping, Result: check.Result{Status: check.Error}})
	s.note(check.Update{Host: "db1", Name: check.MySQL, Result: check.Result{Status: check.Error}})
	if got := s.receive(reachability{host: "db1", by: "db2"}); got["db1"] != "db2" {
		t.Errorf("a server that can't be connected to: %v", got)
	}
	s.note(check.Update{Host: "db1", Name: check.MySQL, Result: check.Result{Status: check.Error, Greeted: true}})
	if got := s.reachedBy(); len(got) > 0 {
		t.Errorf("a server that hangs: %v", got)
	}
	if v := s.judge("db1", cluster.Verdicts{}); !v.Greeted || !v.Mute {
		t.Errorf("verdicts %+v", v)
	}
}

// TestNews: the brain is told at once when a check has changed something, and not when the check found what the brain
// knows already.
func TestNews(t *testing.T) {
	o := &owner{m: &Monitor{}, suspects: newSuspects(0), received: newReceptions(cluster.Topology{}),
		good: map[string]cluster.Verdicts{"db1": {Ping: true, MySQL: true}}}
	o.told = o.verdicts()
	found := func(name check.Name, status check.Status) check.Update {
		return check.Update{Host: "db1", Name: name, Result: check.Result{Status: status}}
	}
	for _, c := range []struct {
		name string
		do   func()
		news bool
	}{
		{"nothing", func() {}, false},
		{"it answers still", func() { o.received.note(found(check.MySQL, check.OK), false, time.Second) }, false},
		{"it receives still", func() { o.received.note(found(check.RepThreads, check.OK), false, time.Second) }, false},
		{"it receives nothing", func() { o.received.note(found(check.RepThreads, check.Error), false, time.Second) }, true},
		{"a ping failed", func() { o.suspects.note(found(check.Ping, check.Error)) }, true},
		{"its port refuses", func() { o.good["db1"] = cluster.Verdicts{Ping: true, MySQL: true, Refused: true} }, true},
	} {
		c.do()
		if got := o.news("db1"); got != c.news {
			t.Errorf("%s: news %v", c.name, got)
		}
		o.told = o.verdicts()
		if o.news("db1") {
			t.Errorf("%s: it is news once", c.name)
		}
	}
}
