package vip

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// bench is an Announcer without a network, in virtual time.
type bench struct {
	*Announcer
	start time.Time
	log   strings.Builder

	mu       sync.Mutex
	here     []netip.Addr
	heldErr  error
	sendErr  error
	sendTime time.Duration
	tries    int
	sent     map[netip.Addr][]time.Duration
}

func newBench(here ...netip.Addr) *bench {
	b := &bench{start: time.Now(), here: here, sent: map[netip.Addr][]time.Duration{}}
	b.Announcer = NewAnnouncer("eth0", slog.New(slog.NewTextHandler(&b.log, nil)))
	b.Refresh = 0 // the tests that are about it set it
	b.held = func(context.Context) ([]netip.Addr, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.tries++
		return b.here, b.heldErr
	}
	b.send = func(_ context.Context, ip netip.Addr) error {
		b.mu.Lock()
		defer b.mu.Unlock()
		time.Sleep(b.sendTime)
		b.sent[ip] = append(b.sent[ip], time.Since(b.start))
		return b.sendErr
	}
	return b
}

// change changes the world while the announcer runs.
func (b *bench) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
}

func (b *bench) want(t *testing.T, ip netip.Addr, ms ...int) {
	t.Helper()
	var want []time.Duration
	for _, m := range ms {
		want = append(want, time.Duration(m)*time.Millisecond)
	}
	if !slices.Equal(b.sent[ip], want) {
		t.Errorf("%s was announced at %v, want %v", ip, b.sent[ip], want)
	}
}

func TestAnnouncerSchedule(t *testing.T) {
	other := netip.MustParseAddr("10.0.0.6")
	nothing := func(*bench) {}
	for _, tc := range []struct {
		name   string
		before func(*bench) // between Announce and Run
		then   func(*bench) // after the first announcement
		want   []int
	}{
		{"alone", nothing, nothing, []int{0, 100, 300, 1000, 2000, 3000, 4000, 5000}},
		{"forgotten", nothing, func(b *bench) {
			time.Sleep(1500 * time.Millisecond)
			b.Forget(vip4)
		}, []int{0, 100, 300, 1000}},
		{"forgotten before its first", func(b *bench) { b.Forget(vip4) }, nothing, nil},
		{"another forgotten", nothing, func(b *bench) { b.Forget(other) },
			[]int{0, 100, 300, 1000, 2000, 3000, 4000, 5000}},
		{"announced again", nothing, func(b *bench) {
			time.Sleep(150 * time.Millisecond)
			b.Announce(vip4)
		}, []int{0, 100, 150, 250, 450, 1150, 2150, 3150, 4150, 5150}},
		{"forgotten and announced again", nothing, func(b *bench) {
			time.Sleep(50 * time.Millisecond)
			b.Forget(vip4)
			time.Sleep(3 * time.Second)
			b.Announce(vip4)
		}, []int{0, 3050, 3150, 3350, 4050, 5050, 6050, 7050, 8050}},
		{"left the interface", nothing, func(b *bench) {
			time.Sleep(200 * time.Millisecond)
			b.change(func() { b.here = nil })
			time.Sleep(200 * time.Millisecond)
			b.change(func() { b.here = []netip.Addr{vip4} }) // came back, but nobody announced it
		}, []int{0, 100}},
		{"never on the interface", func(b *bench) { b.here = []netip.Addr{other} }, nothing, nil},
		{"slow", func(b *bench) { b.sendTime = 1200 * time.Millisecond }, nothing,
			[]int{1200, 2400, 3600, 4800, 6000, 7200}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(vip4)
				b.Announce(vip4)
				tc.before(b)
				ctx, cancel := context.WithCancel(t.Context())
				go b.Run(ctx)
				synctest.Wait()
				tc.then(b)
				time.Sleep(time.Minute)
				cancel()
				synctest.Wait()
				b.want(t, vip4, tc.want...)
			})
		})
	}
}

func TestAnnouncerKeepsSchedulesApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(vip4, vip6)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		b.Announce(vip4)
		time.Sleep(2500 * time.Millisecond)
		b.Announce(netip.MustParseAddr("::ffff:10.0.0.5"))
		b.Announce(vip6)
		time.Sleep(600 * time.Millisecond)
		b.Forget(vip4)
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		b.want(t, vip4, 0, 100, 300, 1000, 2000, 2500, 2600, 2800)
		b.want(t, vip6, 2500, 2600, 2800, 3500, 4500, 5500, 6500, 7500)
	})
}

func TestAnnouncerRefresh(t *testing.T) {
	burst := []int{0, 100, 300, 1000, 2000, 3000, 4000, 5000}
	for _, tc := range []struct {
		name    string
		refresh time.Duration // 0: as NewAnnouncer has it
		then    func(*bench)  // at 40 s
		want    []int
	}{
		{"default", 0, func(*bench) {}, append(burst, 35000, 65000, 95000)},
		{"shorter", 20 * time.Second, func(*bench) {}, append(burst, 25000, 45000, 65000, 85000)},
		{"forgotten", 0, func(b *bench) { b.Forget(vip4) }, append(burst, 35000)},
		{"left the interface", 0, func(b *bench) { b.change(func() { b.here = nil }) }, append(burst, 35000)},
		{"announced again", 0, func(b *bench) { b.Announce(vip4) }, append(burst, 35000,
			40000, 40100, 40300, 41000, 42000, 43000, 44000, 45000, 75000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(vip4)
				b.Refresh = NewAnnouncer("eth0", slog.New(slog.DiscardHandler)).Refresh
				if tc.refresh != 0 {
					b.Refresh = tc.refresh
				}
				ctx, cancel := context.WithCancel(t.Context())
				go b.Run(ctx)
				b.Announce(vip4)
				time.Sleep(40 * time.Second)
				tc.then(b)
				time.Sleep(60 * time.Second)
				cancel()
				synctest.Wait()
				b.want(t, vip4, tc.want...)
			})
		})
	}
}

// An announcer that takes over from another one knows no addresses on the interface but those that it is told to hold.
// It is told of them again and again.
func TestAnnouncerHold(t *testing.T) {
	burst := []int{0, 100, 300, 1000, 2000, 3000, 4000, 5000}
	for _, tc := range []struct {
		name    string
		refresh time.Duration
		then    func(*bench) // at 0.5 s and every second, beside Hold
		at40    func(*bench)
		want    []int
	}{
		{"from the first time on", 30 * time.Second, func(*bench) {}, func(*bench) {}, []int{500, 30500, 60500, 90500}},
		{"not at all", 0, func(*bench) {}, func(*bench) {}, nil},
		{"left by itself and came back", 30 * time.Second,
			func(b *bench) { b.change(func() { b.here = []netip.Addr{vip4} }) },
			func(b *bench) { b.change(func() { b.here = nil }) }, []int{500, 30500, 60500, 90500}},
		{"announced meanwhile", 30 * time.Second, func(*bench) {}, func(b *bench) { b.Announce(vip4) },
			slices.Concat([]int{500, 30500}, plus(burst, 40000), []int{75000})},
		{"left and came back", 30 * time.Second, func(*bench) {}, func(b *bench) { b.Forget(vip4) },
			[]int{500, 30500, 40500, 70500}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(vip4)
				b.Refresh = tc.refresh
				ctx, cancel := context.WithCancel(t.Context())
				go b.Run(ctx)
				time.Sleep(500 * time.Millisecond)
				for range 99 {
					tc.then(b)
					b.Hold(vip4)
					time.Sleep(500 * time.Millisecond)
					if time.Since(b.start) == 40*time.Second {
						tc.at40(b)
					}
					time.Sleep(500 * time.Millisecond)
				}
				cancel()
				synctest.Wait()
				b.want(t, vip4, tc.want...)
			})
		})
	}
}

