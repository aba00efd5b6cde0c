package check

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/mysqlctl/mysqltest"
	"mysql-mmm/test/servers"
)

const password = "m0n-s3cret"

// account makes a user with the rights ("" is none) and returns the Config to log in as that user.
func account(i *mysqltest.Instance, user, rights string) mysqlctl.Config {
	if rights == "" {
		rights = "USAGE"
	}
	i.Exec(fmt.Sprintf("CREATE USER %s@'%%' IDENTIFIED BY '%s'", user, password),
		fmt.Sprintf("GRANT %s ON *.* TO %s@'%%'", rights, user))
	return mysqlctl.Config{Addr: i.Addr, User: user, Password: password}
}

// probes are the three checks of a server; max backlog is 60 s.
func probes(t *testing.T, cfg mysqlctl.Config) map[Name]Probe {
	all := map[Name]Probe{
		MySQL:      NewMySQL(mysqlctl.NewConn(cfg)),
		RepThreads: NewRepThreads(mysqlctl.NewConn(cfg), cfg.User),
		RepBacklog: NewRepBacklog(mysqlctl.NewConn(cfg), cfg.User, time.Minute, nil),
	}
	t.Cleanup(func() {
		for _, p := range all {
			p.Close()
		}
	})
	return all
}

// probe asks as a Runner does.
func probe(t *testing.T, p Probe, timeout time.Duration) Result {
	t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	r := p.Probe(ctx)
	if took := time.Since(start); took > timeout+500*time.Millisecond {
		t.Errorf("%q took %v", r.Message, took)
	}
	if strings.Contains(r.Message+r.Detail, password) {
		t.Errorf("the password is told: %+v", r)
	}
	return r
}

// expect compares a result with a status and a message, in which * stands for anything.
func expect(t *testing.T, what string, got Result, status Status, message string) {
	t.Helper()
	pattern := "^" + strings.ReplaceAll(regexp.QuoteMeta(message), `\*`, `.+`) + "$"
	if got.Status != status || !regexp.MustCompile(pattern).MatchString(got.Message) {
		t.Errorf("%s: status %v, %q; want %v, %q", what, got.Status, got.Message, status, message)
	}
}

func TestServerWithoutReplication(t *testing.T) {
	i := mysqltest.Start(t, mysqltest.Options{})
	p := probes(t, account(i, "monitor", "SLAVE MONITOR"))
	expect(t, "mysql", probe(t, p[MySQL], 5*time.Second), OK, "OK")
	expect(t, "rep_threads", probe(t, p[RepThreads], 5*time.Second), Error, "ERROR: Replication is not set up")
	expect(t, "rep_backlog", probe(t, p[RepBacklog], 5*time.Second), Error, "ERROR: Replication is not set up")

	t.Run("missing privilege", func(t *testing.T) {
		p := probes(t, account(i, "nobody", ""))
		expect(t, "mysql", probe(t, p[MySQL], 5*time.Second), OK, "OK")
		for _, name := range []Name{RepThreads, RepBacklog} {
			r := probe(t, p[name], 5*time.Second)
			expect(t, string(name), r, Unknown,
				"UNKNOWN: The monitor user 'nobody' doesn't have the required REPLICATION CLIENT privilege! "+
					"*1227*Access denied; you need*SLAVE MONITOR*GRANT SLAVE MONITOR ON *.* TO 'nobody'@'%'")
		}
	})
	t.Run("stopped", func(t *testing.T) {
		i.Signal(syscall.SIGSTOP)
		expect(t, "mysql", probe(t, p[MySQL], 300*time.Millisecond), Error, "ERROR: Timeout")
		expect(t, "rep_threads", probe(t, p[RepThreads], 300*time.Millisecond), Error, "ERROR: Timeout")
		expect(t, "rep_backlog", probe(t, p[RepBacklog], 300*time.Millisecond), Error, "ERROR: Timeout")
		// From now on no connection can be opened.
		want := "UNKNOWN: Connect error (host = " + i.Addr + ", user = monitor)! *"
		expect(t, "mysql", probe(t, p[MySQL], 300*time.Millisecond), Error, "ERROR: Timeout")
		expect(t, "rep_threads", probe(t, p[RepThreads], 300*time.Millisecond), Unknown, want)
		i.Signal(syscall.SIGCONT)
		eventually(t, "the server goes on", func() bool { return probe(t, p[MySQL], 5*time.Second).Message == "OK" })
	})
	t.Run("killed", func(t *testing.T) {
		i.Kill()
		want := "Connect error (host = " + i.Addr + ", user = monitor)! connection refused"
		expect(t, "mysql", probe(t, p[MySQL], 5*time.Second), Error, "ERROR: "+want)
		expect(t, "rep_threads", probe(t, p[RepThreads], 5*time.Second), Unknown, "UNKNOWN: "+want)
		expect(t, "rep_backlog", probe(t, p[RepBacklog], 5*time.Second), Unknown, "UNKNOWN: "+want)
	})
}

