// Package balancer lets clients reach a cluster through a real HAProxy that asks the agents, without any virtual
// address.
package balancer

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/test/lab"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(context.Context) int { return m.Run() }))
}

const (
	limit  = 2 * time.Minute
	writer = "127.0.0.1:3306" // as the sample has it
	reader = "127.0.0.1:3307"
)

// sample is the configuration that ships, with the addresses of the lab.
func sample(t *testing.T, c *lab.Cluster) string {
	t.Helper()
	text, err := os.ReadFile("../../packaging/haproxy/haproxy.cfg")
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range c.DBs {
		was := fmt.Sprintf("192.168.100.%d:", 49+i)
		if !bytes.Contains(text, []byte(was)) {
			t.Fatalf("the sample has no %s", was)
		}
		text = bytes.ReplaceAll(text, []byte(was), []byte(n.IP.String()+":"))
	}
	file := filepath.Join(t.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// balance starts HAProxy on the client's host. HAProxy ends with the test.
func balance(t *testing.T, c *lab.Cluster) {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	cmd := exec.Command(program, "-db", "-f", sample(t, c))
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Client.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(out.String())
		}
	})
}

// readerIs is the server_id of the server to which HAProxy sends a reader.
func readerIs(ctx context.Context, c *lab.Cluster) (id int, err error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.Timeout = "app", "apppw", "lab", reader, time.Second
	cfg.Logger = &mysql.NopLogger{}
	cfg.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) { return c.Client.Dial(ctx, addr) }
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return 0, err
	}
	db := sql.OpenDB(connector)
	defer db.Close()
	err = db.QueryRowContext(ctx, "SELECT @@server_id").Scan(&id)
	return id, err
}

// TestHAProxy: HAProxy sends writes to the writer alone, through a move and a failover, and no acknowledged row is
// lost. It sends readers to the hosts that have the reader role.
func TestHAProxy(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	bin := os.Getenv("MMM_BIN")
	if bin == "" {
		t.Fatal("MMM_BIN must name the folder of the programs: use make test-balancer")
	}
	c, err := lab.New(ctx, lab.Options{Bin: bin, AutoSetOnline: 1,
		Common: "<host default>\nmetrics_listen 0.0.0.0:9991\n</host>"})
	must(err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(c.Monitor.Log())
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	must(c.StartAll(ctx))
	balance(t, c)

	l, err := c.StartLoadAt(ctx, writer, 200)
	must(err)
	must(l.WaitServer(ctx, 1))
	enough := func() {
		t.Helper()
		before, _ := l.Acked()
		must(lab.Wait(ctx, "writes", func() (bool, string) {
			n, _ := l.Acked()
			_, err := l.Errors()
			return n > before+200, fmt.Sprint(n-before, err)
		}))
	}
	enough()

	since := time.Now()
	if out, status, err := c.Control(ctx, "move_role", "writer", "db2"); err != nil || status != 0 {
		t.Fatal(out, err)
	}
	must(l.WaitServer(ctx, 2))
	t.Logf("write gap of a move: %v", l.Gap(since))
	enough()

	since = time.Now()
	must(c.DBs[1].Server.Kill())
	must(l.WaitServer(ctx, 1))
	t.Logf("write gap of a failover: %v", l.Gap(since))
	enough()

	seen := map[int]bool{}
	must(lab.Wait(ctx, "both readers to be asked", func() (bool, string) {
		id, err := readerIs(ctx, c)
		if err == nil {
			seen[id] = true
		}
		return seen[1] && seen[3], fmt.Sprint(seen, err)
	}))
	if seen[2] {
		t.Error("a dead server was asked")
	}
	l.Stop()
	must(c.WaitLevel(ctx, c.DBs[0], c.DBs[2]))
	for _, n := range []*lab.Node{c.DBs[0], c.DBs[2]} {
		lost, err := l.Lost(ctx, n.Server)
		must(err)
		if len(lost) > 0 {
			t.Errorf("%s lacks %d rows that were acknowledged, the first %d", n.Name, len(lost), lost[0])
		}
	}
}
