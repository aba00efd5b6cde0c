package mysqlctl

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// Config says how to reach a server.
type Config struct {
	Addr           string // ip:port
	User, Password string
	PasswordName   string // the variable that Password comes from, for remedies
	Channel        string // replication channel (MariaDB: connection name); empty is the default one
	Encryption     Encryption
	ConnectTimeout time.Duration // for connecting and logging in; default 2 s

	// Timeout bounds each call that asks a question, and is the deadline of those that change or wait where their
	// context has none; default 5 s.
	Timeout time.Duration

	// Brief says whether a Conn is to close its connection after each question; nil: it keeps it.
	Brief func() bool

	several bool // a question may be several statements
}

// mend is the remedy for what keeps the user out.
func (cfg Config) mend(err error) string {
	return Mend(err, "'"+cfg.User+"'@'…'", cmp.Or(cfg.PasswordName, "the password"))
}

func (cfg Config) withDefaults() Config {
	cfg.ConnectTimeout = cmp.Or(cfg.ConnectTimeout, 2*time.Second)
	cfg.Timeout = cmp.Or(cfg.Timeout, 5*time.Second)
	return cfg
}

// Server is one database server. It is safe for concurrent use, connects when it is asked something, and keeps a few
// idle connections.
type Server struct {
	cfg Config

	mu     sync.Mutex
	closed bool
	idle   []*session
	busy   map[*session]bool
}

// maxIdle is what DenyWrites needs: one connection that waits, one that clears its way, had before a server is full, or
// closed to all that is new; and one for who else asks something meanwhile.
const maxIdle = 3

// New makes a Server and starts nothing.
func New(cfg Config) *Server {
	return &Server{cfg: cfg.withDefaults(), busy: make(map[*session]bool)}
}

// Close closes the idle connections; calls still under way finish.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, sess := range s.idle {
		sess.close()
	}
	s.idle = nil
}

// Ping connects where no connection is kept and runs a trivial query.
func (s *Server) Ping(ctx context.Context) error {
	_, err := s.ask(ctx, flavour.ping)
	return err
}

// Position returns the end of the server's own binary log, or ErrNoBinlog.
func (s *Server) Position(ctx context.Context) (Position, error) {
	rows, err := s.ask(ctx, flavour.showPosition)
	if err != nil {
		return Position{}, err
	}
	if len(rows) == 0 {
		return Position{}, fmt.Errorf("read the binary log position on %s: %w", s.cfg.Addr, ErrNoBinlog)
	}
	return position(rows[0]["File"], rows[0]["Position"])
}

func position(file, offset string) (Position, error) {
	if file == "" {
		return Position{}, nil
	}
	n, err := strconv.ParseUint(offset, 10, 64)
	if err != nil {
		return Position{}, fmt.Errorf("read offset in %s: %w", file, err)
	}
	return Position{File: file, Offset: n}, nil
}

// ServerID is the number that the server puts on what it commits itself (server_id).
func (s *Server) ServerID(ctx context.Context) (uint32, error) {
	id, _, err := s.Identity(ctx)
	return id, err
}

// Identity is what tells the server from all others, wherever it can be reached: server_id and, on MySQL, server_uuid.
func (s *Server) Identity(ctx context.Context) (id uint32, uuid string, err error) {
	v, err := s.variables(ctx, "server_id", "server_uuid")
	if err != nil {
		return 0, "", err
	}
	n, err := strconv.ParseUint(v["server_id"], 10, 32)
	if err != nil {
		return 0, "", fmt.Errorf("read server_id of %s: %w", s.cfg.Addr, err)
	}
	return uint32(n), v["server_uuid"], nil
}

// PIDFile is where the server has written the number of its process (MariaDB and MySQL manual, pid_file), made
// absolute.
func (s *Server) PIDFile(ctx context.Context) (string, error) {
	v, err := s.variables(ctx, "pid_file", "datadir")
	if err != nil {
		return "", err
	}
	path := v["pid_file"]
	if !filepath.IsAbs(path) {
		path = filepath.Join(v["datadir"], path)
	}
	return path, nil
}

// variables reads global variables; those that the server does not know are missing.
func (s *Server) variables(ctx context.Context, names ...string) (map[string]string, error) {
	rows, err := s.ask(ctx, func(f flavour) statement { return f.showVariables(names...) })
	if err != nil {
		return nil, err
	}
	return pairs(rows), nil
}

// ask puts a question to the server and gets its answer within the Timeout.
func (s *Server) ask(ctx context.Context, build func(flavour) statement) ([]row, error) {
	return s.askFor(ctx, s.cfg.Timeout, build)
}

// askFor asks once more where the connection breaks: a kept one may do so at any time, and all that is asked here can
// be asked twice.
func (s *Server) askFor(ctx context.Context, limit time.Duration, build func(flavour) statement) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for again := false; ; again = true {
		sess, err := s.acquire(ctx)
		if err != nil {
			return nil, err
		}
		rows, err := sess.ask(ctx, build)
		s.release(sess)
		if again || !lost(err) || ctx.Err() != nil {
			return rows, err
		}
	}
}

// acquire returns a connection for the caller alone, a kept one if one lives.
func (s *Server) acquire(ctx context.Context) (*session, error) {
	s.mu.Lock()
	s.dropDead()
	if n := len(s.idle); n > 0 {
		sess := s.idle[n-1]
		s.idle = s.idle[:n-1]
		s.busy[sess] = true
		s.mu.Unlock()
		return sess, nil
	}
	s.mu.Unlock()

	sess, err := connect(ctx, s.cfg)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[sess] = true
	return sess, nil
}

func (s *Server) release(sess *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, sess)
	if sess.powerless { // and so are those that logged in when it did
		for _, other := range s.idle {
			other.close()
		}
		s.idle = nil
		sess.close()
		return
	}
	if s.closed || len(s.idle) >= maxIdle || !sess.conn.IsValid() {
		sess.close()
		return
	}
	sess.idle = time.Now()
	s.idle = append(s.idle, sess)
}

// Rest closes the connections that nobody has used for so long.
func (s *Server) Rest(long time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = slices.DeleteFunc(s.idle, func(sess *session) bool {
		if time.Since(sess.idle) < long {
			return false
		}
		sess.close()
		return true
	})
}

// owns returns the numbers of this Server's connections. Dead ones are left out: after a restart of the server their
// numbers belong to others.
func (s *Server) owns() map[uint64]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropDead()
	own := make(map[uint64]bool)
	for _, sess := range s.idle {
		own[sess.id] = true
	}
	for sess := range s.busy {
		own[sess.id] = true
	}
	return own
}

func (s *Server) dropDead() {
	live := s.idle[:0]
	for _, sess := range s.idle {
		if sess.alive(context.Background()) {
			live = append(live, sess)
		} else {
			sess.close()
		}
	}
	s.idle = live
}
