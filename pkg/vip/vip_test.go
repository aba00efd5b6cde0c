package vip

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

var (
	vip4 = netip.MustParseAddr("10.0.0.5")
	vip6 = netip.MustParseAddr("fd00::5")
)

// entriesOf shows the addresses of the interface as the kernel has them.
func entriesOf(t *testing.T, l netlink.Link) []string {
	t.Helper()
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	nstest.Must(t, err)
	var got []string
	for _, a := range list {
		got = append(got, a.IPNet.String())
	}
	slices.Sort(got)
	return got
}

func wantEntries(t *testing.T, l netlink.Link, want ...string) {
	t.Helper()
	slices.Sort(want)
	if diff := cmp.Diff(want, entriesOf(t, l)); diff != "" {
		t.Fatalf("addresses on the interface (-want +got):\n%s", diff)
	}
}

func wantListed(t *testing.T, i *Interface, ip netip.Addr, want bool) {
	t.Helper()
	got, err := i.List(t.Context())
	nstest.Must(t, err)
	if slices.Contains(got, ip) != want {
		t.Fatalf("List says %v, want %s in it: %v", got, ip, want)
	}
}

func TestAddListRemove(t *testing.T) {
	l, _ := eth0(t, "10.0.0.1/24", "fd00::1/64")
	i := Open("eth0")
	for range 2 { // a second add is no error and changes nothing
		nstest.Must(t, i.Add(t.Context(), vip4, 0))
		nstest.Must(t, i.Add(t.Context(), vip6, 0))
		wantEntries(t, l, "10.0.0.1/24", "10.0.0.5/32", "fd00::1/64", "fd00::5/128")
	}
	list, err := i.List(t.Context())
	nstest.Must(t, err)
	want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), vip4, netip.MustParseAddr("fd00::1"), vip6}
	if !slices.Equal(list, want) {
		t.Errorf("List = %v, want %v", list, want)
	}
	for range 2 { // nor is a second remove
		nstest.Must(t, i.Remove(t.Context(), vip4))
		nstest.Must(t, i.Remove(t.Context(), vip6))
		wantEntries(t, l, "10.0.0.1/24", "fd00::1/64")
	}
}

func TestAddIsUsableAtOnceAndForEver(t *testing.T) {
	l, _ := eth0(t)
	nstest.Must(t, Open("eth0").Add(t.Context(), vip4, 0))
	nstest.Must(t, Open("eth0").Add(t.Context(), vip6, 0))
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	nstest.Must(t, err)
	for _, a := range list {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 || a.Flags&unix.IFA_F_PERMANENT == 0 {
			t.Errorf("%s has flags %#x, want it permanent and not tentative", a.IPNet, a.Flags)
		}
	}
	if len(list) != 2 {
		t.Errorf("%d addresses on the interface, want 2", len(list))
	}
}

func TestIPv4InIPv6FormIsIPv4(t *testing.T) {
	l, _ := eth0(t)
	mapped := netip.MustParseAddr("::ffff:10.0.0.5")
	nstest.Must(t, Open("eth0").Add(t.Context(), mapped, 0))
	wantEntries(t, l, "10.0.0.5/32")
	nstest.Must(t, Open("eth0").Remove(t.Context(), mapped))
	wantEntries(t, l)
}

func TestForeignPrefixLength(t *testing.T) {
	for _, tc := range []struct {
		ip      netip.Addr
		foreign string
	}{
		{vip4, "10.0.0.5/24"}, {vip4, "10.0.0.5/8"}, {vip6, "fd00::5/64"},
	} {
		t.Run(tc.foreign, func(t *testing.T) {
			l, _ := eth0(t, tc.foreign)
			i := Open("eth0")
			wantListed(t, i, tc.ip, true)
			nstest.Must(t, i.Add(t.Context(), tc.ip, 0))
			wantEntries(t, l, tc.foreign)
			wantValid(t, l, tc.ip, forEver)
			nstest.Must(t, i.Add(t.Context(), tc.ip, time.Minute))
			wantEntries(t, l, netip.PrefixFrom(tc.ip, tc.ip.BitLen()).String())
			wantValid(t, l, tc.ip, 60)
			nstest.Must(t, i.Remove(t.Context(), tc.ip))
			wantEntries(t, l)
		})
	}
}

// The host's own address is a secondary of the entry with the foreign prefix length and must not go with it.
func TestLeaseReplacesAPrimaryAlone(t *testing.T) {
	l, _ := eth0(t, "10.0.0.5/24", "10.0.0.1/24", "10.0.0.5/32")
	nstest.Must(t, Open("eth0").Add(t.Context(), vip4, time.Minute))
	wantEntries(t, l, "10.0.0.1/24", "10.0.0.5/32")
	wantValid(t, l, vip4, 60)
	wantValid(t, l, netip.MustParseAddr("10.0.0.1"), forEver)
}

