package agentclient

import (
	"context"
	"io"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// agent is an agent of ours that takes every order, hangs, or is away.
type agent struct {
	mu         sync.Mutex
	hang, down bool
	heard      []string
}

func (a *agent) Ask(ctx context.Context, _, line string) (string, error) {
	r, err := wire.ParseRequest(line)
	if err != nil {
		return "", err
	}
	o, err := wire.ParseOrder(r)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	a.heard = append(a.heard, string(o.State))
	hang, down := a.hang, a.down
	a.mu.Unlock()
	switch {
	case hang:
		<-ctx.Done()
		return "", ctx.Err()
	case down:
		return "", syscall.ECONNREFUSED
	}
	report := wire.Report{Extended: true, Seq: o.Seq, Have: o.Roles, Writable: wire.No}
	return wire.Answer{Text: "OK: Done", Uptime: 100, Fields: report.Fields()}.String(), nil
}

func (a *agent) set(hang, down bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hang, a.down = hang, down
}

// states are the states that were ordered, one letter each.
func (a *agent) states() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var b strings.Builder
	for _, state := range a.heard {
		b.WriteByte(state[0])
	}
	a.heard = nil
	return b.String()
}

// TestOnlyRepeatedOrdersUseKeptConnections: only an order that the agent has answered before goes on a connection that
// was kept, since such a connection may have died unnoticed.
func TestOnlyRepeatedOrdersUseKeptConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fresh, kept := &agent{}, &agent{}
		answers := make(chan cluster.Answer)
		c := New(Config{Host: "db1", Addr: netip.MustParseAddrPort("10.0.0.1:9989"), Agents: fresh, Repeats: kept,
			Answers: answers})
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
		online, offline := cluster.Order{State: cluster.Online, Extended: true},
			cluster.Order{State: cluster.AdminOffline, Extended: true}
		c.Post(Message{Order: &online})
		expect("an order", "O", "")
		time.Sleep(3 * RenewalPeriod)
		expect("its repetitions", "", "OOO")
		c.Post(Message{Order: &offline})
		expect("another order", "A", "")
		same := offline
		same.Seq = 1
		c.Post(Message{Order: &same})
		expect("the same with another number", "", "A")
		kept.set(false, true)
		time.Sleep(2 * RenewalPeriod)
		expect("after a failure", "A", "A")
		kept.set(true, false)
		time.Sleep(RenewalPeriod)
		expect("while the agent hangs", "", "A")
		c.Post(Message{Order: &online})
		expect("another order does not wait for it", "O", "")
		cancel()
		<-done
	})
}

// replies are the answers of the agents at some addresses, one after the other. After its last answer an agent hangs.
type replies struct {
	mu sync.Mutex
	of map[string][]func() (string, error)
}

func (r *replies) Ask(ctx context.Context, addr, _ string) (string, error) {
	r.mu.Lock()
	left := r.of[addr]
	if len(left) > 0 {
		r.of[addr] = left[1:]
	}
	r.mu.Unlock()
	if len(left) == 0 {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return left[0]()
}

// TestAgentIsReloaded: an agent that ends the connection, as when it is reloaded, is asked directly again at the next
// renewal, though the relay that is tried meanwhile hangs.
func TestAgentIsReloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := func() (string, error) { return "", io.ErrUnexpectedEOF }
		fine := func() (string, error) { return "OK: Status applied successfully!|v=1|seq=0|UP:1.00", nil }
		ask := &replies{of: map[string][]func() (string, error){"10.0.0.1:9989": {ended, ended, fine}}}
		c := New(Config{Host: "db1", Addr: netip.MustParseAddrPort("10.0.0.1:9989"), Agents: ask,
			Relays: []Relay{{"db2", netip.MustParseAddrPort("10.0.0.2:9989")}}})
		began := time.Now()
		answer, _, err := c.deliver(t.Context(), &Message{Order: &cluster.Order{State: cluster.Online}}, classicTimeout)
		if took := time.Since(began); err != nil || !answer.Reached || took != 2*RenewalPeriod {
			t.Errorf("answer %+v (%v) after %v", answer, err, took)
		}
		if c.relayed {
			t.Error("it goes through others from now on")
		}
	})
}
