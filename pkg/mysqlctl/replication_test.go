package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

func TestReplicaOfRealPair(t *testing.T) { each(t, testReplicaOfRealPair) }

func testReplicaOfRealPair(t *testing.T, kind string) {
	master, onMaster := server(t, mysqltest.Options{Server: kind, ServerID: 1})
	slave, s := server(t, mysqltest.Options{Server: kind, ServerID: 2, Args: []string{"--read-only=1"}})
	ctx := within(t, time.Minute)

	if _, err := s.Replica(ctx); !errors.Is(err, ErrNotReplica) {
		t.Errorf("before it is set up: %v, want ErrNotReplica", err)
	}
	slave.Exec("DROP DATABASE test", "DROP USER agent@'%'")
	slave.Follow(master)
	eventually(t, "the slave has what the master has",
		func() bool { return slave.Query("SHOW DATABASES LIKE 'test'") == "test" })

	end, err := onMaster.Position(ctx)
	fatal(t, err)
	fatal(t, s.WaitExecuted(ctx, end))
	rep, err := s.Replica(ctx)
	fatal(t, err)
	if rep.SourceHost != "127.0.0.1" || rep.SourcePort != master.Port || rep.IORunning != "Yes" ||
		rep.SQLRunning != "Yes" ||
		rep.Received != end || rep.Executed != end || rep.Lag == nil || rep.UsesGTID {
		t.Errorf("replication of a running pair: %+v, master at %s", rep, end)
	}

	t.Run("duplicate key", func(t *testing.T) {
		master.Exec("CREATE TABLE test.t (id INT PRIMARY KEY)")
		eventually(t, "the table is there", func() bool {
			return slave.Query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA='test'") == "t"
		})
		slave.Exec("INSERT INTO test.t VALUES (1)")
		master.Exec("INSERT INTO test.t VALUES (1)")
		end, err := onMaster.Position(ctx)
		fatal(t, err)
		err = s.WaitExecuted(ctx, end)
		cause := "Duplicate entry"
		if slave.Kind.MySQL { // the thread that coordinates parallel workers knows no more of a worker's error
			cause = "Worker 1 failed executing transaction 'ANONYMOUS' at source log bin.000001"
		}
		if !errors.Is(err, ErrNotReplicating) || !strings.Contains(err.Error(), cause) {
			t.Errorf("waiting for a stopped thread: %v", err)
		}
		rep, err := s.Replica(ctx)
		fatal(t, err)
		if rep.SQLRunning != "No" || !strings.Contains(rep.SQLError, cause) || rep.IORunning != "Yes" ||
			rep.Lag != nil {
			t.Errorf("replication after a duplicate key: %+v", rep)
		}
		slave.Exec("DELETE FROM test.t", "START SLAVE")
		fatal(t, s.WaitExecuted(ctx, end))
	})

	t.Run("stopped SQL thread", func(t *testing.T) {
		reached, err := onMaster.Position(ctx)
		fatal(t, err)
		slave.Exec("STOP SLAVE SQL_THREAD")
		master.Exec("INSERT INTO test.t VALUES (2)")
		end, err := onMaster.Position(ctx)
		fatal(t, err)
		if err := s.WaitExecuted(ctx, end); !errors.Is(err, ErrNotReplicating) {
			t.Errorf("waiting for what is not executed: %v, want ErrNotReplicating", err)
		}
		if err := s.WaitExecuted(ctx, reached); err != nil {
			t.Errorf("waiting for what is executed: %v", err)
		}
		slave.Exec("START SLAVE")
		fatal(t, s.WaitExecuted(ctx, end))
	})

	t.Run("parallel workers that don't say how far they are", func(t *testing.T) {
		if !slave.Kind.MySQL {
			return // MariaDB's workers say it at once
		}
		slave.Exec("SET GLOBAL replica_checkpoint_period=3600000")
		defer slave.Exec("SET GLOBAL replica_checkpoint_period=DEFAULT")
		for id := 10; id < 15; id++ {
			master.Exec(fmt.Sprintf("INSERT INTO test.t VALUES (%d)", id))
			end, err := onMaster.Position(ctx)
			fatal(t, err)
			fatal(t, s.WaitExecuted(ctx, end))
			rep, err := s.Replica(ctx)
			fatal(t, err)
			if rep.IORunning != "Yes" || rep.SQLRunning != "Yes" {
				t.Errorf("replication afterwards: %+v", rep)
			}
		}
		// A transaction that is executed only after the first restart of the SQL thread, as on a busy machine.
		slave.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=2", "START SLAVE")
		defer slave.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=0", "START SLAVE")
		master.Exec("INSERT INTO test.t VALUES (15)")
		end, err := onMaster.Position(ctx)
		fatal(t, err)
		fatal(t, s.WaitExecuted(within(t, 10*time.Second), end))
	})

	t.Run("wait runs out of time", func(t *testing.T) {
		end, err := onMaster.Position(ctx)
		fatal(t, err)
		beyond := Position{end.File, end.Offset + 1}
		start := time.Now()
		err = s.WaitExecuted(within(t, 1500*time.Millisecond), beyond)
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), end.String()) {
			t.Errorf("%v: want a deadline and how far it came, %s", err, end)
		}
		other, cancel := context.WithCancel(ctx)
		time.AfterFunc(200*time.Millisecond, cancel)
		start = time.Now()
		if err := s.WaitExecuted(other, beyond); !errors.Is(err, context.Canceled) || time.Since(start) > time.Second {
			t.Errorf("cancelled: %v after %v", err, time.Since(start))
		}
		eventually(t, "the server has stopped waiting", func() bool {
			return slave.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT MASTER_POS_WAIT%'") == "0"
		})
		// MASTER_POS_WAIT says that a position in a log that does not exist is reached; the status says that it is not.
		if err := s.WaitExecuted(ctx, Position{"other.000001", 4}); err == nil {
			t.Error("waiting for a position of another log is a success")
		}
	})

	t.Run("a late position is waited for", func(t *testing.T) {
		slave.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=2", "START SLAVE")
		master.Exec("INSERT INTO test.t VALUES (3)")
		end, err := onMaster.Position(ctx)
		fatal(t, err)
		fatal(t, s.WaitExecuted(ctx, end))
		if slave.Query("SELECT id FROM test.t WHERE id=3") != "3" {
			t.Error("the row is not there when its position is said to be executed")
		}
		slave.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_DELAY=0", "START SLAVE")
	})

	t.Run("wrong password", func(t *testing.T) {
		slave.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='wrong'", "START SLAVE")
		eventually(t, "the I/O thread tells its error", func() bool {
			rep, err := s.Replica(ctx)
			fatal(t, err)
			return rep.IORunning == "Connecting" && strings.Contains(rep.IOError, "Access denied") && rep.Lag == nil
		})
	})

	t.Run("stop and start", func(t *testing.T) {
		for range 2 { // the second time nothing is to do
			fatal(t, s.StopReplication(ctx))
			rep, err := s.Replica(ctx)
			fatal(t, err)
			if rep.IORunning != "No" || rep.SQLRunning != "No" {
				t.Errorf("stopped: %+v", rep)
			}
		}
		for range 2 {
			fatal(t, s.StartReplication(ctx))
			rep, err := s.Replica(ctx)
			fatal(t, err)
			if rep.IORunning == "No" || rep.SQLRunning != "Yes" {
				t.Errorf("started: %+v", rep)
			}
		}
	})
}

