package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestRefusedLogins: all servers refuse the accounts of the monitor and of the agents. `show` warns of it and says what
// mends it, and nothing else happens: hosts keep their states and roles, and the port of a healthy standby stays open,
// also when its agent is started then. In a move, the port of a former writer whose agent can't close the server is
// closed before the new writer is opened.
func TestRefusedLogins(t *testing.T) { kinds(t, testRefusedLogins) }

func testRefusedLogins(t *testing.T, o lab.Options) {
	b := start(t, o)
	db1, db2 := b.Node("db1"), b.Node("db2")
	l := b.load()
	since := time.Now()
	b.must(db1.Server.Exec(b.ctx, "ALTER USER mmm_monitor@'10.77.0.%' ACCOUNT LOCK",
		"ALTER USER mmm_agent@'10.77.0.%' ACCOUNT LOCK"))
	b.until("the warnings", func(show string) bool {
		for _, n := range b.DBs { // connections that were let in before go on
			b.must(n.Server.KillUser(b.ctx, "mmm_monitor"))
			b.must(n.Server.KillUser(b.ctx, "mmm_agent"))
		}
		for _, n := range b.DBs {
			if !strings.Contains(show, "# Warning: the server of '"+n.Name+
				"' answers, but not to the monitor's check mysql, so its state stays as it is: user mmm_monitor: Error ") {
				return false
			}
		}
		return strings.Contains(show, "# Warning: agent on host db1 reports: ")
	})
	b.must(db2.Agent.Kill())
	b.must(db2.Agent.Start())
	b.logged(b.Monitor, "Agent on host 'db2' reports: ")
	b.until("everything as it was", func(show string) bool {
		return strings.Count(show, "/ONLINE. Roles:") == 3 && strings.Count(show, "reader(") == 3 &&
			b.Writer(show) == db1
	})
	const unlock = "ALTER USER 'mmm_monitor'@'…' ACCOUNT UNLOCK"
	for words, other := range map[string]string{"show": "mmm_agent", "checks db1 mysql": "", "explain db1": "",
		"doctor": "ALTER USER 'mmm_agent'@'…' ACCOUNT UNLOCK"} {
		out, _ := b.control(words)
		if !strings.Contains(out, unlock) || !strings.Contains(out, other) || strings.Contains(out, "monpw") ||
			strings.Contains(out, "agentpw") {
			t.Errorf("%s:\n%s", words, out)
		}
	}
	b.must(db1.Server.Exec(b.ctx, "ALTER USER mmm_monitor@'10.77.0.%' ACCOUNT UNLOCK",
		"ALTER USER mmm_agent@'10.77.0.%' ACCOUNT UNLOCK"))
	b.must(b.WaitWhole(b.ctx))
	if gap := l.Gap(since); gap > time.Second {
		t.Errorf("write gap %v", gap)
	}
	for _, d := range []*lab.Daemon{b.Monitor, db1.Agent, db2.Agent, b.Node("db3").Agent} {
		if log := d.Log(); strings.Contains(log, "HARD_OFFLINE") || strings.Contains(log, "its port is closed") ||
			strings.Contains(log, "monpw") || strings.Contains(log, "agentpw") {
			t.Errorf("log of %s:\n%s", d.Name(), log)
		}
	}

	// The writer's agent can't close the server: it closes the port, before db2 is opened.
	b.must(db1.Server.Exec(b.ctx, "SET sql_log_bin=0", "ALTER USER mmm_agent@'10.77.0.%' ACCOUNT LOCK",
		"SET sql_log_bin=1"))
	b.must(db1.Server.KillUser(b.ctx, "mmm_agent"))
	b.until("the warning", func(show string) bool {
		return strings.Contains(show,
			"# Warning: agent on host db1 reports: ")
	})
	if out, _ := b.control("move_role writer db2"); !strings.HasPrefix(out, "OK: Role 'writer' has been moved") {
		t.Error(out)
	}
	if log := db1.Agent.Log(); !strings.Contains(log,
		"does not let this agent close it: its port is closed to clients until it does") {
		t.Errorf("the port of db1 was not closed:\n%s", log)
	}
	if v, err := db1.Server.Value(b.ctx, "SELECT @@read_only"); err != nil || v != "0" {
		t.Errorf("read_only of db1 is %s, want 0: its agent must not be able to close it here (%v)", v, err)
	}
	b.must(l.WaitServer(b.ctx, 2))
	b.must(db1.Server.Exec(b.ctx, "SET sql_log_bin=0", "ALTER USER mmm_agent@'10.77.0.%' ACCOUNT UNLOCK",
		"SET sql_log_bin=1"))
	b.must(b.WaitWhole(b.ctx))
	l.Stop()
	b.level(l, b.DBs)
	b.limit(o)
}

// limit tests replication passwords that are too long. A server would refuse them only when it has to follow a new
// writer. A configuration with one that no server takes is refused; one that only MySQL does not take is warned of by
// the agent and found by the doctor.
func (b *bench) limit(o lab.Options) {
	b.Helper()
	db3 := b.Node("db3")
	const now = "replication_password replpw\n"
	if !strings.HasPrefix(o.Server, "mysql") {
		b.edit("mmm_common.conf", now, "replication_password "+strings.Repeat("x", 97)+"\n")
		b.reload(db3.Agent, notReloaded)
		if log := db3.Agent.Log(); !strings.Contains(log,
			"'replication_password' has 97 bytes, but replication takes at most 96") {
			b.Errorf("not refused:\n%s", log)
		}
		return
	}
	b.edit("mmm_common.conf", now, "replication_password "+strings.Repeat("x", 44)+"\n")
	b.reload(db3.Agent, reloaded)
	if log := db3.Agent.Log(); !strings.Contains(log, "'replication_password' has 44 bytes: MySQL takes at most 32") {
		b.Errorf("no warning:\n%s", log)
	}
	findings, _ := b.doctor()
	if !slices.ContainsFunc(findings, func(f found) bool {
		return f.Name == "replication-limit" && f.Host == "db3" &&
			strings.Contains(f.What, "has 44 bytes, and MySQL takes at most 32")
	}) {
		b.Errorf("the doctor finds %v", findings)
	}
}
