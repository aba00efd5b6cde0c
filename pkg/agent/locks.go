package agent

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// This file is about locks that others hold on a server which is to become the writer, those of a backup above all. A
// backup can be made again; nobody can write while it keeps this host from taking over.

// Locks ends the connections that hold what others wait for, and says which.
type Locks interface {
	EndLocks(ctx context.Context, who mysqlctl.Waiter) (ended []string, err error)
}

const (
	lookForLocks = 250 * time.Millisecond
	// afterOpening is how long a server that was just opened is looked after: a lock that nobody had to wait for before
	// keeps its first clients waiting.
	afterOpening = 5 * time.Second
)

// unlock ends locks that the given ones wait for, again and again until stop is called, which returns what was done,
// for people.
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

// lookAfter ends locks that the first clients of a server which was just opened wait for, after the round.
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

// stopLooking returns once nothing that lookAfter began goes on any more: the lock that keeps a server from being
// closed for writes would be taken for one that is in the way.
func (h *host) stopLooking() {
	if h.looking != nil {
		h.looking()
		h.looking = nil
	}
}

// endLocks does so until ctx ends.
func (h *host) endLocks(ctx context.Context, who mysqlctl.Waiter) (notes []string) {
	defer h.heldUp.Store(nil)
	failed := ""
	for {
		ended, err := h.locks.EndLocks(ctx, who)
		if ctx.Err() != nil {
			err = nil
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

// lastFew names the last of those that were ended: after it nobody waited any more.
func lastFew(ended []string) string {
	const few = 3
	return strings.Join(ended[max(0, len(ended)-few):], ", ")
}
