package agent

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// TestFollow: a slave is moved to the exact place in the new writer's log, or stays where it is and says why.
func TestFollow(t *testing.T) {
	sw := cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
	for _, c := range []struct {
		name     string
		executed uint64
		gtid     bool
		sw       cluster.Switch
		want     string
		problem  string
	}{
		{"level", 100, false, sw, "wait bin.000001:100, stop replication, repoint 10.0.0.2 bin.000001:500", ""},
		{"behind", 90, false, sw, "wait bin.000001:100, stop replication, repoint 10.0.0.2 bin.000001:500", ""},
		{"ahead", 120, false, sw, "wait bin.000001:100, stop replication, start replication",
			"Couldn't change active master to 'db2': this slave has executed bin.000001:120 of db1, the new writer only bin.000001:100 when it took over: it has transactions that 'db2' lacks"},
		{"ahead with GTID", 120, true, sw, "wait bin.000001:100",
			"Couldn't change active master to 'db2': this slave has executed"},
		{"with GTID", 90, true, sw, "wait bin.000001:100, stop replication, repoint 10.0.0.2 ", ""},
		{"not yet told where", 100, false, cluster.Switch{From: "db1", To: "db2"}, "", ""},
		{"told nothing, former writer gone", 100, false, cluster.Switch{}, "wait bin.000001:100",
			"Couldn't change active master to 'db2': find the place in the log of 'db2'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				s.set(func() { s.replica.Executed, s.replica.UsesGTID = at(c.executed), c.gtid })
				o := order()
				o.Switch = c.sw
				say(o)
				synctest.Wait()
				if got := s.history(); got != c.want {
					t.Errorf("it did %s, want %s", got, c.want)
				}
				a := say(o)
				if p := strings.Join(wire.ParseReport(a).Problems, "; "); !strings.HasPrefix(p, c.problem) ||
					(c.problem == "") != a.OK() {
					t.Errorf("answer %v", a)
				}
				if got, want := wire.ParseReport(a).Astray, strings.HasPrefix(c.name, "ahead"); got != want {
					t.Errorf("astray: %v, want %v", got, want)
				}
				s.set(func() { s.replica.Executed = at(c.executed + 7) }) // the slave executes more of its old source
				say(o)
				synctest.Wait()
				if now := say(o); c.executed == 120 && now.Text != a.Text {
					t.Errorf("the same trouble was %v, and is now %v", a, now)
				}
				s.set(func() { s.replica.SourceHost = "10.0.0.2" }) // somebody has set it up anew
				say(o)
				synctest.Wait()
				if wire.ParseReport(say(o)).Astray {
					t.Error("astray after it was set up anew")
				}
			})
		})
	}
}

// TestFollowRefused: a slave whose server would refuse the new source says so, and its replication is not stopped for
// it.
func TestFollowRefused(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		s.set(func() { s.replica.Executed, s.fail["check source"] = at(100), mysqlctl.ErrLimit })
		o := order()
		o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
		say(o)
		synctest.Wait()
		a := say(o)
		if p := strings.Join(wire.ParseReport(a).Problems, "; "); p != "Couldn't change active master to 'db2': "+
			mysqlctl.ErrLimit.Error() {
			t.Errorf("answer %v", a)
		}
		if got := s.history(); got != "" {
			t.Errorf("it did %s", got)
		}
	})
}

// has is the server of a new writer that has the transactions in sets, and gets those in later at a certain time.
type has struct {
	deadRemote
	replica mysqlctl.Replica
	sets    []string
	later   []string
	at      time.Time // when it has those in later
	fail    error
}

func (h *has) Replica(context.Context) (mysqlctl.Replica, error) { return h.replica, nil }
func (h *has) Lacks(_ context.Context, applied string) (string, error) {
	if slices.Contains(h.sets, applied) || slices.Contains(h.later, applied) && !time.Now().Before(h.at) {
		return "", h.fail
	}
	return applied, h.fail
}

// TestFollowByGTID: a slave that has transactions which the new writer lacks is not moved, and names them. Transactions
// that are on their way to the new writer are waited for.
func TestFollowByGTID(t *testing.T) {
	replicates := mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes"}
	const waits, stops = "wait bin.000001:100", ", stop replication"
	for name, c := range map[string]struct {
		applied []string
		next    *has
		old     replication.Remote
		want    string
		problem string
	}{
		"level": {[]string{"a:1-5"}, &has{sets: []string{"a:1-5"}}, nil, waits + stops + ", repoint 10.0.0.2 ",
			""},
		"on its way": {[]string{"a:1-5"}, &has{later: []string{"a:1-5"}, at: time.Time{}}, returned{}, waits + stops +
			", repoint 10.0.0.2 ", ""},
		"the returning writer's own": {[]string{"a:1-9"}, &has{sets: []string{"a:1-5"}}, returned{}, waits,
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks (GTID a:1-9): it must be set up anew"},
		"a dead writer's": {[]string{"a:1-9"}, &has{replica: replicates}, nil, waits,
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks"},
		"the new writer is slow": {[]string{"a:1-9"}, &has{replica: replicates}, returned{}, waits,
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' has not executed yet (GTID a:1-9): it waits"},
		"pulled in meanwhile": {[]string{"a:1-5", "a:1-9"}, &has{sets: []string{"a:1-5"}}, returned{}, waits + stops +
			", start replication",
			"Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks (GTID a:1-9)"},
		"the new writer does not answer": {[]string{"a:1-5"}, &has{fail: errGone}, nil, waits,
			"Couldn't change active master to 'db2': ask 'db2' whether it has all that this slave has: connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				c.next.at = time.Now().Add(time.Second)
				s.set(func() { s.replica.UsesGTID, s.applied, s.next, s.peer = true, c.applied, c.next, c.old })
				o := order()
				o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
				say(o)
				time.Sleep(2*time.Second + 100*time.Millisecond) // for transactions on their way
				if got := s.history(); got != c.want {
					t.Errorf("it did %s, want %s", got, c.want)
				}
				a := say(o)
				if p := strings.Join(wire.ParseReport(a).Problems, "; "); !strings.HasPrefix(p, c.problem) ||
					(c.problem == "") != a.OK() {
					t.Errorf("answer %v", a)
				}
			})
		})
	}
}

// TestRepointInterrupted: a slave whose repointing ended half-way does not stay stopped.
func TestRepointInterrupted(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		o := order()
		o.Switch = cluster.Switch{From: "db1", After: "bin.000001:100", To: "db2", Start: "bin.000001:500"}
		s.set(func() { s.fail["repoint 10.0.0.2 bin.000001:500"] = context.Canceled })
		say(o)
		synctest.Wait()
		s.set(func() { s.fail, s.replica.SourceHost = nil, "10.0.0.2" })
		o.State = cluster.ReplicationFail // as its checks see it
		for range 2 {
			say(o)
			synctest.Wait()
		}
		if got, want := s.history(), "wait bin.000001:100, stop replication, start replication"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
	})
}

// TestAdminOffline: replication stops with the state ADMIN_OFFLINE and starts when that state ends.
func TestAdminOffline(t *testing.T) {
	run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		for _, st := range []cluster.HostState{cluster.AdminOffline, cluster.AdminOffline, cluster.Online} {
			o := order()
			o.State, o.Master = st, ""
			say(o)
			synctest.Wait()
		}
		if got, want := s.history(), "stop replication, start replication"; got != want {
			t.Errorf("it did %s, want %s", got, want)
		}
	})
}
