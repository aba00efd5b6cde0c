// Package nstest lets tests work on a real kernel's network, in network namespaces of their own, so that the network of
// the machine is not touched. It needs root, and is for tests only.
package nstest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

const inside = "NSTEST_INSIDE"

// Main runs the tests of a package in a network namespace of their own. It starts the test binary once more in the
// namespace, so that every goroutine is in it. prepare, unless it is nil, runs in the namespace before the tests. Main
// returns the exit code.
func Main(m *testing.M, prepare func() error) int {
	if os.Getenv(inside) != "" {
		err := up("lo") // package net would think that there is no IPv6 if ::1 were missing
		if err == nil && prepare != nil {
			err = prepare()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "prepare the network namespace of the tests:", err)
			return 1
		}
		return m.Run()
	}
	runtime.LockOSThread() // the kernel sends Pdeathsig when this thread ends, not the process
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		if cmd.ProcessState == nil {
			fmt.Fprintln(os.Stderr, "these tests need root, to make network namespaces:", err)
		}
		return 1
	}
	return 0
}

func up(link string) error {
	l, err := netlink.LinkByName(link)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

// New makes a network namespace, which stands for another machine. It ends with the test.
func New(t *testing.T) netns.NsHandle {
	t.Helper()
	var ns netns.NsHandle
	onThread(t, func() (err error) {
		ns, err = netns.New()
		return err
	})
	t.Cleanup(func() { ns.Close() })
	return ns
}

// Do runs f on a thread in the namespace ns. Sockets that f opens belong to ns; goroutines that f starts do not.
func Do(t *testing.T, ns netns.NsHandle, f func() error) {
	t.Helper()
	onThread(t, func() error {
		if err := netns.Set(ns); err != nil {
			return err
		}
		return f()
	})
}

func onThread(t *testing.T, f func() error) {
	t.Helper()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		result <- f()
	}()
	Must(t, <-result)
}

// Must ends the test if err is not nil.
func Must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Veth makes a pair of connected interfaces in the namespace of the tests, and removes it with the test.
func Veth(t *testing.T, name, peer string) (netlink.Link, netlink.Link) {
	t.Helper()
	Must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: peer}))
	a, err := netlink.LinkByName(name)
	Must(t, err)
	b, err := netlink.LinkByName(peer)
	Must(t, err)
	t.Cleanup(func() {
		for _, end := range []string{name, peer} { // one may be in another namespace, or both gone
			if l, err := netlink.LinkByName(end); err == nil {
				// ENODEV: the link has gone with its namespace
				if err := netlink.LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
					t.Error(err)
				}
			}
		}
	})
	return a, b
}

// Address reads an address with its prefix length, such as "10.0.0.5/24". An IPv6 address is marked so that the kernel
// does no duplicate address detection for it, and it can be used at once.
func Address(t *testing.T, cidr string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	Must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// Listen starts a server on a TCP address. It keeps every connection open until the end of the test, and returns the
// address that it listens on and a channel of the connections that it has accepted.
func Listen(t *testing.T, network, address string) (netip.AddrPort, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	Must(t, err)
	accepted := make(chan net.Conn, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			accepted <- c
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return netip.MustParseAddrPort(l.Addr().String()), accepted
}
