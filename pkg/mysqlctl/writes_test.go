package mysqlctl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// pair is a master with a replica, and an application user on the master.
func pair(t *testing.T, kind string) (master *mysqltest.Instance, onMaster *Server, slave *mysqltest.Instance,
	app *sql.DB) {
	t.Helper()
	master, onMaster = server(t, mysqltest.Options{Server: kind, ServerID: 1})
	slave = mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 2})
	slave.Exec("DROP DATABASE test")
	slave.Follow(master)
	master.Exec("CREATE TABLE test.t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
		"INSERT INTO test.t (n) VALUES (1), (2), (3)",
		"CREATE USER app@'%'", "GRANT ALL ON test.* TO app@'%'")
	return master, onMaster, slave, master.DB("app", "")
}

// dbConn takes a connection of its own out of the pool.
func dbConn(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	c, err := db.Conn(t.Context())
	fatal(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestWritable(t *testing.T) { each(t, testWritable) }

func testWritable(t *testing.T, kind string) {
	i, s := server(t, mysqltest.Options{Server: kind})
	ctx := within(t, 30*time.Second)
	for _, want := range []bool{false, false, true, true, false} { // the second time there is nothing to do: no error
		set, err := s.AllowWrites, error(nil)
		if !want {
			set = func(ctx context.Context) error { return s.DenyWrites(ctx, Deny{}) }
		}
		fatal(t, set(ctx))
		got, err := s.Writable(ctx)
		fatal(t, err)
		if got != want || (i.Query("SELECT @@global.read_only") == "0") != want {
			t.Errorf("writable: %v, want %v", got, want)
		}
	}
}

// TestDenyWritesClearsItsWay: connections that block read_only are killed, and replication goes on, with the same dump
// threads.
func TestDenyWritesClearsItsWay(t *testing.T) { each(t, testDenyWritesClearsItsWay) }

func testDenyWritesClearsItsWay(t *testing.T, kind string) {
	master, s, slave, app := pair(t, kind)
	master.Exec("CREATE EVENT test.e ON SCHEDULE EVERY 1 DAY DO SELECT 1", "SET GLOBAL event_scheduler=1")
	ctx := within(t, 2*time.Minute)
	eventually(t, "the replica has the rows", func() bool {
		return slave.Query("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA='test'") == "t"
	})
	dump := func() string {
		return master.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
	}
	dumpBefore := dump()

	for _, c := range []struct {
		name       string
		before     []string // executed on one connection, which then is idle
		running    string   // then executed on it; does not end by itself
		grace      time.Duration
		atMost     time.Duration
		mustBeGone bool
	}{
		{name: "nobody in the way", atMost: time.Second},
		{name: "idle LOCK TABLES", before: []string{"LOCK TABLES t WRITE"}, grace: time.Hour, atMost: 2 * time.Second,
			mustBeGone: true},
		{name: "idle LOCK TABLES READ", before: []string{"LOCK TABLES t READ"}, grace: time.Hour,
			atMost: 2 * time.Second},
		{name: "open transaction", before: []string{"BEGIN", "UPDATE t SET n=n+1"}, grace: time.Hour,
			atMost: 2 * time.Second},
		{name: "long UPDATE", running: "UPDATE t SET n=n+1 WHERE SLEEP(60)=0", grace: 500 * time.Millisecond,
			atMost: 3 * time.Second, mustBeGone: true},
		{name: "long UPDATE, no grace", running: "UPDATE t SET n=n+1 WHERE SLEEP(60)=0", atMost: time.Second,
			mustBeGone: true},
		{name: "long SELECT", running: "SELECT SLEEP(60)", grace: 500 * time.Millisecond, atMost: 3 * time.Second},
		{name: "long SELECT under LOCK TABLES", before: []string{"LOCK TABLES t WRITE"}, running: "SELECT SLEEP(60)",
			grace: 500 * time.Millisecond, atMost: 3 * time.Second, mustBeGone: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			fatal(t, s.AllowWrites(ctx))
			conn := dbConn(t, app)
			for _, q := range c.before {
				_, err := conn.ExecContext(ctx, q)
				fatal(t, err)
			}
			var wg sync.WaitGroup
			defer wg.Wait()
			running, cancel := context.WithCancel(ctx)
			defer cancel()
			if c.running != "" {
				wg.Go(func() { _, _ = conn.ExecContext(running, c.running) }) // it is to be killed
				eventually(t, "the statement runs", func() bool {
					return master.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep'") == "1"
				})
			}
			start := time.Now()
			fatal(t, s.DenyWrites(ctx, Deny{Grace: c.grace}))
			if took := time.Since(start); took > c.atMost {
				t.Errorf("it took %v", took)
			}
			if c.mustBeGone {
				if err := conn.PingContext(ctx); err == nil && c.running == "" {
					t.Error("who was in the way is still connected")
				}
			} else if len(c.before) > 0 {
				_, err := conn.ExecContext(ctx, "COMMIT")
				if err == nil && c.before[0] == "BEGIN" {
					t.Error("the open transaction was committed after writes were denied")
				}
			}
			fatal(t, func() error { _, err := s.EndClients(ctx, 0); return err }())
			if dump() != dumpBefore || dumpBefore == "" {
				t.Errorf("the dump thread was %q, is %q", dumpBefore, dump())
			}
			if master.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='event_scheduler'") != "1" {
				t.Error("the event scheduler is gone")
			}
		})
	}

	onSlave := agent(t, slave, "agent2")
	rep, err := onSlave.Replica(ctx)
	fatal(t, err)
	if rep.IORunning != "Yes" || rep.SQLRunning != "Yes" {
		t.Errorf("replication afterwards: %+v", rep)
	}
}

