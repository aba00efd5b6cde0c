package vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"mysql-mmm/pkg/nstest"
)

// kernelLate is how long the kernel may leave an address on the interface after its lifetime (in whole seconds) has
// ended. The rules of the lease allow 1.25 s (docs/design.md, "Never two writers"), of which 50 ms are for setting a
// lifetime. A kernel at rest needs 0.98 s, one on a busy machine a little more.
const kernelLate = 1200 * time.Millisecond

// The kernel looks for addresses whose lifetime is over whenever an address is added, and then not again for a second:
// an address that ends just after such a look stays longest. So this test adds addresses shortly before others end.
func TestHowLateTheKernelTakesAddressesOff(t *testing.T) {
	l, _ := eth0(t)
	i := Open("eth0")
	const rounds, lifetime = 3, time.Second
	const ms = time.Millisecond
	before := []time.Duration{10 * ms, 40 * ms, 100 * ms, 400 * ms} // from the kernel's look to the end of a lifetime
	worst := time.Duration(0)
	for round := range rounds {
		look := time.Now().Add(lifetime)
		ends := map[netip.Addr]time.Time{}
		for n, d := range before {
			time.Sleep(time.Until(look.Add(d - lifetime)))
			for _, format := range []string{"10.0.%d.%d", "fd00::%d:%d"} {
				ip := netip.MustParseAddr(fmt.Sprintf(format, round, n))
				nstest.Must(t, i.Add(t.Context(), ip, lifetime))
				ends[ip] = time.Now().Add(lifetime)
			}
		}
		time.Sleep(time.Until(look))
		for _, format := range []string{"10.1.%d.0", "fd01::%d:0"} {
			nstest.Must(t, i.Add(t.Context(), netip.MustParseAddr(fmt.Sprintf(format, round)), 0))
		}
		eventually(t, 5*time.Second, "the addresses leave", func() bool {
			began := time.Now()
			left := false
			list, err := i.List(t.Context())
			nstest.Must(t, err)
			for _, ip := range list {
				if end, ok := ends[ip]; ok {
					left = true
					worst = max(worst, began.Sub(end)) // ip was still on the interface at began
				}
			}
			return !left
		})
	}
	t.Logf("the kernel takes addresses off up to %s late (%d tries)", worst.Round(time.Millisecond),
		2*rounds*len(before))
	if worst > kernelLate {
		t.Errorf("that is more than the %s that the lease allows for", kernelLate)
	}
	if list, err := netlink.AddrList(l, netlink.FAMILY_ALL); err != nil || len(list) != 2*rounds {
		t.Errorf("%d addresses are left, want the %d without a lifetime (%v)", len(list), 2*rounds, err)
	}
}
