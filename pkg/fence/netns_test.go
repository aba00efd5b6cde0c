package fence

import (
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

const inNamespace = "FENCE_TEST_IN_NAMESPACE"

// TestMain runs the tests in a network namespace of their own by starting the test binary once more inside one:
// so every goroutine is in it, and no rule ever touches the host.
func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
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

// remote is another machine: a network namespace at the other end of this one's eth0.
type remote struct {
	t  *testing.T
	ns netns.NsHandle
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}))
	l, err := netlink.LinkByName("eth0")
	must(t, err)
	peer, err := netlink.LinkByName("peer0")
	must(t, err)
	r := &remote{t: t}
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		r.ns, err = netns.New()
		result <- err
	}()
	must(t, <-result)
	t.Cleanup(func() {
		must(t, netlink.LinkDel(l)) // before its other end's namespace ends, which would take it along at some time
		must(t, r.ns.Close())
	})
	must(t, netlink.LinkSetNsFd(peer, int(r.ns)))
	h, err := netlink.NewHandleAt(r.ns)
	must(t, err)
	defer h.Close()
	peer, err = h.LinkByName("peer0")
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	must(t, h.LinkSetUp(peer))
	for _, a := range []string{here4 + "/24", here6 + "/64"} {
		must(t, netlink.AddrAdd(l, parse(t, a)))
	}
	for _, a := range []string{client4 + "/24", client6 + "/64", peer4 + "/24", peer6 + "/64", mapped4 + "/24"} {
		must(t, h.AddrAdd(peer, parse(t, a)))
	}
	return r
}

func parse(t *testing.T, cidr string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(cidr)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	return a
}

// dial connects from an address of the remote machine; from "" this one does.
func (r *remote) dial(from, to string, port uint16) (net.Conn, error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	address := netip.AddrPortFrom(netip.MustParseAddr(to), port).String()
	if from == "" {
		return d.Dial("tcp", address)
	}
	d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	var c net.Conn
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		err := netns.Set(r.ns)
		if err == nil {
			c, err = d.Dial("tcp", address)
		}
		result <- err
	}()
	return c, <-result
}

// listen starts a server at all addresses of this machine that keeps every connection open until the end.
func listen(t *testing.T) (uint16, <-chan net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "[::]:0")
	must(t, err)
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
	return netip.MustParseAddrPort(l.Addr().String()).Port(), accepted
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
