package vip

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/vishvananda/netlink"

	"mysql-mmm/pkg/nstest"
)

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startAnnouncer(t *testing.T) (*Announcer, *syncBuffer) {
	t.Helper()
	out := &syncBuffer{}
	a := NewAnnouncer("eth0", slog.New(slog.NewTextHandler(out, nil)))
	run(t, a.Run)
	return a, out
}

// Two hosts and a client on one switch: the VIP moves from the other host to this one, and the client, which had it
// in its cache, follows.
func TestClientFollowsMovedAddress(t *testing.T) {
	nstest.Must(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "switch"}}))
	bridge, err := netlink.LinkByName("switch")
	nstest.Must(t, err)
	t.Cleanup(func() { nstest.Must(t, netlink.LinkDel(bridge)) })
	nstest.Must(t, netlink.LinkSetUp(bridge))
	plug := func(name string) netlink.Link {
		l, port := nstest.Veth(t, name, name+"-port")
		nstest.Must(t, netlink.LinkSetMaster(port, bridge))
		nstest.Must(t, netlink.LinkSetUp(port))
		return l
	}
	here := plug("eth0")
	nstest.Must(t, netlink.LinkSetUp(here))
	nstest.Must(t, netlink.AddrAdd(here, nstest.Address(t, "10.0.0.1/24")))
	nstest.Must(t, netlink.AddrAdd(here, nstest.Address(t, "fd00::1/64")))
	there := newRemote(t, plug("eth1"), "10.0.0.2/24", "fd00::2/64")
	client := newRemote(t, plug("eth2"), "10.0.0.100/24", "fd00::100/64")
	a, _ := startAnnouncer(t)

	for _, tc := range []struct {
		ip   netip.Addr
		cidr string
	}{{vip4, "10.0.0.5/32"}, {vip6, "fd00::5/128"}} {
		t.Run(tc.ip.String(), func(t *testing.T) {
			there.add(tc.cidr)
			isAt := func(mac net.HardwareAddr) func() bool {
				return func() bool { return bytes.Equal(client.neighbour(tc.ip), mac) }
			}
			client.reach(tc.ip)
			eventually(t, 3*time.Second, "the client knows the other host", isAt(there.link.Attrs().HardwareAddr))

			there.del(tc.cidr)
			nstest.Must(t, Open("eth0").Add(t.Context(), tc.ip, 0))
			client.reach(tc.ip)
			if !isAt(there.link.Attrs().HardwareAddr)() {
				t.Fatal("the client followed by itself: this test proves nothing")
			}
			a.Announce(tc.ip)
			took := eventually(t, 200*time.Millisecond, "the client follows", isAt(here.Attrs().HardwareAddr))
			t.Logf("the client followed %s after the announcement", took.Round(time.Microsecond))
		})
	}
}

// sniff gives the frames of one protocol that arrive at a machine.
func sniff(t *testing.T, r *remote, protocol int) <-chan []byte {
	t.Helper()
	var c *packet.Conn
	nstest.Do(t, r.ns, func() error {
		ifi := &net.Interface{Index: r.link.Attrs().Index}
		var err error
		c, err = packet.Listen(ifi, packet.Raw, protocol, nil)
		return err
	})
	frames := make(chan []byte, 100)
	done := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-done })
	go func() {
		defer close(done)
		for {
			b := make([]byte, 1500)
			n, _, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			frames <- b[:n]
		}
	}()
	return frames
}

// wantFrames waits for n ARP packets.
func wantFrames(t *testing.T, frames <-chan []byte, n int) {
	t.Helper()
	timeout := time.After(2 * time.Second)
	for got := range n {
		select {
		case <-frames:
		case <-timeout:
			t.Fatalf("%d announcements arrived in 2 s, want %d", got, n)
		}
	}
}

func wantSilence(t *testing.T, frames <-chan []byte) {
	t.Helper()
	select {
	case b := <-frames:
		t.Fatalf("announcement after the end: %x", b)
	case <-time.After(1200 * time.Millisecond): // longer than the longest pause of the schedule
	}
}

const (
	protocolARP  = 0x0806
	protocolIPv6 = 0x86dd
)

