package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// Conn is the kept connection of a check to its server. *mysqlctl.Conn is one.
type Conn interface {
	Ping(ctx context.Context) error
	Replica(ctx context.Context) (mysqlctl.Replica, error)
	WaitBroken(ctx context.Context) error
	Close()
}

var _ Conn = (*mysqlctl.Conn)(nil)

// mysqlProbe: can the server be talked to.
type mysqlProbe struct{ Conn }

// NewMySQL makes the mysql check on a connection that is its own.
func NewMySQL(c Conn) Probe { return mysqlProbe{c} }

func (p mysqlProbe) Probe(ctx context.Context) Result {
	err := p.Ping(ctx)
	var refused *mysqlctl.ConnectError
	switch {
	case err == nil:
		return Result{OK, "OK"}
	case mysqlctl.IsTooManyConnections(err):
		return Result{Unknown, "UNKNOWN: Too many connections! " + brief(err)}
	case timeout(ctx, err):
		return Result{Failed, "ERROR: Timeout"}
	case errors.As(err, &refused):
		return Result{Failed, "ERROR: " + connectError(refused)}
	}
	return Result{Failed, "ERROR: SQL Query Error: " + brief(err)}
}

// replicaProbe is what the two replication checks have in common: a dead server is the mysql check's business.
type replicaProbe struct {
	conn  Conn
	user  string
	judge func(mysqlctl.Replica) Result
}

// NewRepThreads makes the rep_threads check: both replication threads run.
func NewRepThreads(c Conn, user string) Probe {
	return replicaProbe{conn: c, user: user, judge: func(r mysqlctl.Replica) Result {
		// Connecting is not running: a thread that can't connect says so for ever. The trap period forgives a short one.
		if r.IORunning != "Yes" || r.SQLRunning != "Yes" {
			return Result{Failed, "ERROR: Replication is broken"}
		}
		return Result{OK, "OK"}
	}}
}

// NewRepBacklog makes the rep_backlog check: replication is at most limit behind.
func NewRepBacklog(c Conn, user string, limit time.Duration) Probe {
	return replicaProbe{conn: c, user: user, judge: func(r mysqlctl.Replica) Result {
		switch {
		case r.Lag == nil || *r.Lag == 0:
			return Result{OK, "OK: Backlog is null"}
		case *r.Lag > limit:
			return Result{Failed, "ERROR: Backlog is too big"}
		}
		return Result{OK, "OK"}
	}}
}

func (p replicaProbe) Close() { p.conn.Close() }

func (p replicaProbe) Probe(ctx context.Context) Result {
	replica, err := p.conn.Replica(ctx)
	var refused *mysqlctl.ConnectError
	switch {
	case err == nil:
		return p.judge(replica)
	case errors.Is(err, mysqlctl.ErrNotReplica):
		return Result{Failed, "ERROR: Replication is not set up"}
	case mysqlctl.IsMissingPrivilege(err):
		return Result{Failed, fmt.Sprintf("ERROR: The monitor user '%s' doesn't have the required REPLICATION CLIENT privilege! %s", p.user, brief(err))}
	case errors.As(err, &refused):
		return Result{Unknown, "UNKNOWN: " + connectError(refused)}
	case timeout(ctx, err):
		return Result{Failed, "ERROR: Timeout"}
	}
	return Result{Unknown, "UNKNOWN: SQL Query Error: " + brief(err)}
}

func connectError(e *mysqlctl.ConnectError) string {
	return fmt.Sprintf("Connect error (host = %s, user = %s)! %s", e.Addr, e.User, brief(e.Err))
}

func timeout(ctx context.Context, err error) bool {
	return ctx.Err() != nil || mysqlctl.IsTimeout(err)
}

// brief keeps a server's text on one line.
func brief(err error) string {
	return strings.Join(strings.Fields(err.Error()), " ")
}