// TestRefusals: a server that refuses the monitor's login is alive. Each refusal names its remedy, and the remedy
// works.
func TestRefusals(t *testing.T) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) { testRefusals(t, kind) })
	}
}

func testRefusals(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	account(i, "monitor", i.Kind.MonitorRights())
	locked := map[bool]string{true: "3118", false: "4151"}[i.Kind.MySQL]
	for name, c := range map[string]struct {
		refuse, mend string // statements
		number, says string
		wrong        bool // the monitor has a wrong password
	}{
		"wrong password": {number: "1045",
			says: "make monitor_password the account's, or ALTER USER 'monitor'@'…' IDENTIFIED BY", wrong: true},
		"locked": {"ALTER USER monitor@'%' ACCOUNT LOCK", "ALTER USER monitor@'%' ACCOUNT UNLOCK", locked,
			"ALTER USER 'monitor'@'…' ACCOUNT UNLOCK", false},
		"over its limit": {"ALTER USER monitor@'%' WITH MAX_CONNECTIONS_PER_HOUR 1",
			"ALTER USER monitor@'%' WITH MAX_CONNECTIONS_PER_HOUR 0", "1226",
			"MAX_CONNECTIONS_PER_HOUR 0", false},
		"over its limit of questions": {"ALTER USER monitor@'%' WITH MAX_QUERIES_PER_HOUR 1",
			"ALTER USER monitor@'%' WITH MAX_QUERIES_PER_HOUR 0", "1226",
			"MAX_QUERIES_PER_HOUR 0", false},
		"expired": {"ALTER USER monitor@'%' PASSWORD EXPIRE", "ALTER USER monitor@'%' IDENTIFIED BY '" + password + "'",
			"18?",
			"with the password that monitor_password has", false},
		"other host": {"RENAME USER monitor@'%' TO monitor@'192.0.2.9'",
			"RENAME USER monitor@'192.0.2.9' TO monitor@'%'", "1?", "IDENTIFIED BY", false},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := mysqlctl.Config{Addr: i.Addr, User: "monitor", Password: password, PasswordName: "monitor_password"}
			if c.wrong {
				cfg.Password = "wr0ng"
			}
			if c.refuse != "" {
				i.Exec(c.refuse)
			}
			// A new connection each time, as after the old one has broken: limits count from the next login on.
			ask := func(n Name) Result { return probe(t, probes(t, cfg)[n], 5*time.Second) }
			if strings.HasPrefix(name, "over") {
				ask(MySQL)
			}
			for _, n := range []Name{MySQL, RepThreads, RepBacklog} {
				r := ask(n)
				number := regexp.MustCompile(`Error ` + strings.ReplaceAll(c.number, "?", `\d+`) + `\b`)
				if r.Status != Unknown || !strings.HasPrefix(r.Message, "UNKNOWN: ") ||
					!number.MatchString(r.Message) || !strings.Contains(r.Message, c.says) ||
					!number.MatchString(r.Refusal) || r.Refused || r.Greeted || r.Living != (n == MySQL) {
					t.Errorf("%s: %+v", n, r)
				}
			}
			if c.mend == "" {
				return
			}
			i.Exec(c.mend)
			i.Exec("FLUSH PRIVILEGES") // makes the server count anew towards its limits
			expect(t, "mended", ask(MySQL), OK, "OK")
		})
	}
}

