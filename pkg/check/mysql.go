package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
)

// Server is a connection to a host's server, as the check mysql uses it. *mysqlctl.Conn is one, and says what the
// methods promise. One goroutine uses it at a time.
type Server interface {
	Ping(ctx context.Context) error
	Greeted() bool
	WaitBroken(ctx context.Context) error
	Close()
}

// ReplicaServer is a connection to a host's server, as the checks of replication use it. *mysqlctl.Conn is one. One
// goroutine uses it at a time.
type ReplicaServer interface {
	Replica(ctx context.Context) (mysqlctl.Replica, error)
	Heartbeats(ctx context.Context, table string) ([]mysqlctl.Beat, error)
	Channel() string
	Close()
}

// NewMySQL asks over a kept connection whether the server answers, and notices at once when that connection breaks. The
// Probe owns conn.
func NewMySQL(conn Server) Probe { return mysqlProbe{conn} }

// NewRepThreads asks whether both replication threads run. An I/O thread that is still connecting counts as one that
// does not run: the trap period gives it time to connect. The Probe owns conn; user is conn's user.
func NewRepThreads(conn ReplicaServer, user string) Probe {
	return replicaProbe{conn: conn, user: user, judge: func(_ context.Context,
		r mysqlctl.Replica) Result {
		return judgeThreads(r)
	}}
}

// NewRepBacklog asks whether the server is at most max behind its source, not counting SQL_Delay: by the server's own
// word (Seconds_Behind_Master) or, where beats is not nil, by heartbeats. The Probe owns conn; user is conn's user.
func NewRepBacklog(conn ReplicaServer, user string, max time.Duration, beats *Heartbeat) Probe {
	p := replicaProbe{conn: conn, user: user, judge: func(_ context.Context,
		r mysqlctl.Replica) Result {
		return judgeBacklog(r, max)
	}}
	if beats != nil {
		reader := newBeatReader(beats)
		p.judge = func(ctx context.Context, r mysqlctl.Replica) Result {
			rows, err := conn.Heartbeats(ctx, beats.Table)
			return judgeBeats(reader, rows, err, r.Delay, max, time.Now())
		}
	}
	return p
}

type mysqlProbe struct{ conn Server }

func (p mysqlProbe) Probe(ctx context.Context) Result {
	r := judgeServer(p.conn.Ping(ctx))
	r.Greeted = r.Status == Error && p.conn.Greeted()
	return r
}

func (p mysqlProbe) Broken(ctx context.Context) error { return p.conn.WaitBroken(ctx) }
func (p mysqlProbe) Close()                           { p.conn.Close() }

type replicaProbe struct {
	conn  ReplicaServer
	user  string
	judge func(context.Context, mysqlctl.Replica) Result
}

func (p replicaProbe) Probe(ctx context.Context) Result {
	r, err := p.conn.Replica(ctx)
	if err != nil {
		return judgeReplicaError(err, p.user, p.conn.Channel())
	}
	result := p.judge(ctx, r)
	result.Source = identity.SourceOf(r)
	result.Threads = Threads{Known: true, Receiving: r.IORunning == "Yes", Stopped: r.IORunning == "No",
		Executing: r.SQLRunning == "Yes", Delay: r.Delay}
	return result
}

func (p replicaProbe) Close() { p.conn.Close() }

// judgeServer judges the answer to the mysql check. A server that answers with an error is alive, whatever the error.
// If a refused login counted as the server's death, a changed password would take the roles from all hosts at once.
func judgeServer(err error) Result {
	var failed *mysqlctl.ConnectError
	sign := mysqlctl.SignOf(err)
	switch {
	case err == nil:
		return Result{Status: OK, Message: "OK"}
	case sign == mysqlctl.Full:
		return alive(err, "UNKNOWN: Too many connections! %s", text(err))
	case sign.Alive() && errors.As(err, &failed):
		return alive(err, "UNKNOWN: %s", connectError(failed))
	case sign.Alive():
		return alive(err, "UNKNOWN: SQL Query Error: %s", text(err))
	case mysqlctl.IsTimeout(err):
		return Result{Status: Error, Message: "ERROR: Timeout", Detail: oneLine(err.Error())}
	case errors.As(err, &failed):
		r := result(Error, "ERROR: %s", connectError(failed))
		r.Refused = sign == mysqlctl.Refused
		return r
	}
	return result(Error, "ERROR: SQL Query Error: %s", text(err))
}

// judgeReplicaError judges an error of a check of replication. A server that can't be reached, in time or at all, is
// the mysql check's business. A server that lets the monitor in and then does not answer has trouble with its
// replication: SHOW SLAVE STATUS waits for threads that hang. A missing privilege says nothing of the replication.
func judgeReplicaError(err error, user, channel string) Result {
	var failed *mysqlctl.ConnectError
	switch {
	case errors.As(err, &failed):
		return refusal(err, "UNKNOWN: %s", connectError(failed))
	case mysqlctl.IsTimeout(err):
		return Result{Status: Error, Message: "ERROR: Timeout", Detail: oneLine(err.Error())}
	case errors.Is(err, mysqlctl.ErrNotReplica):
		if channel != "" {
			return result(Error, "ERROR: Replication is not set up on channel %q", channel)
		}
		return Result{Status: Error, Message: "ERROR: Replication is not set up"}
	case mysqlctl.IsMissingPrivilege(err):
		return refusal(err, "UNKNOWN: The monitor user '%s' doesn't have the required REPLICATION CLIENT privilege! %s",
			user, text(err))
	}
	return refusal(err, "UNKNOWN: Unknown state. Execute error: %s", text(err))
}

