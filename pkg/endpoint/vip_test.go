package endpoint

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/vip"
)

var writer = cluster.RoleIP{Role: "writer", IP: netip.MustParseAddr("10.0.0.100")}

// kernel is an interface with its neighbours, in memory. It keeps what was done, in order.
type kernel struct {
	did     []string
	present []netip.Addr
	slow    time.Duration // how long adding an address takes
	changed time.Time     // when an address was last added or removed
}

func (k *kernel) note(format string, args ...any) {
	k.did = append(k.did, fmt.Sprintf(format, args...))
}

func (k *kernel) List(context.Context) ([]netip.Addr, error) { return k.present, nil }

// Add adds the address even where ctx has ended, and says so, as the kernel may.
func (k *kernel) Add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error {
	k.changed = time.Now()
	time.Sleep(k.slow)
	k.note("add %s for %s", ip, lifetime)
	if !slices.Contains(k.present, ip) {
		k.present = append(k.present, ip)
	}
	return ctx.Err()
}

func (k *kernel) Remove(ctx context.Context, ip netip.Addr) error {
	k.changed = time.Now()
	k.note("remove %s", ip)
	k.present = slices.DeleteFunc(k.present, func(a netip.Addr) bool { return a == ip })
	return ctx.Err()
}

func (k *kernel) Renew(_ context.Context, ip netip.Addr, lifetime time.Duration) error {
	if !slices.Contains(k.present, ip) {
		return fmt.Errorf("renew %s: %w", ip, vip.ErrNotPresent)
	}
	k.note("renew %s for %s", ip, lifetime)
	return nil
}

func (k *kernel) Announce(ip netip.Addr) { k.note("announce %s", ip) }
func (k *kernel) Forget(ip netip.Addr)   { k.note("forget %s", ip) }

func (k *kernel) history() string {
	text := strings.Join(k.did, ", ")
	k.did = nil
	return text
}

// clients is the Departures and the Sockets of a test; answer is how each call ends.
type clients struct {
	*kernel
	answer func(context.Context) error
}

func (c clients) Prepare(ctx context.Context) error { c.note("prepare"); return c.answer(ctx) }
func (c clients) Refuse(ctx context.Context, ip netip.Addr, during time.Duration) error {
	c.note("refuse %s for %s", ip, during)
	return c.answer(ctx)
}
func (c clients) Welcome(ctx context.Context, ip netip.Addr) error {
	c.note("welcome %s", ip)
	return c.answer(ctx)
}
func (c clients) end(ctx context.Context, ip netip.Addr) (int, error) {
	c.note("end %s", ip)
	return 0, c.answer(ctx)
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func lasts(d time.Duration) Lifetime { return func() (time.Duration, error) { return d, nil } }

// TestVIP: what is done, and in which order. What clients are told is a courtesy: an address comes and goes whether
// that succeeds, fails or hangs, and hardly later.
func TestVIP(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(context.Context) error
		within time.Duration // the address comes, and goes, after this time at most
	}{
		"well":  {func(context.Context) error { return nil }, 0},
		"fails": {func(context.Context) error { return errors.New("no such table") }, 0},
		"hangs": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 2 * courtesyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &kernel{}
				told := clients{k, c.answer}
				v := &VIP{Addresses: k, Announcer: k, Departures: told, Sockets: told.end, Log: quiet()}
				expect := func(err error, want string) {
					t.Helper()
					if got := k.history(); err != nil || got != want {
						t.Errorf("it did %s (%v), want %s", got, err, want)
					}
				}
				expect(v.Run(t.Context()), "prepare")
				began := time.Now()
				expect(v.Publish(t.Context(), writer, lasts(time.Minute)),
					"welcome 10.0.0.100, add 10.0.0.100 for 1m0s, announce 10.0.0.100")
				if took := k.changed.Sub(began); took > c.within {
					t.Errorf("it came after %s", took)
				}
				expect(v.Renew(t.Context(), writer, lasts(time.Hour)), "renew 10.0.0.100 for 1h0m0s")
				if ips, err := v.List(t.Context()); err != nil || !slices.Equal(ips, []netip.Addr{writer.IP}) {
					t.Errorf("there is %v (%v)", ips, err)
				}
				began = time.Now()
				expect(v.Withdraw(t.Context(), writer), "forget 10.0.0.100, refuse 10.0.0.100 for 2s, "+
					"end 10.0.0.100, remove 10.0.0.100, end 10.0.0.100")
				if took := k.changed.Sub(began); took > c.within {
					t.Errorf("it was gone after %s", took)
				}
				expect(v.Renew(t.Context(), writer, lasts(time.Hour)), "") // Renew never adds
			})
		})
	}
}

// TestTooLate: an address that was added too late is taken off again, and is not announced. One whose lease is over is
// not added at all.
func TestTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := &kernel{slow: 900 * time.Millisecond}
		v := &VIP{Addresses: k, Announcer: k, Log: quiet()}
		err := v.Publish(t.Context(), writer, lasts(time.Second))
		if got, want := k.history(), "add 10.0.0.100 for 1s, forget 10.0.0.100, remove 10.0.0.100"; got != want ||
			!errors.Is(err, ErrLate) {
			t.Errorf("it did %s (%v), want %s", got, err, want)
		}
		over := func() (time.Duration, error) { return 0, ErrTooShort }
		if err := v.Publish(t.Context(), writer, over); !errors.Is(err, ErrTooShort) || k.history() != "" {
			t.Errorf("its lease is over: %v", err)
		}
	})
}