// TestFarewell: the error that a server sends when it ends a connection is no verdict; the next connection tells.
func TestFarewell(t *testing.T) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			i := mysqltest.Start(t, mysqltest.Options{Server: kind})
			p := probes(t, account(i, "monitor", i.Kind.MonitorRights()))
			expect(t, "before", probe(t, p[MySQL], 5*time.Second), OK, "OK")
			i.Exec("KILL " + i.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER='monitor'"))
			expect(t, "killed", probe(t, p[MySQL], 5*time.Second), OK, "OK")
			i.Stop()
			if r := probe(t, p[MySQL], 5*time.Second); r.Status != Error || !r.Refused {
				t.Errorf("shut down: %+v", r)
			}
		})
	}
}

func TestTooManyConnections(t *testing.T) {
	i := mysqltest.Start(t, mysqltest.Options{Args: []string{"--max-connections=10"}})
	cfg := account(i, "monitor", "SLAVE MONITOR")
	for range 30 {
		other := mysqlctl.NewConn(cfg)
		defer other.Close()
		if other.Ping(within(t, 5*time.Second)) != nil {
			break
		}
	}
	p := probes(t, cfg)
	expect(t, "mysql", probe(t, p[MySQL], 5*time.Second), Unknown,
		"UNKNOWN: Too many connections! *1040*Too many connections")
	want := "UNKNOWN: Connect error (host = " + i.Addr + ", user = monitor)! *Too many connections"
	expect(t, "rep_threads", probe(t, p[RepThreads], 5*time.Second), Unknown, want)
	expect(t, "rep_backlog", probe(t, p[RepBacklog], 5*time.Second), Unknown, want)
}

