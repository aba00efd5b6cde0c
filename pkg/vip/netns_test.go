package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const inNamespace = "VIP_TEST_IN_NAMESPACE"

// TestMain runs the tests in a network namespace of their own by starting the test binary once more inside one:
// so every goroutine is in it, and the code under test runs as it does in the agent.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		// No link-local addresses: they come and change when the kernel likes, which Watch would rightly signal.
		if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/addr_gen_mode", []byte("1"), 0); err != nil {
			fmt.Fprintln(os.Stderr, "these tests need root and IPv6:", err)
			os.Exit(1)
		}
		// Without ::1 the net package would think that there is no IPv6.
		lo, err := netlink.LinkByName("lo")
		if err == nil {
			err = netlink.LinkSetUp(lo)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "set lo up:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	runtime.LockOSThread() // Pdeathsig counts from the death of this thread
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "these tests need root, to make network namespaces:", err)
		}
		os.Exit(1)
	}
}

// remote is another machine: a network namespace with one interface.
type remote struct {
	t    *testing.T
	ns   netns.NsHandle
	h    *netlink.Handle
	link netlink.Link
}

// inside runs f on a thread of the namespace. What f opens belongs to the namespace; goroutines it starts do not.
func inside(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if err := netns.Set(ns); err != nil {
			result <- err
			return
		}
		result <- f()
	}()
	must(t, <-result)
}

func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	var ns netns.NsHandle
	result := make(chan error)
	go func() {
		runtime.LockOSThread()
		var err error
		ns, err = netns.New()
		result <- err
	}()
	must(t, <-result)
	t.Cleanup(func() { ns.Close() })
	return ns
}

func newRemote(t *testing.T, l netlink.Link, addresses ...string) *remote {
	t.Helper()
	r := &remote{t: t, ns: newNamespace(t)}
	must(t, netlink.LinkSetNsFd(l, int(r.ns)))
	h, err := netlink.NewHandleAt(r.ns)
	must(t, err)
	t.Cleanup(h.Close)
	r.h = h
	r.link, err = h.LinkByName(l.Attrs().Name)
	must(t, err)
	must(t, h.LinkSetUp(r.link))
	for _, a := range addresses {
		r.add(a)
	}
	return r
}

func (r *remote) add(cidr string) {
	r.t.Helper()
	must(r.t, r.h.AddrAdd(r.link, parse(r.t, cidr)))
}

func (r *remote) del(cidr string) {
	r.t.Helper()
	must(r.t, r.h.AddrDel(r.link, parse(r.t, cidr)))
}

// reach makes the machine look for the neighbour ip by sending it a datagram.
func (r *remote) reach(ip netip.Addr) {
	r.t.Helper()
	inside(r.t, r.ns, func() error {
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
	must(r.t, err)
	for _, n := range list {
		if got, _ := netip.AddrFromSlice(n.IP); got.Unmap() == ip {
			return n.HardwareAddr
		}
	}
	return nil
}

// veth makes a pair of connected interfaces in the namespace of the tests and removes it at the end.
func veth(t *testing.T, name, peer string) (netlink.Link, netlink.Link) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}))
	a, err := netlink.LinkByName(name)
	must(t, err)
	b, err := netlink.LinkByName(peer)
	must(t, err)
	t.Cleanup(func() {
		for _, end := range []string{name, peer} { // one may be in another namespace, or both gone
			if l, err := netlink.LinkByName(end); err == nil {
				if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) { // the end of a namespace takes links along
					t.Error(err)
				}
			}
		}
	})
	return a, b
}

// eth0 gives this machine an interface eth0 that is up, with a neighbour at its other end.
func eth0(t *testing.T, addresses ...string) (netlink.Link, *remote) {
	t.Helper()
	l, peer := veth(t, "eth0", "peer0")
	r := newRemote(t, peer)
	must(t, netlink.LinkSetUp(l))
	for _, a := range addresses {
		must(t, netlink.AddrAdd(l, parse(t, a)))
	}
	return l, r
}

// parse reads "10.0.0.5/24"; IPv6 addresses do without duplicate address detection.
func parse(t *testing.T, cidr string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
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
			must(t, err)
		case <-time.After(5 * time.Second):
			t.Error("the task has not ended 5 s after its context")
		}
	})
}
