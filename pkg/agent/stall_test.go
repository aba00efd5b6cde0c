package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// TestWriteWaits: what counts is how long one statement waits, not how often somebody does.
func TestWriteWaits(t *testing.T) {
	const s = time.Second
	commit := func(id uint64, lasts time.Duration) mysqlctl.WriteWait {
		return mysqlctl.WriteWait{ID: id, State: "Commit", For: lasts, Commits: true}
	}
	writes := func(id uint64, lasts time.Duration) mysqlctl.WriteWait {
		return mysqlctl.WriteWait{ID: id, State: "update", For: lasts}
	}
	idle := mysqlctl.FileWrites{Count: "5"}
	hangs := mysqlctl.FileWrites{UnderWay: 1, Count: "5"}
	goesOn := mysqlctl.FileWrites{UnderWay: 1, Count: "6"}
	for name, c := range map[string]struct {
		found [][]mysqlctl.WriteWait // one a second
		files []mysqlctl.FileWrites  // none: idle
		want  time.Duration
	}{
		"nobody":                  {found: [][]mysqlctl.WriteWait{{}, {}}},
		"one that waits":          {found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s)}, {commit(7, 3*s)}}, want: 3 * s},
		"a long update":           {found: [][]mysqlctl.WriteWait{{}, {}, {}, {commit(7, 60*s)}}},
		"a long update, waiting":  {found: [][]mysqlctl.WriteWait{{commit(7, 60*s)}, {commit(7, 61*s)}, {commit(7, 62*s)}}, want: 2 * s},
		"another one each second": {found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(8, 0)}, {commit(9, 0)}, {commit(7, 0)}}},
		"one connection, other statements": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, 0)}, {commit(7, 0)}, {commit(7, 1*s)}, {commit(7, 0)}}},
		"it is over":       {found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s)}, {}}},
		"the longest wait": {found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s), commit(8, 0)}}, want: 2 * s},
		"counts are whole seconds": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, 0)}, {commit(7, 2*s)}, {commit(7, 2*s)}, {commit(7, 4*s)}}, want: 4 * s},
		"an update at work": {
			found: [][]mysqlctl.WriteWait{{writes(7, 60*s)}, {writes(7, 61*s)}, {writes(7, 62*s)}}},
		"an update at work, whose writes go on": {
			found: [][]mysqlctl.WriteWait{{writes(7, 60*s)}, {writes(7, 61*s)}, {writes(7, 62*s)}},
			files: []mysqlctl.FileWrites{hangs, goesOn, hangs}},
		"an update, whose file takes nothing": {
			found: [][]mysqlctl.WriteWait{{writes(7, 0)}, {writes(7, s)}, {writes(7, 2*s)}},
			files: []mysqlctl.FileWrites{hangs, hangs, hangs}, want: 2 * s},
		"an update that waited for a lock before": {
			found: [][]mysqlctl.WriteWait{{writes(7, 0)}, {writes(7, s)}, {writes(7, 2*s)}, {writes(7, 3*s)}},
			files: []mysqlctl.FileWrites{hangs, goesOn, goesOn, goesOn}, want: 2 * s},
		"nobody writes": {
			found: [][]mysqlctl.WriteWait{{}, {}, {}}, files: []mysqlctl.FileWrites{hangs, hangs, hangs}},
	} {
		t.Run(name, func(t *testing.T) {
			w, files := writeWaits{}, fileWrites{}
			now := time.Hour
			for i, found := range c.found {
				now += s
				said := idle
				if c.files != nil {
					said = c.files[i]
				}
				files = files.next(now, said)
				w = w.next(now, found, files)
			}
			if got := w.stall(now); got.lasts != c.want || (got.why == "") != (c.want == 0) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// words are what a server says of its commits.
type words struct {
	waits   func() ([]mysqlctl.WriteWait, error)
	folders []string
}

func (w words) WaitingWrites(context.Context) ([]mysqlctl.WriteWait, error) { return w.waits() }
func (w words) Folders(context.Context) ([]string, error)                   { return w.folders, nil }

// FileWrites: InnoDB always waits for a file here.
func (w words) FileWrites(context.Context) (mysqlctl.FileWrites, error) {
	return mysqlctl.FileWrites{UnderWay: 1, Count: "5"}, nil
}

// TestStallWatch: each way in which a server answers and does not write is seen, and its end as well.
func TestStallWatch(t *testing.T) {
	began := time.Now()
	nobody := func() ([]mysqlctl.WriteWait, error) { return nil, nil }
	somebody := func() ([]mysqlctl.WriteWait, error) {
		return []mysqlctl.WriteWait{{ID: 7, State: "Commit", For: time.Since(began).Truncate(time.Second), Commits: true}}, nil
	}
	updates := func() ([]mysqlctl.WriteWait, error) {
		return []mysqlctl.WriteWait{{ID: 8, State: "update", For: time.Since(began).Truncate(time.Second)}}, nil
	}
	roomy := func(string) (uint64, bool, error) { return 1 << 30, false, nil }
	hang := make(chan struct{})
	for why, c := range map[string]struct {
		waits  func() ([]mysqlctl.WriteWait, error)
		volume Volume
	}{
		"":                                {nobody, roomy},
		"connection 7":                    {somebody, roomy},
		"no write of InnoDB":              {updates, roomy},
		"the disk of /data has been full": {nobody, func(string) (uint64, bool, error) { return 4096, false, nil }},
		"/data has been read-only":        {nobody, func(string) (uint64, bool, error) { return 1 << 30, true, nil }},
		"server's data has not answered":  {nobody, func(string) (uint64, bool, error) { <-hang; return 1 << 30, false, nil }},
		" ": {func() ([]mysqlctl.WriteWait, error) { return nil, errors.New("connection refused") },
			func(string) (uint64, bool, error) { return 0, false, errors.New("no such file or directory") }},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began = time.Now()
				var bad, watched atomic.Bool
				hang = make(chan struct{})
				server := words{folders: []string{"/data"}, waits: func() ([]mysqlctl.WriteWait, error) {
					if bad.Load() {
						return c.waits()
					}
					return nil, nil
				}}
				w := newStallWatch(server, func(folder string) (uint64, bool, error) {
					if bad.Load() {
						return c.volume(folder)
					}
					return roomy(folder)
				}, &watched)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- w.Run(ctx) }()
				bad.Store(true)
				time.Sleep(10 * time.Second)
				if got := w.get(); got != (stall{}) {
					t.Errorf("of a host that is not the writer: %v", got)
				}
				bad.Store(false)
				watched.Store(true)
				time.Sleep(3 * time.Second)
				bad.Store(true)
				time.Sleep(12 * time.Second)
				want := strings.TrimSpace(why) != ""
				if got := w.get(); (got.lasts >= 9*time.Second) != want || !strings.Contains(got.why, strings.TrimSpace(why)) {
					t.Errorf("after 12 s: %v", got)
				}
				watched.Store(false) // it is to leave, and is looked at until it is well
				time.Sleep(3 * time.Second)
				if got := w.get(); (got.lasts >= 12*time.Second) != want {
					t.Errorf("while it leaves: %v", got)
				}
				bad.Store(false)
				close(hang)
				time.Sleep(3 * time.Second)
				if got := w.get(); got != (stall{}) {
					t.Errorf("it writes again: %v", got)
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			})
		})
	}
}
