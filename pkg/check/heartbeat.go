package check

import (
	"fmt"
	"sync"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// Heartbeat tells how far servers are behind by the beats that somebody writes on the active master, in a table that is
// replicated (pt-heartbeat of the Percona Toolkit). A beat that a server has is compared with the newest one that any
// server was seen to have: both bear the time of one clock, that of the program that writes them, so no other clock and
// no time zone matters. What it assumes: one program at a time writes the row of a server, and its clock runs as fast
// as others. As servers are looked at one after the other, a lag seems up to one check_period and one beat smaller than
// it is.
//
// A Heartbeat is shared by the probes of all hosts, and safe for concurrent use.
type Heartbeat struct {
	Table string        // DB.TABLE
	Stale time.Duration // without a newer beat anywhere for this long nothing is known; more than 0

	mu     sync.Mutex
	newest map[uint32]newestBeat // by server_id, on whatever server it was seen
}

// newestBeat is the newest row of one server_id.
type newestBeat struct {
	at       time.Time // as written
	found    time.Time // monitor's clock, when there first was a row at all
	advanced time.Time // monitor's clock, when it last became newer; zero: not yet
}

func (b newestBeat) since() time.Time {
	if b.advanced.IsZero() {
		return b.found
	}
	return b.advanced
}

// beatReader is what one probe has last read. A beat that goes back on one server tells that the clock was set back:
// then what was seen before says nothing.
type beatReader struct {
	heartbeat *Heartbeat
	last      map[uint32]time.Time
}

func newBeatReader(h *Heartbeat) *beatReader {
	return &beatReader{heartbeat: h, last: make(map[uint32]time.Time)}
}

// lag returns how far the server with these beats is behind. The error says why that is not known.
func (r *beatReader) lag(beats []mysqlctl.Beat, now time.Time) (time.Duration, error) {
	r.heartbeat.mu.Lock()
	defer r.heartbeat.mu.Unlock()
	have := make(map[uint32]time.Time)
	for _, b := range beats {
		have[b.ServerID] = b.At
		r.note(b, now)
	}
	id, ok := r.heartbeat.current()
	if !ok {
		return 0, fmt.Errorf("%s is empty", r.heartbeat.Table)
	}
	at, ok := have[id]
	if !ok {
		return 0, fmt.Errorf("%s has no row of server_id %d, whose beats are the newest", r.heartbeat.Table, id)
	}
	lag := r.heartbeat.newest[id].at.Sub(at)
	if age := now.Sub(r.heartbeat.newest[id].since()); age > r.heartbeat.Stale && lag < r.heartbeat.Stale {
		return 0, fmt.Errorf("no new heartbeat in %s on any host for %d seconds", r.heartbeat.Table, int(age.Seconds()))
	}
	return lag, nil
}

func (r *beatReader) note(b mysqlctl.Beat, now time.Time) {
	if r.heartbeat.newest == nil {
		r.heartbeat.newest = make(map[uint32]newestBeat)
	}
	n, known := r.heartbeat.newest[b.ServerID]
	switch last, seen := r.last[b.ServerID]; {
	case !known:
		n = newestBeat{at: b.At, found: now}
	case seen && b.At.Before(last), b.At.After(n.at):
		n.at, n.advanced = b.At, now
	}
	r.last[b.ServerID], r.heartbeat.newest[b.ServerID] = b.At, n
}

// current is the server that is being written to: whose beats advanced last, else the newest.
func (h *Heartbeat) current() (id uint32, ok bool) {
	for candidate, b := range h.newest {
		best, found := h.newest[id], ok
		switch order := b.advanced.Compare(best.advanced); {
		case !found, order > 0, order == 0 && b.at.After(best.at), order == 0 && b.at.Equal(best.at) && candidate < id:
			id, ok = candidate, true
		}
	}
	return id, ok
}
