package agent

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// A server may answer every question and write nothing: its disk hangs or is full, or nobody acknowledges what it
// commits. The agent tells the monitor what it sees of that; the monitor decides (docs/design.md, "A writer that can't
// write").

// Commits is what the local server says of writes that are to reach its disk.
type Commits interface {
	WaitingWrites(ctx context.Context) ([]mysqlctl.WriteWait, error)
	FileWrites(ctx context.Context) (mysqlctl.FileWrites, error)
	Folders(ctx context.Context) ([]string, error)
}

const (
	stallPeriod = time.Second // between two looks
	// stalledFor: a server that has written nothing for so long counts as stalled. It is not asked to close itself for
	// writes, as that would hang too.
	stalledFor = 3 * time.Second
	// sameStatement is how far the start of one statement may seem to move from look to look: servers count whole seconds.
	sameStatement = 1500 * time.Millisecond
	// longStatement: where a statement runs for so long and does not say that it waits for its commit, a block is written
	// to the disk to see whether that is what it waits for.
	longStatement = time.Second
	// fullDisk: a disk with fewer bytes free counts as full. InnoDB lets a table grow by extents of 1 MiB.
	fullDisk = 1 << 20
)

// stall is for how long the server has written nothing though it has something to write, and how that is known. The
// zero value is no stall.
type stall struct {
	lasts time.Duration
	why   string
}

// writeWaits are the statements that wait for their commit, or for a file that takes nothing, by the ids of their
// connections.
type writeWaits map[uint64]writeWait

type writeWait struct {
	since   time.Duration // when the statement was first found to wait
	started time.Duration // when the statement began, by the server's count
	state   string        // as the server calls it
	commits bool          // it waits for its commit; else for a file
}

// next takes in the waits that were found now. A connection that waits with another statement each time makes progress,
// and its wait begins anew. A statement that does not wait for its commit counts only for the time in which no write of
// InnoDB to a file has ended: before that it may have waited for a lock.
func (w writeWaits) next(now time.Duration, found []mysqlctl.WriteWait, files fileWrites) writeWaits {
	next := writeWaits{}
	for _, c := range found {
		this := writeWait{since: now, started: now - c.For, state: c.State, commits: c.Commits}
		before, ok := w[c.ID]
		switch {
		case !c.Commits && (!c.Writes || files.said.UnderWay == 0):
			continue
		case !ok || (this.started-before.started).Abs() > sameStatement:
		default:
			this.since, this.started = before.since, before.started
		}
		if !c.Commits {
			this.since = max(this.since, files.since)
		}
		next[c.ID] = this
	}
	return next
}

// stall is the longest of the waits.
func (w writeWaits) stall(now time.Duration) stall {
	var longest stall
	for id, c := range w {
		lasts := now - c.since
		if lasts <= longest.lasts {
			continue
		}
		what := "for its commit (" + c.state + ")"
		if !c.commits {
			what = "(" + c.state + "), and no write of InnoDB to a file has ended"
		}
		longest = stall{lasts, fmt.Sprintf("connection %d has waited %d s %s", id, int(lasts.Seconds()), what)}
	}
	return longest
}

// fileWrites is what InnoDB says of its writes to files, and since when writes have been under way and none has ended.
type fileWrites struct {
	said  mysqlctl.FileWrites
	since time.Duration
}

func (f fileWrites) next(now time.Duration, found mysqlctl.FileWrites) fileWrites {
	if found.UnderWay == 0 || f.said.UnderWay == 0 || found.Count != f.said.Count {
		f.since = now
	}
	return fileWrites{found, f.since}
}

// stallWatch looks whether the local server writes. Its fields belong to Run.
type stallWatch struct {
	commits Commits
	volume  Volume
	watched *atomic.Bool // see Agent.writer; while it is false, and no stall lasts, nothing is looked at

	began   time.Time // times below count from here
	waits   writeWaits
	files   fileWrites
	folders []string      // to which every commit writes
	asked   chan string   // for the file systems' answer; nil: they are not being asked
	full    time.Duration // since when a folder takes nothing, for the reason fullWhy; 0: all of them take writes
	fullWhy string
	newest  atomic.Pointer[stall]
}

func newStallWatch(c Commits, v Volume, watched *atomic.Bool) *stallWatch {
	w := &stallWatch{commits: c, volume: v, watched: watched, waits: writeWaits{}}
	w.newest.Store(&stall{})
	return w
}

// Run looks until ctx ends.
func (w *stallWatch) Run(ctx context.Context) error {
	if w.commits == nil {
		return nil
	}
	w.began = time.Now()
	ticker := time.NewTicker(stallPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if !w.watched.Load() && w.get() == (stall{}) {
			w.waits, w.files, w.full = writeWaits{}, fileWrites{}, 0
			continue
		}
		w.look(ctx)
	}
}

// look looks once. A question without an answer proves no stall: rounds see to a server that does not answer.
func (w *stallWatch) look(ctx context.Context) {
	asking, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if found, err := w.commits.FileWrites(asking); err == nil {
		w.files = w.files.next(time.Since(w.began), found)
	}
	found, err := w.commits.WaitingWrites(asking)
	if err == nil {
		w.waits = w.waits.next(time.Since(w.began), found, w.files)
	}
	doubt := err != nil || slices.ContainsFunc(found, func(c mysqlctl.WriteWait) bool {
		return !c.Commits && c.For >= longStatement
	})
	if w.folders == nil {
		w.folders, _ = w.commits.Folders(asking)
	}
	now := time.Since(w.began)
	s := w.waits.stall(now)
	if why := w.unusable(ctx, doubt); why == "" {
		w.full = 0
	} else {
		if w.full == 0 || w.fullWhy != why {
			w.full, w.fullWhy = now, why
		}
		if lasts := now - w.full; lasts > s.lasts {
			s = stall{lasts, fmt.Sprintf("%s for %d s", why, int(lasts.Seconds()))}
		}
	}
	w.newest.Store(&s)
}

// unusable says why a folder to which every commit writes takes nothing, or "". A folder that this agent can't see
// proves nothing. With write it also writes a block there: that is done only where a statement takes long without
// saying that it waits for the disk, so that a server at work is left alone.
func (w *stallWatch) unusable(ctx context.Context, write bool) string {
	if w.asked == nil {
		w.asked = make(chan string, 1)
		go func(answer chan<- string, folders []string) { answer <- unusable(w.volume, folders, write) }(w.asked,
			w.folders)
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	select {
	case why := <-w.asked:
		w.asked = nil
		return why
	case <-ctx.Done():
		return "the file system of the server's data has not answered"
	}
}

func unusable(volume Volume, folders []string, write bool) string {
	for _, folder := range folders {
		free, readOnly, err := volume.Stat(folder)
		switch {
		case err != nil:
			continue
		case readOnly:
			return "the file system of " + folder + " has been read-only"
		case free < fullDisk:
			return "the disk of " + folder + " has been full"
		case !write:
			continue
		}
		if err := volume.Write(folder); err != nil {
			return "the disk of " + folder + " has taken nothing (" + err.Error() + ")"
		}
	}
	return ""
}

func (w *stallWatch) get() stall { return *w.newest.Load() }
