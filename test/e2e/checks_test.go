package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

// kinds runs a test on every kind of server, by GTID.
func kinds(t *testing.T, test func(t *testing.T, o lab.Options)) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			o := leased()
			o.Server = kind
			test(t, o)
		})
	}
}

// check asks the monitor for one check of a host: whether it counts as good, and its message.
func (b *bench) check(host, name string) (good bool, message string) {
	b.Helper()
	out, _ := b.control("checks " + host + " " + name + " --json")
	var lines []struct {
		Good    bool
		Message string
	}
	if err := json.Unmarshal([]byte(out), &lines); err != nil || len(lines) != 1 {
		b.Fatalf("checks %s %s: %v\n%s", host, name, err, out)
	}
	return lines[0].Good, lines[0].Message
}

// fails waits until a check counts as failed with a message that has all the texts, and says how long that took.
func (b *bench) fails(host, name string, texts ...string) time.Duration {
	b.Helper()
	since := time.Now()
	b.must(lab.Wait(b.ctx, name+" of "+host+" to fail", func() (bool, string) {
		good, message := b.check(host, name)
		for _, text := range texts {
			if !strings.Contains(message, text) {
				return false, message
			}
		}
		return !good, message
	}))
	return time.Since(since)
}

// passes waits until a check is good with just that message.
func (b *bench) passes(host, name, want string) {
	b.Helper()
	b.must(lab.Wait(b.ctx, name+" of "+host+" to be good", func() (bool, string) {
		good, message := b.check(host, name)
		return good && message == want, message
	}))
}

// TestReplicationErrorsAreTold: `checks` has the error that keeps a slave from replicating in the server's own words,
// and the check counts as failed once the error has lasted for trap_period, not later.
func TestReplicationErrorsAreTold(t *testing.T) { kinds(t, testReplicationErrorsAreTold) }

