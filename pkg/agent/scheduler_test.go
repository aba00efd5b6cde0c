package agent

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// inside is a server with its event scheduler.
type inside struct {
	mu           sync.Mutex
	writable, on bool
	set          int
	err, refused error
}

func (i *inside) WritableAndScheduler(context.Context) (bool, bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.writable, i.on, i.err
}

func (i *inside) SetEventScheduler(_ context.Context, on bool) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.set++
	if i.refused == nil {
		i.on = on
	}
	return i.refused
}
func (i *inside) Writable(context.Context) (bool, error)                 { return false, nil }
func (i *inside) EndClients(context.Context, time.Duration) (int, error) { return 0, nil }
func (i *inside) DenyWrites(context.Context, mysqlctl.Deny) error {
	i.do(func() { i.writable = false })
	return nil
}
func (i *inside) AllowWrites(context.Context) error {
	i.do(func() { i.writable = true })
	return nil
}

// do runs f, which looks at the server or changes it, under the lock.
func (i *inside) do(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

// times is how often the scheduler was set.
func (i *inside) times() (n int) {
	i.do(func() { n = i.set })
	return n
}

// TestScheduler: events run where writes are allowed and nowhere else: at once after the agent has opened or closed the
// server, after a restart of the server, and never on a host that may not be the writer. A refusal is logged once.
func TestScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := &inside{on: true}
		var said strings.Builder
		log := slog.New(slog.NewTextHandler(&said, nil))
		s := NewScheduler(i, i, true, log)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- s.Run(ctx) }()
		expect := func(what string, on bool) {
			t.Helper()
			synctest.Wait()
			i.do(func() {
				if i.on != on {
					t.Errorf("%s: the scheduler is %v", what, i.on)
				}
			})
		}
		expect("closed at the start", false)
		if err := s.AllowWrites(ctx); err != nil {
			t.Fatal(err)
		}
		expect("opened", true)
		if err := s.DenyWrites(ctx, mysqlctl.Deny{}); err != nil {
			t.Fatal(err)
		}
		expect("closed", false)
		i.do(func() { i.on = true }) // the server was restarted, and its file says so
		time.Sleep(mendPeriod)
		expect("a second later", false)
		set := i.times()
		time.Sleep(5 * mendPeriod)
		if i.times() != set {
			t.Error("it is set although it is right")
		}
		i.do(func() { i.err, i.on = errors.New("connection refused"), true })
		time.Sleep(mendPeriod)
		if i.times() != set {
			t.Error("a server that says nothing is told something")
		}
		i.do(func() { i.err, i.refused = nil, errors.New("this mends it: GRANT SUPER") })
		time.Sleep(5 * mendPeriod)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if n := strings.Count(said.String(), "Couldn't turn the event scheduler off: this mends it"); n != 1 {
			t.Errorf("said %d times: %s", n, said.String())
		}
		slave := &inside{writable: true, on: true}
		NewScheduler(slave, slave, false, log).mend(t.Context())
		if slave.on {
			t.Error("events run on a host that may not be the writer")
		}
	})
}