func TestFramesGoToEverybody(t *testing.T) {
	l, r := eth0(t)
	own := l.Attrs().HardwareAddr
	for _, tc := range []struct {
		ip       netip.Addr
		protocol int
		to       net.HardwareAddr
		build    func(net.HardwareAddr, netip.Addr) ([][]byte, error)
	}{
		{vip4, protocolARP, net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, gratuitousARP},
		{vip6, protocolIPv6, net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, unsolicitedAdvertisement},
	} {
		payloads, err := tc.build(own, tc.ip)
		nstest.Must(t, err)
		var want [][]byte
		for _, p := range payloads {
			want = append(want, slices.Concat(tc.to, own, []byte{byte(tc.protocol >> 8), byte(tc.protocol)}, p))
		}
		frames := sniff(t, r, tc.protocol)
		nstest.Must(t, Open("eth0").announce(t.Context(), tc.ip))
		timeout := time.After(2 * time.Second)
		for len(want) > 0 {
			select {
			case got := <-frames: // IPv6 has frames of its own on a new interface
				if bytes.Equal(got, want[0]) {
					want = want[1:]
				}
			case <-timeout:
				t.Fatalf("%s: did not arrive: %x", tc.ip, want[0])
			}
		}
	}
}

func TestForgetEndsAnnouncing(t *testing.T) {
	_, r := eth0(t)
	frames := sniff(t, r, protocolARP)
	a, _ := startAnnouncer(t)
	nstest.Must(t, Open("eth0").Add(t.Context(), vip4, 0))
	a.Announce(vip4)
	wantFrames(t, frames, 2*3) // a request and a reply each time
	a.Forget(vip4)
	wantSilence(t, frames)
}

// Nobody tells the announcer, but the address has left.
func TestAddressThatLeftIsNotAnnounced(t *testing.T) {
	_, r := eth0(t)
	frames := sniff(t, r, protocolARP)
	a, out := startAnnouncer(t)
	i := Open("eth0")
	nstest.Must(t, i.Add(t.Context(), vip4, 0))
	a.Announce(vip4)
	wantFrames(t, frames, 2*3)
	nstest.Must(t, i.Remove(t.Context(), vip4))
	wantSilence(t, frames)
	if !strings.Contains(out.String(), "has left the interface") {
		t.Errorf("the log does not say why:\n%s", out)
	}
}

func TestAnnounceWithoutAnotherAddress(t *testing.T) {
	l, r := eth0(t)
	nstest.Must(t, Open("eth0").Add(t.Context(), vip4, 0))
	wantEntries(t, l, "10.0.0.5/32")
	frames := sniff(t, r, protocolARP)
	a, _ := startAnnouncer(t)
	a.Announce(vip4)
	wantFrames(t, frames, 2)
}

// The interface comes up while the schedule lasts: the repeats make up for the failures, which are logged once.
func TestAnnounceOnInterfaceThatIsDown(t *testing.T) {
	l, r := eth0(t)
	nstest.Must(t, netlink.LinkSetDown(l))
	nstest.Must(t, Open("eth0").Add(t.Context(), vip4, 0))
	frames := sniff(t, r, protocolARP)
	a, out := startAnnouncer(t)
	a.Announce(vip4)
	eventually(t, time.Second, "the failure is logged", func() bool {
		return strings.Contains(out.String(),
			"network is down")
	})
	nstest.Must(t, netlink.LinkSetUp(l))
	wantFrames(t, frames, 4)
	if n := strings.Count(out.String(), "level=WARN"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, out)
	}
}

func TestAnnounceOnMissingInterface(t *testing.T) {
	a, out := startAnnouncer(t)
	a.Announce(vip4)
	eventually(t, time.Second, "the failure is logged", func() bool {
		return strings.Contains(out.String(), "level=WARN") && strings.Contains(out.String(), ErrNoInterface.Error())
	})
}

// There is nobody to tell on a loopback interface, which is no failure.
func TestAnnounceOnLoopback(t *testing.T) {
	nstest.Must(t, Open("lo").announce(context.Background(), vip4))
}