// TestDenyWritesAtOnce: without a grace the server is closed within a second, also with a deadline of two seconds, and
// a statement that is running is rolled back.
func TestDenyWritesAtOnce(t *testing.T) { each(t, testDenyWritesAtOnce) }

func testDenyWritesAtOnce(t *testing.T, kind string) {
	i, s := server(t, mysqltest.Options{Server: kind})
	i.Exec("CREATE TABLE test.t (id INT PRIMARY KEY AUTO_INCREMENT, v DOUBLE)", "CREATE USER app@'%'",
		"GRANT ALL ON test.* TO app@'%'",
		"INSERT INTO test.t (v) VALUES (1)")
	for range 10 {
		i.Exec("INSERT INTO test.t (v) SELECT v FROM test.t")
	}
	ctx := within(t, time.Minute)
	end, err := s.Position(ctx)
	fatal(t, err)
	app, done := dbConn(t, i.DB("app", "")), make(chan error, 1)
	go func() { _, err := app.ExecContext(ctx, "UPDATE t SET v=v+1+SLEEP(0.02)"); done <- err }()
	eventually(t, "the statement has changed rows", func() bool {
		return i.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep' AND TIME>=1") == "1"
	})
	began := time.Now()
	fatal(t, s.DenyWrites(within(t, 2*time.Second), Deny{}))
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %v", took)
	}
	if err := <-done; err == nil {
		t.Error("the statement was acknowledged")
	}
	if sum := i.Query("SELECT SUM(v) FROM test.t"); sum != "1024" {
		t.Errorf("the sum of 1024 ones is %s afterwards", sum)
	}
	if now, err := s.Position(ctx); err != nil || now != end {
		t.Errorf("the log has grown from %s to %s (%v)", end, now, err)
	}
}

// TestDenyWritesBehindClosedDoors: once DenyWrites has called Ready it needs no new connection.
func TestDenyWritesBehindClosedDoors(t *testing.T) { each(t, denyWritesBehindClosedDoors) }

func denyWritesBehindClosedDoors(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	i.Exec("CREATE TABLE test.t (id INT)", "CREATE USER app@'%'", "GRANT ALL ON test.* TO app@'%'")
	cfg := account(i, "agent", i.Kind.AgentRights())
	var shut func()
	cfg.Addr, shut = door(t, i.Addr)
	s := New(cfg)
	defer s.Close()
	ctx := within(t, 30*time.Second)
	fatal(t, s.Ping(ctx)) // one connection is there
	lock := dbConn(t, i.DB("app", ""))
	_, err := lock.ExecContext(ctx, "LOCK TABLES t WRITE")
	fatal(t, err)
	fatal(t, s.DenyWrites(ctx, Deny{Grace: time.Hour, Ready: shut}))
	if c, err := net.Dial("tcp", cfg.Addr); err == nil {
		_ = c.Close()
		t.Error("the door is open")
	}
	if i.Query("SELECT @@global.read_only") != "1" {
		t.Error("the server is open")
	}
	fresh := New(cfg)
	defer fresh.Close()
	if err := fresh.DenyWrites(ctx, Deny{Ready: func() { t.Error("it is ready without a connection") }}); err == nil {
		t.Error("behind closed doors, and no error")
	}
}

