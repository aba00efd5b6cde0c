package mysqlctl

import (
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
	"mysql-mmm/test/servers"
)

func TestLacking(t *testing.T) {
	for _, c := range []struct {
		name, applied, state, pos, want string
	}{
		{"nothing executed yet", "", "0-1-100", "", ""},
		{"level", "0-1-100", "0-1-100,0-2-120", "0-1-100", ""},
		{"behind", "0-1-90", "0-1-100", "0-1-100", ""},
		{"its own since", "0-2-120", "0-1-100,0-2-120", "0-1-100", ""},
		{"the former writer's", "0-1-105", "0-1-100,0-2-120", "0-1-100", "0-1-105"},
		{"the former writer's, beyond all others", "0-1-105", "0-1-100", "0-1-100", "0-1-105"},
		{"in its own domain", "1-1-105,2-2-30", "1-1-100,2-2-30", "1-1-100", "1-1-105"},
		{"of another source", "7-9-5000,0-1-100", "0-1-100", "", ""},
		{"set up from a backup", "0-1-100", "0-2-101", "0-1-100", ""},
		{"set up from a backup of before", "0-1-105", "0-2-101", "0-1-100", "0-1-105"},
		{"a server that is no more", "0-3-50", "0-2-101", "0-1-100", ""},
		{"a new log", "0-1-100", "0-2-1", "", "0-1-100"},
		{"no number", "0-1", "0-1-100", "", "error"},
		{"not MariaDB's", "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5", "0-1-100", "", "error"},
	} {
		got, err := lacking(c.applied, c.state, c.pos)
		if err != nil {
			got = "error"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestWithoutUUID(t *testing.T) {
	const a, b = "3e11fa47-71ca-11e1-9e33-c80aa9429562", "4f22fa47-71ca-11e1-9e33-c80aa9429562"
	for set, want := range map[string]string{
		"":                                      "",
		a + ":1-5":                              "",
		a + ":1-5,\n" + b + ":1-3:7":            b + ":1-3:7",
		b + ":1," + strings.ToUpper(a) + ":1-5": b + ":1",
		a + ":1-5:tag:1-2, " + b + ":tag:3":     b + ":tag:3",
	} {
		if got := withoutUUID(set, a); got != want {
			t.Errorf("%q: %q, want %q", set, got, want)
		}
	}
}

// TestLacks: a slave that has replicated what its source committed after another server had taken over has transactions
// that the new writer lacks. TestLacks also covers Lost, with a log that was begun anew.
func TestLacks(t *testing.T) { each(t, testLacks) }

func testLacks(t *testing.T, kind string) {
	old := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 1, GTID: true})
	next := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 2, GTID: true})
	slave := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 3, GTID: true})
	ctx := within(t, time.Minute)
	source := servers.Source{Host: "127.0.0.1", Port: old.Port, User: "repl", Password: "repl-secret", GTID: true}
	old.Exec("CREATE USER repl@'%' IDENTIFIED BY 'repl-secret'", "GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	for _, i := range []*mysqltest.Instance{next, slave} {
		i.Exec("DROP DATABASE test") // it comes from the source
		i.Exec(i.Kind.Follow(source)...)
	}
	onSlave, onNext := agent(t, slave, "agent3"), agent(t, next, "agent2")
	onOld := agent(t, old, "agent1")
	lacks := func() string {
		t.Helper()
		end, err := onOld.Position(ctx)
		fatal(t, err)
		fatal(t, onSlave.WaitExecuted(ctx, end))
		applied, err := onSlave.Applied(ctx)
		fatal(t, err)
		if applied == "" {
			t.Fatal("the slave says nothing of what it has")
		}
		missing, err := onNext.Lacks(ctx, applied)
		fatal(t, err)
		return missing
	}
	old.Exec("CREATE TABLE test.t (id INT PRIMARY KEY)", "INSERT INTO test.t VALUES (1)")
	end, err := onOld.Position(ctx)
	fatal(t, err)
	fatal(t, onNext.WaitExecuted(ctx, end))
	if got := lacks(); got != "" {
		t.Errorf("slave and new writer are level, and the new writer lacks %s", got)
	}
	next.Exec("STOP SLAVE", "INSERT INTO test.t VALUES (3)") // it has taken over
	if got := lacks(); got != "" {
		t.Errorf("the slave is behind, and the new writer lacks %s", got)
	}
	slave.Exec("CREATE DATABASE of_its_own")
	if got := lacks(); got != "" {
		t.Errorf("what the slave has committed itself is said to be lacking: %s", got)
	}
	old.Exec("INSERT INTO test.t VALUES (2)")
	got, id := lacks(), "0-1-"
	if old.Kind.MySQL {
		id = old.Query("SELECT @@server_uuid") + ":"
	}
	if !strings.HasPrefix(got, id) || strings.Contains(got, ",") {
		t.Errorf("it lacks %q, want one of %s", got, id)
	}

	applied, err := onSlave.Applied(ctx)
	fatal(t, err)
	if lost, err := onOld.Lost(ctx, applied); err != nil || lost != "" {
		t.Errorf("it has lost %q (%v), and nothing was", lost, err)
	}
	old.Exec(map[bool]string{true: "RESET BINARY LOGS AND GTIDS", false: "RESET MASTER"}[old.Kind.MySQL],
		"CREATE TABLE test.u (id INT)")
	if lost, err := onOld.Lost(ctx, applied); err != nil || !strings.HasPrefix(lost, id) {
		t.Errorf("after the reset it has lost %q (%v), want some of %s", lost, err, id)
	}
	if lost, err := onNext.Lost(ctx, applied); err != nil || lost != "" {
		t.Errorf("the next one has lost %q (%v), and had none", lost, err)
	}
}
