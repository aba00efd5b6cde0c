package vip

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"

	"mysql-mmm/pkg/nstest"
)

const probeWait = 50 * time.Millisecond

func wantOwner(t *testing.T, ip netip.Addr, want net.HardwareAddr) {
	t.Helper()
	start, wait := time.Now(), probeWait
	if want != nil {
		wait = time.Second // ends with the answer, also on a busy machine
	}
	mac, err := Open("eth0").Probe(t.Context(), ip, wait)
	nstest.Must(t, err)
	took := time.Since(start)
	if !bytes.Equal(mac, want) {
		t.Fatalf("%s is at %v, want %v", ip, mac, want)
	}
	if want == nil && took < probeWait {
		t.Errorf("waited %s for an answer, want %s", took, probeWait)
	}
}

func TestProbe(t *testing.T) {
	for _, tc := range []struct {
		ip           netip.Addr
		theirs, near string // the address on the other host, and another one there
	}{
		{vip4, "10.0.0.5/32", "10.0.0.55/24"},
		{vip6, "fd00::5/128", "fd00::5:5/64"},
		{netip.MustParseAddr("::ffff:10.0.0.5"), "10.0.0.5/24", "10.0.0.4/24"},
	} {
		t.Run(tc.theirs, func(t *testing.T) {
			_, r := eth0(t) // it needs no address of its own
			r.add(tc.near)
			wantOwner(t, tc.ip, nil)
			r.add(tc.theirs)
			wantOwner(t, tc.ip, r.link.Attrs().HardwareAddr)
			nstest.Must(t, Open("eth0").Add(t.Context(), tc.ip, 0)) // on both: theirs counts
			wantOwner(t, tc.ip, r.link.Attrs().HardwareAddr)
			r.del(tc.theirs)
			wantOwner(t, tc.ip, nil) // ours does not
		})
	}
}

