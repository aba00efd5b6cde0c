package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// phase is what a connection does at the moment.
type phase uint8

const (
	waiting   phase = iota // for a line, or for the client to end
	handling               // a request is running
	answering              // its answer is being written
)

// conn is a connection in a connTable, which owns the fields.
type conn struct {
	net.Conn
	phase phase
	heard time.Time // when its last line came or its answer began, or else when it came itself
}

// minSilence is how long a connection may be silent before it makes room for another. Without it a burst of newcomers
// would drive out a client between its connecting and its first line.
const minSilence = 200 * time.Millisecond

// connTable knows the open connections of one Server and closes the longest silent one when there are too many.
type connTable struct {
	max   int
	freed chan struct{} // holds a token after a request ended or a connection went away

	mu     sync.Mutex
	open   map[*conn]bool
	closed bool
}

func newConnTable(limit int) *connTable {
	return &connTable{max: limit, freed: make(chan struct{}, 1), open: map[*conn]bool{}}
}

// add takes in c, in the place of the longest silent connection where the table is full. Where none has been silent for
// minSilence, or every one has a request running, it waits. It reports false when ctx has ended.
func (t *connTable) add(ctx context.Context, c *conn) bool {
	for {
		if added, closed := t.tryAdd(c); added || closed {
			return added
		}
		select {
		case <-ctx.Done():
			return false
		case <-t.freed:
		case <-time.After(minSilence / 10):
		}
	}
}

func (t *connTable) tryAdd(c *conn) (added, closed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false, true
	}
	if len(t.open) >= t.max && !t.evictLocked(minSilence) {
		return false, false
	}
	t.open[c] = true
	return true, false
}

// evict closes the longest silent connection, if there is one without a running request.
func (t *connTable) evict() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evictLocked(0)
}

// evictLocked reports false where no connection without a running request has been silent for that long.
func (t *connTable) evictLocked(silence time.Duration) bool {
	var oldest *conn
	for c := range t.open {
		if c.phase != handling && (oldest == nil || c.heard.Before(oldest.heard)) {
			oldest = c
		}
	}
	if oldest == nil || time.Since(oldest.heard) < silence {
		return false
	}
	delete(t.open, oldest)
	abort(oldest)
	return true
}

// handling notes that c has a request to run, and reports false where c has been closed meanwhile.
func (t *connTable) handling(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.phase, c.heard = handling, time.Now()
	return t.open[c]
}

// answering notes that c's request has ended.
func (t *connTable) answering(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.phase, c.heard = answering, time.Now()
	t.free()
}

// waiting notes that c's answer is written.
func (t *connTable) waiting(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.phase = waiting
	if t.closed {
		abort(c)
	}
}

// remove closes c and forgets it.
func (t *connTable) remove(c *conn) {
	c.Close()
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, c)
	t.free()
}

// close closes the connections that wait, and the others when their answers are written.
func (t *connTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		if c.phase == waiting {
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

// abort closes c under whoever reads from it. On a TLS connection Close would first try to say goodbye, which can take
// seconds, and the table is locked.
func abort(c *conn) {
	if t, ok := c.Conn.(*tls.Conn); ok {
		t.NetConn().Close()
		return
	}
	c.Close()
}