func plus(ms []int, more int) []int {
	var sum []int
	for _, n := range ms {
		sum = append(sum, n+more)
	}
	return sum
}

// A Hold that arrives before Run has read the Announce of the same address does not replace it.
func TestHoldDoesNotReplaceAnnounce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(vip4)
		b.Refresh = 30 * time.Second
		b.Announce(vip4)
		b.Hold(vip4)
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		time.Sleep(500 * time.Millisecond)
		cancel()
		synctest.Wait()
		b.want(t, vip4, 0, 100, 300)
	})
}

// Many addresses are due, and each takes long to send: an address that is new on this machine need not wait for the
// repeats of the others.
func TestNewAddressGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var others []netip.Addr
		for n := range 20 {
			others = append(others, netip.AddrFrom4([4]byte{10, 0, 0, byte(100 + n)}))
		}
		last := netip.MustParseAddr("10.0.0.200")
		all := append(others, last)
		b := newBench(all...)
		b.sendTime = 100 * time.Millisecond
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		for _, ip := range others {
			b.Announce(ip)
		}
		time.Sleep(2450 * time.Millisecond) // all have been announced once, all are overdue
		b.Announce(last)
		time.Sleep(100 * time.Millisecond)
		for _, ip := range all {
			b.Forget(ip) // so that Run sends no more and can end
		}
		time.Sleep(10 * time.Second)
		cancel()
		synctest.Wait()
		b.want(t, last, 2600) // one send was under way
	})
}

// A refresh that begins to fail is logged once, and so is the first one that works again.
func TestAnnouncerFailureOfRefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(vip4)
		b.Refresh = 10 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		go b.Run(ctx)
		b.Announce(vip4)
		for range 2 {
			time.Sleep(time.Minute)
			b.change(func() { b.sendErr = errors.New("network is down") })
			time.Sleep(time.Minute)
			b.change(func() { b.sendErr = nil })
		}
		time.Sleep(time.Minute)
		cancel()
		synctest.Wait()
		if n := strings.Count(b.log.String(), "level=WARN"); n != 2 {
			t.Errorf("%d warnings, want 2:\n%s", n, b.log.String())
		}
		if n := strings.Count(b.log.String(), "address announced"); n != 3 {
			t.Errorf("announced %d times by the log, want 3:\n%s", n, b.log.String())
		}
	})
}

// An address whose announcements fail is tried as often as its schedule says, and the failure is logged once.
func TestAnnouncerFailure(t *testing.T) {
	for _, where := range []string{"held", "send"} {
		t.Run(where, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(vip4)
				if where == "held" {
					b.heldErr = ErrNoInterface
				} else {
					b.sendErr = errors.New("network is down")
				}
				ctx, cancel := context.WithCancel(t.Context())
				go b.Run(ctx)
				b.Announce(vip4)
				time.Sleep(2500 * time.Millisecond)
				b.change(func() { b.heldErr, b.sendErr = nil, nil })
				time.Sleep(time.Minute)
				cancel()
				synctest.Wait()
				if b.tries != len(schedule()) {
					t.Errorf("%d tries, want %d", b.tries, len(schedule()))
				}
				if n := strings.Count(b.log.String(), "level=WARN"); n != 1 {
					t.Errorf("%d warnings, want 1:\n%s", n, b.log.String())
				}
				if where == "held" {
					b.want(t, vip4, 3000, 4000, 5000)
				}
			})
		})
	}
}

func TestAnnounceNeverBlocks(t *testing.T) {
	a := NewAnnouncer("eth0", slog.New(slog.DiscardHandler))
	for range 1000 { // nobody runs it
		a.Announce(vip4)
		a.Forget(vip4)
		a.Hold(vip4)
	}
	if len(a.inbox) != 1 {
		t.Errorf("%d addresses wait, want 1", len(a.inbox))
	}
}
