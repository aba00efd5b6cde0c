package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// fleet is a cluster in which the original's daemons run beside ours.
type fleet struct {
	*bench
	monitor *lab.Original            // nil: ours
	agents  map[string]*lab.Original // by host; ours on the others
}

// mixed starts a cluster with original agents on some hosts, and with an original monitor or with ours. It replicates by file
// and position, as clusters of the original's time do.
func mixed(t *testing.T, limit time.Duration, o lab.Options, monitor bool, agents ...string) *fleet {
	t.Helper()
	o.Position = true
	f := &fleet{bench: prepare(t, limit, o), agents: map[string]*lab.Original{}}
	t.Cleanup(func() {
		all := f.agents
		if f.monitor != nil {
			all["the monitor"] = f.monitor
		}
		for name, a := range all {
			if err := a.Stop(); err != nil {
				t.Errorf("the original on %s: %v", name, err)
			}
			if t.Failed() {
				t.Logf("log of the original on %s:\n%s", name, a.Log())
			}
		}
	})
	for _, n := range f.DBs {
		if slices.Contains(agents, n.Name) {
			f.original(n.Name)
		} else {
			f.must(n.Agent.Start())
		}
	}
	if monitor {
		var err error
		f.monitor, err = f.OriginalMonitor(f.ctx)
		f.must(err)
	} else {
		f.must(f.Monitor.Start())
	}
	f.whole()
	if w := f.writer(); w != "db1" {
		t.Fatalf("the writer is on %s, want db1", w)
	}
	return f
}

// original starts an original agent on a host.
func (f *fleet) original(host string) {
	f.Helper()
	a, err := f.OriginalAgent(f.ctx, f.Node(host))
	f.must(err)
	f.agents[host] = a
}

// whole waits until all hosts are ONLINE and every address is where show says. That agents know no lease is warned of,
// and rightly so.
func (f *fleet) whole() {
	f.Helper()
	f.until("all hosts to be ONLINE", func(show string) bool {
		return strings.Count(show, "/ONLINE. Roles:") == len(f.DBs) && strings.Count(show, "reader(") == len(f.DBs) && f.Writer(show) != nil
	})
}

// TestOriginal: the double does what it is for: start, move, failover and return of a cluster without anything of ours.
func TestOriginal(t *testing.T) {
	f := mixed(t, 2*time.Minute, lab.Options{}, true, "db1", "db2", "db3")
	l := f.load()
	if out, _ := f.control("move_role writer db2"); !strings.HasPrefix(out, "OK: Role 'writer' has been moved from 'db1' to 'db2'") {
		t.Fatal(out)
	}
	f.must(l.WaitServer(f.ctx, 2))
	f.whole()
	f.must(f.Node("db2").Server.Kill())
	f.must(l.WaitServer(f.ctx, 1))
	f.must(f.Node("db2").Server.Start(f.ctx))
	f.whole()
}

// TestMixedMove: our monitor moves the writer's role between original agents, whose soft blocking waits until everybody
// has gone, and takes a host out that has it: nobody is given the role while the other still has it.
func TestMixedMove(t *testing.T) {
	f := mixed(t, 3*time.Minute, lab.Options{}, false, "db1", "db2", "db3")
	l := f.load()
	watch := f.WatchWriter(f.ctx)
	since := time.Now()
	out, status := f.control("move_role writer db2")
	t.Logf("move: %v: %s", time.Since(since), out)
	if status != 0 {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 2))
	f.whole()
	since = time.Now()
	out, status = f.control("set_offline db2")
	t.Logf("set_offline: %v: %s", time.Since(since), out)
	if status != 0 {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 1))
	t.Logf("db1 is the writer after %v", time.Since(since))
	both, err := watch.Stop()
	f.must(err)
	t.Logf("both %v, gap %v", both, l.Gap(since))
	f.control("set_online db2")
	f.whole()
	f.balance(l)
}

// TestMixedMoveAtRest: nothing of ours keeps an original agent waiting that gives the role up, and its application has no
// client at the moment.
func TestMixedMoveAtRest(t *testing.T) {
	f := mixed(t, time.Minute, lab.Options{}, false, "db1")
	if out, status := f.control("move_role writer db2"); status != 0 {
		t.Fatal(out)
	}
	if log := f.agents["db1"].Log(); strings.Contains(log, "Killing") {
		t.Errorf("log of the original on db1:\n%s", log)
	}
	f.whole()
}

// TestMixedReturn: the writer dies, whose agent is an original one, and is back.
func TestMixedReturn(t *testing.T) {
	f := mixed(t, 2*time.Minute, lab.Options{}, false, "db1")
	l := f.load()
	f.must(f.Node("db1").Server.Kill())
	f.must(l.WaitServer(f.ctx, 2))
	f.must(f.Node("db1").Server.Start(f.ctx))
	f.whole()
	f.balance(l)
}

// TestOriginalMonitorReturn: the same under an original monitor, with agents of ours, and the role goes back.
func TestOriginalMonitorReturn(t *testing.T) {
	f := mixed(t, 2*time.Minute, lab.Options{}, true)
	l := f.load()
	f.must(f.Node("db1").Server.Kill())
	f.must(l.WaitServer(f.ctx, 2))
	f.must(f.Node("db1").Server.Start(f.ctx))
	f.whole()
	if out, _ := f.control("move_role writer db1"); !strings.HasPrefix(out, "OK:") {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 1))
	f.balance(l)
}
