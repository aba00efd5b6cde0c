package monitor

import (
	"context"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/store"
)

// lines is a log that is read while it is written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestStartSaysWhatItWaitsFor: a monitor whose ping_ips no machine has never starts, and says why. A monitor that waits
// for its first checks says that.
func TestStartSaysWhatItWaitsFor(t *testing.T) {
	status := filepath.Join(t.TempDir(), "status")
	synctest.Test(t, func(t *testing.T) {
		var log lines
		up, probed := make(chan bool), make(chan struct{})
		top := topology()
		a := &agents{hang: map[string]bool{}, down: map[string]bool{}}
		m := New(Config{Topology: top, Mode: cluster.Active, StatusPath: status, Store: store.NewFile(status, durable.Disk{}),
			KillBin: "/nonexistent/kill_host",
			Agents:  a, AgentPorts: map[string]int{},
			PingIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")},
			Log:     slog.New(slog.NewTextHandler(&log, nil)),
			Checks: Checks{
				Registry: check.Known(),
				Network: func(_ <-chan struct{}, emit func(bool)) Task {
					return task(func(ctx context.Context) error {
						for {
							select {
							case is := <-up:
								emit(is)
							case <-ctx.Done():
								return nil
							}
						}
					})
				},
				Hosts: func(emit func(check.Update)) []Task {
					return append(goodChecks(top, emit)[1:], task(func(ctx context.Context) error {
						select {
						case <-probed:
							return goodChecks(top, emit)[0].Run(ctx)
						case <-ctx.Done():
							return nil
						}
					}))
				},
			}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- m.Run(ctx) }()
		expect := func(when, want string) {
			t.Helper()
			synctest.Wait()
			const starting = "ERROR: The monitor is starting. Please, wait some time.\n# It waits until "
			if got := m.Handle(ctx, "show"); !strings.HasPrefix(got, starting+want) {
				t.Errorf("%s: %s", when, got)
			}
		}
		const network = "an address of ping_ips (192.0.2.1, 192.0.2.2) answers a ping: until then its own network counts as down. "
		expect("at first", network)
		up <- false
		expect("when none has answered", network)
		time.Sleep(longWait - time.Second)
		synctest.Wait()
		if strings.Contains(log.String(), "ping_ips") {
			t.Errorf("too early:\n%s", &log)
		}
		time.Sleep(10 * longWait)
		synctest.Wait()
		if strings.Count(log.String(), "level=WARN msg=\"The monitor waits until "+network) != 1 {
			t.Errorf("log:\n%s", &log)
		}
		up <- true
		expect("with a network", "every check of every host has ended once")
		close(probed)
		synctest.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := m.Handle(ctx, "show"); !strings.Contains(got, "db1(10.0.0.1) master/") ||
			strings.Contains(got, "waits") {
			t.Errorf("after the start: %s", got)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
