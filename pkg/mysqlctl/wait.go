package mysqlctl

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// waitSlice is how long the server is told to wait at a time. When a caller gives up, the statement goes on in the
// server for that long at most, and so needs no kill.
const waitSlice = time.Second

// WaitExecuted returns nil once replication has executed the log of its source up to p. It fails with ErrNotReplica
// where replication is not set up, with ErrNotReplicating and the server's error where the SQL thread does not run and
// has not reached p, and at the deadline with context.DeadlineExceeded and how far replication came. Without a deadline
// it waits for Timeout.
//
// The server does the waiting (MASTER_POS_WAIT), but only the status (SHOW REPLICA STATUS) says whether p is reached.
// MySQL's parallel workers update the status only every replica_checkpoint_period, and when the SQL thread stops. So an
// SQL thread that has read all that was received is stopped and started, which updates the status at once; where it
// still does not show p, that is done again later.
func (s *Server) WaitExecuted(ctx context.Context, p Position) error {
	if p.IsZero() {
		return fmt.Errorf("wait for a position on %s: there is none to wait for", s.cfg.Addr)
	}
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	var far Replica
	began := time.Now()
	restart, again := began, waitSlice // when the SQL thread may be restarted next, and the pause before the one after
	for {
		now, err := s.Replica(ctx)
		if ctx.Err() != nil {
			return waitError(s.cfg.Addr, p, far, ctx.Err())
		}
		if err != nil {
			return fmt.Errorf("wait for %s: %w", p, err)
		}
		far = now
		reached, err := far.hasExecuted(p)
		if err != nil {
			return fmt.Errorf("wait for %s on %s: %w", p, s.cfg.Addr, err)
		}
		if reached {
			return nil
		}
		if far.SQLRunning != "Yes" {
			return waitError(s.cfg.Addr, p, far, fmt.Errorf("%w: SQL thread: %s%s", ErrNotReplicating, far.SQLRunning,
				after(": ", far.SQLError)))
		}
		switch at := time.Now(); {
		case far.SourceUUID != "" && far.Drained && far.hasReceived(p) && !at.Before(restart):
			// Where the restart fails (say the server has no connection left), the loop goes on waiting. Where the
			// thread has stopped and not started, the next look at the status says so.
			_ = s.restartExecuting(ctx)
			restart, again = time.Now().Add(again), 2*again
		case far.SourceUUID != "" && restart == began && at.Sub(began) < checkpoint:
			err = pause(ctx, lookAgain)
		default:
			limit := min(waitSlice, time.Until(deadline))
			_, err = s.askFor(ctx, limit+s.cfg.Timeout, func(f flavour) statement {
				return f.waitExecuted(s.cfg.Channel, p, limit)
			})
		}
		if ctx.Err() != nil {
			return waitError(s.cfg.Addr, p, far, ctx.Err())
		}
		if err != nil {
			return err
		}
	}
}

const (
	checkpoint = 300 * time.Millisecond // the default of replica_checkpoint_period
	lookAgain  = 10 * time.Millisecond
)

// restartExecuting stops the SQL thread and starts it again. Both statements go to the server in one question, so that
// it executes the second one also where this program ends in between: else the thread would stay stopped, and nobody
// would know why.
func (s *Server) restartExecuting(ctx context.Context) error {
	sess, err := s.several(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	_, err = sess.ask(ctx, func(f flavour) statement { return f.restartExecuting(s.cfg.Channel) })
	return err
}

// several opens a connection on which one question may have several statements.
func (s *Server) several(ctx context.Context) (*session, error) {
	cfg := s.cfg
	cfg.several = true
	return connect(ctx, cfg)
}

// GTIDs returns all transactions that the server has committed, its own and replicated ones: gtid_executed of a MySQL
// server with GTIDs. It returns "" for all other servers, where no such set tells what has been executed.
func (s *Server) GTIDs(ctx context.Context) (string, error) {
	v, err := s.variables(ctx, "gtid_mode", "gtid_executed")
	if err != nil || v["gtid_mode"] != "ON" {
		return "", err
	}
	return strings.ReplaceAll(v["gtid_executed"], "\n", ""), nil
}

// WaitGTIDs returns nil once the server has executed a set of GTIDs, such as another server's GTIDs. It fails as
// WaitExecuted does. With parallel workers it knows at once, while the position is updated only every
// replica_checkpoint_period.
func (s *Server) WaitGTIDs(ctx context.Context, set string) error {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	for {
		limit := min(waitSlice, time.Until(deadline))
		rows, err := s.askFor(ctx, limit+s.cfg.Timeout, func(f flavour) statement { return f.waitGTIDs(set, limit) })
		if err == nil && len(rows) == 1 && rows[0]["missing"] == "0" {
			return nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("wait for GTIDs on %s: %w", s.cfg.Addr, err)
		}
		r, err := s.Replica(ctx)
		if err != nil {
			return err
		}
		if r.SQLRunning != "Yes" {
			return fmt.Errorf("wait for GTIDs on %s: %w: SQL thread: %s%s", s.cfg.Addr, ErrNotReplicating, r.SQLRunning,
				after(": ", r.SQLError))
		}
	}
}

// hasExecuted says whether the log up to p has been executed. A replica that has executed nothing yet has not.
func (r Replica) hasExecuted(p Position) (bool, error) {
	if r.Executed.IsZero() {
		return false, nil
	}
	c, err := r.Executed.Compare(p)
	return c >= 0, err
}

// hasReceived says whether the log up to p has been received, executed or not.
func (r Replica) hasReceived(p Position) bool {
	c, err := r.Received.Compare(p)
	return err == nil && c >= 0
}

func waitError(addr string, p Position, far Replica, err error) error {
	return fmt.Errorf("wait for %s on %s: executed up to %q, received up to %q: %w", p, addr, far.Executed,
		far.Received, err)
}

func after(sep, text string) string {
	if text == "" {
		return ""
	}
	return sep + text
}
