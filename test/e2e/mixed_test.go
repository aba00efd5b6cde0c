package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// fleet is a cluster in which daemons of MMM 2.2 (their doubles) run beside ours.
type fleet struct {
	*bench
	monitor *lab.Original            // nil: ours
	agents  map[string]*lab.Original // by host; other hosts have agents of ours
}

// mixed starts a cluster with original agents on some hosts, and with an original monitor or with ours. The servers
// replicate by file and position, as those of MMM 2.2 do.
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

// whole waits until all hosts are ONLINE, there is a writer, and every address is where `show` says. Unlike WaitWhole
// it allows warnings: our monitor warns of original agents, as they know no lease.
func (f *fleet) whole() {
	f.Helper()
	f.until("all hosts to be ONLINE", func(show string) bool {
		return strings.Count(show, "/ONLINE. Roles:") == len(f.DBs) && strings.Count(show, "reader(") == len(f.DBs) &&
			f.Writer(show) != nil
	})
}

// TestOriginal: with doubles of the original daemons alone, a cluster starts, moves its writer, fails over and takes
// the dead host back.
func TestOriginal(t *testing.T) {
	f := mixed(t, lab.Options{Retries: 2}, true, "db1", "db2", "db3")
	l := f.load()
	if out, _ := f.control("move_role writer db2"); !strings.HasPrefix(out,
		"OK: Role 'writer' has been moved from 'db1' to 'db2'") {
		t.Fatal(out)
	}
	f.must(l.WaitServer(f.ctx, 2))
	f.whole()
	f.kill(l, "db2", "db1", "db3")
	f.must(l.WaitServer(f.ctx, 1))
	f.must(f.Node("db2").Server.Start(f.ctx))
	f.whole()
}

// TestMixedMove: our monitor moves the writer role between original agents, whose soft blocking waits until all clients
// have gone, and takes out a host that has the role. No host gets the role while another one still has it.
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
	// The original agent refuses the monitor's checks, too, while it blocks clients.
	f.until("db2 to be let in again", func(string) bool {
		_, status := f.control("set_online db2")
		return status == 0
	})
	f.whole()
	f.balance(l)
}

// TestMixedAgents: the agent of db1 is an original one, the others and the monitor are ours. db1 gives the writer role
// up while no client is connected: no connection of ours makes its soft blocking wait. When db1 dies as the writer and
// is back, the agent of db2 looks at its log, so that the cluster is whole again without an operator.
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
	f.kill(l, "db1", "db2", "db3")
	f.must(l.WaitServer(f.ctx, 2))
	f.must(f.Node("db1").Server.Start(f.ctx))
	f.whole()
	f.balance(l)
}

// TestOriginalMonitor: the monitor is an original one, and all agents are ours. The writer dies, is back, and gets the
// role again by move_role.
func TestOriginalMonitor(t *testing.T) {
	f := mixed(t, lab.Options{}, true)
	l := f.load()
	f.kill(l, "db1", "db2", "db3")
	f.must(l.WaitServer(f.ctx, 2))
	f.must(f.Node("db1").Server.Start(f.ctx))
	f.whole()
	if out, _ := f.control("move_role writer db1"); !strings.HasPrefix(out, "OK:") {
		t.Error(out)
	}
	f.must(l.WaitServer(f.ctx, 1))
	f.balance(l)
}

// TestSwap: under load all original programs are replaced by ours, one after the other, in the order of
// docs/migration.md, then by originals again, and by ours again. No write fails, but for the second time that our
// monitor starts: its agents know decisions of ours from before, which are not in the status file any more. So it has
// the writer role given up before it gives it out, and clients can't write for up to a second.
func TestSwap(t *testing.T) {
	documented := []string{"db3", "db2", "db1", "mon"}
	f, l := swapped(t, documented...)
	f.swapAll(l, 0, "mon", "db1", "db2", "db3")
	f.swapAll(l, 0, documented[:3]...)
	f.swapAll(l, time.Second, "mon")
	f.balance(l)
}

// TestSwapMonitorFirst: with the monitor first no write fails when the originals are replaced by ours. On the way back
// the original agent of db1 finds the writer's address with the lifetime that our agent has given it. When that ends
// the address goes off, and the agent adds it again when it looks the next time.
func TestSwapMonitorFirst(t *testing.T) {
	f, l := swapped(t, "mon", "db3", "db2", "db1")
	f.swapAll(l, originalLooks, "db1")
	f.swapAll(l, 0, "db2", "db3", "mon")
	f.balance(l)
}

// originalLooks is how often an original agent checks its addresses (3 s), and a second until TCP has sent again.
const originalLooks = 4 * time.Second

// swapped starts a cluster of original programs under load, and replaces them by ours in this order. No write may fail.
func swapped(t *testing.T, order ...string) (*fleet, *lab.Load) {
	f := mixed(t, lab.Options{}, true, "db1", "db2", "db3")
	l := f.load()
	f.swapAll(l, 0, order...)
	return f, l
}

// swapAll replaces programs one after the other. Where bound is 0 no write may fail; else bound is the longest write
// gap that is allowed.
func (f *fleet) swapAll(l *lab.Load, bound time.Duration, order ...string) {
	f.Helper()
	for _, host := range order {
		since := time.Now()
		failed, _ := l.Errors()
		f.swap(host)
		f.whole()
		f.must(l.WaitMore(f.ctx, 800)) // 4 s: longer than a round of the original monitor, and than a lease
		now, err := l.Errors()
		gap := l.Gap(since)
		f.Logf("%s replaced: %d writes failed, %v without one", host, now-failed, gap.Round(time.Millisecond))
		if bound == 0 && now > failed || bound > 0 && gap > bound {
			f.Errorf("%s replaced: %d writes failed (%v), %v without one", host, now-failed, err, gap)
		}
	}
}

// swap replaces an original agent by ours, or the other way round; for "mon" the monitor.
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
