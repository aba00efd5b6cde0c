package monitor

import (
	"context"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
)

// states are the states that were ordered, one letter each.
func (a *agents) states() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	for _, line := range a.heard {
		b.WriteByte(strings.Split(line, "|")[3][0])
	}
	a.heard = nil
	return b.String()
}

// A connection that is kept may have died unnoticed: only what the agent has been told already goes that way.
func TestOnlyRepeatedOrdersUseKeptConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh := &agents{hang: map[string]bool{}, down: map[string]bool{}}
		kept := &agents{hang: map[string]bool{}, down: map[string]bool{}}
		answers := make(chan cluster.Answer)
		c := newCourier("db1", netip.MustParseAddr("10.0.0.1"), 9989, fresh, kept, answers)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- c.Run(ctx) }()
		go func() {
			for {
				select {
				case <-answers:
				case <-ctx.Done():
					return
				}
			}
		}()
		expect := func(when, wantFresh, wantKept string) {
			t.Helper()
			synctest.Wait()
			if f, k := fresh.states(), kept.states(); f != wantFresh || k != wantKept {
				t.Errorf("%s: fresh %q, kept %q; want %q, %q", when, f, k, wantFresh, wantKept)
			}
		}
		online, offline := cluster.Order{State: cluster.Online}, cluster.Order{State: cluster.AdminOffline}
		c.post(letter{order: &online})
		expect("an order", "O", "")
		time.Sleep(3 * heartbeat)
		expect("its repetitions", "", "OOO")
		c.post(letter{order: &offline})
		expect("another order", "A", "")
		same := offline
		c.post(letter{order: &same, seq: 1})
		expect("the same with another number", "", "A")
		kept.set(kept.down, "db1", true)
		time.Sleep(2 * heartbeat)
		expect("after a failure", "A", "A")
		kept.set(kept.down, "db1", false)
		kept.set(kept.hang, "db1", true)
		time.Sleep(heartbeat)
		expect("while the agent hangs", "", "A")
		c.post(letter{order: &online})
		expect("another order does not wait for it", "O", "")
		cancel()
		<-done
	})
}
