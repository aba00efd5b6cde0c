package mysqlctl

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// waitSlice is how long the server is told to wait at a time: what a caller that gives up leaves behind in the server
// is over this soon, and needs no killing.
const waitSlice = time.Second

// WaitExecuted returns nil once replication has executed the log of its source up to p. It fails with ErrNotReplica,
// with ErrNotReplicating and the text of the server where the SQL thread does not run short of p, and at the deadline
// with context.DeadlineExceeded and how far it came. Without a deadline it waits for Timeout.
//
// The wait is the server's (MASTER_POS_WAIT), but its result is not taken for an answer: that is what the status says.
// MySQL's status says only every replica_checkpoint_period how far parallel workers have come, and at once where the
// SQL thread ends: one that has nothing more to read is begun anew, and again later where that did not tell.
func (s *Server) WaitExecuted(ctx context.Context, p Position) error {
	if p.IsZero() {
		return fmt.Errorf("wait for a position on %s: there is none to wait for", s.cfg.Addr)
	}
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	var far Replica
	began := time.Now()
	restart, again := began, waitSlice // from when on the SQL thread may be begun anew, and how long after that again
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
			// Where that fails, on a server without a connection to spare say, it is waited for; where it has only
			// stopped, the next look says so.
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
	checkpoint = 300 * time.Millisecond // replica_checkpoint_period where nobody has set it
	lookAgain  = 10 * time.Millisecond
)

// restartExecuting stops the SQL thread and starts it. Both are one question to the server, which goes on to the second
// one whatever becomes of us meanwhile: a thread that stays stopped would be our doing, and nobody would know.
func (s *Server) restartExecuting(ctx context.Context) error {
	cfg := s.cfg
	cfg.several = true
	sess, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer sess.close()
	_, err = sess.ask(ctx, func(f flavour) statement { return f.restartExecuting(cfg.Channel) })
	return err
}

// GTIDs returns what the server has committed (gtid_executed), on MySQL with GTIDs; "" elsewhere, where no such set
// tells what has been executed.
func (s *Server) GTIDs(ctx context.Context) (string, error) {
	v, err := s.variables(ctx, "gtid_mode", "gtid_executed")
	if err != nil || v["gtid_mode"] != "ON" {
		return "", err
	}
	return strings.ReplaceAll(v["gtid_executed"], "\n", ""), nil
}

// WaitGTIDs returns nil once the server has executed a set of GTIDs that another one gave. It fails as WaitExecuted
// does. Where transactions are executed in parallel it knows at once, the position only every
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

// hasExecuted is exact: a replica that has executed nothing yet has reached nothing.
func (r Replica) hasExecuted(p Position) (bool, error) {
	if r.Executed.IsZero() {
		return false, nil
	}
	c, err := r.Executed.Compare(p)
	return c >= 0, err
}

// hasReceived says whether all up to p is here, executed or not.
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
