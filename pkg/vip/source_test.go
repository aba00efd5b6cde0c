package vip

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"mysql-mmm/pkg/nstest"
)

// TestRoleAddressIsNoSource: the host's own address stays the source of its connections to others while the host has
// the address of a role, however often the role's address is renewed, and also where the own address is added later, as
// by a network service that restarts. Otherwise its connections, such as that of its replication, would break when the
// role leaves.
func TestRoleAddressIsNoSource(t *testing.T) {
	for name, c := range map[string]struct {
		vip             netip.Addr
		own, peer, gate string
		beyond          string // reached by way of the peer
	}{
		"IPv4": {vip4, "10.0.0.1/24", "10.0.0.2", "0.0.0.0/0", "192.0.2.1"},
		"IPv6": {vip6, "fd00::1/64", "fd00::2", "::/0", "2001:db8::1"},
	} {
		for ends, lifetime := range map[string]time.Duration{" with a lease": 30 * time.Second, " for ever": 0} {
			t.Run(name+ends, func(t *testing.T) {
				link, _ := eth0(t, c.own)
				i := Open("eth0")
				own := netip.MustParsePrefix(c.own).Addr()
				_, all, err := net.ParseCIDR(c.gate)
				nstest.Must(t, err)
				gateway := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: all, Gw: net.ParseIP(c.peer)}
				look := func(when string) {
					t.Helper()
					nstest.Must(t, netlink.RouteReplace(gateway))
					for _, to := range []string{c.peer, c.beyond} {
						wantSource(t, when, netip.MustParseAddr(to), own)
					}
				}
				look("without the role")
				nstest.Must(t, i.Add(t.Context(), c.vip, lifetime))
				look("with the role")
				for _, again := range []func(context.Context, netip.Addr, time.Duration) error{i.Renew, i.Add} {
					nstest.Must(t, again(t.Context(), c.vip, lifetime))
					look("renewed")
				}
				nstest.Must(t, netlink.AddrDel(link, nstest.Address(t, c.own)))
				nstest.Must(t, netlink.AddrAdd(link, nstest.Address(t, c.own)))
				look("its own address put there anew")
				wantListed(t, i, c.vip, true)
				nstest.Must(t, i.Remove(t.Context(), c.vip))
				look("without the role again")
			})
		}
	}
}

// TestSourceOfAHandMadeAddress: an IPv6 role address that somebody has added by hand, without marking it deprecated, is
// not used as a source any more from the first renewal on.
func TestSourceOfAHandMadeAddress(t *testing.T) {
	eth0(t, "fd00::1/64", "fd00::5/64")
	i := Open("eth0")
	for _, lifetime := range []time.Duration{30 * time.Second, 0} {
		nstest.Must(t, i.Renew(t.Context(), vip6, lifetime))
		wantSource(t, "renewed", netip.MustParseAddr("fd00::2"), netip.MustParseAddr("fd00::1"))
	}
}

func wantSource(t *testing.T, when string, to, want netip.Addr) {
	t.Helper()
	routes, err := netlink.RouteGet(to.AsSlice())
	nstest.Must(t, err)
	if len(routes) != 1 {
		t.Fatalf("%s: %d routes to %s", when, len(routes), to)
	}
	if got, _ := netip.AddrFromSlice(routes[0].Src); got.Unmap() != want {
		t.Errorf("%s: to %s from %s, want %s", when, to, got, want)
	}
}
