package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// This file is about locks that other connections hold on a server which is to become the writer, above all those of a
// backup. A backup can be made again; while its lock keeps this host from taking over nobody can write.

// Locks ends the connections that hold a lock for which who waits, and names those that it has ended.
type Locks interface {
	EndLocks(ctx context.Context, who mysqlctl.Waiter) (ended []string, err error)
}

const (
	lookForLocks = 250 * time.Millisecond
	// afterOpening is how long locks are ended on a server that was just opened: a lock for which nobody had to wait
	// before may keep the server's first clients waiting.
	afterOpening = 5 * time.Second
)

// unlock ends locks for which who waits, again and again until stop is called. stop returns notes of what was done.
func (h *host) unlock(ctx context.Context, who mysqlctl.Waiter) (stop func() []string) {
	if h.locks == nil {
		return func() []string { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	said := make(chan []string, 1)
	go func() { said <- h.endLocks(ctx, who) }()
	return func() []string {
		cancel()
		return <-said
	}
}

// lookAfter ends locks for which the first clients of a server wait that was just opened. It goes on after the round.
func (h *host) lookAfter(p pass) {
	if h.locks == nil {
		return
	}
	h.stopLooking()
	stopped, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	h.looking = func() { stop(); <-ended }
	p.later(func(ctx context.Context) {
		defer close(ended)
		ctx, cancel := context.WithTimeout(ctx, afterOpening)
		defer cancel()
		defer context.AfterFunc(stopped, cancel)()
		h.endLocks(ctx, mysqlctl.Anybody)
	})
}

// stopLooking ends what lookAfter began, and returns when it has ended. While a server is being closed for writes its
// clients wait for just that, and the closing must not be taken for a lock that is in the way.
func (h *host) stopLooking() {
	if h.looking != nil {
		h.looking()
		h.looking = nil
	}
}

// endLocks ends locks for which who waits, every lookForLocks until ctx ends. It logs, and returns as notes, what it
// has ended; a lock that it can't end is in heldUp meanwhile.
func (h *host) endLocks(ctx context.Context, who mysqlctl.Waiter) (notes []string) {
	defer h.heldUp.Store(nil)
	failed := ""
	for {
		ended, err := h.locks.EndLocks(ctx, who)
		if ctx.Err() != nil {
			err = nil
		}
		if err == nil {
			failed = ""
			h.heldUp.Store(nil)
		}
		if len(ended) > 0 {
			note := fmt.Sprintf("Ended %d connections whose locks kept this host from taking over, such as %s",
				len(ended), lastFew(ended))
			notes = append(notes, note)
			h.log.Warn(note)
		}
		if err != nil && err.Error() != failed {
			failed = err.Error()
			why := fmt.Sprintf("Couldn't end a lock that keeps this host from taking over: %v", err)
			h.heldUp.Store(&why)
			h.log.Warn(why)
		}
		select {
		case <-ctx.Done():
			return notes
		case <-time.After(lookForLocks):
		}
	}
}

// lastFew names the connections that were ended last: nobody waited any more after the last one.
func lastFew(ended []string) string {
	const few = 3
	return strings.Join(ended[max(0, len(ended)-few):], ", ")
}