func TestRemoveTakesEveryEntryOfTheAddress(t *testing.T) {
	l, _ := eth0(t, "10.0.0.5/24", "10.0.0.5/16", "10.0.0.5/32", "10.0.0.1/24")
	list, err := Open("eth0").List(t.Context())
	nstest.Must(t, err)
	if want := []netip.Addr{netip.MustParseAddr("10.0.0.1"), vip4}; !slices.Equal(list, want) {
		t.Errorf("List = %v, want each address once: %v", list, want)
	}
	nstest.Must(t, Open("eth0").Remove(t.Context(), vip4))
	wantEntries(t, l, "10.0.0.1/24")
}

func TestRemoveTakesPointToPointEntry(t *testing.T) {
	l, _ := eth0(t)
	a := nstest.Address(t, "10.0.0.5/32")
	a.Peer = nstest.Address(t, "10.9.0.1/32").IPNet
	nstest.Must(t, netlink.AddrAdd(l, a))
	wantListed(t, Open("eth0"), vip4, true)
	nstest.Must(t, Open("eth0").Remove(t.Context(), vip4))
	wantEntries(t, l)
}

func TestLookAlikesStay(t *testing.T) {
	others := []string{"10.0.0.55/32", "100.0.0.5/32", "10.0.0.50/24", "110.0.0.5/32", "10.0.0.1/32", "fd00::55/64",
		"fd00::5:5/128"}
	l, _ := eth0(t, others...)
	i := Open("eth0")
	wantListed(t, i, vip4, false)
	wantListed(t, i, vip6, false)
	nstest.Must(t, i.Remove(t.Context(), vip4))
	nstest.Must(t, i.Remove(t.Context(), vip6))
	wantEntries(t, l, others...)
	nstest.Must(t, i.Add(t.Context(), vip4, 0))
	nstest.Must(t, i.Add(t.Context(), vip6, 0))
	wantEntries(t, l, append(others, "10.0.0.5/32", "fd00::5/128")...)
	nstest.Must(t, i.Remove(t.Context(), vip4))
	nstest.Must(t, i.Remove(t.Context(), vip6))
	wantEntries(t, l, others...)
}

// An address on another interface of this machine is not ours.
func TestOtherInterfaceIsNotLookedAt(t *testing.T) {
	eth0(t)
	other, _ := nstest.Veth(t, "eth1", "peer1")
	nstest.Must(t, netlink.AddrAdd(other, nstest.Address(t, "10.0.0.5/32")))
	wantListed(t, Open("eth0"), vip4, false)
	nstest.Must(t, Open("eth0").Remove(t.Context(), vip4))
	wantEntries(t, other, "10.0.0.5/32")
}

func TestLifetime(t *testing.T) {
	l, _ := eth0(t)
	i := Open("eth0")
	renewed4, renewed6 := netip.MustParseAddr("10.0.0.6"), netip.MustParseAddr("fd00::6")
	start := time.Now()
	for _, ip := range []netip.Addr{vip4, vip6, renewed4, renewed6} {
		nstest.Must(t, i.Add(t.Context(), ip, 800*time.Millisecond)) // a second: the kernel knows nothing shorter
	}
	wantEntries(t, l, "10.0.0.5/32", "10.0.0.6/32", "fd00::5/128", "fd00::6/128")
	nstest.Must(t, i.Add(t.Context(), renewed4, 0))
	nstest.Must(t, i.Add(t.Context(), renewed6, time.Hour))
	eventually(t, 3*time.Second, "the addresses leave by themselves", func() bool {
		return slices.Equal(entriesOf(t, l), []string{"10.0.0.6/32", "fd00::6/128"})
	})
	if took := time.Since(start); took < 800*time.Millisecond {
		t.Errorf("the addresses left after %s, before their lifetime", took)
	}
}

const forEver = 1<<32 - 1

// wantValid checks what is left of the lifetime of every entry of ip, in seconds; one may have passed. An IPv6
// entry of ours is deprecated.
func wantValid(t *testing.T, l netlink.Link, ip netip.Addr, seconds int) {
	t.Helper()
	list, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	nstest.Must(t, err)
	found := false
	for _, a := range list {
		if local(a) != ip {
			continue
		}
		found = true
		for what, life := range map[string][2]int{"": {a.ValidLft, seconds},
			"preferred ": {a.PreferedLft, preferred(a, seconds)}} {
			if left, want := life[0], life[1]; left != want && left != want-1 {
				t.Errorf("%s has a %slifetime of %d s, want %d", a.IPNet, what, left, want)
			}
		}
	}
	if !found {
		t.Errorf("%s is not on the interface", ip)
	}
}

