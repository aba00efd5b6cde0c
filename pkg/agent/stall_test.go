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

// TestCommitWaits: what counts is how long one statement waits, not how often somebody does.
func TestCommitWaits(t *testing.T) {
	const s = time.Second
	commit := func(id uint64, lasts time.Duration) mysqlctl.CommitWait {
		return mysqlctl.CommitWait{ID: id, State: "Commit", For: lasts}
	}
	for name, c := range map[string]struct {
		found [][]mysqlctl.CommitWait // one a second
		want  time.Duration
	}{
		"nobody":                  {[][]mysqlctl.CommitWait{{}, {}}, 0},
		"one that waits":          {[][]mysqlctl.CommitWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s)}, {commit(7, 3*s)}}, 3 * s},
		"a long update":           {[][]mysqlctl.CommitWait{{}, {}, {}, {commit(7, 60*s)}}, 0},
		"a long update, waiting":  {[][]mysqlctl.CommitWait{{commit(7, 60*s)}, {commit(7, 61*s)}, {commit(7, 62*s)}}, 2 * s},
		"another one each second": {[][]mysqlctl.CommitWait{{commit(7, 0)}, {commit(8, 0)}, {commit(9, 0)}, {commit(7, 0)}}, 0},
		"one connection, other statements": {
			[][]mysqlctl.CommitWait{{commit(7, 0)}, {commit(7, 0)}, {commit(7, 0)}, {commit(7, 1*s)}, {commit(7, 0)}}, 0},
		"it is over":       {[][]mysqlctl.CommitWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s)}, {}}, 0},
		"the longest wait": {[][]mysqlctl.CommitWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s), commit(8, 0)}}, 2 * s},
		"counts are whole seconds": {
			[][]mysqlctl.CommitWait{{commit(7, 0)}, {commit(7, 0)}, {commit(7, 2*s)}, {commit(7, 2*s)}, {commit(7, 4*s)}}, 4 * s},
	} {
		t.Run(name, func(t *testing.T) {
			w := commitWaits{}
			now := time.Hour
			for _, found := range c.found {
				now += s
				w = w.next(now, found)
			}
			if got := w.stall(now); got.lasts != c.want || (got.why == "") != (c.want == 0) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// words are what a server says of its commits.
type words struct {
	waits   func() ([]mysqlctl.CommitWait, error)
	folders []string
}

func (w words) WaitingCommits(context.Context) ([]mysqlctl.CommitWait, error) { return w.waits() }
func (w words) Folders(context.Context) ([]string, error)                     { return w.folders, nil }

// TestStallWatch: each way in which a server answers and does not write is seen, and its end as well.
func TestStallWatch(t *testing.T) {
	began := time.Now()
	nobody := func() ([]mysqlctl.CommitWait, error) { return nil, nil }
	somebody := func() ([]mysqlctl.CommitWait, error) {
		return []mysqlctl.CommitWait{{ID: 7, State: "Commit", For: time.Since(began).Truncate(time.Second)}}, nil
	}
	roomy := func(string) (uint64, bool, error) { return 1 << 30, false, nil }
	hang := make(chan struct{})
	for why, c := range map[string]struct {
		waits  func() ([]mysqlctl.CommitWait, error)
		volume Volume
	}{
		"":                                {nobody, roomy},
		"connection 7":                    {somebody, roomy},
		"the disk of /data has been full": {nobody, func(string) (uint64, bool, error) { return 4096, false, nil }},
		"/data has been read-only":        {nobody, func(string) (uint64, bool, error) { return 1 << 30, true, nil }},
		"server's data has not answered":  {nobody, func(string) (uint64, bool, error) { <-hang; return 1 << 30, false, nil }},
		" ": {func() ([]mysqlctl.CommitWait, error) { return nil, errors.New("connection refused") },
			func(string) (uint64, bool, error) { return 0, false, errors.New("no such file or directory") }},
	} {
		t.Run(why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began = time.Now()
				var bad, watched atomic.Bool
				hang = make(chan struct{})
				server := words{folders: []string{"/data"}, waits: func() ([]mysqlctl.CommitWait, error) {
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