// A slave is moved from one master to the other, both of which have the same data at different positions. Each row must
// arrive once.
func TestRepoint(t *testing.T) { each(t, testRepoint) }

func testRepoint(t *testing.T, kind string) {
	a, onA := server(t, mysqltest.Options{Server: kind, ServerID: 1, GTID: true})
	var plain []string
	if a.Kind.MySQL { // without TLS, a login with caching_sha2_password needs the source's public key
		plain = []string{"--tls-version="}
	}
	b, onB := server(t, mysqltest.Options{Server: kind, ServerID: 2, GTID: true, Args: plain})
	c, onC := server(t, mysqltest.Options{Server: kind, ServerID: 3, GTID: true})
	ctx := within(t, time.Minute)
	if a.Kind.MySQL {
		c.Exec("CHANGE MASTER TO MASTER_SSL=0") // which Repoint does not change
	}
	for _, i := range []*mysqltest.Instance{a, b, c} {
		i.Exec("CREATE USER repl@'%' IDENTIFIED BY 'it''s \\\\ \"quoted\"'",
			"GRANT REPLICATION SLAVE ON *.* TO repl@'%'",
			"CREATE TABLE test.t (id INT PRIMARY KEY)")
	}
	a.Exec("FLUSH BINARY LOGS") // so that positions differ
	source := func(i *mysqltest.Instance, start Position) Source {
		return Source{Host: "127.0.0.1", Port: i.Port, User: "repl", Password: `it's \ "quoted"`, Start: start}
	}
	startA, err := onA.Position(ctx)
	fatal(t, err)
	fatal(t, onC.Repoint(ctx, source(a, startA)))
	a.Exec("INSERT INTO test.t VALUES (1), (2)")
	end, err := onA.Position(ctx)
	fatal(t, err)
	fatal(t, onC.WaitExecuted(ctx, end))

	fatal(t, onB.Repoint(ctx, source(a, startA)))
	fatal(t, onB.WaitExecuted(ctx, end))
	startB, err := onB.Position(ctx)
	fatal(t, err)
	fatal(t, onB.StopReplication(ctx))
	b.Exec("INSERT INTO test.t VALUES (3)") // before C is told
	fatal(t, onC.Repoint(ctx, source(b, startB)))
	b.Exec("INSERT INTO test.t VALUES (4)")
	end, err = onB.Position(ctx)
	fatal(t, err)
	fatal(t, onC.WaitExecuted(ctx, end))
	if got := c.Query("SELECT GROUP_CONCAT(id ORDER BY id) FROM test.t"); got != "1,2,3,4" {
		t.Errorf("rows on the slave: %s", got)
	}

	t.Run("NO_BACKSLASH_ESCAPES", func(t *testing.T) {
		c.Exec("SET GLOBAL sql_mode='NO_BACKSLASH_ESCAPES'")
		s := New(onC.cfg)
		defer s.Close()
		end, err := onB.Position(ctx)
		fatal(t, err)
		fatal(t, s.Repoint(ctx, source(b, end)))
		c.Exec("SET GLOBAL sql_mode=''")
	})
	t.Run("GTID", func(t *testing.T) {
		c.Exec("STOP SLAVE", has(c, b))
		src := source(b, Position{})
		src.GTID = true
		fatal(t, onC.Repoint(ctx, src))
		rep, err := onC.Replica(ctx)
		fatal(t, err)
		if !rep.UsesGTID {
			t.Errorf("not by GTID: %+v", rep)
		}
		fatal(t, onC.Repoint(ctx, source(b, end)))
		if rep, err := onC.Replica(ctx); err != nil || rep.UsesGTID {
			t.Errorf("still by GTID: %+v, %v", rep, err)
		}
	})
	t.Run("no such position", func(t *testing.T) {
		err := onC.Repoint(ctx, source(b, Position{"bin.000099", 4}))
		if !errors.Is(err, ErrNotReplicating) {
			t.Errorf("%v, want ErrNotReplicating", err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		src := source(b, end)
		src.Password = "s3cret"
		err := onC.Repoint(ctx, src)
		if !errors.Is(err, ErrNotReplicating) || !strings.Contains(err.Error(), "Access denied") ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	})
	t.Run("the password is not quoted in errors", func(t *testing.T) {
		s := New(onC.cfg)
		defer s.Close()
		src := source(b, end)
		src.Password = "s3cret\x80\xff" + strings.Repeat("s3cret", 100)
		err := s.Repoint(ctx, src)
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%v", err)
		}
	})
	t.Run("channel", func(t *testing.T) {
		cfg := onC.cfg
		cfg.Channel = "it's"
		s := New(cfg)
		defer s.Close()
		c.Exec("STOP ALL SLAVES", "RESET SLAVE ALL")
		if _, err := s.Replica(ctx); !errors.Is(err, ErrNotReplica) {
			t.Errorf("before it is set up: %v", err)
		}
		end, err := onA.Position(ctx)
		fatal(t, err)
		fatal(t, s.Repoint(ctx, source(a, end)))
		a.Exec("INSERT INTO test.t VALUES (5)")
		end, err = onA.Position(ctx)
		fatal(t, err)
		fatal(t, s.WaitExecuted(ctx, end))
		if _, err := onC.Replica(ctx); !errors.Is(err, ErrNotReplica) {
			t.Errorf("the default channel: %v, want ErrNotReplica", err)
		}
	})
}

// has returns the statement that makes server c count all that b has committed as executed.
func has(c, b *mysqltest.Instance) string {
	if b.Kind.MySQL {
		lacks := c.Query(fmt.Sprintf("SELECT GTID_SUBTRACT('%s', @@gtid_executed)", b.Query("SELECT @@gtid_executed")))
		return fmt.Sprintf("SET GLOBAL gtid_purged='+%s'", lacks)
	}
	return fmt.Sprintf("SET GLOBAL gtid_slave_pos='%s'", b.Query("SELECT @@gtid_binlog_pos"))
}

// TestFallbackToOtherWords: a MariaDB that calls itself MySQL 8.4 is asked in MySQL's new words first, and in other
// words where it does not understand those.
func TestFallbackToOtherWords(t *testing.T) {
	i, s := server(t, mysqltest.Options{Args: []string{"--version=8.4.0"}})
	ctx := within(t, time.Minute)
	conn := NewConn(s.cfg)
	defer conn.Close()
	set, err := conn.Survey(ctx)
	fatal(t, err)
	if set.Settings.Dialect != mysqlNew.String() {
		t.Fatalf("taken for %s by its version %s", set.Settings.Dialect, set.Settings.Version)
	}
	if p, err := s.Position(ctx); err != nil || p.IsZero() {
		t.Errorf("position %q, %v", p, err)
	}
	fatal(t, s.DenyWrites(ctx, Deny{}))
	fatal(t, s.AllowWrites(ctx))
	i.Follow(i) // the server replicates from itself, which only the replication threads notice
	if _, err := s.Replica(ctx); err != nil {
		t.Error(err)
	}
	fatal(t, s.StopReplication(ctx))
}

func TestNoBinlog(t *testing.T) { each(t, testNoBinlog) }

func testNoBinlog(t *testing.T, kind string) {
	_, s := server(t, mysqltest.Options{Server: kind, Args: []string{"--skip-log-bin"}})
	if p, err := s.Position(within(t, 10*time.Second)); !errors.Is(err, ErrNoBinlog) {
		t.Errorf("%q, %v, want ErrNoBinlog", p, err)
	}
}

func TestMissingPrivilegeNamesTheGrant(t *testing.T) { each(t, testMissingPrivilegeNamesTheGrant) }

func testMissingPrivilegeNamesTheGrant(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	s := New(account(i, "agent", "USAGE"))
	defer s.Close()
	ctx := within(t, 30*time.Second)
	_, replica := s.Replica(ctx)
	_, pos := s.Position(ctx)
	_, end := s.EndClients(ctx, 0)
	for _, c := range []struct {
		mariaDB, mysql string
		err            error
	}{
		{"SLAVE MONITOR", "REPLICATION CLIENT", replica},
		{"BINLOG MONITOR", "REPLICATION CLIENT", pos},
		{"PROCESS", "PROCESS", end},
		{"READ_ONLY ADMIN", "SYSTEM_VARIABLES_ADMIN", s.DenyWrites(ctx, Deny{})},
		{"REPLICATION SLAVE ADMIN", "REPLICATION_SLAVE_ADMIN", s.StopReplication(ctx)},
	} {
		grant := c.mariaDB
		if i.Kind.MySQL {
			grant = c.mysql
		}
		if !IsMissingPrivilege(c.err) || !strings.Contains(c.err.Error(), "GRANT "+grant+" ON *.* TO 'agent'@'%'") {
			t.Errorf("want GRANT %s in: %v", grant, c.err)
		}
	}
}
