package agent

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// network says which other machine has an address; nil: none.
type network func(netip.Addr) net.HardwareAddr

func (n network) Probe(_ context.Context, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	time.Sleep(wait)
	return n(ip), nil
}

// formerServer is the former writer's server.
type formerServer struct {
	deadRemote
	writable func(context.Context) (bool, error)
}

func (f formerServer) Writable(ctx context.Context) (bool, error) { return f.writable(ctx) }
func (f formerServer) Position(context.Context) (mysqlctl.Position, error) {
	return at(100), nil
}

// TestLookBeforeOpening: a server is opened only where no other machine has the writer's address and the former
// writer's server does not say that it is open for writes. These questions are asked while the host catches up.
func TestLookBeforeOpening(t *testing.T) {
	says := func(open bool) func(context.Context) (bool, error) {
		return func(context.Context) (bool, error) { return open, nil }
	}
	silent := func(ctx context.Context) (bool, error) { <-ctx.Done(); return false, ctx.Err() }
	refuses := func(context.Context) (bool, error) { return false, syscall.ECONNREFUSED }
	nobody := func(time.Duration) bool { return false }
	from2 := cluster.Switch{From: "db2", To: "db1"}
	for name, c := range map[string]struct {
		sw       cluster.Switch
		forced   bool
		former   func(context.Context) (bool, error)
		inUse    func(after time.Duration) bool
		catchUp  time.Duration
		problem  string // "": it is opened
		conflict bool
		took     time.Duration
	}{
		"closed":       {sw: from2, former: says(false), inUse: nobody, took: probeTime},
		"does not run": {sw: from2, former: refuses, inUse: nobody, took: probeTime},
		"hangs":        {sw: from2, former: silent, inUse: nobody, took: formerTimeout},
		"hangs less than the catch-up": {sw: from2, former: silent, inUse: nobody, catchUp: 400 * time.Millisecond,
			took: 400 * time.Millisecond},
		"hangs, after a long catch-up": {sw: from2, former: silent, inUse: nobody, catchUp: 5 * time.Second,
			took: 5*time.Second + probeTime + formerTimeout},
		"open": {sw: from2, former: says(true), inUse: nobody, took: probeTime,
			problem: "Couldn't allow writes: the server of 'db2', which was the writer before, is open for writes"},
		"open, and by force": {sw: from2, forced: true, former: says(true), inUse: nobody, took: probeTime,
			problem: "Couldn't allow writes: the server of 'db2', which was the writer before, is open for writes"},
		"nobody was the writer before": {former: says(true), inUse: nobody, took: probeTime},
		"it was the writer itself": {sw: cluster.Switch{From: "db2", To: "db3"}, former: says(true), inUse: nobody,
			took: probeTime},
		"somebody has the address": {sw: from2, former: says(false), inUse: func(time.Duration) bool { return true },
			took: probeTime, conflict: true,
			problem: "Couldn't allow writes: the machine 02:00:00:00:00:01 has 10.0.0.100: address conflict"},
		"somebody has taken it meanwhile": {sw: from2, former: says(false),
			inUse: func(d time.Duration) bool { return d > time.Second }, conflict: true,
			catchUp: 2 * time.Second, took: 2*time.Second + probeTime,
			problem: "Couldn't allow writes: the machine 02:00:00:00:00:01 has 10.0.0.100: address conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &sim{replica: caughtUp(), peer: formerServer{writable: c.former},
					block: map[string]chan struct{}{}}
				s.replica.Received = at(50)
				s.replica.Executed = at(50)
				s.block["wait bin.000001:100"] = make(chan struct{})
				s.block["stop replication"] = s.block["wait bin.000001:100"]
				began := time.Now()
				time.AfterFunc(c.catchUp, func() { close(s.block["stop replication"]) })
				h := hostOf(s)
				h.conflict = network(func(netip.Addr) net.HardwareAddr {
					if c.inUse(time.Since(began)) {
						return net.HardwareAddr{2, 0, 0, 0, 0, 1}
					}
					return nil
				})
				o := order(writer)
				o.Switch, o.Forced = c.sw, c.forced
				out := h.pass(t.Context(), pass{order: o, lifetime: forEver, left: endless})
				opened, added := strings.Contains(s.history(), "allow"), strings.Contains(s.history(), "add")
				if got := strings.Join(texts(out.problems), "; "); got != c.problem || opened != (c.problem == "") ||
					added != opened {
					t.Errorf("it did %s: %s", s.history(), got)
				}
				if slices.ContainsFunc(out.problems, func(p problem) bool { return p.conflict }) != c.conflict ||
					out.memory.Opened != opened ||
					(out.facts.Writable == wire.Yes) != opened {
					t.Errorf("it remembers %+v", out.memory)
				}
				if took := time.Since(began); took != c.took {
					t.Errorf("it took %s, want %s", took, c.took)
				}
			})
		})
	}
}

