package e2e

import (
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// leased are the options of most tests with faults: the lease and fast_failover of the samples, and a short
// trap_period.
func leased() lab.Options {
	return lab.Options{Lease: 3, FastFailover: true, TrapPeriod: time.Second, Mon: "flap_count 0"}
}

// TestFaults: every fault strikes once, and is mended after a second. Two hosts never have the writer's address,
// nothing is lost, and the cluster is whole in the end. make matrix does the same for longer, and in every state.
func TestFaults(t *testing.T) {
	for _, f := range lab.Faults() {
		t.Run(strings.ReplaceAll(f.Name, " ", "_"), func(t *testing.T) {
			b := start(t, leased())
			trial, err := b.Try(b.ctx, f, time.Second)
			t.Log(trial)
			b.must(err)
			if trial.Verdict != "" {
				t.Error(trial.Verdict)
			}
		})
	}
}

// TestLineCut: the line between monitor and writer is cut for far longer than a lease. Other hosts reach the writer, so
// nothing moves.
func TestLineCut(t *testing.T) {
	b := start(t, leased())
	l := b.load()
	db1 := b.Node("db1")
	since := time.Now()
	b.must(lab.CutLine(b.Mon, db1.Host, true))
	b.logged(b.Monitor, "can't be reached from here, but host")
	b.must(lab.Wait(b.ctx, "two leases", func() (bool, string) { return time.Since(since) > 10*time.Second, "" }))
	if show := b.show(); b.Writer(show) != db1 || !strings.Contains(show, "db1(10.77.0.11) master/ONLINE") {
		t.Errorf("show:\n%s", show)
	}
	if gap := l.Gap(since); gap > 2*time.Second {
		t.Errorf("write gap %v", gap)
	}
	b.must(lab.CutLine(b.Mon, db1.Host, false))
	b.must(b.WaitWhole(b.ctx))
	b.balance(l)
	if w := b.writer(); w != "db1" {
		t.Errorf("the writer is on %s after the line was mended", w)
	}
}

// TestServerHangs: the process of the writer's server is stopped, and continued later. Another host takes over, and the
// port of the hung server is closed to clients until the server is read-only.
func TestServerHangs(t *testing.T) {
	b := start(t, leased())
	l := b.load()
	db1 := b.Node("db1")
	since := time.Now()
	b.must(l.Between(db1.Server.Pause))
	b.must(l.WaitServer(b.ctx, 2))
	gap := l.Gap(since)
	t.Logf("write gap %v", gap)
	if gap > 8*time.Second {
		t.Errorf("write gap %v", gap)
	}
	b.logged(db1.Agent, "its port is closed to clients until it does")
	if _, err := b.Client.Dial(b.ctx, db1.IP.String()+":3306"); err == nil {
		t.Error("a client reaches the server that hangs")
	}
	b.must(db1.Server.Continue())
	b.logged(db1.Agent, "its port is open to clients again")
	if got, err := db1.Server.Value(b.ctx, "SELECT @@read_only"); err != nil || got != "1" {
		t.Errorf("read_only of db1 is %s (%v)", got, err)
	}
}
