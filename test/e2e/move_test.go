package e2e

import (
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestMoveBehindLock: SET GLOBAL read_only would wait for an idle LOCK TABLES without end. The agent ends that
// connection, so that the move does not wait.
func TestMoveBehindLock(t *testing.T) {
	b := start(t, lab.Options{})
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

// TestMoveToBroken: the target of a move is not opened where its replication does not run. The role goes back to the
// old host, and move_role says so.
func TestMoveToBroken(t *testing.T) {
	// trap_period is long, so that the host is still ONLINE when the operator moves the role to it.
	b := start(t, lab.Options{TrapPeriod: time.Minute})
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
	b.must(lab.Wait(b.ctx, "more writes on db1", func() (bool, string) {
		m, s := l.Acked()
		return m > n+50 && s == 1,
			""
	}))
	b.balance(l)
}

// TestSlaveReplication: a slave loses its reader address while its replication is broken or late, and has one again
// afterwards.
func TestSlaveReplication(t *testing.T) {
	b := start(t, lab.Options{MaxBacklog: 1})
	l := b.load()
	b.must(b.Node("db3").Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
	// This takes up to a minute: before the writer has been ONLINE for so long replication is not held against a slave.
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

// TestMoveToTheDeaf: a server that listens on its host's own address alone can't be reached at the writer's address.
// The role goes back to the old host when it is moved there, and the log says why.
func TestMoveToTheDeaf(t *testing.T) {
	b := start(t, lab.Options{Lease: 3, Common: "switch_timeout 5\n" + secret})
	b.must(restarted("db2", "--bind-address=10.77.0.12")(b))
	b.must(b.WaitWhole(b.ctx))
	l := b.load()
	out, status := b.control("move_role writer db2")
	if status == 0 || b.writer() != "db1" {
		t.Errorf("the writer is %s: %s", b.writer(), out)
	}
	b.logged(b.Monitor,
		"the server listens on 10.77.0.12:3306 and not on 10.77.0.100 (bind_address): nobody could connect")
	n, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "clients to write again", func() (bool, string) {
		now, _ := l.Acked()
		return now > n+100,
			""
	}))
	b.balance(l)
}
