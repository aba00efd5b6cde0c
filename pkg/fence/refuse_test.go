package fence

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

// TestDepartures: connections to an address that has left are refused at once, over IPv4 and IPv6, and are accepted
// when the address is back.
func TestDepartures(t *testing.T) {
	w := newWorld(t)
	var d Departures
	nstest.Must(t, d.Welcome(t.Context(), netip.MustParseAddr(here4))) // nobody was refused
	l, err := netlink.LinkByName("eth0")
	nstest.Must(t, err)
	for _, vip := range []struct{ from, ip, cidr string }{{client4, "10.0.0.50", "10.0.0.50/32"},
		{client6, "fd00::50", "fd00::50/128"}} {
		ip := netip.MustParseAddr(vip.ip)
		nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, vip.cidr)))
		w.dial(vip.from, vip.ip)

		nstest.Must(t, netlink.AddrDel(l, nstest.Address(t, vip.cidr)))
		w.wantSilence(vip.from, vip.ip) // without Refuse
		for range 2 {
			nstest.Must(t, d.Refuse(t.Context(), ip, time.Minute))
		}
		w.wantDial(vip.from, vip.ip, unix.ECONNREFUSED)

		nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, vip.cidr)))
		nstest.Must(t, d.Welcome(t.Context(), ip))
		w.dial(vip.from, vip.ip)
	}
}

// TestDeparturesEnd: the kernel removes an address by itself when its time is over, and keeps the others.
func TestDeparturesEnd(t *testing.T) {
	w := newWorld(t)
	var d Departures
	nstest.Must(t, d.Refuse(t.Context(), netip.MustParseAddr(here6), time.Minute))
	nstest.Must(t, d.Refuse(t.Context(), netip.MustParseAddr(here4), 3*time.Second))
	w.wantDial(client4, here4, unix.ECONNREFUSED)
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := w.r.dial(client4, here4, w.at)
		if err == nil {
			c.Close()
			<-w.accepted
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still refused: %v", err)
		}
	}
	w.wantDial(client6, here6, unix.ECONNREFUSED)
}

func (w *world) wantSilence(from, to string) {
	w.t.Helper()
	c, err := w.r.dial(from, to, w.at)
	if err == nil {
		c.Close()
	}
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		w.t.Errorf("from %s to %s: %v, want no answer", from, to, err)
	}
}

func (w *world) wantDial(from, to string, want error) {
	w.t.Helper()
	c, err := w.r.dial(from, to, w.at)
	if err == nil {
		c.Close()
	}
	if !errors.Is(err, want) {
		w.t.Errorf("from %s to %s: %v, want %v", from, to, err, want)
	}
}
