package vip

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"mysql-mmm/pkg/nstest"
)

// Somebody has put the address on the interface with another prefix length or a peer, beside the entry of Add or
// instead of it: after Renew no entry of the address outlives the lease. The host's own address may be a secondary of
// such an entry, and stays.
func TestRenewLeavesNothingThatOutlivesTheLease(t *testing.T) {
	const own4, own6 = "10.0.0.1/24", "fd00::1/64"
	for _, tc := range []struct {
		name    string
		ip      netip.Addr
		entries []string // of the address, in this order, before the host's own
		peer    string
		want    string
	}{
		{"another prefix length", vip4, []string{"10.0.0.5/32", "10.0.0.5/24"}, "", "10.0.0.5/32"},
		{"another before ours", vip4, []string{"10.0.0.5/24", "10.0.0.5/32"}, "", "10.0.0.5/32"},
		{"several", vip4, []string{"10.0.0.5/16", "10.0.0.5/32", "10.0.0.5/24", "10.0.0.5/8"}, "", "10.0.0.5/32"},
		{"ours without a lifetime", vip4, []string{"10.0.0.5/32"}, "", "10.0.0.5/32"},
		{"another alone", vip4, []string{"10.0.0.5/24"}, "", "10.0.0.5/32"},
		{"with a peer", vip4, []string{"10.0.0.5/32"}, "10.9.0.1/32", "10.0.0.5/32"},
		// an IPv6 address has one entry on an interface, and keeps its prefix length
		{"IPv6 with another prefix length", vip6, []string{"fd00::5/64"}, "", "fd00::5/64"},
		{"IPv6 without a lifetime", vip6, []string{"fd00::5/128"}, "", "fd00::5/128"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l, _ := eth0(t, tc.entries...)
			for _, own := range []string{own4, own6} {
				nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, own)))
			}
			if tc.peer != "" {
				a := nstest.Address(t, netip.PrefixFrom(tc.ip, tc.ip.BitLen()).String())
				a.Peer = nstest.Address(t, tc.peer).IPNet
				nstest.Must(t, netlink.AddrAdd(l, a))
			}
			i := Open("eth0")
			for range 2 {
				nstest.Must(t, i.Renew(t.Context(), tc.ip, time.Minute))
				wantEntries(t, l, own4, own6, tc.want)
				wantValid(t, l, tc.ip, 60)
			}
			wantValid(t, l, netip.MustParseAddr("10.0.0.1"), forEver)
		})
	}
}

// TestRenewForEver: with lifetime 0 the entry of Add stays for ever, and an IPv4 entry with another prefix length,
// which somebody else has made, stays as it is.
func TestRenewForEver(t *testing.T) {
	l, _ := eth0(t, "10.0.0.1/24", "fd00::1/64")
	i := Open("eth0")
	add := func(address string, valid int) {
		t.Helper()
		a := nstest.Address(t, address)
		a.ValidLft, a.PreferedLft = valid, valid
		nstest.Must(t, netlink.AddrAdd(l, a))
	}
	nstest.Must(t, i.Add(t.Context(), vip4, time.Minute))
	add("10.0.0.5/24", forEver)
	add("fd00::5/64", 60)
	for range 2 {
		for _, ip := range []netip.Addr{vip4, vip6} {
			nstest.Must(t, i.Renew(t.Context(), ip, 0))
			wantValid(t, l, ip, forEver)
		}
		wantEntries(t, l, "10.0.0.1/24", "10.0.0.5/32", "10.0.0.5/24", "fd00::1/64", "fd00::5/64")
	}
}

// TestLasting: an address counts as one that stays where any entry of it does.
func TestLasting(t *testing.T) {
	l, _ := eth0(t, "10.0.0.1/24")
	i := Open("eth0")
	want := func(what string, ips ...string) {
		t.Helper()
		there, err := i.Lasting(t.Context())
		nstest.Must(t, err)
		var got []string
		for _, ip := range there {
			if !ip.IsLinkLocalUnicast() {
				got = append(got, ip.String())
			}
		}
		if !slices.Equal(got, ips) {
			t.Errorf("%s: %v, want %v", what, got, ips)
		}
	}
	want("at first", "10.0.0.1")
	nstest.Must(t, i.Add(t.Context(), vip4, time.Minute))
	nstest.Must(t, i.Add(t.Context(), vip6, time.Minute))
	want("with lifetimes", "10.0.0.1")
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.5/24")))
	want("another entry beside", "10.0.0.1", "10.0.0.5")
	nstest.Must(t, i.Renew(t.Context(), vip4, time.Minute))
	want("taken over", "10.0.0.1")
}

// An entry whose lifetime is over, and which the kernel has yet to remove, is no reason for Renew to bring the address
// back.
func TestRenewDoesNotReviveWhatIsOver(t *testing.T) {
	l, _ := eth0(t)
	other := nstest.Address(t, "10.0.0.5/24")
	other.ValidLft, other.PreferedLft = 1, 1
	nstest.Must(t, netlink.AddrAdd(l, other))
	added := time.Now()
	time.Sleep(950 * time.Millisecond) // the Add below has the kernel look for expired addresses, and not again for 1 s
	nstest.Must(t, Open("eth0").Add(t.Context(), netip.MustParseAddr("10.0.0.6"), 0))
	time.Sleep(time.Until(added.Add(1200 * time.Millisecond)))
	if entries := entriesOf(t, l); len(entries) != 2 {
		t.Fatalf("the kernel took the address off in time: this test proves nothing (%v)", entries)
	}
	if err := Open("eth0").Renew(t.Context(), vip4, time.Minute); !errors.Is(err, ErrNotPresent) {
		t.Errorf("Renew: %v, want ErrNotPresent", err)
	}
	eventually(t, 2*time.Second, "the address leaves", func() bool { return len(entriesOf(t, l)) == 1 })
}
