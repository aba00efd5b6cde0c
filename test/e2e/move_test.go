package e2e

import (
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestMoveRole: move_role both ways under load: no acknowledged row is lost, and all servers end equal.
func TestMoveRole(t *testing.T) { each(t, moveRole) }

func moveRole(t *testing.T, o lab.Options) {
	b := start(t, 90*time.Second, o)
	l := b.load()
	for i, to := range []string{"db2", "db1", "db2", "db1"} {
		from := map[string]string{"db1": "db2", "db2": "db1"}[to]
		since := time.Now()
		out, status := b.control("move_role writer " + to)
		want := "OK: Role 'writer' has been moved from '" + from + "' to '" + to + "'. Now you can wait some time and check new roles info!\n"
		if status != 0 || out != want {
			t.Fatalf("move %d: exit %d, %q", i, status, out)
		}
		b.must(l.WaitServer(b.ctx, int(to[2]-'0')))
		t.Logf("write gap %v", l.Gap(since))
		b.follows("db3", to)
	}
	b.must(b.WaitWhole(b.ctx))
	b.balance(l)
	b.logged(b.Monitor, "FATAL Admin moved role 'writer' from 'db1' to 'db2'")
	b.logged(b.Node("db1").Agent, "INFO Deleted: writer(10.77.0.100)")
}

// TestMoveBehindLock (S15): an idle LOCK TABLES blocks read_only for ever; it does not hold up a role change.
func TestMoveBehindLock(t *testing.T) {
	b := start(t, time.Minute, lab.Options{})
	l := b.load()
	b.must(b.Node("db1").Server.Lock(b.ctx))
	since := time.Now()
	if out, status := b.control("move_role writer db2"); status != 0 {
		t.Fatal(out)
	}
	if d := time.Since(since); d > 3*time.Second {
		t.Errorf("the move took %v", d)
	}
	b.must(l.WaitServer(b.ctx, 2))
	b.balance(l)
}

// TestMoveToBroken (S6, S7): a target whose replication does not run is not opened; the role goes back, and the command says so.
func TestMoveToBroken(t *testing.T) {
	// trap_period is long, so that the operator is quicker than the check.
	b := start(t, time.Minute, lab.Options{TrapPeriod: time.Minute})
	l := b.load()
	b.must(b.Node("db2").Server.Exec(b.ctx, "STOP SLAVE SQL_THREAD"))
	out, status := b.control("move_role writer db2")
	if status != 2 || !strings.HasPrefix(out, "ERROR: Role 'writer' could not be moved to 'db2'. It is on 'db1'.") {
		t.Fatalf("exit %d, %q", status, out)
	}
	if got, err := b.Node("db2").Server.Value(b.ctx, "SELECT @@read_only"); err != nil || got != "1" {
		t.Errorf("read_only of db2 is %s (%v)", got, err)
	}
	b.must(b.Node("db2").Server.Exec(b.ctx, "START SLAVE"))
	n, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "more writes on db1", func() (bool, string) { m, s := l.Acked(); return m > n+50 && s == 1, "" }))
	b.balance(l)
}

// TestSlaveReplication: broken and late replication take the slave's reader address away and bring it back.
func TestSlaveReplication(t *testing.T) {
	b := start(t, 2*time.Minute, lab.Options{MaxBacklog: 1})
	l := b.load()
	b.must(b.Node("db3").Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
	// The peer has been ONLINE for less than a minute: until then nothing is held against the slave.
	b.state("db3", "REPLICATION_FAIL")
	if show := b.show(); !strings.Contains(show, "db3(10.77.0.13) slave/REPLICATION_FAIL. Roles: \n") {
		t.Errorf("show:\n%s", show)
	}
	if out, _ := b.control("checks db3 rep_threads"); !strings.Contains(out, "]  ERROR: Replication is broken") {
		t.Errorf("checks: %q", out)
	}
	b.must(b.Node("db3").Server.Exec(b.ctx, "START SLAVE"))
	b.state("db3", "ONLINE")
	b.must(b.WaitWhole(b.ctx))

	release, err := b.Node("db3").Server.Hold(b.ctx)
	b.must(err)
	b.state("db3", "REPLICATION_DELAY")
	if out, _ := b.control("checks db3 rep_backlog"); !strings.Contains(out, "]  ERROR: Backlog is too big") {
		t.Errorf("checks: %q", out)
	}
	b.must(release())
	b.state("db3", "ONLINE")
	b.must(b.WaitWhole(b.ctx))
	b.balance(l)
}
