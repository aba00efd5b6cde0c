package agent

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/mysqlctl"
)

// TestWriteWaits: a stall is one statement that waits for long, not many that each wait for a moment.
func TestWriteWaits(t *testing.T) {
	const s = time.Second
	commit := func(id uint64, lasts time.Duration) mysqlctl.WriteWait {
		return mysqlctl.WriteWait{ID: id, State: "Commit", For: lasts, Commits: true}
	}
	writes := func(id uint64, lasts time.Duration) mysqlctl.WriteWait {
		return mysqlctl.WriteWait{ID: id, State: "update", For: lasts, Writes: true}
	}
	idle := mysqlctl.FileWrites{Count: "5"}
	hangs := mysqlctl.FileWrites{UnderWay: 1, Count: "5"}
	goesOn := mysqlctl.FileWrites{UnderWay: 1, Count: "6"}
	for name, c := range map[string]struct {
		found [][]mysqlctl.WriteWait // one a second
		files []mysqlctl.FileWrites  // one a second; nil: InnoDB is idle
		want  time.Duration
	}{
		"nobody": {
			found: [][]mysqlctl.WriteWait{{}, {}}},
		"one that waits": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s)}, {commit(7, 3*s)}},
			want:  3 * s},
		"a long update": {
			found: [][]mysqlctl.WriteWait{{}, {}, {}, {commit(7, 60*s)}}},
		"a long update, waiting": {
			found: [][]mysqlctl.WriteWait{{commit(7, 60*s)}, {commit(7, 61*s)}, {commit(7, 62*s)}},
			want:  2 * s},
		"another one each second": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(8, 0)}, {commit(9, 0)}, {commit(7, 0)}}},
		"one connection, other statements": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, 0)}, {commit(7, 0)}, {commit(7, 1*s)},
				{commit(7, 0)}}},
		"it is over": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s)}, {}}},
		"the longest wait": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, s)}, {commit(7, 2*s), commit(8, 0)}}, want: 2 * s},
		"counts are whole seconds": {
			found: [][]mysqlctl.WriteWait{{commit(7, 0)}, {commit(7, 0)}, {commit(7, 2*s)}, {commit(7, 2*s)},
				{commit(7, 4*s)}},
			want: 4 * s},
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

// FileWrites says that one write of InnoDB to a file is under way, and never ends.
func (w words) FileWrites(context.Context) (mysqlctl.FileWrites, error) {
	return mysqlctl.FileWrites{UnderWay: 1, Count: "5"}, nil
}

// volume is a file system with these properties.
type volume struct {
	free        uint64
	readOnly    bool
	err         error
	stat, write func() // called before it answers
	failure     error  // what a write returns
}

func (v volume) Stat(string) (uint64, bool, error) {
	if v.stat != nil {
		v.stat()
	}
	return v.free, v.readOnly, v.err
}

func (v volume) Write(string) error {
	if v.write != nil {
		v.write()
	}
	return v.failure
}

// sometimes is the file system ill while bad is set, and well else.
type sometimes struct {
	bad       *atomic.Bool
	ill, well Volume
}

func (s sometimes) now() Volume {
	if s.bad.Load() {
		return s.ill
	}
	return s.well
}

func (s sometimes) Stat(folder string) (uint64, bool, error) { return s.now().Stat(folder) }
func (s sometimes) Write(folder string) error                { return s.now().Write(folder) }

// TestStallWatch: each way in which a server answers and does not write is seen, and so is its end.
func TestStallWatch(t *testing.T) {
	began := time.Now()
	nobody := func() ([]mysqlctl.WriteWait, error) { return nil, nil }
	somebody := func() ([]mysqlctl.WriteWait, error) {
		lasts := time.Since(began).Truncate(time.Second)
		return []mysqlctl.WriteWait{{ID: 7, State: "Commit", For: lasts, Commits: true}}, nil
	}
	updates := func() ([]mysqlctl.WriteWait, error) {
		return []mysqlctl.WriteWait{{ID: 8, State: "update", For: time.Since(began).Truncate(time.Second),
			Writes: true}}, nil
	}
	strange := func() ([]mysqlctl.WriteWait, error) {
		return []mysqlctl.WriteWait{{ID: 9, State: "Starting", For: time.Since(began).Truncate(time.Second)}}, nil
	}
	roomy := volume{free: 1 << 30}
	hang := make(chan struct{})
	wait := func() { <-hang }
	for why, c := range map[string]struct {
		waits  func() ([]mysqlctl.WriteWait, error)
		volume volume
	}{
		"":                                {nobody, roomy},
		"connection 7":                    {somebody, roomy},
		"no write of InnoDB":              {updates, roomy},
		"the disk of /data has been full": {nobody, volume{free: 4096}},
		"/data has been read-only":        {nobody, volume{free: 1 << 30, readOnly: true}},
		"server's data has not answered":  {nobody, volume{free: 1 << 30, stat: wait}},
		"data has not answered":           {strange, volume{free: 1 << 30, write: wait}},
		"has taken nothing (input/":       {strange, volume{free: 1 << 30, failure: unix.EIO}},
		"  ":                              {nobody, volume{free: 1 << 30, write: wait}},
		"   ":                             {strange, roomy},
		" ": {func() ([]mysqlctl.WriteWait, error) { return nil, errors.New("connection refused") },
			volume{err: unix.ENOENT}},
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
				w := newStallWatch(server, sometimes{&bad, c.volume, roomy}, &watched)
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
				if got := w.get(); (got.lasts >= 9*time.Second) != want ||
					!strings.Contains(got.why, strings.TrimSpace(why)) {
					t.Errorf("after 12 s: %v", got)
				}
				watched.Store(false) // the host is no writer any more: a stall is watched until it ends
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
