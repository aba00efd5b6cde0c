package wire

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"
)

// phase is what happens on a connection at the moment.
type phase uint8

const (
	waiting   phase = iota // for a line, or for the client to end the connection
	handling               // a request is running
	answering              // its answer is being written
)

// conn is a connection in a connTable, which owns the fields.
type conn struct {
	// Embedded: a conn stands for its connection, and is used as one.
	net.Conn
	phase phase
	known bool      // the client has asked something, with a valid signature where there is a secret
	heard time.Time // when its last line came or the answer to it began; before the first line: when it was added
}

// minSilence is how long a connection must have been silent before it is closed to make room for another one. Otherwise
// a burst of newcomers would drive out a client between its connecting and its first line.
const minSilence = 200 * time.Millisecond

// connTable knows the open connections of one Server. When there are too many it closes the longest silent connection
// that is not known yet, or, where all are known, the longest silent one of all.
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

// add takes in c. Where the table is full, another connection is closed for it. Where that one has not been silent for
// minSilence, or where every connection has a request running, add waits. It reports false when ctx has ended, or the
// table is closed.
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
	c.heard = time.Now() // not when c connected: while c waited for its place here, nobody read from it
	return true, false
}

// evict closes a connection, if there is one without a running request.
func (t *connTable) evict() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.evictLocked(0)
}

// evictLocked closes the connection that is the first to go, and reports false where there is none, or where that one
// has not been silent for long enough. It does not close a known client instead of a stranger that has just come: there
// will be a place soon enough.
func (t *connTable) evictLocked(silence time.Duration) bool {
	var oldest *conn
	for c := range t.open {
		if c.phase != handling && (oldest == nil || c.before(oldest)) {
			oldest = c
		}
	}
	if oldest == nil || time.Since(oldest.heard) < silence {
		return false
	}
	delete(t.open, oldest)
	abort(oldest.Conn)
	return true
}

// before tells whether c is to be closed rather than other.
func (c *conn) before(other *conn) bool {
	if c.known != other.known {
		return other.known
	}
	return c.heard.Before(other.heard)
}

// handling notes that c has a request to run, and reports false where c has been closed meanwhile.
func (t *connTable) handling(c *conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.phase, c.heard = handling, time.Now()
	return t.open[c]
}

// answering notes that c's request has ended. known says that this request has shown c to be no stranger.
func (t *connTable) answering(c *conn, known bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.known = c.known || known
	c.phase, c.heard = answering, time.Now()
	t.free()
}

// waiting notes that the answer to c has been written.
func (t *connTable) waiting(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c.phase = waiting
	if t.closed {
		abort(c.Conn)
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

// close closes the connections that wait for a line, and each other one when its answer has been written.
func (t *connTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for c := range t.open {
		if c.phase == waiting {
			abort(c.Conn)
		}
	}
}

func (t *connTable) free() {
	select {
	case t.freed <- struct{}{}:
	default:
	}
}

// abort closes c at once, also while another goroutine reads from it. On a TLS connection Close would first try to say
// goodbye, which can take seconds: too long for a caller that holds a lock or has a deadline.
func abort(c net.Conn) { beneath(c).Close() }

// beneath is the TCP connection that carries c.
func beneath(c net.Conn) net.Conn {
	if t, ok := c.(*tls.Conn); ok {
		return t.NetConn()
	}
	return c
}
