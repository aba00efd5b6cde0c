package vip

import (
	"net"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

// A VIP that somebody put on the interface before the host's own addresses is the primary of their subnet.
// Removing it must not take them, nor the gateway, along.
func TestRemovePrimaryKeepsSecondariesAndRoutes(t *testing.T) {
	for _, promote := range []string{"0", "1"} {
		t.Run("promote_secondaries="+promote, func(t *testing.T) {
			l, _ := eth0(t)
			nstest.Must(t, os.WriteFile("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", []byte(promote), 0))
			nstest.Must(t, os.WriteFile("/proc/sys/net/ipv4/conf/all/promote_secondaries", []byte("0"), 0))
			for _, a := range []string{"10.0.0.5/24", "10.0.0.11/24", "10.0.0.12/24", "10.0.0.12/32", "10.1.0.1/24"} {
				nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, a)))
			}
			labelled := nstest.Address(t, "10.0.0.13/24")
			labelled.Label, labelled.Broadcast = "eth0:x", net.IPv4zero
			labelled.ValidLft, labelled.PreferedLft, labelled.Flags = 3600, 1800, unix.IFA_F_NOPREFIXROUTE
			nstest.Must(t, netlink.AddrAdd(l, labelled))
			nstest.Must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.IPv4(10, 0, 0, 1)}))
			nstest.Must(t, netlink.RouteAdd(&netlink.Route{
				LinkIndex: l.Attrs().Index, Dst: nstest.Address(t, "192.0.2.0/24").IPNet,
				Gw: net.IPv4(10, 0, 0, 1), Src: net.IPv4(10, 0, 0, 11),
			}))

			nstest.Must(t, Open("eth0").Remove(t.Context(), vip4))

			wantEntries(t, l, "10.0.0.11/24", "10.0.0.12/24", "10.0.0.12/32", "10.0.0.13/24", "10.1.0.1/24")
			list, err := netlink.AddrList(l, netlink.FAMILY_V4)
			nstest.Must(t, err)
			for _, a := range list {
				if a.IP.Equal(labelled.IP) && (a.Label != "eth0:x" || a.Broadcast != nil ||
					a.ValidLft < 3590 || a.ValidLft > 3600 || a.PreferedLft > 1800 ||
					a.Flags&unix.IFA_F_NOPREFIXROUTE == 0) {
					t.Errorf("%s came back as %+v", labelled.IPNet, a)
				}
			}
			wantRoutes(t, l, "default via 10.0.0.1", "192.0.2.0/24 via 10.0.0.1", "10.0.0.0/24", "10.1.0.0/24")
		})
	}
}

// The same with nothing else on the interface: when its last address goes, so do all routes.
func TestRemovePrimaryOfTheOnlySubnet(t *testing.T) {
	l, _ := eth0(t)
	nstest.Must(t, os.WriteFile("/proc/sys/net/ipv4/conf/eth0/promote_secondaries", []byte("0"), 0))
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.5/24")))
	nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, "10.0.0.11/24")))
	nstest.Must(t, netlink.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: net.IPv4(10, 0, 0, 1)}))
	nstest.Must(t, Open("eth0").Remove(t.Context(), vip4))
	wantEntries(t, l, "10.0.0.11/24")
	wantRoutes(t, l, "default via 10.0.0.1", "10.0.0.0/24")
}

func wantRoutes(t *testing.T, l netlink.Link, want ...string) {
	t.Helper()
	routes, err := netlink.RouteList(l, netlink.FAMILY_V4)
	nstest.Must(t, err)
	got := map[string]bool{}
	for _, r := range routes {
		name := r.Dst.String()
		if ones, _ := r.Dst.Mask.Size(); ones == 0 {
			name = "default"
		} else if ones == 32 {
			continue
		}
		if r.Gw != nil {
			name += " via " + r.Gw.String()
		}
		got[name] = true
	}
	wanted := map[string]bool{}
	for _, w := range want {
		wanted[w] = true
	}
	if diff := cmp.Diff(wanted, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}