func testReplicationErrorsAreTold(t *testing.T, o lab.Options) {
	b := start(t, o)
	db1, db3 := b.Node("db1").Server, b.Node("db3").Server
	const broken = "ERROR: Replication is broken. "
	// A trap_period of 1 s, one probe, one question, and what a busy machine adds to that.
	const limit = 5 * time.Second
	inTime := func(what string, took time.Duration) {
		t.Helper()
		if took > limit {
			t.Errorf("%s was seen after %v", what, took)
		}
	}
	b.passes("db3", "rep_threads", "OK")

	b.must(db3.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='wr0ng-s3cret'", "START SLAVE"))
	inTime("a wrong password", b.fails("db3", "rep_threads", broken+"I/O thread: Connecting, error 1045: ",
		"Access denied for user 'repl'"))
	b.logged(b.Monitor, "Check 'rep_threads' on 'db3' has failed")
	if strings.Contains(b.Monitor.Log(), "s3cret") {
		t.Error("the password is in the log")
	}
	b.must(db3.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='replpw'", "START SLAVE"))
	b.passes("db3", "rep_threads", "OK")

	b.must(db3.Exec(b.ctx, "SET GLOBAL read_only=0", "SET sql_log_bin=0", "INSERT INTO app.t VALUES (1, 3, 0)",
		"SET sql_log_bin=1"))
	b.must(db1.Exec(b.ctx, "INSERT INTO app.t VALUES (1, 1, 0)"))
	cause := "Duplicate entry '1'"
	if strings.HasPrefix(o.Server, "mysql") { // the coordinator thread knows no more
		cause = "Worker 1 failed executing transaction"
	}
	inTime("a duplicate key", b.fails("db3", "rep_threads", broken+"SQL thread: No, error 1062: ", cause))
	b.must(db3.Exec(b.ctx, "SET sql_log_bin=0", "DELETE FROM app.t", "SET sql_log_bin=1", "START SLAVE"))
	b.passes("db3", "rep_threads", "OK")

	b.must(db3.Exec(b.ctx, "STOP SLAVE"))
	b.must(db1.Exec(b.ctx, "INSERT INTO app.t VALUES (2, 1, 0)", "FLUSH BINARY LOGS"))
	b.must(lab.Wait(b.ctx, "the log to be purged", func() (bool, string) {
		// A log that the other master still reads can't be purged yet.
		err := db1.Exec(b.ctx, "PURGE BINARY LOGS BEFORE '2037-01-01'")
		first, valueErr := db1.FirstLog(b.ctx)
		return err == nil && valueErr == nil && first != "bin.000001", fmt.Sprint(first, err, valueErr)
	}))
	b.must(db3.Exec(b.ctx, "START SLAVE"))
	// MySQL has another number for this error, 13114.
	inTime("a purged log", b.fails("db3", "rep_threads", broken+"I/O thread: No, error ",
		": Got fatal error 1236 from"))
}

// TestSlaveAstray: `show` and `checks` tell of a slave that replicates from the wrong master, and its agent points it
// at the writer again.
func TestSlaveAstray(t *testing.T) { kinds(t, testSlaveAstray) }

func testSlaveAstray(t *testing.T, o lab.Options) {
	b := start(t, o)
	db3 := b.Node("db3")
	b.must(db3.Agent.Kill())
	b.must(db3.Server.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='10.77.0.12'", "START SLAVE"))
	const remark = "replicates from 'db2' (10.77.0.12), not from the active master 'db1' (10.77.0.11)"
	warned := func(show string) bool { return strings.Contains(show, "# Warning: 'db3' "+remark+"\n") }
	b.until("the warning", warned)
	b.passes("db3", "rep_threads", "OK; "+remark)
	b.must(db3.Agent.Start())
	b.must(b.WaitWhole(b.ctx))
	b.passes("db3", "rep_threads", "OK")

	// In a planned move there is no warning: db3 follows.
	if out, _ := b.control("move_role writer db2"); !strings.HasPrefix(out, "OK: Role 'writer' has been moved") {
		t.Error(out)
	}
	b.follows("db3", "db2")
	b.must(b.WaitWhole(b.ctx))
	if n := strings.Count(b.Monitor.Log(), "WARN 'db3' replicates from"); n != 1 {
		t.Errorf("%d warnings of db3's source, want 1", n)
	}
}

// TestNobodyAcknowledges: while no replica acknowledges what the writer commits, `show` and the log warn of it.
func TestNobodyAcknowledges(t *testing.T) { kinds(t, testNobodyAcknowledges) }

func testNobodyAcknowledges(t *testing.T, o lab.Options) {
	b := start(t, o)
	const warning = "nobody acknowledges what 'db1' commits (semi-synchronous replication): it may be lost with the host"
	b.must(b.Node("db2").Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
	b.until("the warning", func(show string) bool { return strings.Contains(show, "# Warning: "+warning+"\n") })
	b.logged(b.Monitor, "WARN "+warning)
	b.must(b.Node("db2").Server.Exec(b.ctx, "START SLAVE IO_THREAD"))
	b.logged(b.Monitor, "INFO No longer: "+warning)
	b.must(b.WaitWhole(b.ctx))
}

// TestDelayedReplica: a slave that is behind on purpose (SQL_Delay) stays ONLINE, and has no reader addresses while
// other hosts can have them.
func TestDelayedReplica(t *testing.T) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			b := start(t, lab.Options{Server: kind, MaxBacklog: 3})
			b.must(b.Node("db3").Server.Exec(b.ctx, "STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=8", "START SLAVE"))
			l := b.load()
			defer l.Stop()
			b.until("db3 to have no roles", func(show string) bool {
				return strings.Contains(show, "db3(10.77.0.13) slave/ONLINE. Roles: \n")
			})
			b.passes("db3", "rep_backlog", "OK: Backlog is 8 seconds, SQL_Delay is 8")
			if out, _ := b.control("explain db3"); !strings.Contains(out,
				"It is taken for roles last: its replication is delayed by 8 seconds (SQL_Delay).") {
				t.Errorf("explain:\n%s", out)
			}
		})
	}
}