// door forwards connections to an address. After shut it takes no new ones, and those that are open stay open.
func door(t *testing.T, to string) (addr string, shut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	var open sync.WaitGroup
	t.Cleanup(open.Wait)
	t.Cleanup(func() { _ = l.Close() }) // it may be shut already
	open.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			open.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() }) // ends with either end
			open.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
		}
	})
	return l.Addr().String(), func() { _ = l.Close() }
}

// Fifty clients write as fast as they can. Nothing may be acknowledged once DenyWrites has returned.
func TestDenyWritesUnderLoad(t *testing.T) { each(t, testDenyWritesUnderLoad) }

func testDenyWritesUnderLoad(t *testing.T, kind string) {
	master, s, slave, app := pair(t, kind)
	app.SetMaxIdleConns(50)
	ctx := within(t, time.Minute)
	writers, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	var acked atomic.Int64
	for n := range 50 {
		wg.Go(func() {
			for writers.Err() == nil {
				var err error
				if n%2 == 0 {
					_, err = app.ExecContext(writers, "INSERT INTO t (n) VALUES (?)", n)
				} else {
					err = inTransaction(writers, app, "INSERT INTO t (n) VALUES (?)", n)
				}
				if err == nil {
					acked.Add(1)
				}
			}
		})
	}
	for round := range 5 {
		before := acked.Load()
		eventually(t, "writers are busy", func() bool { return acked.Load() > before+200 })
		start := time.Now()
		fatal(t, s.DenyWrites(ctx, Deny{Grace: 2 * time.Second}))
		took := time.Since(start)
		rows := master.Query("SELECT COUNT(*) FROM test.t")
		end, err := s.Position(ctx)
		fatal(t, err)
		_, err = s.EndClients(ctx, 200*time.Millisecond)
		fatal(t, err)
		if later := master.Query("SELECT COUNT(*) FROM test.t"); later != rows {
			t.Errorf("round %d: %s rows when writes were denied, %s later", round, rows, later)
		}
		if now, err := s.Position(ctx); err != nil || now != end {
			t.Errorf("round %d: the log ended at %s when writes were denied, at %s later (%v)", round, end, now, err)
		}
		if there, err := strconv.ParseInt(rows, 10, 64); err != nil || acked.Load() > there {
			t.Errorf("round %d: %d rows acknowledged, %s there", round, acked.Load(), rows)
		}
		if took > 5*time.Second {
			t.Errorf("round %d: it took %v", round, took)
		}
		fatal(t, s.AllowWrites(ctx))
	}
	stop()
	wg.Wait()
	fatal(t, s.DenyWrites(ctx, Deny{})) // the server may still execute statements whose clients have given up
	end, err := s.Position(ctx)
	fatal(t, err)
	onSlave := agent(t, slave, "agent2")
	fatal(t, onSlave.WaitExecuted(ctx, end))
	if a, b := master.Query("SELECT COUNT(*) FROM test.t"), slave.Query("SELECT COUNT(*) FROM test.t"); a != b {
		t.Errorf("%s rows on the master, %s on its replica", a, b)
	}
}

func inTransaction(ctx context.Context, db *sql.DB, query string, args ...any) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // no effect after Commit
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return err
	}
	return tx.Commit()
}

// TestDenyWritesGivesUp: where the grace forbids to kill the statement in the way, DenyWrites ends by its deadline, and
// the server is not closed later.
func TestDenyWritesGivesUp(t *testing.T) { each(t, testDenyWritesGivesUp) }

