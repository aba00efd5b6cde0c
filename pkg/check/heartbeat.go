package check

import (
	"fmt"
	"sync"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// Heartbeat tells how far servers are behind, by the beats that a program writes on the writer into a table that is
// replicated (pt-heartbeat of the Percona Toolkit; docs/replication.md, "Heartbeats"). The beat that a server has is
// compared with the newest one that any server was seen to have. Both bear the time of one clock, that of the program
// that writes them, so no other clock and no time zone matters. It assumes that one program at a time writes the row of
// a server, and that its clock runs as fast as the monitor's. As servers are looked at one after the other, a lag seems
// up to one check_period and one beat smaller than it is.
//
// A Heartbeat is shared by the probes of all hosts, and safe for concurrent use.
type Heartbeat struct {
	Table string // DB.TABLE
	// Stale bounds how old the newest beat may be, more than 0. When no server has had a newer one for longer, only a
	// lag of at least Stale is still known.
	Stale time.Duration

	mu     sync.Mutex
	newest map[uint32]newestBeat // by server_id; the newest beat that any server was seen to have
}

// newestBeat is the newest row of one server_id.
type newestBeat struct {
	at       time.Time // the time in the row
	found    time.Time // by the monitor's clock, when a row of this server_id was first seen
	advanced time.Time // by the monitor's clock, when at last changed; zero: not yet
}

// since returns when at was first seen.
func (b newestBeat) since() time.Time {
	if b.advanced.IsZero() {
		return b.found
	}
	return b.advanced
}

// beatReader is what one probe has read last. A beat that goes back on one server says that the writing program's clock
// was set back: then this beat becomes the newest one, and what was seen before counts no more.
type beatReader struct {
	heartbeat *Heartbeat
	last      map[uint32]time.Time // by server_id
}

func newBeatReader(h *Heartbeat) *beatReader {
	return &beatReader{heartbeat: h, last: make(map[uint32]time.Time)}
}

// lag returns how far the server that has these beats is behind. The error says why that is not known.
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

// current returns the server_id of the server that is being written to: the one whose beat advanced last or, where
// several advanced at the same time or none has yet, the one with the newest beat. ok is false where there are no
// beats.
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
