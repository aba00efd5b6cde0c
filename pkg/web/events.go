package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"mysql-mmm/pkg/monitor"
)

// Limits of the feed.
const (
	maxWatchers  = 64                     // clients at the same time
	pagePace     = 100 * time.Millisecond // at least, between two events
	pageRecords  = 60                     // of the history in each event, at most
	sign         = 5 * time.Second        // between signs of life: the page is stale after 12 s without a word
	watchTimeout = 5 * time.Second        // for a client to take an event
)

// feed sends the whole report as a server-sent event, at once and whenever it has changed (HTML standard, "Server-sent
// events"). A report is encoded once for all clients.
type feed struct {
	source MonitorSource
	places chan struct{}

	mu      sync.Mutex      // guards of and encoded
	of      <-chan struct{} // that came with the report which is in encoded
	encoded []byte
}

func newFeed(source MonitorSource) *feed {
	return &feed{source: source, places: make(chan struct{}, maxWatchers)}
}

// latest returns the newest report, encoded, and a channel that is closed once there may be a newer one. Both are nil
// while the monitor starts.
func (f *feed) latest() ([]byte, <-chan struct{}, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, changed, ok := f.source.Report()
	if !ok {
		return nil, nil, nil
	}
	if f.of == changed {
		return f.encoded, changed, nil
	}
	r.History = r.History[max(0, len(r.History)-pageRecords):]
	text, err := encode(r)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a report: %w", err)
	}
	f.encoded, f.of = text, changed
	return text, changed, nil
}

func encode(r monitor.Report) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "data: %s\n\n", text), nil
}

func (f *feed) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	select {
	case f.places <- struct{}{}:
		defer func() { <-f.places }()
	default:
		w.Header().Set("Retry-After", "10")
		http.Error(w, "Too many clients are watching.", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold events back
	out := http.NewResponseController(w)
	write := func(text []byte) bool {
		if out.SetWriteDeadline(time.Now().Add(watchTimeout)) != nil {
			return false
		}
		if _, err := w.Write(text); err != nil {
			return false
		}
		return out.Flush() == nil
	}
	if req.Method == http.MethodHead {
		return
	}
	if out.SetReadDeadline(time.Time{}) != nil { // else readTimeout would end the connection
		return
	}
	if !write([]byte("retry: 1000\n\n")) {
		return
	}
	var last []byte
	quiet := time.NewTimer(sign)
	defer quiet.Stop()
	for {
		text, changed, err := f.latest()
		if err != nil {
			return
		}
		if text != nil && !bytes.Equal(text, last) {
			if !write(text) {
				return
			}
			last = text
			quiet.Reset(sign)
		}
		select {
		case <-req.Context().Done():
			return
		case <-time.After(pagePace):
		}
		select {
		case <-req.Context().Done():
			return
		case <-changed: // nil while the monitor starts
		case <-quiet.C:
			if !write([]byte("event: alive\ndata:\n\n")) {
				return
			}
			quiet.Reset(sign)
		case <-starting(changed):
		}
	}
}

// starting makes the loop of ServeHTTP look again soon while the monitor starts, and has no channel to wait for.
func starting(changed <-chan struct{}) <-chan time.Time {
	if changed != nil {
		return nil
	}
	return time.After(pagePace)
}