func testDenyWritesGivesUp(t *testing.T, kind string) {
	master, s, _, app := pair(t, kind)
	conn := dbConn(t, app)
	_, err := conn.ExecContext(t.Context(), "LOCK TABLES t WRITE")
	fatal(t, err)
	running := make(chan struct{})
	go func() {
		defer close(running)
		_, _ = conn.ExecContext(t.Context(), "SELECT SLEEP(600), 'SECRET'") // killed by EndClients below
	}()
	eventually(t, "the statement runs", func() bool {
		return master.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep'") == "1"
	})
	for _, name := range []string{"deadline", "cancelled"} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if name == "cancelled" {
			time.AfterFunc(500*time.Millisecond, cancel)
		}
		start := time.Now()
		err := s.DenyWrites(ctx, Deny{Grace: time.Hour})
		if err == nil || (!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)) ||
			!strings.Contains(err.Error(), "app") ||
			!strings.Contains(err.Error(), "SELECT SLEEP(?), ?") {
			t.Errorf("%s: %v: want why it ended and who is in the way, with what", name, err)
		}
		if took := time.Since(start); took > 3*time.Second {
			t.Errorf("%s: it took %v", name, took)
		}
		if n := master.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SET GLOBAL%'"); n != "0" {
			t.Errorf("%s: the statement was left behind", name)
		}
	}
	n, err := s.EndClients(within(t, 10*time.Second), 0)
	if err != nil || n < 1 {
		t.Errorf("EndClients: %d, %v", n, err)
	}
	<-running
	if open, err := s.Writable(within(t, 5*time.Second)); err != nil || !open {
		t.Errorf("the server was closed after DenyWrites had given up: %v", err)
	}
}

func TestEndClients(t *testing.T) { each(t, testEndClients) }

func testEndClients(t *testing.T, kind string) {
	master, s, _, app := pair(t, kind)
	ctx := within(t, time.Minute)
	query := func(q string) (*sql.Conn, chan error) {
		conn, done := dbConn(t, app), make(chan error, 1)
		_, err := conn.ExecContext(ctx, "SELECT 1")
		fatal(t, err)
		if q != "" {
			go func() { _, err := conn.ExecContext(ctx, q); done <- err }()
			eventually(t, q, func() bool {
				return master.Query(fmt.Sprintf("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO='%s'",
					q)) == "1"
			})
		}
		return conn, done
	}
	sleeper, _ := query("")
	_, short := query("DO SLEEP(1)")
	_, long := query("DO SLEEP(61)")
	const fixtures = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='root'"
	idle, err := strconv.Atoi(master.Query(fixtures)) // connections of the fixture
	fatal(t, err)
	start := time.Now()
	var n int
	ended := make(chan time.Duration, 1)
	go func() {
		n, err = s.EndClients(ctx, 2500*time.Millisecond)
		ended <- time.Since(start)
	}()
	eventually(t, "the idle connection is killed", func() bool { return sleeper.PingContext(ctx) != nil })
	newcomer, _ := query("")
	took := <-ended
	fatal(t, err)
	if err := newcomer.PingContext(ctx); err != nil {
		t.Errorf("who came later was ended too: %v", err)
	}
	if n != 3+idle {
		t.Errorf("killed %d, want %d", n, 3+idle)
	}
	if took < 2500*time.Millisecond || took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
	if err := <-short; err != nil {
		t.Errorf("a statement that ends within the grace: %v", err)
	}
	if err := <-long; err == nil {
		t.Error("a statement that does not end within the grace was not killed")
	}

	start = time.Now()
	master.Exec("SELECT 1")
	idle, err = strconv.Atoi(master.Query(fixtures))
	fatal(t, err)
	if n, err := s.EndClients(ctx, time.Hour); err != nil || n != 1+idle || time.Since(start) > time.Second {
		t.Errorf("only idle clients: %d, %v after %v", n, err, time.Since(start))
	}
}

