package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Server is a mariadbd on one host.
type Server struct {
	host *Host
	id   int
	dir  string
	proc *Process
	args []string // beyond the usual ones
	db   *sql.DB  // as root, through the Unix socket: no network fault disturbs it
}

// template makes an empty data folder, once a lab.
func template(ctx context.Context) (string, error) {
	dir := filepath.Join(root, "template")
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	cmd := exec.CommandContext(ctx, "mariadb-install-db", "--no-defaults", "--user=root", "--auth-root-authentication-method=normal",
		"--skip-test-db", "--datadir="+dir, "--innodb-log-file-size=8M", "--innodb-use-native-aio=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("initialise a data folder with mariadb-install-db (package mariadb-server-core): %w: %s", err, out)
	}
	return dir, nil
}

func newServer(ctx context.Context, h *Host, id int) (*Server, error) {
	from, err := template(ctx)
	if err != nil {
		return nil, err
	}
	s := &Server{host: h, id: id, dir: filepath.Join(root, h.Name)}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	if out, err := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", from, filepath.Join(s.dir, "data")).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("copy data folder: %w: %s", err, out)
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "unix", s.socket()
	cfg.Timeout, cfg.ReadTimeout, cfg.InterpolateParams = 2*time.Second, 20*time.Second, true
	cfg.Logger = &mysql.NopLogger{} // servers are killed here on purpose
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	s.db = sql.OpenDB(connector)
	return s, nil
}

func (s *Server) socket() string { return filepath.Join(s.dir, "sock") }

// Start starts mariadbd and waits until it answers. Its replication starts with it.
func (s *Server) Start(ctx context.Context) error {
	cmd := exec.Command("mariadbd", "--no-defaults", "--user=root", "--datadir="+filepath.Join(s.dir, "data"), "--socket="+s.socket(),
		"--pid-file="+filepath.Join(s.dir, "pid"), "--bind-address=0.0.0.0", "--port=3306", fmt.Sprintf("--server-id=%d", s.id),
		"--log-bin=bin", "--log-slave-updates", "--binlog-format=ROW", "--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1",
		"--gtid-strict-mode=1", "--relay-log=relay", "--relay-log-recovery=1", "--read-only=1", "--slave-net-timeout=5", "--master-retry-count=0",
		"--auto-increment-increment=2", fmt.Sprintf("--auto-increment-offset=%d", (s.id-1)%2+1),
		// A write is acknowledged when the other master has received it; what it has not is not committed after a crash.
		"--rpl-semi-sync-master-enabled=1", "--rpl-semi-sync-slave-enabled="+semiSync(s.id), "--rpl-semi-sync-master-wait-point=AFTER_SYNC",
		"--rpl-semi-sync-master-timeout=250", "--rpl-semi-sync-master-wait-no-slave=0",
		"--innodb-buffer-pool-size=8M", "--innodb-log-file-size=8M", "--performance-schema=0", "--skip-name-resolve", "--max-connections=300",
		"--thread-cache-size=32", "--innodb-flush-method=fsync")
	cmd.Args = append(cmd.Args, s.args...)
	p, err := start(s.host, cmd, filepath.Join(s.dir, "server.log"))
	if err != nil {
		return fmt.Errorf("start mariadbd (package mariadb-server-core): %w", err)
	}
	s.proc = p
	return Wait(ctx, s.host.Name+"'s server to answer", func() (bool, string) {
		if p.Ended() {
			return false, "it ended: " + tail(p.log)
		}
		err := s.db.PingContext(ctx)
		return err == nil, fmt.Sprint(err)
	})
}

// semiSync: only masters acknowledge, so that what is acknowledged is on the other master and not just on a slave.
func semiSync(id int) string {
	if id <= 2 {
		return "1"
	}
	return "0"
}

// Kill ends the server as kill -9 does. The rest is for signals and clean ends.
func (s *Server) Kill() error { return s.proc.Signal(syscall.SIGKILL) }

// Pause stops the process where it is.
func (s *Server) Pause() error { return s.proc.Signal(syscall.SIGSTOP) }

// Continue lets a stopped process go on.
func (s *Server) Continue() error { return s.proc.Signal(syscall.SIGCONT) }

// Stop shuts the server down cleanly and waits for its end.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.proc.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return Wait(ctx, s.host.Name+"'s server to end", func() (bool, string) { return s.proc.Ended(), "it runs" })
}

// WaitSemiSync waits until this master acknowledges nothing that the other one has not received: from then on kill -9 loses nothing,
// and leaves nothing behind on the dead server that the others don't know.
func (s *Server) WaitSemiSync(ctx context.Context) error {
	const status = "SELECT variable_value FROM information_schema.global_status WHERE variable_name = "
	return Wait(ctx, s.host.Name+" to replicate semi-synchronously", func() (bool, string) {
		on, err := s.Value(ctx, status+"'Rpl_semi_sync_master_status'")
		n, err2 := s.Value(ctx, status+"'Rpl_semi_sync_master_clients'")
		return on == "ON" && n == "1", fmt.Sprint(on, n, err, err2)
	})
}

// Exec runs statements, one after the other, on one connection.
func (s *Server) Exec(ctx context.Context, statements ...string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, q := range statements {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("%s: %s: %w", s.host.Name, q, err)
		}
	}
	return nil
}

// Value asks for one value as text.
func (s *Server) Value(ctx context.Context, query string) (string, error) {
	var v sql.NullString
	err := s.db.QueryRowContext(ctx, query).Scan(&v)
	return v.String, err
}

// Replica returns SHOW SLAVE STATUS by column name.
func (s *Server) Replica(ctx context.Context) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, "SHOW SLAVE STATUS")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), errors.New("not a replica"))
	}
	values, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	status := map[string]string{}
	for i, n := range names {
		status[n] = values[i].String
	}
	return status, nil
}

// follow points the server at a source, at the start of its log.
func (s *Server) follow(ctx context.Context, source *Host, gtid bool) error {
	where := "MASTER_LOG_FILE='bin.000001', MASTER_LOG_POS=4, MASTER_USE_GTID=no"
	if gtid {
		where = "MASTER_USE_GTID=slave_pos"
	}
	return s.Exec(ctx, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_USER='repl', MASTER_PASSWORD='replpw', MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1, %s", source.IP, where),
		"START SLAVE")
}

// Wait asks every 10 ms until done says so; when ctx ends it says what it last saw.
func Wait(ctx context.Context, what string, done func() (bool, string)) error {
	for {
		ok, seen := done()
		if ok {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last seen: %s", what, ctx.Err(), seen)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// Lock leaves an idle connection behind that holds LOCK TABLES, until it is killed.
func (s *Server) Lock(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	for _, q := range []string{"CREATE TABLE IF NOT EXISTS app.locked (i INT)", "LOCK TABLES app.locked WRITE"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return nil
}

// Hold keeps the server from executing what it receives for the application's table, until release is called.
func (s *Server) Hold(ctx context.Context) (release func() error, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := conn.ExecContext(ctx, "LOCK TABLES app.t WRITE"); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return func() error {
		_, err := conn.ExecContext(ctx, "UNLOCK TABLES")
		return errors.Join(err, conn.Close())
	}, nil
}