// openServer is a former writer's server that can be closed for writes from here, unless fails is set.
type openServer struct {
	deadRemote
	open  *bool
	fails error
}

func (o openServer) Writable(context.Context) (bool, error) { return *o.open, nil }
func (o openServer) DenyWrites(context.Context, mysqlctl.Deny) error {
	if o.fails == nil {
		*o.open = false
	}
	return o.fails
}

// TestFormerWriterIsClosed: the former writer's server, whose agent may be dead, is closed for writes before the new
// writer's is opened.
func TestFormerWriterIsClosed(t *testing.T) {
	for name, fails := range map[string]error{"closed": nil, "can't be closed": syscall.ECONNRESET} {
		t.Run(name, func(t *testing.T) {
			open := true
			s := &sim{replica: caughtUp(), peer: openServer{open: &open, fails: fails}}
			s.replica.Received, s.replica.Executed = at(50), at(50)
			o := order(writer)
			o.Switch = cluster.Switch{From: "db2", To: "db1"}
			out := hostOf(s).pass(t.Context(), pass{order: o, lifetime: forEver, left: endless})
			if opened := strings.Contains(s.history(), "allow"); opened != (fails == nil) || opened == open {
				t.Errorf("opened %v beside a server that is open: %v (%v)", opened, open, out.problems)
			}
		})
	}
}

// TestListens: in a planned move a server that does not listen on the writer's address stays closed for writes, so that
// the role goes back. Where the former writer is dead, or the move is forced, the server is opened all the same: some
// clients may reach it by another address.
func TestListens(t *testing.T) {
	own, any4, any6 := netip.MustParseAddrPort("10.0.0.2:3306"), netip.MustParseAddrPort("0.0.0.0:3306"),
		netip.MustParseAddrPort("[::]:3306")
	moved := cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}, Epoch: cluster.Epoch{Gone: "db1"}}
	dead, forced := moved, moved
	dead.Epoch.Gone, forced.Forced = "", true
	for name, c := range map[string]struct {
		order  cluster.Order
		listen []netip.AddrPort
		err    error
		opens  bool
	}{
		"its own address":           {moved, []netip.AddrPort{own}, nil, false},
		"all":                       {moved, []netip.AddrPort{any4}, nil, true},
		"all, IPv6 too":             {moved, []netip.AddrPort{any6}, nil, true},
		"its own and the role's":    {moved, []netip.AddrPort{own, netip.AddrPortFrom(writer.IP, 3306)}, nil, true},
		"nothing is seen":           {moved, nil, nil, true},
		"it can't be seen":          {moved, []netip.AddrPort{own}, errors.New("no sock_diag"), true},
		"the writer before is dead": {dead, []netip.AddrPort{own}, nil, true},
		"somebody has said so":      {forced, []netip.AddrPort{own}, nil, true},
		"it was the writer and still": {cluster.Order{Switch: cluster.Switch{From: "db3", To: "db1"},
			Epoch: cluster.Epoch{Gone: "db3"}}, []netip.AddrPort{own}, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := site()
			s.Host = "db2"
			listens := func(context.Context) ([]netip.AddrPort, error) { return c.listen, c.err }
			h := &host{site: s, listens: listens, peers: &sim{}}
			c.order.Roles = []cluster.RoleIP{reader1, writer}
			l := h.looks(t.Context(), c.order, []Action{{Kind: Allow}})
			defer l.stop()
			err := l.open(t.Context())
			if (err == nil) != c.opens {
				t.Errorf("%v", err)
			}
			if want := "the server listens on 10.0.0.2:3306 and not on 10.0.0.100 (bind_address): nobody could connect"; err != nil && err.Error() != want {
				t.Errorf("it says %v", err)
			}
		})
	}
	if hears(any4.Addr(), netip.MustParseAddr("2001:db8::1")) ||
		!hears(any6.Addr(), netip.MustParseAddr("2001:db8::1")) {
		t.Error("0.0.0.0 is for IPv4 alone, and :: for both")
	}
}
