package monitor

import (
	"context"
	"io"
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

// replies answers for addresses, in the order in which it is asked; after the last one it hangs.
type replies map[string][]func() (string, error)

func (r replies) Ask(ctx context.Context, addr, _ string) (string, error) {
	if len(r[addr]) == 0 {
		<-ctx.Done()
		return "", ctx.Err()
	}
	next := r[addr][0]
	r[addr] = r[addr][1:]
	return next()
}

// TestAgentIsReloaded: an agent that ends the connection, as by a reload, is asked again at the next heartbeat, though
// another host, through which it is tried meanwhile, hangs.
func TestAgentIsReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := func() (string, error) { return "", io.ErrUnexpectedEOF }
		fine := func() (string, error) { return "OK: Status applied successfully!|v=1|seq=0|UP:1.00", nil }
		ask := replies{"10.0.0.1:9989": {ended, ended, fine}}
		c := newCourier("db1", netip.MustParseAddr("10.0.0.1"), 9989, ask, ask, nil)
		c.relays = []relay{{"db2", "10.0.0.2:9989"}}
		began := time.Now()
		answer, _, err := c.deliver(t.Context(), &letter{order: &cluster.Order{State: cluster.Online}}, classicTimeout)
		if took := time.Since(began); err != nil || !answer.Reached || took != 2*heartbeat {
			t.Errorf("answer %+v (%v) after %v", answer, err, took)
		}
		if c.detour {
			t.Error("it goes through others from now on")
		}
	})
}