func TestReplication(t *testing.T) {
	source := mysqltest.Start(t, mysqltest.Options{ServerID: 1})
	replica := mysqltest.Start(t, mysqltest.Options{ServerID: 2})
	cfg := account(replica, "monitor", "SLAVE MONITOR")
	p := probes(t, cfg)
	threads := func() string { return probe(t, p[RepThreads], 5*time.Second).Message }
	backlog := func() string { return probe(t, p[RepBacklog], 5*time.Second).Message }
	const broken = "ERROR: Replication is broken"

	replica.Exec("DROP DATABASE test") // it comes from the source again
	replica.Follow(source)
	eventually(t, "both threads run", func() bool { return threads() == "OK" })
	source.Exec("CREATE TABLE test.t (i INT PRIMARY KEY)")
	eventually(t, "no backlog", func() bool { return backlog() == "OK: Backlog is null" })

	for _, thread := range []string{"SQL_THREAD", "IO_THREAD"} {
		replica.Exec("STOP SLAVE " + thread)
		name := map[string]string{"SQL_THREAD": "SQL", "IO_THREAD": "I/O"}[thread]
		if got := threads(); got != broken+". "+name+" thread: No" {
			t.Errorf("%s stopped: %q", thread, got)
		}
		if got := backlog(); got != "OK: Backlog is null" { // the server says NULL
			t.Errorf("%s stopped: %q", thread, got)
		}
		replica.Exec("START SLAVE " + thread)
		eventually(t, "both threads run again", func() bool { return threads() == "OK" })
	}

	// A lock holds up the SQL thread.
	holder, err := replica.DB("root", "").Conn(t.Context())
	fatal(t, err)
	defer holder.Close()
	_, err = holder.ExecContext(t.Context(), "LOCK TABLES test.t READ")
	fatal(t, err)
	source.Exec("INSERT INTO test.t VALUES (1)")
	short := NewRepBacklog(mysqlctl.NewConn(cfg), "monitor", time.Second, nil)
	defer short.Close()
	eventually(t, "backlog too big", func() bool { return probe(t, short, 5*time.Second).Status == Error })
	expect(t, "backlog too big", probe(t, short, 5*time.Second), Error,
		"ERROR: Backlog is too big: * seconds, max_backlog is 1")
	if got := backlog(); got != "OK" {
		t.Errorf("backlog below the limit: %q", got)
	}
	if got := threads(); got != "OK" {
		t.Errorf("with a backlog: %q", got)
	}
	_, err = holder.ExecContext(t.Context(), "UNLOCK TABLES")
	fatal(t, err)
	eventually(t, "the backlog is gone", func() bool { return backlog() == "OK: Backlog is null" })

	// An I/O thread that can't log in goes on trying: it neither runs nor is it stopped.
	replica.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='wr0ng'", "START SLAVE")
	eventually(t, "the I/O thread tries in vain", func() bool {
		got := threads()
		return strings.HasPrefix(got, broken+". I/O thread: Connecting, error 1045: error connecting to master") &&
			strings.Contains(got, "Access denied")
	})
	if got := backlog(); got != "OK: Backlog is null" {
		t.Errorf("I/O thread connecting: %q", got)
	}

	// A statement that fails stops the SQL thread, and the message says why.
	replica.Exec("STOP SLAVE", "CHANGE MASTER TO MASTER_PASSWORD='repl-secret'", "INSERT INTO test.t VALUES (2)",
		"START SLAVE")
	source.Exec("INSERT INTO test.t VALUES (2)")
	eventually(t, "the SQL thread fails", func() bool {
		got := threads()
		return strings.HasPrefix(got, broken+". SQL thread: No, error 1062: ") &&
			strings.Contains(got, "Duplicate entry")
	})
}

