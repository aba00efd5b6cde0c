package lab

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/test/servers"
)

// Server is a database server on one host.
type Server struct {
	host *Host
	kind servers.Kind
	id   int
	gtid bool
	dir  string
	proc *Process
	args []string // further ones, after the usual ones

	async      bool          // see Options
	ackTimeout time.Duration // see Options
	ackAlways  bool          // see Options
	db         *sql.DB       // as root, through the Unix socket: no network fault disturbs it
}

func newServer(ctx context.Context, h *Host, kind servers.Kind, id int, gtid bool) (*Server, error) {
	s := &Server{host: h, kind: kind, id: id, gtid: gtid, dir: filepath.Join(root, h.Name)}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	if err := kind.Lay(ctx, s.dir); err != nil {
		return nil, err
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr = "root", "unix", s.config().Socket()
	cfg.Timeout, cfg.ReadTimeout, cfg.InterpolateParams = 2*time.Second, 20*time.Second, true
	cfg.Logger = &mysql.NopLogger{} // servers are killed here on purpose
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	s.db = sql.OpenDB(connector)
	return s, nil
}

func (s *Server) config() servers.Config {
	args := []string{"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1", "--relay-log-recovery=1", "--read-only=1",
		"--auto-increment-increment=2", fmt.Sprintf("--auto-increment-offset=%d", (s.id-1)%2+1),
		"--skip-name-resolve", "--max-connections=300", "--thread-cache-size=32", "--innodb-flush-method=fsync"}
	if !s.kind.MySQL {
		args = append(args, "--binlog-format=ROW", "--gtid-strict-mode=1")
	}
	// Only masters acknowledge, so that a client is told that its write is committed when the other master has received
	// it, and not just a slave. With ackAlways a slave must not wait for acknowledgements of what it executes: nobody
	// replicates from it.
	return servers.Config{Dir: s.dir, Bind: "0.0.0.0", Port: 3306, ID: s.id, GTID: s.gtid,
		SemiSync: !s.async && (s.id <= 2 || !s.ackAlways), Acknowledge: !s.async && s.id <= 2,
		AckTimeout: s.ackTimeout, AckAlways: s.ackAlways, Args: slices.Concat(args, s.args)}
}

// Start starts the server, which starts its replication, and waits until the server answers.
func (s *Server) Start(ctx context.Context) error {
	cmd, err := s.kind.Command(s.config())
	if err != nil {
		return err
	}
	p, err := start(s.host, cmd, filepath.Join(s.dir, "server.log"))
	if err != nil {
		return fmt.Errorf("start %s: %w", s.kind, err)
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

// Arguments gives the server further arguments from its next start on, instead of those of an earlier call. They count
// more than the usual ones.
func (s *Server) Arguments(args ...string) { s.args = args }

// Kill ends the server as kill -9 does, and waits for its end.
func (s *Server) Kill() error { return s.proc.Signal(syscall.SIGKILL) }

// Pause stops the server's process (SIGSTOP).
func (s *Server) Pause() error { return s.proc.Signal(syscall.SIGSTOP) }

// Continue lets a stopped server go on (SIGCONT).
func (s *Server) Continue() error { return s.proc.Signal(syscall.SIGCONT) }

// Stop shuts the server down cleanly and waits for its end.
func (s *Server) Stop(ctx context.Context) error {
	if err := s.proc.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return Wait(ctx, s.host.Name+"'s server to end", func() (bool, string) { return s.proc.Ended(), "it runs" })
}

// WaitSemiSync waits until the other master acknowledges what this one commits: from then on no client is told that its
// write is committed before the other master has received it, so that kill -9 of this server loses no acknowledged
// write.
func (s *Server) WaitSemiSync(ctx context.Context) error {
	return Wait(ctx, s.host.Name+" to replicate semi-synchronously", func() (bool, string) { return s.semiSync(ctx) })
}

// semiSync says whether semi-synchronous replication is on and one replica acknowledges, and what the server said of
// that.
func (s *Server) semiSync(ctx context.Context) (bool, string) {
	on, err := s.status(ctx, "Rpl_semi_sync_master_status")
	n, err2 := s.status(ctx, "Rpl_semi_sync_master_clients")
	return on == "ON" && n == "1", fmt.Sprint(on, n, err, err2)
}

// status asks for a status variable, by the name that MariaDB has for it.
func (s *Server) status(ctx context.Context, name string) (value string, err error) {
	if s.kind.MySQL {
		name = strings.NewReplacer("master", "source", "slave", "replica").Replace(name)
	}
	return value, s.db.QueryRowContext(ctx, "SHOW GLOBAL STATUS LIKE '"+name+"'").Scan(&name, &value)
}

// Exec executes statements one after the other, on one connection, as root. They are in MariaDB's words; for MySQL they
// are translated.
func (s *Server) Exec(ctx context.Context, statements ...string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, q := range statements {
		if _, err := conn.ExecContext(ctx, s.kind.SQL(q)); err != nil {
			return fmt.Errorf("%s: %s: %w", s.host.Name, q, err)
		}
	}
	return nil
}

// Say executes statements as they stand, without translation, on a connection that is closed afterwards: what they set
// for their session is gone then.
func (s *Server) Say(ctx context.Context, statements ...string) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Raw(func(any) error { return driver.ErrBadConn }) }() // which ends the connection
	for _, statement := range statements {
		if _, err := conn.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// Value returns the one value that a query returns, as text; NULL is "".
func (s *Server) Value(ctx context.Context, query string) (string, error) {
	var v sql.NullString
	err := s.db.QueryRowContext(ctx, query).Scan(&v)
	return v.String, err
}

// Replica returns SHOW SLAVE STATUS, by MariaDB's names of the columns. It is an error where the server is no replica.
func (s *Server) Replica(ctx context.Context) (map[string]string, error) {
	return s.row(ctx, "SHOW SLAVE STATUS")
}

// Channel is Replica for one channel (MariaDB: connection).
func (s *Server) Channel(ctx context.Context, name string) (map[string]string, error) {
	if s.kind.MySQL {
		return s.row(ctx, "SHOW SLAVE STATUS FOR CHANNEL '"+name+"'")
	}
	return s.row(ctx, "SHOW SLAVE '"+name+"' STATUS")
}

// Follow makes the server replicate from the host source, on a channel, from the start of that one's first log on.
func (s *Server) Follow(ctx context.Context, source *Host, channel string) error {
	return s.Exec(ctx, s.kind.Follow(servers.Source{Host: source.IP.String(), Port: 3306, User: "repl",
		Password: "replpw", GTID: s.gtid, Channel: channel})...)
}

// row executes a statement in MariaDB's words and returns the first row of the answer, by MariaDB's names of the
// columns.
func (s *Server) row(ctx context.Context, statement string) (map[string]string, error) {
	rows, err := s.db.QueryContext(ctx, s.kind.SQL(statement))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if !rows.Next() {
		return nil, errors.Join(rows.Err(), errors.New(statement+" returns no row"))
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
		status[s.kind.Column(n)] = values[i].String
	}
	return status, nil
}

// FirstLog is the oldest binary log that the server still has.
func (s *Server) FirstLog(ctx context.Context) (string, error) {
	rows, err := s.db.QueryContext(ctx, "SHOW BINARY LOGS")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		return "", errors.Join(err, rows.Err(), errors.New("no binary log"))
	}
	values, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	err = rows.Scan(into...)
	return values[0].String, err
}

// Wait calls done until it returns true: every 10 ms, after a second every 50 ms, and less often where done takes long.
// Where ctx ends first the error has what was waited for, and the text that done returned last.
func Wait(ctx context.Context, what string, done func() (bool, string)) error {
	seen, began, period := "", time.Now(), 10*time.Millisecond
	for {
		asked := time.Now()
		ok, now := done()
		took := time.Since(asked)
		if ok {
			return nil
		}
		if seen == "" || ctx.Err() == nil { // after that the text may be only that the time is over
			seen = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w; last seen: %s", what, ctx.Err(), seen)
		case <-time.After(max(period, min(3*took, 300*time.Millisecond))): // asking takes CPU time from the cluster
		}
		if time.Since(began) > time.Second {
			period = 50 * time.Millisecond
		}
	}
}

// tail returns the last lines of a file; where it can't be read, why.
func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

// Lock leaves an idle connection open that holds LOCK TABLES. It stays until the server ends it.
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

// Backup leaves an idle connection open that holds the lock of a backup. It stays until the server ends it.
func (s *Server) Backup(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
		return errors.Join(err, conn.Close())
	}
	return nil
}

// Hold keeps the server from executing what it receives for table app.t, until release is called. It locks the rows: an
// agent that is to take over would end a connection that locks the table.
func (s *Server) Hold(ctx context.Context) (release func() error, err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range []string{"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION",
		"SELECT COUNT(*) FROM app.t FOR UPDATE"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	return func() error {
		_, err := conn.ExecContext(ctx, "ROLLBACK")
		return errors.Join(err, conn.Close())
	}, nil
}

// ID is the server_id.
func (s *Server) ID() int { return s.id }

// KillUser ends the connections of a user, which then has to log in again.
func (s *Server) KillUser(ctx context.Context, user string) error {
	rows, err := s.db.QueryContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE USER=?", user)
	if err != nil {
		return err
	}
	defer rows.Close()
	var ids []int64
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, id := range ids {
		_, err := s.db.ExecContext(ctx, fmt.Sprintf("KILL %d", id))
		if gone := new(mysql.MySQLError); err != nil && !(errors.As(err, &gone) && gone.Number == 1094) {
			return err
		}
	}
	return nil
}
