package vip

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"mysql-mmm/pkg/nstest"
)

// kernelLate is how long after its lifetime, in whole seconds, the kernel may leave an address on the interface: what
// the sums of the lease allow it (docs/design.md, "Never two writers"), 1.25 s without the 50 ms that setting one may
// take. A kernel at rest needs 0.98 s, one on a busy machine a little more.
const kernelLate = 1200 * time.Millisecond

// The kernel looks for addresses whose time is over whenever one is added, and then for a second not again: an address
// that ends just after such a look stays longest. So others are added shortly before the ends of some.
func TestHowLateTheKernelTakesAddressesOff(t *testing.T) {
	l, _ := eth0(t)
	i := Open("eth0")
	const rounds, lifetime = 3, time.Second
	const ms = time.Millisecond
	before := []time.Duration{10 * ms, 40 * ms, 100 * ms, 400 * ms} // from the look to an end
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
					worst = max(worst, began.Sub(end)) // it was there at that time, if not longer
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