// TestEndClientsMayNotEndAll: on MySQL an account with all privileges has SYSTEM_USER, and an account without it can't
// kill its connections. The other connections are ended all the same, and the error names the GRANT.
func TestEndClientsMayNotEndAll(t *testing.T) {
	i := mysqltest.Start(t, mysqltest.Options{Server: "mysql-9.7"}) // root, who has SYSTEM_USER, is connected
	s := New(account(i, "agent", strings.Replace(i.Kind.AgentRights(), "SYSTEM_USER, ", "", 1)))
	defer s.Close()
	i.Exec("CREATE TABLE test.t (id INT)", "CREATE USER app@'%'", "GRANT ALL ON test.* TO app@'%'")
	ctx := within(t, time.Minute)
	app := dbConn(t, i.DB("app", ""))
	ended := make(chan error, 1)
	go func() { _, err := app.ExecContext(ctx, "DO SLEEP(60)"); ended <- err }()
	eventually(t, "the statement runs", func() bool {
		return i.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep'") == "1"
	})
	n, err := s.EndClients(ctx, 100*time.Millisecond)
	if n != 1 || !IsMissingPrivilege(err) || !strings.Contains(err.Error(),
		"GRANT CONNECTION_ADMIN, SYSTEM_USER ON *.* TO 'agent'@'%'") {
		t.Errorf("ended %d, want 1; %v, want the GRANT", n, err)
	}
	if <-ended == nil {
		t.Error("the other client goes on")
	}
	fatal(t, s.DenyWrites(ctx, Deny{}))
	if closed := i.Query("SELECT @@super_read_only"); closed != "1" {
		t.Errorf("super_read_only is %s, which binds root too", closed)
	}
}

// TestStoppedServer: a stopped server answers nothing, and each call returns by its deadline.
func TestStoppedServer(t *testing.T) { each(t, testStoppedServer) }

func testStoppedServer(t *testing.T, kind string) {
	i, s := server(t, mysqltest.Options{Server: kind})
	cfg := s.cfg
	cfg.ConnectTimeout = 500 * time.Millisecond
	fresh := New(cfg)
	defer fresh.Close()
	kept, asked, beating := NewConn(cfg), NewConn(cfg), NewConn(cfg)
	for _, c := range []*Conn{kept, asked, beating} {
		defer c.Close()
	}
	fatal(t, asked.Ping(within(t, 5*time.Second))) // beating has to connect first
	fatal(t, s.Ping(within(t, 5*time.Second)))
	fatal(t, kept.Ping(within(t, 5*time.Second)))
	i.Signal(syscall.SIGSTOP)
	defer i.Signal(syscall.SIGCONT)

	const limit = 800 * time.Millisecond
	var wg sync.WaitGroup
	defer wg.Wait()
	check := func(name string, call func(context.Context) error) {
		wg.Go(func() {
			start := time.Now()
			err := call(within(t, limit))
			if !IsTimeout(err) {
				t.Errorf("%s: %v, want a timeout", name, err)
			}
			if took := time.Since(start); took > limit+time.Second {
				t.Errorf("%s took %v", name, took)
			}
		})
	}
	check("Conn.Ping", kept.Ping)
	check("Conn.Survey", func(ctx context.Context) error { _, err := asked.Survey(ctx); return err })
	check("Conn.Heartbeats", func(ctx context.Context) error {
		_,
			err := beating.Heartbeats(ctx, "test.heartbeat")
		return err
	})
	for _, s := range []*Server{s, fresh} {
		check("Ping", s.Ping)
		check("Replica", func(ctx context.Context) error { _, err := s.Replica(ctx); return err })
		check("Position", func(ctx context.Context) error { _, err := s.Position(ctx); return err })
		check("Writable", func(ctx context.Context) error { _, err := s.Writable(ctx); return err })
		check("AllowWrites", s.AllowWrites)
		check("DenyWrites", func(ctx context.Context) error { return s.DenyWrites(ctx, Deny{}) })
		check("EndClients", func(ctx context.Context) error { _, err := s.EndClients(ctx, time.Second); return err })
		check("WaitExecuted", func(ctx context.Context) error { return s.WaitExecuted(ctx, Position{"bin.000001", 4}) })
		check("Repoint", func(ctx context.Context) error {
			return s.Repoint(ctx,
				Source{Host: "127.0.0.1", Port: 1, GTID: true})
		})
		check("StopReplication", s.StopReplication)
		check("StartReplication", s.StartReplication)
	}
}
