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
	PasswordName   string // the variable of the configuration that has Password, for remedies in errors
	Channel        string // replication channel (MariaDB: connection name); empty is the default one
	Encryption     Encryption
	ConnectTimeout time.Duration // for connecting and logging in; default 2 s

	// Timeout bounds each call that asks a question. Calls that change something or wait take it as their deadline
	// where their context has none. Default 5 s.
	Timeout time.Duration

	// Brief says whether a Conn is to close its connection after each question; nil: the Conn keeps its connection.
	Brief func() bool

	several bool // one question may have several statements
}

// mend returns what a person has to do so that the server lets the user in; "" where err is about something else.
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

// maxIdle is how many idle connections are kept. DenyWrites needs two of them before the server is full, or new
// connections to it are blocked: one whose statement waits, and one that ends what is in its way. The third is for
// another question meanwhile.
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

// ServerID returns the server_id, with which the server marks the transactions that it commits itself.
func (s *Server) ServerID(ctx context.Context) (uint32, error) {
	id, _, err := s.Identity(ctx)
	return id, err
}

// Identity returns what tells the server from all others, whatever its address: server_id and, on MySQL, server_uuid.
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

// PIDFile returns the absolute path of the file with the number of the server's process ("pid_file" in both manuals).
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

// variables reads global variables; those that the server does not know are not in the map.
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

// askFor asks once more where the connection breaks. A kept connection may break at any time, and every question that
// comes this way may be asked twice.
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

// acquire returns a connection for the caller alone: one that is kept and still alive, or a new one.
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
	if sess.powerless { // the idle ones logged in earlier as well, and would not have a privilege that is granted now
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

// CloseIdle closes the idle connections that nobody has used for that long or longer.
func (s *Server) CloseIdle(unused time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = slices.DeleteFunc(s.idle, func(sess *session) bool {
		if time.Since(sess.idle) < unused {
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
