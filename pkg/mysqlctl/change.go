package mysqlctl

import (
	"context"
	"fmt"
	"time"
)

// stuckAfter is how long a statement may take before change looks for what is in its way, and the time between two
// looks.
const stuckAfter = 100 * time.Millisecond

// bounded gives a context that has a deadline: its own, or limit from now.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// mopUp returns how much time is kept back before the deadline of ctx for each of two things: to kill our own
// statement, and to read what became of it.
func mopUp(ctx context.Context) time.Duration {
	deadline, _ := ctx.Deadline()
	return min(500*time.Millisecond, time.Until(deadline)/8)
}

// during is what change calls while it works; both may be nil.
type during struct {
	ready func()                // once, when both connections are open, before the statement is sent
	stuck func(context.Context) // every stuckAfter while the statement runs
}

// change runs a statement that alters the server. A statement that still runs shortly before the deadline of ctx, or
// when ctx is cancelled, is killed, so that it does not take effect when nobody expects it any more.
func (s *Server) change(ctx context.Context, build func(flavour) statement, do during) error {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	deadline, _ := ctx.Deadline()
	spare := mopUp(ctx)

	sess, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	defer s.release(sess)
	// The connection that would kill the statement is opened beforehand: while a statement blocks, clients pile up and
	// the server may have no connection left.
	second, err := s.acquire(ctx)
	if err != nil {
		return err
	}
	s.release(second)
	if do.ready != nil {
		do.ready()
	}

	// The statement does not end with ctx: it is killed then, and its answer says what became of it.
	running, abandon := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(-spare))
	defer abandon()
	patience, stop := context.WithDeadline(ctx, deadline.Add(-2*spare))
	defer stop()

	done := make(chan error, 1)
	go func() {
		_, err := sess.ask(running, build)
		done <- err
	}()
	tick := time.NewTicker(stuckAfter)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if do.stuck != nil {
				do.stuck(patience)
			}
		case <-patience.Done():
			killing, cancel := context.WithTimeout(running, spare)
			defer cancel()
			context.AfterFunc(killing, abandon)
			_, killErr := s.ask(killing, func(f flavour) statement { return f.kill(sess.id) })
			if err := <-done; err == nil {
				return nil // the statement ended before the kill struck
			}
			sess.close()
			what := build(sess.flavour).what
			if killErr != nil && !isServerError(killErr, errNoSuchThread) {
				return fmt.Errorf("%s on %s: %w; it may still take effect: %w", what, s.cfg.Addr, patience.Err(),
					killErr)
			}
			return fmt.Errorf("%s on %s: %w", what, s.cfg.Addr, patience.Err())
		}
	}
}
