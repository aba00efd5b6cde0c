package vip

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

const noticed = 100 * time.Millisecond

// watching starts Watch and waits until it listens.
func watching(t *testing.T) <-chan struct{} {
	t.Helper()
	changed := make(chan struct{}, 1)
	run(t, func(ctx context.Context) error { return Open("eth0").Watch(ctx, changed) })
	wantSignal(t, changed, "it listens")
	return changed
}

func wantSignal(t *testing.T, changed <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changed:
	case <-time.After(10 * time.Second): // the machine may be busy
		t.Fatalf("no signal: %s", what)
	}
	quiet(changed)
}

// quiet waits until nothing has been signalled for a while: one change may be several messages.
func quiet(changed <-chan struct{}) {
	for {
		select {
		case <-changed:
		case <-time.After(noticed):
			return
		}
	}
}

func wantNoSignal(t *testing.T, changed <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-changed:
		t.Fatalf("signal without cause: %s", what)
	case <-time.After(noticed):
	}
}

func TestWatchAddresses(t *testing.T) {
	l, _ := eth0(t)
	for _, a := range []string{"10.0.0.5/32", "fd00::5/128"} {
		changed := watching(t)
		nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, a)))
		wantSignal(t, changed, "added by hand: "+a)
		nstest.Must(t, netlink.AddrDel(l, nstest.Address(t, a)))
		wantSignal(t, changed, "removed by hand: "+a)
	}
}

func TestWatchIgnoresRenewals(t *testing.T) {
	l, _ := eth0(t)
	i := Open("eth0")
	for _, ip := range []netip.Addr{vip4, vip6} {
		nstest.Must(t, i.Add(t.Context(), ip, 10*time.Second))
	}
	changed := watching(t)
	for n := range 5 {
		for _, ip := range []netip.Addr{vip4, vip6} {
			nstest.Must(t, i.Renew(t.Context(), ip, time.Duration(10+n)*time.Second))
		}
	}
	wantNoSignal(t, changed, "renewals")
	nstest.Must(t, i.Remove(t.Context(), vip4))
	nstest.Must(t, i.Add(t.Context(), vip4, 10*time.Second))
	wantSignal(t, changed, "away and back")
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.6/32")))
	wantSignal(t, changed, "added by hand after renewals")
}

func TestWatchSeesALifetimeEnd(t *testing.T) {
	eth0(t)
	i := Open("eth0")
	nstest.Must(t, i.Add(t.Context(), vip4, time.Second))
	changed := watching(t)
	select {
	case <-changed:
	case <-time.After(3 * time.Second):
		t.Fatal("no signal when the kernel took the address away")
	}
	wantListed(t, i, vip4, false)
}

func TestWatchIgnoresOtherInterfaces(t *testing.T) {
	eth0(t)
	other, _ := nstest.Veth(t, "eth1", "peer1")
	changed := watching(t)
	nstest.Must(t, netlink.AddrAdd(other, nstest.Address(t, "10.0.0.5/32")))
	nstest.Must(t, netlink.LinkSetUp(other))
	wantNoSignal(t, changed, "another interface changed")
}

func TestWatchLink(t *testing.T) {
	changed := watching(t) // of an interface that is not there yet
	l, r := eth0(t)
	wantSignal(t, changed, "created")
	nstest.Must(t, netlink.LinkSetDown(l))
	wantSignal(t, changed, "down")
	nstest.Must(t, netlink.LinkSetUp(l))
	wantSignal(t, changed, "up")
	nstest.Must(t, r.h.LinkSetDown(r.link))
	wantSignal(t, changed, "carrier lost")
	nstest.Must(t, netlink.LinkDel(l))
	wantSignal(t, changed, "deleted")
	l, _ = eth0(t)
	wantSignal(t, changed, "created again")
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.5/32")))
	wantSignal(t, changed, "address on the new one")

	nstest.Must(t, netlink.LinkSetDown(l))
	nstest.Must(t, netlink.LinkSetName(l, "eth9"))
	wantSignal(t, changed, "renamed away")
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.6/32")))
	wantNoSignal(t, changed, "it has another name now")
	nstest.Must(t, netlink.LinkSetName(l, "eth0"))
	wantSignal(t, changed, "renamed back")
}

// More messages than the socket can hold break the subscription: Watch makes another one and signals, as it has missed
// some. The messages are about another interface, so they cause no signal themselves.
func TestWatchSurvivesOverflow(t *testing.T) {
	l, _ := eth0(t)
	other, _ := nstest.Veth(t, "eth1", "peer1")
	changed := watching(t)
	shrinkSubscriptions(t)
	eventually(t, 20*time.Second, "it listens again after an overflow", func() bool {
		for range 100 {
			nstest.Must(t, netlink.AddrAdd(other, nstest.Address(t, "10.9.0.1/32")))
			nstest.Must(t, netlink.AddrDel(other, nstest.Address(t, "10.9.0.1/32")))
		}
		return len(changed) > 0
	})
	quiet(changed)
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.5/32")))
	wantSignal(t, changed, "added after the overflow")
}

// shrinkSubscriptions leaves room for hardly more than one message in the netlink subscriptions of this process.
func shrinkSubscriptions(t *testing.T) {
	t.Helper()
	found := 0
	for fd := range 1024 {
		groups, err := unix.GetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_LIST_MEMBERSHIPS)
		if err == nil && groups != 0 {
			nstest.Must(t, unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0))
			found++
		}
	}
	if found == 0 {
		t.Fatal("no subscription found")
	}
}
