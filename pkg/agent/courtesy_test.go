package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
)

// rude is a kernel that does no favours.
type rude struct{ answer func(context.Context) error }

func (r rude) Prepare(ctx context.Context) error                               { return r.answer(ctx) }
func (r rude) Refuse(ctx context.Context, _ netip.Addr, _ time.Duration) error { return r.answer(ctx) }
func (r rude) Welcome(ctx context.Context, _ netip.Addr) error                 { return r.answer(ctx) }

// TestCourtesiesAreNoMore: an address comes and goes whatever becomes of what clients are told meanwhile, and hardly
// later.
func TestCourtesiesAreNoMore(t *testing.T) {
	hangs := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	fails := func(context.Context) error { return errors.New("no such table") }
	for name, c := range map[string]struct {
		answer func(context.Context) error
		within time.Duration
	}{
		"fails": {fails, 0},
		"hangs": {hangs, 2 * courtesyTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{}
				h := &host{site: site(), addrs: s, announce: s, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
					departed: rude{c.answer},
					sockets:  func(ctx context.Context, _ netip.Addr) (int, error) { return 0, c.answer(ctx) }}
				for _, kind := range []Kind{Add, Remove} {
					var after time.Duration
					began := time.Now()
					h.addrs = timed{s, func() { after = time.Since(began) }}
					p := pass{lifetime: func(cluster.RoleIP) (time.Duration, error) { return time.Minute, nil }, grace: allOfIt}
					if _, problems := h.apply(t.Context(), p, []Action{{Kind: kind, Address: writer}}, false, Memory{}); len(problems) > 0 {
						t.Errorf("%s: %v", kind, problems)
					}
					if after > c.within {
						t.Errorf("%s after %s, want %s at most", kind, after, c.within)
					}
				}
				if got, want := s.history(), "add 10.0.0.100, remove 10.0.0.100"; got != want {
					t.Errorf("it did %s, want %s", got, want)
				}
			})
		})
	}
}

// timed says when an address came or went, and fails as the kernel would where there is no time left.
type timed struct {
	*sim
	now func()
}

func (s timed) Add(ctx context.Context, ip netip.Addr, l time.Duration) error {
	s.now()
	return errors.Join(ctx.Err(), s.sim.Add(ctx, ip, l))
}
func (s timed) Remove(ctx context.Context, ip netip.Addr) error {
	s.now()
	return errors.Join(ctx.Err(), s.sim.Remove(ctx, ip))
}

// TestSlowBlocking: a command that blocks clients and takes its time holds up neither the closing of the server nor
// the answer, and is taken back when it has ended.
func TestSlowBlocking(t *testing.T) {
	dir := t.TempDir()
	said, goOn := filepath.Join(dir, "said"), filepath.Join(dir, "go on")
	s := &sim{present: []netip.Addr{writer.IP}}
	h := &host{site: site(), addrs: s, announce: s, gate: s, log: slog.New(slog.NewTextHandler(io.Discard, nil)), blocking: Blocking{Soft: true,
		Block:   "while ! test -e '" + goOn + "'; do sleep .01; done; echo block >>" + said,
		Unblock: "echo unblock >>" + said}}
	_, problems := h.apply(t.Context(), pass{grace: allOfIt}, []Action{{Kind: Deny}, {Kind: Remove, Address: writer}}, true, Memory{})
	if got, want := s.history(), "deny, end clients, remove 10.0.0.100"; got != want || len(problems) > 0 {
		t.Errorf("it did %s, want %s (%v)", got, want, problems)
	}
	if err := os.WriteFile(goOn, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.commands.Wait()
	if got, err := os.ReadFile(said); string(got) != "block\nunblock\n" {
		t.Errorf("it ran %q (%v)", got, err)
	}
}

// TestStartCleansUp: an agent that starts takes away what one that was killed has left in the firewall.
func TestStartCleansUp(t *testing.T) {
	for name, c := range map[string]struct {
		soft, mayWrite bool
		closed         bool
		unblocked      bool
		opened         bool
	}{
		"candidate, soft blocking": {soft: true, mayWrite: true, unblocked: true},
		"candidate":                {mayWrite: true, closed: true}, // opened by a round, when its server is read-only
		"slave":                    {soft: true, closed: true, opened: true},
	} {
		t.Run(name, func(t *testing.T) {
			said := filepath.Join(t.TempDir(), "said")
			f := &fakeFence{closed: c.closed}
			st := site()
			st.MayWrite = c.mayWrite
			h := &host{site: st, fence: f, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				blocking: Blocking{Soft: c.soft, Block: "false", Unblock: "echo unblock >>" + said}}
			h.prepare(t.Context())
			got, _ := os.ReadFile(said)
			if unblocked := string(got) == "unblock\n"; unblocked != c.unblocked || strings.Count(string(got), "\n") > 1 {
				t.Errorf("it ran %q", got)
			}
			if opened := c.closed && !f.closed; opened != c.opened {
				t.Errorf("the port is closed: %v", f.closed)
			}
		})
	}
}
