package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

// TestPreferred: in manual mode an operator can move the writer role away from its preferred host. In active mode that
// host gets the role again, but not before it has caught up.
func TestPreferred(t *testing.T) {
	o := leased()
	o.WriterPrefer, o.MaxBacklog = "db1", 1
	b := prepare(t, o)
	for _, n := range b.DBs {
		b.must(n.Agent.Start())
	}
	b.must(b.Monitor.Start())
	placed := func(show string) bool {
		return strings.Contains(show, "# Role writer is assigned to it's preferred host db1.") &&
			strings.Count(show, "/ONLINE.") == 3
	}
	b.until("db1 to be the writer", placed)
	l := b.load()
	b.steps([]step{
		{"move_role writer db2", "ERROR: Role 'writer' is assigned to preferred host 'db1'. Can't move it!", 2},
		{"set_manual", "OK: Switched into manual mode.", 0},
		{"move_role writer db2",
			"OK: Role 'writer' has been moved from 'db1' to 'db2'. Now you can wait some time and check new roles info!", 0},
	})
	b.must(l.WaitServer(b.ctx, 2))
	release, err := b.Node("db1").Server.Hold(b.ctx)
	b.must(err)
	b.logged(b.Monitor,
		"ERROR Check 'rep_backlog' on 'db1' has failed for 1 seconds! Message: ERROR: Backlog is too big")
	since := time.Now()
	b.steps([]step{{"set_active", "OK: Switched into active mode.", 0}})
	before, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "writes to go on", func() (bool, string) { n, _ := l.Acked(); return n > before+400, "" }))
	if w := b.writer(); w != "db2" {
		t.Errorf("the writer is on %s, which lags", w)
	}
	b.must(release())
	b.until("db1 to be the writer again", placed)
	b.must(l.WaitServer(b.ctx, 1))
	if gap := l.Gap(since); gap > 2*time.Second {
		t.Errorf("write gap %v", gap)
	}
	b.balance(l)
}

// TestSuperUser: the application's user may write although a server is read_only. In moves it loses no acknowledged
// row, and writes nothing to the former writer any more.
func TestSuperUser(t *testing.T) {
	for _, kind := range servers.Tested() {
		k := servers.Kind{Name: kind}
		t.Run(k.String(), func(t *testing.T) {
			right := "READ_ONLY ADMIN"
			if strings.HasPrefix(kind, "mysql-") {
				right = "CONNECTION_ADMIN, SYSTEM_VARIABLES_ADMIN"
			}
			o := leased()
			o.Server = kind
			b := prepare(t, o)
			for _, n := range b.DBs {
				b.must(n.Server.Exec(b.ctx, "SET sql_log_bin=0", "GRANT "+right+" ON *.* TO app@'10.77.0.%'"))
			}
			b.must(b.StartAll(b.ctx))
			l := b.load()
			for _, to := range []string{"db2", "db1", "db2"} {
				b.must(moved(b, to))
				b.must(l.WaitServer(b.ctx, b.Node(to).Server.ID()))
			}
			b.must(b.WaitWhole(b.ctx))
			b.balance(l)
		})
	}
}

// TestMissingGrant: an agent lacks the privilege to open its server. A move to its host goes back, and move_role says
// which GRANT is missing.
func TestMissingGrant(t *testing.T) {
	b := prepare(t, lab.Options{})
	b.must(b.Node("db2").Server.Exec(b.ctx, "SET sql_log_bin=0",
		"REVOKE READ_ONLY ADMIN ON *.* FROM mmm_agent@'10.77.0.%'"))
	b.must(b.StartAll(b.ctx))
	out, status := b.control("move_role writer db2")
	if status != 2 || !strings.HasPrefix(out, "ERROR: Role 'writer' could not be moved to 'db2'. It is on 'db1'. ") ||
		!strings.Contains(out, "GRANT READ_ONLY ADMIN ON *.* TO 'mmm_agent'@'10.77.0.%'") {
		t.Errorf("exit %d, %q", status, out)
	}
}

// TestOtherConfiguration: an agent is given a role address that its own configuration does not have, and `show` says
// so.
func TestOtherConfiguration(t *testing.T) {
	b := prepare(t, lab.Options{})
	common, err := os.ReadFile("/run/lab/mmm_common.conf")
	b.must(err)
	text := strings.Replace(string(common), "10.77.0.101, 10.77.0.102, 10.77.0.103", "10.77.0.109", 1)
	if text == string(common) {
		t.Fatalf("no such address in\n%s", common)
	}
	b.must(os.WriteFile("/run/lab/db3/mmm_agent.conf", []byte(text+"this db3\n"), 0o640))
	for _, n := range b.DBs {
		b.must(n.Agent.Start())
	}
	b.must(b.Monitor.Start())
	b.must(lab.Wait(b.ctx, "show to say so", func() (bool, string) {
		show, _, _ := b.Control(b.ctx, "show")
		// Which of the addresses it gets depends on which host is ONLINE first.
		_, warning, _ := strings.Cut(show, "# Warning: agent on host db3 reports: Role reader(10.77.0.10")
		return strings.Contains(warning, ") is not in the configuration of this host"), show
	}))
}

// TestConnecting: a host whose replication only tries to connect is in REPLICATION_FAIL, and the role can't be moved to
// it.
func TestConnecting(t *testing.T) {
	b := start(t, leased())
	b.must(b.Node("db2").Server.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='wrong'", "START SLAVE"))
	b.must(b.Monitor.Kill()) // the new one gives replicas of the writer that it knows no minute of patience
	b.must(b.Monitor.Start())
	b.state("db2", "REPLICATION_FAIL")
	b.steps([]step{{"move_role writer db2", "ERROR: Can't move role to host with state REPLICATION_FAIL.", 2}})
}
