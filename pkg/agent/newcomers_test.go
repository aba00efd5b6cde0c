package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// TestSlowBlocking: a slow command that blocks clients holds up neither the closing of the server nor the answer. When
// it has ended the clients are let in again.
func TestSlowBlocking(t *testing.T) {
	dir := t.TempDir()
	said, goOn := filepath.Join(dir, "said"), filepath.Join(dir, "go on")
	s := &sim{present: []netip.Addr{writer.IP}}
	h := &host{site: site(), publisher: vips(s), announce: s, gate: s, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		blocking: Blocking{Soft: true,
			Block:   "while ! test -e '" + goOn + "'; do sleep .01; done; echo block >>" + said,
			Unblock: "echo unblock >>" + said}}
	_, problems := h.apply(t.Context(), pass{left: endless}, []Action{{Kind: Deny}, {Kind: Remove, Address: writer}},
		true, Memory{})
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

// door is the Newcomers of a test: it keeps what it was told.
type door struct {
	did  []string
	fail error
}

func (d *door) Refuse(_ context.Context, besides netip.Addr, during time.Duration) error {
	d.did = append(d.did, fmt.Sprintf("refuse all but %s for %s", besides, during))
	return d.fail
}

func (d *door) Welcome(context.Context) error {
	d.did = append(d.did, "welcome")
	return d.fail
}

// TestNewClientsAreKeptAway: while a writer is being closed new clients are kept away without a command, all but the
// monitor that has given the order, and for not much longer than the closing may take. Where the firewall fails, the
// rest of the plan is carried out all the same.
func TestNewClientsAreKeptAway(t *testing.T) {
	monitor := netip.MustParseAddr("10.0.0.9")
	for name, fail := range map[string]error{"": nil, "no such table": errors.New("no such table")} {
		t.Run(name, func(t *testing.T) {
			d := &door{fail: fail}
			s := &sim{present: []netip.Addr{writer.IP}}
			h := &host{site: site(), publisher: vips(s), announce: s, gate: s,
				log:     slog.New(slog.NewTextHandler(io.Discard, nil)),
				monitor: &atomic.Pointer[netip.Addr]{}, blocking: Blocking{Soft: true, Newcomers: d, Block: "exit 1",
					Grace: 10 * time.Second}}
			h.monitor.Store(&monitor)
			_, problems := h.apply(t.Context(), pass{left: endless},
				[]Action{{Kind: Deny}, {Kind: Remove, Address: writer}}, true, Memory{})
			if got, want := s.history(), "deny, end clients, remove 10.0.0.100"; got != want || len(problems) > 0 {
				t.Errorf("it did %s, want %s (%v)", got, want, problems)
			}
			if got, want := strings.Join(d.did, ", "), "refuse all but 10.0.0.9 for 14s, welcome"; got != want {
				t.Errorf("new clients: %s, want %s", got, want)
			}
		})
	}
}

// TestHeed: the monitor's address is the one from which orders come, unless it is that of a host of the cluster, which
// relays them.
func TestHeed(t *testing.T) {
	run(t, false, func(_ *sim, _ func(cluster.Order) wire.Answer, a *Agent) {
		for _, c := range []struct{ from, want string }{{"10.0.0.9", "10.0.0.9"}, {"10.0.0.1", "10.0.0.9"},
			{"::ffff:10.0.0.8", "10.0.0.8"}} {
			a.Handle(wire.CalledFrom(context.Background(), caller{from: c.from}),
				wire.OrderRequest("db2", order()).String())
			if got := a.host.monitor.Load(); got == nil || got.String() != c.want {
				t.Errorf("after an order of %s: the monitor is at %v, want %s", c.from, got, c.want)
			}
		}
	})
}

// caller is a connection from an address.
type caller struct {
	net.Conn
	from string
}

func (c caller) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.from), Port: 4711} }

// TestStartCleansUp: an agent that starts takes away what a former one, which was killed, has left in the firewall.
func TestStartCleansUp(t *testing.T) {
	for name, c := range map[string]struct {
		soft, mayWrite bool
		own            bool // the agent keeps clients away with its own rule; false: an admin has a command
		closed         bool // the port, when the agent starts
		unblocked      int  // how often the command is run that lets clients in
		opened         bool // the port is open afterwards
	}{
		"candidate, soft blocking": {soft: true, mayWrite: true, own: true, unblocked: 3},
		"an admin's own command":   {soft: true, mayWrite: true, unblocked: 1},
		// a round opens the port, when the server is read-only
		"candidate": {mayWrite: true, own: true, closed: true, unblocked: 3},
		"slave":     {soft: true, own: true, closed: true, opened: true},
	} {
		t.Run(name, func(t *testing.T) {
			said := filepath.Join(t.TempDir(), "said")
			f := &fakeFence{closed: c.closed}
			st := site()
			st.MayWrite = c.mayWrite
			// There are two rules, so that the third attempt fails.
			h := &host{site: st, fence: f, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
				blocking: Blocking{Soft: c.soft, Block: "false", Unblock: "echo unblock >>" + said +
					"; test $(wc -l <" + said + ") -le 2"}}
			var n door
			if c.own {
				h.blocking.Newcomers = &n
			}
			h.welcomeAll(t.Context())
			h.prepare(t.Context())
			got, _ := os.ReadFile(said)
			if string(got) != strings.Repeat("unblock\n", c.unblocked) {
				t.Errorf("it ran %q, want it %d times", got, c.unblocked)
			}
			if c.own && strings.Join(n.did, ", ") != "welcome" {
				t.Errorf("new clients: %v", n.did)
			}
			if opened := c.closed && !f.closed; opened != c.opened {
				t.Errorf("the port is closed: %v", f.closed)
			}
		})
	}
}