// alive is the result of a server that answered with an error.
func alive(err error, format string, args ...any) Result {
	r := refusal(err, format, args...)
	r.Living = true
	return r
}

// refusal is the result of a question that the server did not answer as it should. What a person has to mend stands in
// Refusal as well.
func refusal(err error, format string, args ...any) Result {
	r := result(Unknown, format, args...)
	if sign := mysqlctl.SignOf(err); sign.Alive() && sign != mysqlctl.Passing {
		r.Refusal = text(err)
		if failed, ok := errors.AsType[*mysqlctl.ConnectError](err); ok {
			r.Refusal = fmt.Sprintf("user %s: %s", failed.User, r.Refusal)
		}
	}
	return r
}

func judgeThreads(r mysqlctl.Replica) Result {
	if runs(r) {
		return Result{Status: OK, Message: "OK"}
	}
	message := "ERROR: Replication is broken"
	tell := func(thread, state string, number uint64, text string) {
		if state == "Yes" {
			return
		}
		message += ". " + thread + " thread: " + state
		if number != 0 || text != "" {
			message += fmt.Sprintf(", error %d: %s", number, strings.TrimSuffix(oneLine(withoutQuery(text)), "."))
		}
	}
	tell("I/O", r.IORunning, r.IOErrno, r.IOError)
	tell("SQL", r.SQLRunning, r.SQLErrno, r.SQLError)
	return Result{Status: Error, Message: message}
}

func runs(r mysqlctl.Replica) bool { return r.IORunning == "Yes" && r.SQLRunning == "Yes" }

// withoutQuery takes the replicated statement out of a server's error, because the statement may hold a password.
func withoutQuery(text string) string {
	for _, mark := range []string{"Query: '", " near '"} {
		if before, _, found := strings.Cut(text, mark); found {
			text = before + strings.TrimSuffix(mark, "'") + "(withheld)"
		}
	}
	return text
}

// judgeBacklog judges by Seconds_Behind_Master. A server whose replication does not run has no backlog, as in the
// original monitor: rep_threads tells that it does not run.
func judgeBacklog(r mysqlctl.Replica, max time.Duration) Result {
	switch {
	case r.Lag == nil && runs(r):
		return Result{Status: Unknown,
			Message: "UNKNOWN: Backlog is not known: both replication threads run, but the server says NULL"}
	case r.Lag == nil:
		return Result{Status: OK, Message: "OK: Backlog is null"}
	}
	return judgeLag(*r.Lag, r.Delay, max)
}

// judgeLag compares the lag with max, without the time that the replica is behind on purpose (delay).
func judgeLag(lag, delay, max time.Duration) Result {
	r := Result{Status: OK, Message: "OK"}
	beyond := lag - delay
	switch {
	case delay > 0 && beyond > max:
		r = result(Error, "ERROR: Backlog is too big: %.0f seconds beyond SQL_Delay (%.0f seconds), max_backlog is %g",
			beyond.Seconds(), delay.Seconds(), max.Seconds())
	case delay > 0:
		r.Message = fmt.Sprintf("OK: Backlog is %.0f seconds, SQL_Delay is %.0f", lag.Seconds(), delay.Seconds())
	case lag > max:
		r = result(Error, "ERROR: Backlog is too big: %.0f seconds, max_backlog is %g", lag.Seconds(), max.Seconds())
	case lag == 0:
		r.Message = "OK: Backlog is null"
	}
	r.Measured, r.Lag = true, lag
	return r
}

// judgeBeats judges by heartbeats. Where the heartbeat table can't be read the result is UNKNOWN, which changes no
// verdict.
func judgeBeats(r *beatReader, beats []mysqlctl.Beat, err error, delay, max time.Duration, now time.Time) Result {
	switch {
	case mysqlctl.IsMissingTable(err):
		return refusal(err, "UNKNOWN: heartbeat_table %s does not exist: %s", r.heartbeat.Table, text(err))
	case err != nil:
		return refusal(err, "UNKNOWN: Backlog is not known: %s", text(err))
	}
	lag, err := r.lag(beats, now)
	if err != nil {
		return result(Unknown, "UNKNOWN: Backlog is not known: %s", err)
	}
	return judgeLag(lag, delay, max)
}

func connectError(e *mysqlctl.ConnectError) string {
	return fmt.Sprintf("Connect error (host = %s, user = %s)! %s", e.Addr, e.User, oneLine(e.Cause()))
}

// text returns what the server or the system said, with the remedy, and without the address and the user of a failed
// login, which the messages name themselves.
func text(err error) string {
	var failed *mysqlctl.ConnectError
	if errors.As(err, &failed) {
		return oneLine(failed.Cause())
	}
	return oneLine(err.Error())
}

func result(status Status, format string, args ...any) Result {
	return Result{Status: status, Message: fmt.Sprintf(format, args...)}
}
