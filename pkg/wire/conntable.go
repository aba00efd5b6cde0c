package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// conn is a connection in a connTable, which owns the fields.
type conn struct {
	net.Conn
	handling bool      // a request is running
	since    time.Time // idle since then; only while not handling
}

// connTable knows the open connections of one Server and closes idle ones when there are too many.
type connTable struct {
	max   int
	freed chan struct{} // holds a token after a connection became idle or went away

	mu     sync.Mutex
	open   map[*conn]bool
	closed bool
}

func newConnTable(limit int) *connTable {
	return &connTable{max: limit, freed: make(chan struct{}, 1), open: map[*conn]bool{}}
}

// add takes in c, in the place of the longest idle connection where the table is full. Where every connection has a
// request running it waits for one to end. It reports false when ctx has ended.
func (t *connTable) add(ctx context.Context, c *conn) bool {
	for {
		if added, closed := t.tryAdd(c); added || closed {
			return added
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.freed:
		}
	}
}

func (t *connTable) tryAdd(c *conn) (added, closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false, true
	}
	if len(t.open) >= t.max && !t.evictLocked() {
		return false, false
	}
	t.open[c] = true
	return true, false
}

// evict closes the longest idle connection, if there is one.
func (t *connTable) evict() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evictLocked()
}

func (t *connTable) evictLocked() bool {
	var oldest *conn
	for c := range t.open {
		if !c.handling && (oldest == nil || c.since.Before(oldest.since)) {
			oldest = c
		}
	}
	if oldest == nil {
		return false
	}
	delete(t.open, oldest)
	abort(oldest)
	return true
}

// busy notes that c has a request to run, and reports false where c has been closed meanwhile.
func (t *connTable) busy(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.handling = t.open[c]
	return c.handling
}

// idle notes that c waits for its client.
func (t *connTable) idle(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.handling, c.since = false, time.Now()
	if t.closed {
		abort(c)
	}
	t.free()
}

// remove closes c and forgets it.
func (t *connTable) remove(c *conn) {
	c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	t.free()
}

// close closes the idle connections, and the others as they become idle.
func (t *connTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		if !c.handling {
			abort(c)
		}
	}
}

func (t *connTable) free() {
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

// abort closes c under whoever reads from it. On a TLS connection Close would first try to say goodbye, which can take seconds,
// and the table is locked.
func abort(c *conn) {
	if t, ok := c.Conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.Close()
}