func preferred(a netlink.Addr, valid int) int {
	if ours := a.Flags&unix.IFA_F_NOPREFIXROUTE != 0; ours && local(a).Is6() {
		return 0
	}
	return valid
}

func TestRenew(t *testing.T) {
	l, _ := eth0(t, "10.0.0.1/24", "fd00::1/64")
	i := Open("eth0")
	for _, ip := range []netip.Addr{vip4, vip6} {
		before := entriesOf(t, l)
		for range 2 { // in the first round the address was never on the interface, in the second it has been removed
			if err := i.Renew(t.Context(), ip, time.Minute); !errors.Is(err, ErrNotPresent) {
				t.Errorf("%s: Renew of a missing address: %v, want ErrNotPresent", ip, err)
			}
			wantEntries(t, l, before...)
			nstest.Must(t, i.Add(t.Context(), ip, 0))
			nstest.Must(t, i.Renew(t.Context(), ip, time.Hour)) // for ever no more
			wantValid(t, l, ip, 3600)
			nstest.Must(t, i.Renew(t.Context(), ip, 92*time.Second-1)) // shorter, and rounded down
			wantValid(t, l, ip, 91)
			nstest.Must(t, i.Renew(t.Context(), ip, 200*time.Second))
			wantValid(t, l, ip, 200)
			nstest.Must(t, i.Remove(t.Context(), ip))
		}
		nstest.Must(t, i.Add(t.Context(), ip, time.Minute))
		if i.Renew(t.Context(), ip, -time.Second) == nil {
			t.Errorf("%s: a negative lifetime was taken", ip)
		}
		wantValid(t, l, ip, 60)
		nstest.Must(t, i.Renew(t.Context(), ip, 0))
		wantValid(t, l, ip, math.MaxUint32) // for ever
		nstest.Must(t, i.Remove(t.Context(), ip))
	}
}

// An address may leave between Renew's look at the interface and its request to the kernel, as when the agent is
// stopped in between: the request does not bring the address back. An entry that is renewed keeps everything but its
// lifetime.
func TestRenewalAddsNothing(t *testing.T) {
	l, _ := eth0(t, "10.0.0.1/24", "fd00::1/64")
	i := Open("eth0")
	prolong := func(ip netip.Addr, lifetime time.Duration) error {
		return i.do(t.Context(), func(c conn) error { return c.prolong(t.Context(), ip, lifetime) })
	}
	for _, ip := range []netip.Addr{vip4, vip6} {
		before := entriesOf(t, l)
		if err := prolong(ip, time.Minute); !errors.Is(err, ErrNotPresent) {
			t.Errorf("%s: a missing address: %v, want ErrNotPresent", ip, err)
		}
		wantEntries(t, l, before...)
		nstest.Must(t, i.Add(t.Context(), ip, time.Hour))
		there := entriesOf(t, l)
		for _, lifetime := range []time.Duration{time.Minute, 2 * time.Hour} {
			nstest.Must(t, prolong(ip, lifetime))
			wantValid(t, l, ip, int(lifetime.Seconds()))
		}
		wantEntries(t, l, there...)
		nstest.Must(t, i.Remove(t.Context(), ip))
		wantEntries(t, l, before...)
		nstest.Must(t, i.Add(t.Context(), ip, time.Hour))
		nstest.Must(t, prolong(ip, time.Minute))
		nstest.Must(t, i.Renew(t.Context(), ip, 0))
		wantValid(t, l, ip, math.MaxUint32)
		nstest.Must(t, i.Remove(t.Context(), ip))
	}
}

// An address that is renewed several times a second stays; one that is not renewed goes, and Renew does not bring it
// back.
func TestRenewKeepsTheAddress(t *testing.T) {
	l, _ := eth0(t)
	i := Open("eth0")
	nstest.Must(t, i.Add(t.Context(), vip4, time.Second))
	nstest.Must(t, i.Add(t.Context(), vip6, time.Second))
	for start := time.Now(); time.Since(start) < 2500*time.Millisecond; {
		nstest.Must(t, i.Renew(t.Context(), vip4, time.Second))
		nstest.Must(t, i.Renew(t.Context(), vip6, time.Second))
		time.Sleep(300 * time.Millisecond) // the pace under test
	}
	eventually(t, 3*time.Second, "the lifetimes end", func() bool { return len(entriesOf(t, l)) == 0 })
	if err := i.Renew(t.Context(), vip4, time.Second); !errors.Is(err, ErrNotPresent) {
		t.Errorf("got %v, want ErrNotPresent", err)
	}
	wantEntries(t, l)
}

