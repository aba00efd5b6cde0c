package replication

import (
	"context"
	"fmt"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// This file is about executing what was received of a dead writer: until when that is waited for, and what holds it up.

// Appliers are the threads of the local server that execute what replication has received.
type Appliers interface {
	Applier(ctx context.Context) (mysqlctl.Applier, error)
	ReleaseCommits(ctx context.Context) error
}

// unfinished is how long nothing may have been executed, by threads with nothing more to do, until a transaction of
// which only a part was received is given up. It is longer than a moment because parallel workers report their progress
// only from time to time.
const unfinished = time.Second

// drain waits until all that was received has been executed, and returns the position up to which that is so. Receiving
// has ended, perhaps in the middle of a transaction whose rest will never come: that transaction is rolled back, as
// nobody has ever seen it.
func (c catchUp) drain(ctx context.Context, from string) (mysqlctl.Position, error) {
	var last mysqlctl.Position
	var tried releasing
	moved := time.Now()
	for {
		r, err := c.local.Replica(ctx)
		if err != nil {
			return last, err
		}
		done, err := reached(r.Executed, r.Received)
		if err != nil || done {
			return r.Executed, err
		}
		if r.SQLRunning != "Yes" {
			return last,
				fmt.Errorf("execute what was received of '%s': executed up to %s, received up to %s: %w: SQL thread: %s %s",
					from, r.Executed, r.Received, mysqlctl.ErrNotReplicating, r.SQLRunning, r.SQLError)
		}
		if r.Executed != last || c.busy(ctx, from, &tried) || !r.Drained {
			last, moved = r.Executed, time.Now()
		}
		if time.Since(moved) > unfinished {
			return c.breakOff(ctx, from)
		}
		c.say(fmt.Sprintf("Catching up with %s: executed up to %s, received up to %s", r.SourceHost, r.Executed,
			r.Received))
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("execute what was received of '%s': %w", from, ctx.Err())
		case <-time.After(drainPause):
		}
	}
}

// releasing is what a drain has done about commits that wait for an acknowledgement.
type releasing struct {
	told   bool // it was logged that they are let go
	failed bool // they can't be let go: that was logged, and is not tried again
}

// busy says whether replicated transactions are being executed, as far as that can be told. Parallel workers may still
// execute whole transactions when all that was received has been read; STOP SLAVE would drop those that wait for their
// turn. Where one waits for the acknowledgement of a replica, it is let go: in a ring of masters the only one to
// acknowledge may be the dead writer.
func (c catchUp) busy(ctx context.Context, from string, tried *releasing) bool {
	if c.appliers == nil {
		return false
	}
	a, err := c.appliers.Applier(ctx)
	if err != nil || !a.Unacknowledged || tried.failed {
		return err == nil && a.Busy
	}
	if err := c.appliers.ReleaseCommits(ctx); err != nil {
		tried.failed = true
		c.log.Warn(fmt.Sprintf("What was received of '%s' waits for an acknowledgement to be committed, for as long as this server does: %v", from, err))
	} else if !tried.told {
		tried.told = true
		c.log.Info(fmt.Sprintf("What was received of '%s' waits for an acknowledgement to be committed: it is committed without one", from))
	}
	return true
}

// lettingGo runs f, which waits until replicated transactions are committed or their thread has stopped, and lets those
// go meanwhile that wait for an acknowledgement.
func (c catchUp) lettingGo(ctx context.Context, from string, f func() error) error {
	if c.appliers == nil {
		return f()
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var tried releasing
		for ctx.Err() == nil {
			c.busy(ctx, from, &tried)
			select {
			case <-ctx.Done():
			case <-time.After(drainPause):
			}
		}
	}()
	err := f()
	cancel()
	<-ended
	return err
}

// breakOff stops the replication and returns up to where it has executed. To stop it commits a transaction that only
// waited to be committed, say for an acknowledgement of the dead writer: so the position is read afterwards.
func (c catchUp) breakOff(ctx context.Context, from string) (mysqlctl.Position, error) {
	if err := c.local.StopReplication(ctx); err != nil {
		return mysqlctl.Position{}, err
	}
	r, err := c.local.Replica(ctx)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	if done, err := reached(r.Executed, r.Received); err != nil || done {
		return r.Executed, err
	}
	c.log.Warn(fmt.Sprintf("The last transaction received of '%s' is not whole: executed up to %s, received up to %s",
		from, r.Executed, r.Received))
	return r.Executed, nil
}

const drainPause = 10 * time.Millisecond
