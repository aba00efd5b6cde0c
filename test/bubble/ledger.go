package bubble

import (
	"context"
	"slices"
	"time"
)

// ledger is what the clients know of their writes. It is used with the world locked.
type ledger struct {
	next    int                  // number of the newest write
	acked   []int                // the acknowledged writes, in the order of their acknowledgements
	by      map[int]string       // by write: the host that acknowledged it
	at      map[int]time.Time    // by write: when that was
	latest  map[string]time.Time // by host: when it last acknowledged a write
	missing map[int]bool         // acknowledged writes that a server lacked when it was opened, or the last writer lacks
}

func newLedger() ledger {
	return ledger{by: map[int]string{}, at: map[int]time.Time{}, latest: map[string]time.Time{}, missing: map[int]bool{}}
}

// writeAll is the clients: it begins one write after the other, each on a new connection to the writer's address.
func (w *World) writeAll(ctx context.Context) {
	d := newDice(w.Seed, "clients")
	for {
		t := time.NewTimer(d.between(100*time.Millisecond, 500*time.Millisecond))
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		w.mu.Lock()
		list := w.writers()
		var s *server
		if len(list) > 0 {
			s = w.host(list[d.n(len(list))]).server
		}
		w.mu.Unlock()
		if s == nil {
			continue
		}
		takes := d.between(500*time.Microsecond, 5*time.Millisecond)
		if w.long && d.one(20) {
			takes = d.between(time.Second, 12*time.Second)
		}
		w.crowd.Go(func() { w.write(ctx, s, takes) })
	}
}

// write is one transaction of a client, which takes a while before it commits.
func (w *World) write(ctx context.Context, s *server, takes time.Duration) {
	w.mu.Lock()
	if s.closing > 0 || s.readOnly || s.health != well {
		w.mu.Unlock()
		return
	}
	w.next++
	id := w.next
	st := &statement{ended: make(chan struct{}), id: uint64(id), began: time.Now()}
	s.running[st] = true
	w.mu.Unlock()
	t := time.NewTimer(takes)
	defer t.Stop()
	select {
	case <-t.C:
	case <-st.ended:
		return
	case <-ctx.Done():
		return
	}
	w.mu.Lock()
	st.commits = true
	for s.health != down && (!s.answering() || s.stalled) && s.running[st] {
		moved := s.moved
		w.mu.Unlock()
		select {
		case <-moved:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
	}
	if !s.running[st] {
		w.mu.Unlock()
		return
	}
	died, end := s.died, s.commit(id)
	for w.semi && !s.received(end) {
		moved := s.moved
		w.mu.Unlock()
		select {
		case <-moved:
		case <-st.ended: // the write is in the log, and its client gets an error
			return
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
	}
	waited := s.running[st]
	delete(s.running, st)
	s.turn() // DenyWrites may wait for this statement
	if waited && s.h.answers() && w.network.both(clientName, s.h.name) && s.died == died && s.health == well &&
		!st.cut {
		w.acked, w.by[id], w.at[id], w.latest[s.h.name] = append(w.acked, id), s.h.name, time.Now(), time.Now()
	}
	w.mu.Unlock()
}

// opened looks whether a server that is opened has all acknowledged writes. The world is locked.
func (w *World) opened(s *server) {
	var lost []int
	for _, id := range w.acked {
		if !s.data[id] && !w.missing[id] {
			lost = append(lost, id)
		}
	}
	if len(lost) == 0 {
		return
	}
	w.note(s.h.name, "server: lacks %d acknowledged writes: %v", len(lost), lost)
	w.stale(s, lost)
	for _, id := range lost {
		w.missing[id] = true
	}
	// A write is acknowledged when one other server has received it. It may be lost where that server dies too before
	// it has executed the write, and the writer does not come back.
	lost = slices.DeleteFunc(lost, func(id int) bool { return w.gaveIn && slices.Contains(s.replica.shed, id) })
	if len(lost) > 0 && w.semi && w.judgesData() && !w.forced[s.h.name] && !w.lost && !w.lied && !w.excused {
		w.fail("%s was opened without %d acknowledged writes, though replication is semi-synchronous", s.h.name,
			len(lost))
	}
}

// stale looks whether a server is opened that had received nothing for long when the host died whose writes it lacks.
// It may be opened only where that host has been waited for in vain (wait_for_other_master), or by force. The world is
// locked.
func (w *World) stale(s *server, lost []int) {
	if w.gaveIn || !w.judgesData() || w.forced[s.h.name] || w.lost || w.lied || w.excused {
		return
	}
	unseen := w.trap + netTimeout + 2*(w.brain.setup.period+w.timeout) + time.Second
	for _, id := range lost {
		if behind := w.latest[w.by[id]].Sub(w.at[id]); behind > unseen {
			w.fail("%s was opened, and had received nothing of %s for %.1f s: nobody had waited for that host", s.h.name,
				w.by[id], behind.Seconds())
			return
		}
	}
}

// judgesData says whether lost writes count. They don't where a slave may be the writer: the masters do not replicate
// from a slave, so that its writes are lost with it.
func (w *World) judgesData() bool {
	return w.Abilities.Has(SlaveWriters) || !slices.Contains(w.first, slaveName)
}

// audit waits until every acknowledged write that the last writer lacks is named in some log: of a host that is back
// this may take until its log has been looked at.
func (w *World) audit() {
	began := time.Now()
	for {
		silent, known := w.silent()
		if known && len(silent) == 0 {
			return
		}
		if time.Since(began) > settleTime {
			w.failed("%d acknowledged writes are lost, and no log has said so: %v", len(silent), silent)
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// silent are the acknowledged writes that the writer lacks, and that were acknowledged by a host of which no log has
// said that it has what others lack. They are known only while there is exactly one writer.
func (w *World) silent() (silent []int, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.judgesData() || w.wrong != "" {
		return nil, true
	}
	list := w.writers()
	if len(list) != 1 {
		return nil, false
	}
	data := w.host(list[0]).server.data
	for _, id := range w.acked {
		switch {
		case data[id]:
			delete(w.missing, id)
		default:
			w.missing[id] = true
			if !w.named[w.by[id]] {
				silent = append(silent, id)
			}
		}
	}
	return silent, true
}
