package vip

import (
	"context"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

// TestMain runs the tests in a network namespace of their own, so that the code under test runs as it does in the
// agent.
func TestMain(m *testing.M) {
	os.Exit(nstest.Main(m, func() error {
		// No link-local addresses: they come and change when the kernel likes, which Watch would rightly signal.
		return os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0)
	}))
}

// remote is another machine: a network namespace with one interface.
type remote struct {
	t    *testing.T
	ns   netns.NsHandle
	h    *netlink.Handle
	link netlink.Link
}

func newRemote(t *testing.T, l netlink.Link, addresses ...string) *remote {
	t.Helper()
	r := &remote{t: t, ns: nstest.New(t)}
	nstest.Must(t, netlink.LinkSetNsFd(l, int(r.ns)))
	h, err := netlink.NewHandleAt(r.ns)
	nstest.Must(t, err)
	t.Cleanup(h.Close)
	r.h = h
	r.link, err = h.LinkByName(l.Attrs().Name)
	nstest.Must(t, err)
	nstest.Must(t, h.LinkSetUp(r.link))
	for _, a := range addresses {
		r.add(a)
	}
	return r
}

func (r *remote) add(cidr string) {
	r.t.Helper()
	nstest.Must(r.t, r.h.AddrAdd(r.link, nstest.Address(r.t, cidr)))
}

func (r *remote) del(cidr string) {
	r.t.Helper()
	nstest.Must(r.t, r.h.AddrDel(r.link, nstest.Address(r.t, cidr)))
}

// reach makes the machine look for the neighbour ip by sending it a datagram.
func (r *remote) reach(ip netip.Addr) {
	r.t.Helper()
	nstest.Do(r.t, r.ns, func() error {
		family, sa := unix.AF_INET, unix.Sockaddr(nil)
		if ip.Is4() {
			sa = &unix.SockaddrInet4{Port: 9, Addr: ip.As4()}
		} else {
			family, sa = unix.AF_INET6, &unix.SockaddrInet6{Port: 9, Addr: ip.As16()}
		}
		fd, err := unix.Socket(family, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return unix.Sendto(fd, []byte("x"), 0, sa)
	})
}

// neighbour is the hardware address that the machine has for ip, nil for none.
func (r *remote) neighbour(ip netip.Addr) net.HardwareAddr {
	r.t.Helper()
	list, err := r.h.NeighList(r.link.Attrs().Index, netlink.FAMILY_ALL)
	nstest.Must(r.t, err)
	for _, n := range list {
		if got, _ := netip.AddrFromSlice(n.IP); got.Unmap() == ip {
			return n.HardwareAddr
		}
	}
	return nil
}

// eth0 gives this machine an interface eth0 that is up, with a neighbour at its other end.
func eth0(t *testing.T, addresses ...string) (netlink.Link, *remote) {
	t.Helper()
	l, peer := nstest.Veth(t, "eth0", "peer0")
	r := newRemote(t, peer)
	nstest.Must(t, netlink.LinkSetUp(l))
	for _, a := range addresses {
		nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, a)))
	}
	return l, r
}

// eventually polls until ok, for as long as the deadline, and gives the time it took.
func eventually(t *testing.T, within time.Duration, what string, ok func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !ok() {
		if time.Since(start) > within {
			t.Fatalf("not within %s: %s", within, what)
		}
		time.Sleep(time.Millisecond)
	}
	return time.Since(start)
}

// run starts a task and ends it with the test.
func run(t *testing.T, task func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- task(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			nstest.Must(t, err)
		case <-time.After(5 * time.Second):
			t.Error("the task has not ended 5 s after its context")
		}
	})
}
