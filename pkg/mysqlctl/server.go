package mysqlctl

import (
	"context"
	"time"
)

// Config says how to reach a server.
type Config struct {
	Addr           string // ip:port
	User, Password string
	Channel        string        // replication channel (MariaDB: connection name); empty is the default one
	ConnectTimeout time.Duration // for connecting and logging in; default 2 s
	Timeout        time.Duration // deadline of one statement whose context ends later or never; default 5 s
}

// Server is one database server. It is safe for concurrent use, connects when it is asked something, and keeps a few
// idle connections.
type Server struct{}

// New makes a Server and starts nothing.
func New(cfg Config) *Server { return &Server{} }

// Close closes the idle connections; calls still under way finish.
func (s *Server) Close() {}

// Ping connects where no connection is kept and runs a trivial query.
func (s *Server) Ping(ctx context.Context) error { return errUnfinished }

// Position returns the end of the server's own binary log, or ErrNoBinlog.
func (s *Server) Position(ctx context.Context) (Position, error) { return Position{}, errUnfinished }

// Settings are the variables that must suit each other between masters.
type Settings struct {
	Version                                     string // as the server gives it
	Dialect                                     string // MariaDB, MySQL (SLAVE), MySQL (REPLICA)
	ServerID                                    uint32
	LogBin                                      bool
	LogSlaveUpdates                             bool
	AutoIncrementIncrement, AutoIncrementOffset int
}

// Settings reads the variables of the server.
func (s *Server) Settings(ctx context.Context) (Settings, error) { return Settings{}, errUnfinished }

// Writable tells whether the server takes writes of ordinary users: neither read_only nor super_read_only.
func (s *Server) Writable(ctx context.Context) (bool, error) { return false, errUnfinished }

// AllowWrites opens the server for writes and reads back that it is open.
func (s *Server) AllowWrites(ctx context.Context) error { return errUnfinished }

// Deny says how DenyWrites treats clients that are in its way.
type Deny struct {
	// Grace is how long a statement that is in the way may go on before its connection is killed; default 10 s,
	// negative is none. Connections that are idle in LOCK TABLES or in a transaction get none.
	Grace time.Duration
}

// DenyWrites closes the server for writes and reads back that it is closed: no transaction of an ordinary user is
// committed after it has returned without an error. Setting read_only waits for every LOCK TABLES and every running
// write; what is still in the way after a tenth of a second is killed as Deny says. With an error the server may be closed
// or not, except that nothing is left behind that closes it later.
func (s *Server) DenyWrites(ctx context.Context, opts Deny) error { return errUnfinished }

// EndClients ends the connections of clients that were there when it was called, and returns how many it has killed.
// Idle ones are killed at once, others get the grace to become idle. Never ended: this Server's own connections,
// replication in both directions, the event scheduler and other threads of the server itself.
func (s *Server) EndClients(ctx context.Context, grace time.Duration) (int, error) {
	return 0, errUnfinished
}

// WaitExecuted returns nil once replication has executed the log of its source up to p. It fails with ErrNotReplica,
// with ErrNotReplicating and the text of the server where the SQL thread does not run short of p, and at the deadline with
// context.DeadlineExceeded and how far it came.
func (s *Server) WaitExecuted(ctx context.Context, p Position) error { return errUnfinished }

// Source is a server to replicate from.
type Source struct {
	Host           string
	Port           int
	User, Password string
	Start          Position // where to start in its binary log; not used with GTID
	GTID           bool     // start by GTID (MariaDB: slave_pos, MySQL: auto position)
}

// Repoint makes the server replicate from src and returns once it does so. What it had received of its former source but
// not executed is dropped: wait first. After an error replication is stopped or points to src; Replica tells which.
func (s *Server) Repoint(ctx context.Context, src Source) error { return errUnfinished }

// StopReplication stops both threads. That they are stopped already is no error.
func (s *Server) StopReplication(ctx context.Context) error { return errUnfinished }

// StartReplication starts both threads. That they run already is no error.
func (s *Server) StartReplication(ctx context.Context) error { return errUnfinished }