func TestLifetimeInSeconds(t *testing.T) {
	for _, tc := range []struct {
		lifetime time.Duration
		seconds  int
	}{
		{0, 0}, {time.Nanosecond, 1}, {time.Second, 1}, {2*time.Second - 1, 1}, {3 * time.Second, 3},
		{3*time.Second + 1, 3},
		{1 << 62, forEver - 1},
	} {
		if e := entry(vip4, tc.lifetime); e.ValidLft != tc.seconds || e.PreferedLft != tc.seconds {
			t.Errorf("%s: valid %d, preferred %d, want %d", tc.lifetime, e.ValidLft, e.PreferedLft, tc.seconds)
		}
	}
}

func TestAddressInUseElsewhereIsNotPresent(t *testing.T) {
	l, r := eth0(t)
	r.add("fd00::5/128")
	a := nstest.Address(t, "fd00::5/128")
	a.Flags = 0 // by hand, with duplicate address detection
	nstest.Must(t, netlink.AddrAdd(l, a))
	i := Open("eth0")
	eventually(t, 5*time.Second, "the kernel finds the duplicate", func() bool {
		ips, err := i.List(t.Context())
		nstest.Must(t, err)
		return !slices.Contains(ips, vip6)
	})
	wantEntries(t, l, "fd00::5/128")
	nstest.Must(t, i.Add(t.Context(), vip6, 0))
	wantListed(t, i, vip6, true)
	nstest.Must(t, i.Remove(t.Context(), vip6))
	wantEntries(t, l)
}

func TestDownInterface(t *testing.T) {
	l, _ := eth0(t)
	nstest.Must(t, netlink.LinkSetDown(l))
	i := Open("eth0")
	for _, ip := range []netip.Addr{vip4, vip6} {
		nstest.Must(t, i.Add(t.Context(), ip, 0))
		wantListed(t, i, ip, true)
		nstest.Must(t, i.Remove(t.Context(), ip))
		wantListed(t, i, ip, false)
	}
}

func TestMissingInterface(t *testing.T) {
	i := Open("eth0")
	wantMissing := func() {
		t.Helper()
		_, err := i.List(t.Context())
		for _, err := range []error{err, i.Add(t.Context(), vip4, 0), i.Remove(t.Context(), vip4),
			i.Renew(t.Context(), vip4, time.Second)} {
			if !errors.Is(err, ErrNoInterface) || !strings.Contains(err.Error(), "eth0") {
				t.Errorf("got %v, want ErrNoInterface with the name", err)
			}
		}
	}
	wantMissing()
	l, _ := eth0(t)
	nstest.Must(t, i.Add(t.Context(), vip4, 0))
	nstest.Must(t, netlink.LinkDel(l))
	wantMissing()
	l, _ = eth0(t) // again, with another number
	wantListed(t, i, vip4, false)
	nstest.Must(t, i.Add(t.Context(), vip4, 0))
	wantEntries(t, l, "10.0.0.5/32")
}

func TestWrongArguments(t *testing.T) {
	eth0(t)
	i := Open("eth0")
	for _, ip := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0")} {
		if i.Add(t.Context(), ip, 0) == nil || i.Remove(t.Context(), ip) == nil ||
			i.Renew(t.Context(), ip, time.Second) == nil {
			t.Errorf("address %s was taken", ip)
		}
	}
	if i.Add(t.Context(), vip4, -time.Second) == nil {
		t.Error("a negative lifetime was taken")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := i.Add(ended, vip4, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("Add with a context that has ended: %v", err)
	}
	wantListed(t, i, vip4, false)
}

func TestNotPermitted(t *testing.T) {
	eth0(t, "10.0.0.5/32")
	i := Open("eth0")
	results := make(chan map[string]error)
	go func() {
		runtime.LockOSThread() // never unlocked: capabilities belong to the thread, which ends here
		var none [2]unix.CapUserData
		if err := unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0]); err != nil {
			results <- map[string]error{"": err}
			return
		}
		results <- map[string]error{
			"CAP_NET_ADMIN": errors.Join(i.Add(t.Context(), netip.MustParseAddr("10.0.0.6"), 0),
				i.Remove(t.Context(), vip4)),
			"CAP_NET_RAW": i.announce(t.Context(), vip4),
		}
	}()
	for capability, err := range <-results {
		if !errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), capability) {
			t.Errorf("got %v, want EPERM with a hint at %s", err, capability)
		}
	}
	wantListed(t, i, vip4, true)
}
