package check

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// NewMySQL asks over a kept connection whether the server answers, and hears at once when it breaks. The Probe owns conn.
func NewMySQL(conn *mysqlctl.Conn) Probe { return mysqlProbe{conn} }

// NewRepThreads asks whether both replication threads run. An I/O thread that is still connecting does not run: the trap
// period is the time it has. The Probe owns conn; user is conn's user.
func NewRepThreads(conn *mysqlctl.Conn, user string) Probe {
	return replicaProbe{conn: conn, user: user, judge: judgeThreads}
}

// NewRepBacklog asks whether the server is at most max behind its source. The Probe owns conn; user is conn's user.
func NewRepBacklog(conn *mysqlctl.Conn, user string, max time.Duration) Probe {
	return replicaProbe{conn: conn, user: user, judge: func(r mysqlctl.Replica) Result { return judgeBacklog(r, max) }}
}

type mysqlProbe struct{ conn *mysqlctl.Conn }

func (p mysqlProbe) Probe(ctx context.Context) Result { return judgeServer(p.conn.Ping(ctx)) }
func (p mysqlProbe) Broken(ctx context.Context) error { return p.conn.WaitBroken(ctx) }
func (p mysqlProbe) Close()                           { p.conn.Close() }

type replicaProbe struct {
	conn  *mysqlctl.Conn
	user  string
	judge func(mysqlctl.Replica) Result
}

func (p replicaProbe) Probe(ctx context.Context) Result {
	r, err := p.conn.Replica(ctx)
	if err != nil {
		return judgeReplicaError(err, p.user)
	}
	return p.judge(r)
}

func (p replicaProbe) Close() { p.conn.Close() }

func judgeServer(err error) Result {
	var refused *mysqlctl.ConnectError
	switch {
	case err == nil:
		return Result{Status: OK, Message: "OK"}
	case mysqlctl.IsTooManyConnections(err):
		return result(Unknown, "UNKNOWN: Too many connections! %s", text(err))
	case mysqlctl.IsTimeout(err):
		return Result{Status: Error, Message: "ERROR: Timeout", Detail: oneLine(err.Error())}
	case errors.As(err, &refused):
		r := result(Error, "ERROR: %s", connectError(refused))
		r.Refused = errors.Is(err, syscall.ECONNREFUSED)
		return r
	}
	return result(Error, "ERROR: SQL Query Error: %s", text(err))
}

// judgeReplicaError leaves a server that can't be reached, in time or at all, to the mysql check. One that lets the monitor
// in and then does not answer has trouble with its replication: SHOW SLAVE STATUS waits for threads that hang.
func judgeReplicaError(err error, user string) Result {
	var refused *mysqlctl.ConnectError
	switch {
	case errors.As(err, &refused):
		return result(Unknown, "UNKNOWN: %s", connectError(refused))
	case mysqlctl.IsTimeout(err):
		return Result{Status: Error, Message: "ERROR: Timeout", Detail: oneLine(err.Error())}
	case errors.Is(err, mysqlctl.ErrNotReplica):
		return Result{Status: Error, Message: "ERROR: Replication is not set up"}
	case mysqlctl.IsMissingPrivilege(err):
		return result(Error, "ERROR: The monitor user '%s' doesn't have the required REPLICATION CLIENT privilege! %s", user, text(err))
	}
	return result(Unknown, "UNKNOWN: Unknown state. Execute error: %s", text(err))
}

func judgeThreads(r mysqlctl.Replica) Result {
	if r.IORunning == "Yes" && r.SQLRunning == "Yes" {
		return Result{Status: OK, Message: "OK"}
	}
	detail := fmt.Sprintf("I/O thread: %s %s, SQL thread: %s %s", r.IORunning, r.IOError, r.SQLRunning, r.SQLError)
	return Result{Status: Error, Message: "ERROR: Replication is broken", Detail: oneLine(detail)}
}

func judgeBacklog(r mysqlctl.Replica, max time.Duration) Result {
	switch {
	case r.Lag == nil || *r.Lag == 0:
		return Result{Status: OK, Message: "OK: Backlog is null"}
	case *r.Lag > max:
		return Result{Status: Error, Message: "ERROR: Backlog is too big", Detail: r.Lag.String()}
	}
	return Result{Status: OK, Message: "OK"}
}

func connectError(e *mysqlctl.ConnectError) string {
	return fmt.Sprintf("Connect error (host = %s, user = %s)! %s", e.Addr, e.User, text(e.Err))
}

// text is what the server or the system said; who was asked is told beside it.
func text(err error) string {
	var refused *mysqlctl.ConnectError
	if errors.As(err, &refused) {
		err = refused.Err
	}
	return oneLine(err.Error())
}

func result(status Status, format string, args ...any) Result {
	return Result{Status: status, Message: fmt.Sprintf(format, args...)}
}
