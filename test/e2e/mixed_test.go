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

// mixed starts a cluster with original agents on some hosts, and with an original monitor or with ours. It replicates
// by file and position, as clusters of the original's time do.
func mixed(t *testing.T, o lab.Options, monitor bool, agents ...string) *fleet {
	t.Helper()
	o.Position = true
	f := &fleet{bench: prepare(t, o), agents: map[string]*lab.Original{}}
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
	f.must(f.WaitListening(f.ctx, f.DBs...))
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
		return strings.Count(show, "/ONLINE. Roles:") == len(f.DBs) && strings.Count(show, "reader(") == len(f.DBs) &&
			f.Writer(show) != nil
	})
}

// TestOriginal: the double does what it is for: start, move, failover and return of a cluster without anything of ours.
func TestOriginal(t *testing.T) {
	f := mixed(t, lab.Options{Retries: 2}, true, "db1", "db2", "db3")
	l := f.load()
	if out, _ := f.control("move_role writer db2"); !strings.HasPrefix(out,
		"OK: Role 'writer' has been moved from 'db1' to 'db2'") {
		t.Fatal(out)
	}
	f.must(l.WaitServer(f.ctx, 2))
	f.whole()
	f.must(l.Between(f.Node("db2").Server.Kill))
	f.must(l.WaitServer(f.ctx, 1))
	f.must(f.Node("db2").Server.Start(f.ctx))
	f.whole()
}

// TestMixedMove: our monitor moves the writer's role between original agents, whose soft blocking waits until everybody
// has gone, and takes a host out that has it: nobody is given the role while the other still has it.
func TestMixedMove(t *testing.T) {
	f := mixed(t, lab.Options{Retries: 3}, false, "db1", "db2", "db3")
	l := f.load()
	watch := f.WatchWriter(f.ctx)
	if out, status := f.control("move_role writer db2"); status != 0 {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 2))
	f.whole()
	if out, status := f.control("set_offline db2"); status != 0 {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 1))
	both, err := watch.Stop()
	f.must(err)
	if both > 0 {
		t.Errorf("two hosts had the writer's address for %v", both)
	}
	// its agent keeps the checks away until it has blocked for long enough
	f.until("db2 to be let in again", func(string) bool {
		_, status := f.control("set_online db2")
		return status == 0
	})
	f.whole()
	f.balance(l)
}

// TestMixedAgents: the writer's agent is an original one, the others and the monitor are ours. Nothing of ours keeps it
// waiting when it gives the role up, and its application has no client at the moment. And when the writer dies and is
// back its log is looked at from across, so that all is well again without anybody's doing.
func TestMixedAgents(t *testing.T) {
	f := mixed(t, lab.Options{Retries: 5}, false, "db1")
	for _, to := range []string{"db2", "db1"} {
		if out, status := f.control("move_role writer " + to); status != 0 {
			t.Fatal(out)
		}
		f.whole()
	}
	if log := f.agents["db1"].Log(); strings.Contains(log, "Killing") {
		t.Errorf("log of the original on db1:\n%s", log)
	}
	l := f.load()
	f.must(l.Between(f.Node("db1").Server.Kill)) // it has nothing that nobody else has
	f.must(l.WaitServer(f.ctx, 2))
	f.must(f.Node("db1").Server.Start(f.ctx))
	f.whole()
	f.balance(l)
}

// TestOriginalMonitor: under an original monitor the writer dies, whose agent is ours, and gets the role again.
func TestOriginalMonitor(t *testing.T) {
	f := mixed(t, lab.Options{}, true)
	l := f.load()
	f.must(l.Between(f.Node("db1").Server.Kill)) // it has nothing that nobody else has
	f.must(l.WaitServer(f.ctx, 2))
	f.must(f.Node("db1").Server.Start(f.ctx))
	f.whole()
	if out, _ := f.control("move_role writer db1"); !strings.HasPrefix(out, "OK:") {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 1))
	f.balance(l)
}

// TestSwap: the programs are replaced under load, one after the other, and back, and again. In the order of
// docs/migration.md no write fails; only the second monitor of ours finds agents that know of the first one's
// decisions, of which its own state says nothing any more, and has the role given up before it gives it.
func TestSwap(t *testing.T) {
	documented := []string{"db3", "db2", "db1", "mon"}
	f, l := swapped(t, documented...)
	f.swapAll(l, 0, "mon", "db1", "db2", "db3")
	f.swapAll(l, 0, documented[:3]...)
	f.swapAll(l, time.Second, "mon")
	f.balance(l)
}

// TestSwapMonitorFirst: in the other order nothing fails on the way to ours. On the way back an original agent finds
// the writer's address with the lifetime that ours has given it, and puts it there again when it looks the next time.
func TestSwapMonitorFirst(t *testing.T) {
	f, l := swapped(t, "mon", "db3", "db2", "db1")
	f.swapAll(l, originalLooks, "db1")
	f.swapAll(l, 0, "db2", "db3", "mon")
	f.balance(l)
}

// originalLooks is how often an original agent looks whether it has what it is to have, and a second of TCP's.
const originalLooks = 4 * time.Second

// swapped is a cluster of the original's programs that have been replaced by ours, without a write that failed.
func swapped(t *testing.T, order ...string) (*fleet, *lab.Load) {
	f := mixed(t, lab.Options{}, true, "db1", "db2", "db3")
	l := f.load()
	f.swapAll(l, 0, order...)
	return f, l
}

// swapAll replaces programs one after the other. Where bound is 0 no write may fail; else none for so long at most.
func (f *fleet) swapAll(l *lab.Load, bound time.Duration, order ...string) {
	f.Helper()
	for _, host := range order {
		since := time.Now()
		failed, _ := l.Errors()
		f.swap(host)
		f.whole()
		f.must(l.WaitMore(f.ctx, 800)) // longer than a round of the original's takes, and than a lease lasts
		now, err := l.Errors()
		gap := l.Gap(since)
		f.Logf("%s replaced: %d writes failed, %v without one", host, now-failed, gap.Round(time.Millisecond))
		if bound == 0 && now > failed || bound > 0 && gap > bound {
			f.Errorf("%s replaced: %d writes failed (%v), %v without one", host, now-failed, err, gap)
		}
	}
}

// swap puts our agent in the place of an original one, or the other way round; on "mon" the monitor.
func (f *fleet) swap(host string) {
	f.Helper()
	switch a := f.agents[host]; {
	case host == "mon" && f.monitor != nil:
		f.must(f.monitor.Stop())
		f.monitor = nil
		f.must(f.Monitor.Start())
	case host == "mon":
		f.must(f.Monitor.Stop(f.ctx))
		var err error
		f.monitor, err = f.OriginalMonitor(f.ctx)
		f.must(err)
	case a != nil:
		f.must(a.Stop())
		delete(f.agents, host)
		f.must(f.Node(host).Agent.Start())
	default:
		f.must(f.Node(host).Agent.Stop(f.ctx))
		f.original(host)
	}
}
