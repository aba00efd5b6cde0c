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
// with ErrNotReplicating and the text of the server where the SQL thread does not run short of p, and at the deadline with
// context.DeadlineExceeded and how far it came. Without a deadline it waits for Timeout.
//
// The wait is the server's (MASTER_POS_WAIT), but its result is not taken for an answer: that is what the status says.
func (s *Server) WaitExecuted(ctx context.Context, p Position) error {
	if p.IsZero() {
		return fmt.Errorf("wait for a position on %s: there is none to wait for", s.cfg.Addr)
	}
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	var far Replica
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
			return waitError(s.cfg.Addr, p, far, fmt.Errorf("%w: SQL thread: %s%s", ErrNotReplicating, far.SQLRunning, after(": ", far.SQLError)))
		}
		limit := min(waitSlice, time.Until(deadline))
		_, err = s.askFor(ctx, limit+s.cfg.Timeout, func(f flavour) statement { return f.waitExecuted(s.cfg.Channel, p, limit) })
		if ctx.Err() != nil {
			return waitError(s.cfg.Addr, p, far, ctx.Err())
		}
		if err != nil {
			return err
		}
	}
}

// GTIDs returns what the server has committed (gtid_executed), on MySQL with GTIDs; "" elsewhere, where no such set tells what has
// been executed.
func (s *Server) GTIDs(ctx context.Context) (string, error) {
	v, err := s.variables(ctx, "gtid_mode", "gtid_executed")
	if err != nil || v["gtid_mode"] != "ON" {
		return "", err
	}
	return strings.ReplaceAll(v["gtid_executed"], "\n", ""), nil
}

// WaitGTIDs returns nil once the server has executed a set of GTIDs that another one gave. It fails as WaitExecuted does. Where transactions are
// executed in parallel it knows at once, the position only every replica_checkpoint_period.
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
			return fmt.Errorf("wait for GTIDs on %s: %w: SQL thread: %s%s", s.cfg.Addr, ErrNotReplicating, r.SQLRunning, after(": ", r.SQLError))
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

func waitError(addr string, p Position, far Replica, err error) error {
	return fmt.Errorf("wait for %s on %s: executed up to %q, received up to %q: %w", p, addr, far.Executed, far.Received, err)
}

func after(sep, text string) string {
	if text == "" {
		return ""
	}
	return sep + text
}
