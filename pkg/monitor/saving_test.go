package monitor

import (
	"context"
	"io/fs"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/store"
)

// memory is a Store that is no file. It says that it has kept something only once free is closed.
type memory struct {
	kept  *cluster.Durable // shared with the memory of the next monitor
	saved chan store.Saved
	asked chan uint64
	free  chan struct{} // closed: saves succeed
	last  uint64
}

func newMemory(kept *cluster.Durable) *memory {
	return &memory{kept: kept, saved: make(chan store.Saved), asked: make(chan uint64, 100), free: make(chan struct{})}
}

func (m *memory) Load(func(string) bool) (cluster.Durable, []string, error) {
	if m.kept.Writer == "" {
		return cluster.Durable{}, nil, fs.ErrNotExist
	}
	return *m.kept, nil, nil
}

func (m *memory) Save(d cluster.Durable) (uint64, bool) {
	*m.kept = d
	m.last++
	m.asked <- m.last
	return m.last, true
}

func (m *memory) Saved() <-chan store.Saved { return m.saved }

func (m *memory) Run(ctx context.Context) error {
	for {
		var s store.Saved
		select {
		case s.Version = <-m.asked:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-m.free:
		case <-ctx.Done():
			return nil
		}
		select {
		case m.saved <- s:
		case <-ctx.Done():
			return nil
		}
	}
}

// With a Store that is no file, too, every order about the writer waits until the decision is kept, and the next
// monitor starts from what was kept.
func TestAnotherStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var kept cluster.Durable
		var a *leasedAgents
		begin := func(m *memory) (*Monitor, func()) {
			a = &leasedAgents{began: time.Now(), dark: map[string]bool{}, epoch: map[string]cluster.Epoch{},
				until: map[string]time.Duration{}}
			top := topology()
			top.Lease = cluster.Lease(3 * time.Second)
			mon := New(Config{Topology: top, Mode: cluster.Active, Store: m, KillBin: "/nonexistent/kill_host",
				Agents: a, AgentPorts: map[string]int{}, Log: slog.New(slog.DiscardHandler),
				Checks: Checks{Registry: check.Known(),
					Network: func(doubt <-chan struct{}, emit func(bool)) Task { return upAlways{doubt, emit} },
					Hosts:   func(emit func(check.Update)) []Task { return goodChecks(top, emit) },
				}})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- mon.Run(ctx) }()
			return mon, func() {
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}
		}
		writer := func() string {
			time.Sleep(20 * time.Second)
			synctest.Wait()
			for _, host := range []string{"db1", "db2"} {
				if a.left(host) > 0 {
					return host
				}
			}
			return ""
		}
		first := newMemory(&kept)
		_, end := begin(first)
		if w := writer(); w != "" {
			t.Errorf("before anything is kept %s is the writer", w)
		}
		close(first.free)
		was := writer() // not db1, which is first in the configuration, and did not take the role in time
		end()
		second := newMemory(&kept)
		close(second.free)
		m, end := begin(second)
		if w := writer(); w != was || was != "db2" {
			t.Errorf("after a restart the writer is %q, it was %q:\n%s", w, was, m.Handle(t.Context(), "show"))
		}
		end()
	})
}
