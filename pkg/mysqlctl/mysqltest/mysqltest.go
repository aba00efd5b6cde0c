// Package mysqltest starts real database servers for tests: each with its own data, on a loopback port of its own. It
// fails the test where the server is missing (package servers).
package mysqltest

import (
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"golang.org/x/sys/unix"

	"mysql-mmm/test/servers"
)

// startLimit is long for a machine that runs other tests at the same time; a server starts in 0.2 s.
const startLimit = 30 * time.Second

// Options are what differs from server to server.
type Options struct {
	Server   string   // name of the kind of server; "" is the MariaDB that is installed
	ServerID int      // default 1; must differ between servers that replicate
	GTID     bool     // MySQL: gtid_mode=ON; MariaDB always has GTIDs
	SemiSync bool     // as a source wait for acknowledgements, as a replica give them
	Args     []string // further arguments of the server, such as "--read-only=1"
}

// Instance is one server. Its methods fail the test it was started for.
type Instance struct {
	Addr string // 127.0.0.1:port
	Port int
	Kind servers.Kind

	t    testing.TB
	opts Options
	dir  string
	cmd  *exec.Cmd
	gone chan struct{} // closed when the process has ended
	db   *sql.DB
}

// Start starts a server with an empty database "test" and the user root without a password; it is killed and removed
// when the test ends. It writes a binary log named "bin", also of what it replicates.
func Start(t testing.TB, opts Options) *Instance {
	t.Helper()
	if opts.ServerID == 0 {
		opts.ServerID = 1
	}
	kind, err := servers.Find(opts.Server)
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its names can be too long for the path of a socket.
	dir, err := os.MkdirTemp("", "mysqltest")
	if err != nil {
		t.Fatal(err)
	}
	i := &Instance{Kind: kind, t: t, opts: opts, dir: dir}
	t.Cleanup(func() {
		i.Kill()
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove data directory: %v", err)
		}
	})
	if err := kind.Lay(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	// Another process may take the free port before the server does: then the next port is tried.
	for try := 1; ; try++ {
		i.Port = freePort(t)
		i.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(i.Port))
		err := i.launch()
		if err == nil {
			break
		}
		if try == 3 {
			t.Fatalf("start %s: %v", kind, err)
		}
	}
	i.Exec("CREATE DATABASE test")
	return i
}

// Restart starts the server again after Kill or Stop: same data, same address.
func (i *Instance) Restart() {
	i.t.Helper()
	if err := i.launch(); err != nil {
		i.t.Fatalf("restart %s: %v", i.Kind, err)
	}
}

// Kill ends the server as kill -9 does; it is gone on return.
func (i *Instance) Kill() { i.end(syscall.SIGKILL) }

// Stop shuts the server down in order.
func (i *Instance) Stop() { i.end(syscall.SIGTERM) }

// Signal sends SIGSTOP, SIGCONT or the like. After SIGSTOP the server does nothing more.
func (i *Instance) Signal(sig syscall.Signal) {
	i.t.Helper()
	if err := i.cmd.Process.Signal(sig); err != nil {
		i.t.Fatalf("send %v to %s: %v", sig, i.Kind, err)
	}
	if sig != syscall.SIGSTOP {
		return
	}
	// The signal takes a moment, in which some of the server's threads would still answer.
	if err := unix.Waitid(unix.P_PID, i.cmd.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil); err != nil {
		i.t.Fatalf("wait for %s to stop: %v", i.Kind, err)
	}
}

// Exec runs statements as root, each on any connection. They are in MariaDB's words, and translated for MySQL.
func (i *Instance) Exec(statements ...string) {
	i.t.Helper()
	for _, s := range statements {
		if _, err := i.db.Exec(i.Kind.SQL(s)); err != nil {
			i.t.Fatalf("%s: %v", s, err)
		}
	}
}

// Query returns the first column of the first row as text, empty for NULL or no row.
func (i *Instance) Query(query string) string {
	i.t.Helper()
	var v sql.NullString
	if err := i.db.QueryRow(i.Kind.SQL(query)).Scan(&v); err != nil && !errors.Is(err, sql.ErrNoRows) {
		i.t.Fatalf("%s: %v", query, err)
	}
	return v.String
}

// DB opens a pool of connections as the given user to the database "test"; it is closed when the test ends.
func (i *Instance) DB(user, password string) *sql.DB {
	i.t.Helper()
	db, err := i.open(user, password, "test", "tcp", i.Addr)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(func() { _ = db.Close() }) // the server may be dead already
	return db
}

// Follow makes the server replicate everything from source, from its first log on, as user repl, which it creates
// there.
func (i *Instance) Follow(source *Instance) {
	i.t.Helper()
	source.Exec("CREATE USER IF NOT EXISTS repl@'%' IDENTIFIED BY 'repl-secret'",
		"GRANT REPLICATION SLAVE ON *.* TO repl@'%'")
	i.Exec(i.Kind.Follow(servers.Source{Host: "127.0.0.1", Port: source.Port, User: "repl",
		Password: "repl-secret"})...)
}

func (i *Instance) open(user, password, database, network, addr string) (*sql.DB, error) {
	c := mysql.NewConfig()
	c.Net, c.Addr, c.User, c.Passwd, c.DBName = network, addr, user, password, database
	c.Timeout, c.ReadTimeout, c.WriteTimeout = 5*time.Second, startLimit, startLimit
	c.Logger = &mysql.NopLogger{}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(connector), nil
}

func (i *Instance) launch() error {
	log, err := os.Create(filepath.Join(i.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	conf := servers.Config{Dir: i.dir, Bind: "127.0.0.1", Port: i.Port, ID: i.opts.ServerID, GTID: i.opts.GTID,
		SemiSync: i.opts.SemiSync, Acknowledge: i.opts.SemiSync,
		Args: append([]string{"--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0"}, i.opts.Args...)}
	if i.cmd, err = i.Kind.Command(conf); err != nil {
		return err
	}
	i.cmd.Stdout, i.cmd.Stderr = log, log
	i.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // an aborted test leaves no server behind
	started := make(chan error, 1)
	gone := make(chan struct{})
	i.gone = gone
	cmd := i.cmd
	// Pdeathsig strikes when the thread that started the process ends: keep that thread until the process is gone.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(gone)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is what the test is about
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	if i.db, err = i.open("root", "", "", "unix", conf.Socket()); err != nil {
		return err
	}
	for deadline := time.Now().Add(startLimit); ; {
		err := i.db.Ping()
		if err == nil {
			return nil
		}
		select {
		case <-gone:
		case <-time.After(20 * time.Millisecond):
			if time.Now().Before(deadline) {
				continue
			}
		}
		text, _ := os.ReadFile(log.Name())
		i.end(syscall.SIGKILL)
		return fmt.Errorf("%w\n%s", err, text)
	}
}

func (i *Instance) end(sig syscall.Signal) {
	if i.cmd == nil {
		return
	}
	_ = i.db.Close() // nothing is under way
	_ = i.cmd.Process.Signal(sig)
	select {
	case <-i.gone:
	case <-time.After(startLimit):
		i.t.Errorf("%s did not end on %v", i.Kind, sig)
		_ = i.cmd.Process.Kill()
		<-i.gone
	}
	i.cmd = nil
}

func freePort(t testing.TB) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
