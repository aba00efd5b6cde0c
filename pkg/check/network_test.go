package check

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// fakeEcho answers at once or not at all, as the script says for the n-th ping of an address.
type fakeEcho struct {
	answers func(ip string, at time.Duration) bool
	doubt   chan struct{}

	begun time.Time
	mu    sync.Mutex
	log   []string
}

func (f *fakeEcho) Ping(ctx context.Context, ip netip.Addr) error {
	at := time.Since(f.begun)
	f.mu.Lock()
	f.log = append(f.log, at.String()+" "+ip.String())
	f.mu.Unlock()
	if f.answers(ip.String(), at) && sleep(ctx, time.Millisecond) {
		return nil
	}
	sleep(ctx, echoTimeout)
	return errors.New("no answer")
}

type transition struct {
	at time.Duration
	up bool
}

func watchNetwork(t *testing.T, e *fakeEcho, d time.Duration, ips ...string) []transition {
	t.Helper()
	var seen []transition
	e.begun = time.Now()
	n := &Network{Echo: e, Interval: time.Second, Doubt: e.doubt, Emit: func(up bool) {
		if len(seen) == 0 || seen[len(seen)-1].up != up {
			seen = append(seen, transition{time.Since(e.begun), up})
		}
	}}
	for _, ip := range ips {
		n.IPs = append(n.IPs, netip.MustParseAddr(ip))
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := n.Run(ctx); err != nil {
		t.Error(err)
	}
	return seen
}

func TestNetwork(t *testing.T) {
	const a, b = "192.0.2.1", "192.0.2.2"
	ms := time.Millisecond
	for name, tt := range map[string]struct {
		answers func(ip string, at time.Duration) bool
		want    []transition
	}{
		"up": {func(ip string, _ time.Duration) bool { return true }, []transition{{ms, true}}},
		"one of two is enough": {func(ip string, _ time.Duration) bool { return ip == b },
			[]transition{{501 * ms, true}}},
		"down from the start": {func(string, time.Duration) bool { return false }, []transition{{1500 * ms, false}}},
		"comes later": {func(_ string, at time.Duration) bool { return at > 20*time.Second },
			[]transition{{1500 * ms, false}, {20501 * ms, true}}},
		"goes, and comes again": {func(_ string, at time.Duration) bool {
			return at < 10*time.Second ||
				at > 20*time.Second
		},
			[]transition{{ms, true}, {11510 * ms, false}, {20511 * ms, true}}},
		"everything lost for a moment": {func(_ string, at time.Duration) bool {
			return at < 10*time.Second ||
				at > 10900*ms
		}, []transition{{ms, true}}},
		"first one goes, then the other for a moment, while the first is back": {func(ip string,
			at time.Duration) bool {
			return ip == a && (at < 10*time.Second || at > 30*time.Second) || ip == b && at < 30*time.Second
		}, []transition{{ms, true}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := watchNetwork(t, &fakeEcho{answers: tt.answers}, time.Minute, a, b); !reflect.DeepEqual(got,
					tt.want) {
					t.Errorf("%v, want %v", got, tt.want)
				}
			})
		})
	}
}

// TestNetworkInDoubt: when Doubt asks, because a host has not answered, the network is looked at at once.
func TestNetworkInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubt := make(chan struct{}, 1)
		time.AfterFunc(10200*time.Millisecond, func() { doubt <- struct{}{} })
		gone := func(_ string, at time.Duration) bool { return at < 10100*time.Millisecond }
		got := watchNetwork(t, &fakeEcho{answers: gone, doubt: doubt}, time.Minute, "192.0.2.1")
		want := []transition{{time.Millisecond, true}, {11700 * time.Millisecond, false}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	})
}

// TestNetworkStartsFromTheLastAnswer: while the network is up each round pings one address, the one that answered last.
func TestNetworkStartsFromTheLastAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &fakeEcho{answers: func(ip string, at time.Duration) bool {
			return ip == "192.0.2.2" ||
				at > 5*time.Second
		}}
		watchNetwork(t, e, 10*time.Second, "192.0.2.1", "192.0.2.2", "192.0.2.3")
		for _, line := range e.log[4:] {
			if line[len(line)-len("192.0.2.2"):] != "192.0.2.2" {
				t.Errorf("pinged %s: %v", line, e.log)
			}
		}
		if e.log[0] != "0s 192.0.2.1" || len(e.log) < 10 {
			t.Errorf("not the first one first, or no more than that: %v", e.log)
		}
	})
}

func TestNetworkWantsAddresses(t *testing.T) {
	if err := (&Network{Interval: time.Second}).Run(t.Context()); err == nil {
		t.Error("no addresses, no error")
	}
}