// TestRunnerSeesKill: the mysql check notices the end of a server when it happens, not at its next slot.
func TestRunnerSeesKill(t *testing.T) {
	i := mysqltest.Start(t, mysqltest.Options{})
	updates := make(chan Update, 100)
	r := Runner{Host: "db1", Name: MySQL, Probe: NewMySQL(mysqlctl.NewConn(account(i, "monitor", "SLAVE MONITOR"))),
		Period: time.Hour, Timeout: 5 * time.Second, Trap: time.Second, Emit: func(u Update) { updates <- u }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	next := func() Update {
		select {
		case u := <-updates:
			return u
		case <-time.After(30 * time.Second):
			t.Fatal("no update")
			return Update{}
		}
	}
	if u := next(); u.Change != BecameOK {
		t.Fatalf("%+v", u)
	}
	killed := time.Now()
	i.Kill()
	u := next()
	if took := time.Since(killed); u.Result.Status != Error || !u.Verdict.Good || took > 500*time.Millisecond {
		t.Errorf("after %v: %+v", took, u)
	}
	for u.Change != BecameFailed {
		u = next()
	}
	if took := time.Since(killed); took < time.Second || took > 1500*time.Millisecond || u.Verdict.Good ||
		u.FailedFor < time.Second {
		t.Errorf("failed after %v: %+v", took, u)
	}
}

func TestJudgements(t *testing.T) {
	connect := func(err error) error { return &mysqlctl.ConnectError{Addr: "192.0.2.1:3306", User: "mon", Err: err} }
	said := func(number uint16) error {
		return fmt.Errorf("ping on 192.0.2.1:3306: %w", &mysql.MySQLError{Number: number, Message: "x"})
	}
	lag := func(d time.Duration) *time.Duration { return &d }
	yes := mysqlctl.Replica{IORunning: "Yes", SQLRunning: "Yes"}
	with := func(io, sql string) mysqlctl.Replica { return mysqlctl.Replica{IORunning: io, SQLRunning: sql} }
	for name, tt := range map[string]struct {
		got     Result
		status  Status
		message string
	}{
		"query error": {judgeServer(errors.New("the server closed the connection")), Error,
			"ERROR: SQL Query Error: the server closed the connection"},
		"several lines": {judgeServer(connect(errors.New("one\r\n two\tthree\x00"))), Error,
			"ERROR: Connect error (host = 192.0.2.1:3306, user = mon)! one two three"},
		"the kernel's own timeout": {judgeServer(connect(syscall.ETIMEDOUT)), Error,
			"ERROR: Connect error (host = 192.0.2.1:3306, user = mon)! connection timed out"},
		"connecting takes too long": {judgeServer(connect(context.DeadlineExceeded)), Error, "ERROR: Timeout"},
		"the same for replication": {judgeReplicaError(connect(context.DeadlineExceeded), "mon", ""), Unknown,
			"UNKNOWN: Connect error (host = 192.0.2.1:3306, user = mon)! context deadline exceeded"},
		"answering takes too long": {judgeReplicaError(context.DeadlineExceeded, "mon", ""), Error, "ERROR: Timeout"},
		"the end of a server": {judgeServer(said(1053)), Unknown,
			"UNKNOWN: SQL Query Error: ping on 192.0.2.1:3306: Error 1053: x"},
		"a killed connection": {judgeServer(said(1927)), Unknown,
			"UNKNOWN: SQL Query Error: ping on 192.0.2.1:3306: Error 1927: x"},
		"an interrupted question": {judgeServer(said(1317)), Unknown,
			"UNKNOWN: SQL Query Error: ping on 192.0.2.1:3306: Error 1317: x"},
		"a server that only reads": {judgeServer(said(1290)), Unknown,
			"UNKNOWN: SQL Query Error: ping on 192.0.2.1:3306: Error 1290: x"},
		"a blocked host": {judgeServer(connect(said(1129))), Unknown,
			"UNKNOWN: Connect error (host = 192.0.2.1:3306, user = mon)! ping on 192.0.2.1:3306: Error 1129: x"},
		"no right to ask": {judgeReplicaError(said(1227), "mon", ""), Unknown,
			"UNKNOWN: The monitor user 'mon' doesn't have the required REPLICATION CLIENT privilege! ping on 192.0.2.1:3306: Error 1227: x"},
		"an odd error": {judgeReplicaError(errors.New("odd"), "mon", ""), Unknown,
			"UNKNOWN: Unknown state. Execute error: odd"},
		"no such channel": {judgeReplicaError(mysqlctl.ErrNotReplica, "mon", "reports"), Error,
			`ERROR: Replication is not set up on channel "reports"`},
		"both threads run": {judgeThreads(yes), OK, "OK"},
		"I/O thread stopped": {judgeThreads(with("No", "Yes")), Error,
			"ERROR: Replication is broken. I/O thread: No"},
		"SQL thread stopped": {judgeThreads(with("Yes", "No")), Error,
			"ERROR: Replication is broken. SQL thread: No"},
		"I/O thread connecting": {judgeThreads(with("Connecting", "Yes")), Error,
			"ERROR: Replication is broken. I/O thread: Connecting"},
		"I/O thread preparing": {judgeThreads(with("Preparing", "Yes")), Error,
			"ERROR: Replication is broken. I/O thread: Preparing"},
		"both stopped, in several lines": {judgeThreads(mysqlctl.Replica{IORunning: "No", IOErrno: 1236,
			IOError: "Got fatal error 1236 from master\nwhen reading.", SQLRunning: "No", SQLErrno: 1062,
			SQLError: "Duplicate"}),
			Error,
			"ERROR: Replication is broken. I/O thread: No, error 1236: Got fatal error 1236 from master when reading. SQL thread: No, error 1062: Duplicate"},
		"a statement with a password": {judgeThreads(mysqlctl.Replica{IORunning: "Yes", SQLRunning: "No",
			SQLErrno: 1396,
			SQLError: "Error 'Operation CREATE USER failed for 'a'@'%'' on query. Default database: ''. Query: 'CREATE USER a IDENTIFIED BY 'm0n-s3cret''"}),
			Error,
			"ERROR: Replication is broken. SQL thread: No, error 1396: Error 'Operation CREATE USER failed for 'a'@'%'' on query. Default database: ''. Query: (withheld)"},
		"a syntax error": {judgeThreads(mysqlctl.Replica{IORunning: "Yes", SQLRunning: "No", SQLErrno: 1064,
			SQLError: "Error 'You have an error in your SQL syntax; near 'm0n-s3cret'"}),
			Error,
			"ERROR: Replication is broken. SQL thread: No, error 1064: Error 'You have an error in your SQL syntax; near (withheld)"},
		"NULL while the SQL thread is stopped": {judgeBacklog(with("Yes", "No"), time.Minute), OK,
			"OK: Backlog is null"},
		"NULL while both run": {judgeBacklog(yes, time.Minute), Unknown,
			"UNKNOWN: Backlog is not known: both replication threads run, but the server says NULL"},
		"0": {judgeBacklog(mysqlctl.Replica{Lag: lag(0)}, time.Minute), OK,
			"OK: Backlog is null"},
		"1": {judgeBacklog(mysqlctl.Replica{Lag: lag(time.Second)}, time.Minute), OK,
			"OK"},
		"60": {judgeBacklog(mysqlctl.Replica{Lag: lag(time.Minute)}, time.Minute), OK,
			"OK"},
		"61": {judgeBacklog(mysqlctl.Replica{Lag: lag(61 * time.Second)},
			time.Minute), Error, "ERROR: Backlog is too big: 61 seconds, max_backlog is 60"},
		"behind on purpose": {judgeBacklog(mysqlctl.Replica{Lag: lag(time.Hour), Delay: time.Hour},
			time.Minute), OK, "OK: Backlog is 3600 seconds, SQL_Delay is 3600"},
		"behind its delay too": {judgeBacklog(mysqlctl.Replica{Lag: lag(3700 * time.Second),
			Delay: time.Hour}, time.Minute), Error,
			"ERROR: Backlog is too big: 100 seconds beyond SQL_Delay (3600 seconds), max_backlog is 60"},
		"not yet so late": {judgeBacklog(mysqlctl.Replica{Lag: lag(0), Delay: time.Hour},
			time.Minute), OK, "OK: Backlog is 0 seconds, SQL_Delay is 3600"},
		"max_backlog 0": {judgeBacklog(mysqlctl.Replica{Lag: lag(time.Second)}, 0), Error,
			"ERROR: Backlog is too big: 1 seconds, max_backlog is 0"},
	} {
		if tt.got.Status != tt.status || tt.got.Message != tt.message {
			t.Errorf("%s: status %v, %q; want %v, %q", name, tt.got.Status, tt.got.Message, tt.status, tt.message)
		}
	}
	if got := []rune(oneLine(strings.Repeat("ä", 1000))); len(got) != maxText || got[maxText-1] != '…' {
		t.Errorf("a long text becomes %q", string(got))
	}
}

// TestServerThatIsNotThere: a port on which nothing answers, neither with a greeting nor with a refusal.
func TestServerThatIsNotThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	fatal(t, err)
	defer l.Close()
	addr := netip.MustParseAddrPort(l.Addr().String()).String()
	p := probes(t, mysqlctl.Config{Addr: addr, User: "monitor"})
	expect(t, "mysql", probe(t, p[MySQL], 200*time.Millisecond), Error, "ERROR: Timeout")
	expect(t, "rep_threads", probe(t, p[RepThreads], 200*time.Millisecond), Unknown, "UNKNOWN: Connect error (host = "+
		addr+", user = monitor)! *")
}
