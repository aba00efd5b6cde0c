package vip

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

// listen starts a server in the namespace of the tests that keeps every connection open until the end.
func listen(t *testing.T, network, address string) (netip.AddrPort, <-chan net.Conn) {
	t.Helper()
	at, accepted := nstest.Listen(t, network, address)
	if strings.HasPrefix(address, "[") != at.Addr().Is6() {
		t.Fatalf("listens on %s, want %s", at, address)
	}
	return at, accepted
}

// dial connects from the machine; the server's end is accepted.
func (r *remote) dial(ip netip.Addr, port uint16, accepted <-chan net.Conn) (client, server net.Conn) {
	r.t.Helper()
	nstest.Do(r.t, r.ns, func() (err error) {
		client, err = net.DialTimeout("tcp", netip.AddrPortFrom(ip, port).String(), 2*time.Second)
		return err
	})
	r.t.Cleanup(func() { client.Close() })
	select {
	case server = <-accepted:
	case <-time.After(2 * time.Second):
		r.t.Fatal("not accepted within 2 s")
	}
	return client, server
}

// readError is what a reader of c gets within the time.
func readError(t *testing.T, c net.Conn, within time.Duration) error {
	t.Helper()
	nstest.Must(t, c.SetReadDeadline(time.Now().Add(within)))
	_, err := c.Read(make([]byte, 1))
	if err == nil {
		t.Fatal("data arrived")
	}
	return err
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestDestroySockets(t *testing.T) {
	own4, own6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	for _, tc := range []struct {
		network, listen string
		ip, other       netip.Addr
	}{
		{"tcp", "[::]:0", vip4, own4}, // IPv4 in an IPv6 socket
		{"tcp", "[::]:0", vip6, own6},
		{"tcp4", "0.0.0.0:0", vip4, own4},
		{"tcp4", "10.0.0.5:0", vip4, netip.Addr{}},
		{"tcp6", "[fd00::5]:0", vip6, netip.Addr{}},
	} {
		t.Run(fmt.Sprint(tc.listen, " ", tc.ip), func(t *testing.T) {
			_, r := eth0(t, "10.0.0.1/24", "fd00::1/64")
			r.add("10.0.0.100/24")
			r.add("fd00::100/64")
			i := Open("eth0")
			nstest.Must(t, i.Add(t.Context(), vip4, time.Minute))
			nstest.Must(t, i.Add(t.Context(), vip6, time.Minute))
			at, accepted := listen(t, tc.network, tc.listen)
			var clients, servers []net.Conn
			for range 3 {
				c, s := r.dial(tc.ip, at.Port(), accepted)
				clients, servers = append(clients, c), append(servers, s)
			}
			var bystander net.Conn
			if tc.other.IsValid() {
				bystander, _ = r.dial(tc.other, at.Port(), accepted)
			}
			start := time.Now()
			n, err := DestroySockets(t.Context(), tc.ip)
			nstest.Must(t, err)
			if n != len(clients) {
				t.Errorf("%d sockets destroyed, want %d", n, len(clients))
			}
			nstest.Must(t, i.Remove(t.Context(), tc.ip))
			for k := range clients {
				if err := readError(t, clients[k], 200*time.Millisecond); !errors.Is(err, unix.ECONNRESET) {
					t.Errorf("client %d: %v, want ECONNRESET", k, err)
				}
				if err := readError(t, servers[k], 200*time.Millisecond); !errors.Is(err, unix.ECONNABORTED) {
					t.Errorf("server %d: %v, want ECONNABORTED", k, err)
				}
			}
			t.Logf("clients reset after %s", time.Since(start).Round(time.Microsecond))
			if bystander != nil {
				if err := readError(t, bystander, 50*time.Millisecond); !timedOut(err) {
					t.Errorf("connection to another address of the host: %v, want it alive", err)
				}
			}
			nstest.Must(t, i.Add(t.Context(), tc.ip, time.Minute))
			r.dial(tc.ip, at.Port(), accepted) // the listener is still there
			if n, err = DestroySockets(t.Context(), netip.MustParseAddr("10.0.0.77")); n != 0 || err != nil {
				t.Errorf("an address without sockets: %d, %v", n, err)
			}
		})
	}
}

// Why DestroySockets has to come before Remove: afterwards an IPv4 client is told nothing. IPv6 does not ask whether
// the sender of the reset is on an interface.
func TestDestroySocketsAfterRemove(t *testing.T) {
	_, r := eth0(t, "10.0.0.1/24", "fd00::1/64")
	r.add("10.0.0.100/24")
	r.add("fd00::100/64")
	i := Open("eth0")
	for _, ip := range []netip.Addr{vip4, vip6} {
		nstest.Must(t, i.Add(t.Context(), ip, time.Minute))
		at, accepted := listen(t, "tcp", "[::]:0")
		client, server := r.dial(ip, at.Port(), accepted)
		nstest.Must(t, i.Remove(t.Context(), ip))
		n, err := DestroySockets(t.Context(), ip)
		nstest.Must(t, err)
		if n != 1 {
			t.Errorf("%s: %d sockets destroyed, want 1", ip, n)
		}
		if err := readError(t, server, 200*time.Millisecond); !errors.Is(err, unix.ECONNABORTED) {
			t.Errorf("%s: server: %v, want ECONNABORTED", ip, err)
		}
		switch err := readError(t, client, 200*time.Millisecond); {
		case ip.Is4() && !timedOut(err):
			t.Errorf("%s: client: %v: the order no longer matters, simplify the comment", ip, err)
		case ip.Is6() && !errors.Is(err, unix.ECONNRESET):
			t.Errorf("%s: client: %v, want ECONNRESET", ip, err)
		}
	}
}

func TestDestroySocketsArguments(t *testing.T) {
	if _, err := DestroySockets(t.Context(), netip.Addr{}); err == nil {
		t.Error("no address was taken")
	}
	for err, want := range map[error]string{
		unix.EOPNOTSUPP: "CONFIG_INET_DIAG_DESTROY",
		unix.ENOENT:     "CONFIG_INET_DIAG,",
		unix.EPERM:      "CAP_NET_ADMIN",
	} {
		if got := explainDiag(err); !errors.Is(got, err) || !strings.Contains(got.Error(), want) {
			t.Errorf("%v: explained as %v, want %s in it", err, got, want)
		}
	}
}

// TestDestroyClients: a client that waits for an answer from the port is told that there will be none. Connections of
// peers and to other ports stay.
func TestDestroyClients(t *testing.T) {
	own4, own6 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")
	_, r := eth0(t, "10.0.0.1/24", "fd00::1/64")
	r.add("10.0.0.100/24")
	r.add("fd00::100/64")
	at, accepted := listen(t, "tcp", "[::]:0")
	other, elsewhere := listen(t, "tcp", "[::]:0")
	client4, server4 := r.dial(own4, at.Port(), accepted)
	client6, server6 := r.dial(own6, at.Port(), accepted)
	bystander, _ := r.dial(own4, other.Port(), elsewhere)
	n, err := DestroyClients(t.Context(), at.Port(), []netip.Addr{netip.MustParseAddr("10.0.0.100")})
	nstest.Must(t, err)
	if n != 1 {
		t.Errorf("%d connections ended, want that of IPv6 alone: IPv4's comes from a peer", n)
	}
	if err := readError(t, client6, 200*time.Millisecond); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("client: %v, want ECONNRESET", err)
	}
	if err := readError(t, server6, 200*time.Millisecond); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("server: %v, want ECONNABORTED", err)
	}
	for name, c := range map[string]net.Conn{"a peer's": client4, "a peer's, at the server": server4,
		"that of another port": bystander} {
		if err := readError(t, c, 50*time.Millisecond); !timedOut(err) {
			t.Errorf("%s: %v, want it alive", name, err)
		}
	}
	if n, err := DestroyClients(t.Context(), at.Port(), nil); err != nil || n != 1 {
		t.Errorf("without peers: %d, %v", n, err)
	}
}

// TestDestroyTo: a process that waits for a machine that says nothing is told that there will be no answer. Connections
// to other ports stay.
func TestDestroyTo(t *testing.T) {
	_, r := eth0(t, "10.0.0.1/24")
	r.add("10.0.0.100/24")
	at, accepted := listen(t, "tcp4", "0.0.0.0:0")
	client, server := r.dial(netip.MustParseAddr("10.0.0.1"), at.Port(), accepted)
	remote := netip.MustParseAddrPort(server.RemoteAddr().String())
	if n, err := DestroyTo(t.Context(), netip.AddrPortFrom(remote.Addr(), 1)); err != nil || n != 0 {
		t.Errorf("to another port: %d, %v", n, err)
	}
	if n, err := DestroyTo(t.Context(), remote); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	if err := readError(t, server, 200*time.Millisecond); !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("who waits: %v, want ECONNABORTED", err)
	}
	if err := readError(t, client, 200*time.Millisecond); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the other end: %v, want ECONNRESET", err)
	}
}
