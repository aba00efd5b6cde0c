package fence

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"mysql-mmm/pkg/nstest"
)

// TestMain runs the tests in a network namespace of their own: no rule ever touches the host.
func TestMain(m *testing.M) { os.Exit(nstest.Main(m, nil)) }

// remote is another machine: a network namespace at the other end of this one's eth0.
type remote struct {
	t  *testing.T
	ns netns.NsHandle
}

func newRemote(t *testing.T) *remote {
	t.Helper()
	l, peer := nstest.Veth(t, "eth0", "peer0")
	r := &remote{t: t, ns: nstest.New(t)}
	nstest.Must(t, netlink.LinkSetNsFd(peer, int(r.ns)))
	h, err := netlink.NewHandleAt(r.ns)
	nstest.Must(t, err)
	defer h.Close()
	peer, err = h.LinkByName("peer0")
	nstest.Must(t, err)
	nstest.Must(t, netlink.LinkSetUp(l))
	nstest.Must(t, h.LinkSetUp(peer))
	for _, a := range []string{here4 + "/24", here6 + "/64"} {
		nstest.Must(t, netlink.AddrAdd(l, nstest.Address(t, a)))
	}
	for _, a := range []string{client4 + "/24", client6 + "/64", peer4 + "/24", peer6 + "/64", mapped4 + "/24"} {
		nstest.Must(t, h.AddrAdd(peer, nstest.Address(t, a)))
	}
	return r
}

// dial connects from an address of the remote machine; where from is "", from this machine.
func (r *remote) dial(from, to string, port uint16) (net.Conn, error) {
	d := net.Dialer{Timeout: 2 * time.Second}
	address := netip.AddrPortFrom(netip.MustParseAddr(to), port).String()
	if from == "" {
		return d.Dial("tcp", address)
	}
	d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	var c net.Conn
	var err error
	nstest.Do(r.t, r.ns, func() error {
		c, err = d.Dial("tcp", address)
		return nil
	})
	return c, err
}

// listen starts a server at a port of all addresses of this machine. It keeps every connection open until the test
// ends.
func listen(t *testing.T) (uint16, <-chan net.Conn) {
	t.Helper()
	at, accepted := nstest.Listen(t, "tcp", "[::]:0")
	return at.Port(), accepted
}