// The probes are what the RFCs want, and two of them.
func TestProbeFrames(t *testing.T) {
	l, r := eth0(t)
	own := l.Attrs().HardwareAddr
	for _, tc := range []struct {
		ip       netip.Addr
		protocol int
		to       net.HardwareAddr
	}{
		{vip4, protocolARP, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{vip6, protocolIPv6, net.HardwareAddr{0x33, 0x33, 0xff, 0, 0, 5}},
	} {
		frames := sniff(t, r, tc.protocol)
		wantOwner(t, tc.ip, nil)
		timeout := time.After(2 * time.Second)
		for got := 0; got < 2; {
			select {
			case b := <-frames:
				if bytes.Equal(b[:6], tc.to) && bytes.Equal(b[6:12], own) {
					got++
				}
			case <-timeout:
				t.Fatalf("%s: %d probes arrived, want 2", tc.ip, got)
			}
		}
	}
}

// A probe must not draw traffic here.
func TestProbeTeachesNobody(t *testing.T) {
	_, r := eth0(t)
	r.add("10.0.0.100/24")
	r.add("fd00::100/64")
	for _, ip := range []netip.Addr{vip4, vip6} {
		r.reach(ip) // so that there is an entry to be filled in
		wantOwner(t, ip, nil)
		if mac := r.neighbour(ip); mac != nil {
			t.Errorf("%s: the neighbour learned %s from a probe", ip, mac)
		}
	}
}

// Two hosts that probe for the same address at once both hear of it.
func TestProbeMeetsProbe(t *testing.T) {
	_, r := eth0(t)
	for _, ip := range []netip.Addr{vip4, vip6} {
		var other *packet.Conn
		theirs := r.link.Attrs().HardwareAddr
		q, err := questionFor(theirs, ip)
		nstest.Must(t, err)
		nstest.Do(t, r.ns, func() (err error) {
			other, err = packet.Listen(&net.Interface{Index: r.link.Attrs().Index}, packet.Datagram, int(q.protocol),
				nil)
			return err
		})
		run(t, func(ctx context.Context) error {
			defer other.Close()
			for {
				if _, err := other.WriteTo(q.payload, &packet.Addr{HardwareAddr: q.to}); err != nil {
					return err
				}
				select {
				case <-ctx.Done():
					return nil
				case <-time.After(5 * time.Millisecond):
				}
			}
		})
		wantOwner(t, ip, theirs)
	}
}

func TestProbeErrors(t *testing.T) {
	i := Open("eth0")
	for _, ip := range []netip.Addr{vip4, vip6} {
		if _, err := i.Probe(t.Context(), ip, probeWait); !errors.Is(err, ErrNoInterface) {
			t.Errorf("no interface: %v", err)
		}
	}
	l, r := eth0(t)
	for _, ip := range []netip.Addr{vip4, vip6} {
		nstest.Must(t, r.h.LinkSetDown(r.link))
		eventually(t, 5*time.Second, "the carrier is lost", func() bool {
			_, err := i.Probe(t.Context(), ip, time.Millisecond)
			return errors.Is(err, ErrLinkDown)
		})
		nstest.Must(t, r.h.LinkSetUp(r.link))
		nstest.Must(t, netlink.LinkSetDown(l))
		if _, err := i.Probe(t.Context(), ip, probeWait); !errors.Is(err, ErrLinkDown) {
			t.Errorf("interface down: %v", err)
		}
		nstest.Must(t, netlink.LinkSetUp(l))
		eventually(t, 5*time.Second, "the link is up", func() bool {
			_, err := i.Probe(t.Context(), ip, time.Millisecond)
			return err == nil
		})

		// The carrier is lost while the probe waits for answers.
		lost := make(chan error)
		go func() {
			_, err := i.Probe(t.Context(), ip, 300*time.Millisecond)
			lost <- err
		}()
		time.AfterFunc(100*time.Millisecond, func() { r.h.LinkSetDown(r.link) })
		if err := <-lost; !errors.Is(err, ErrLinkDown) {
			t.Errorf("%s: carrier lost in between: %v", ip, err)
		}
		nstest.Must(t, r.h.LinkSetUp(r.link))
		eventually(t, 5*time.Second, "the link is up", func() bool {
			_, err := i.Probe(t.Context(), ip, time.Millisecond)
			return err == nil
		})

		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		start := time.Now()
		if _, err := i.Probe(ctx, ip, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a context that ends: %v", err)
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("the context ended after 20 ms, Probe after %s", took)
		}
		cancel()
	}
	if _, err := i.Probe(t.Context(), vip4, 0); err == nil {
		t.Error("no time to wait was taken")
	}
	if _, err := i.Probe(t.Context(), netip.Addr{}, probeWait); err == nil {
		t.Error("no address was taken")
	}
	if mac, err := Open("lo").Probe(t.Context(), vip4, probeWait); mac != nil || err != nil {
		t.Errorf("loopback: %v, %v, want nobody", mac, err)
	}
}

func TestClaims(t *testing.T) {
	mac, zero := net.HardwareAddr{2, 0, 0, 0, 0, 9}, make(net.HardwareAddr, 6)
	other, none := netip.MustParseAddr("10.0.0.9"), netip.IPv4Unspecified()
	for _, tc := range []struct {
		name     string
		op       arp.Operation
		from, to netip.Addr
		want     bool
	}{
		{"reply", arp.OperationReply, vip4, none, true},
		{"request from the address", arp.OperationRequest, vip4, other, true},
		{"gratuitous", arp.OperationRequest, vip4, vip4, true},
		{"probe", arp.OperationRequest, none, vip4, true},
		{"somebody looks for it", arp.OperationRequest, other, vip4, false},
		{"somebody looks for another", arp.OperationRequest, none, other, false},
		{"reply about another", arp.OperationReply, other, vip4, false},
	} {
		p, err := arp.NewPacket(tc.op, mac, tc.from, zero, tc.to)
		nstest.Must(t, err)
		b, err := p.MarshalBinary()
		nstest.Must(t, err)
		if got := arpClaim(b, vip4) != nil; got != tc.want {
			t.Errorf("%s: claim is %v, want %v", tc.name, got, tc.want)
		}
		for n := range b { // cut short
			if arpClaim(b[:n], vip4) != nil {
				t.Errorf("%s: %d bytes of it make a claim", tc.name, n)
			}
		}
	}
	b, err := unsolicitedAdvertisement(mac, vip6)
	nstest.Must(t, err)
	if got := ndpClaim(b[0], zero, vip6); !bytes.Equal(got, mac) {
		t.Errorf("advertisement: %v, want %v", got, mac)
	}
	if got := ndpClaim(b[0], zero, netip.MustParseAddr("fd00::6")); got != nil {
		t.Errorf("advertisement of another: %v", got)
	}
	for n := range b[0] {
		ndpClaim(b[0][:n], zero, vip6) // no panic
	}
}
