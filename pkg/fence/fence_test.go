package fence

import (
	"errors"
	"net"
	"net/netip"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

// world is this host with a server that listens at a port of all its addresses, and a remote host with the addresses of
// a client and of peers.
type world struct {
	t        *testing.T
	r        *remote
	at       uint16
	accepted <-chan net.Conn
	port     Port
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, r: newRemote(t)}
	w.at, w.accepted = listen(t)
	w.port = Port{Number: w.at, Peers: []netip.Addr{
		netip.MustParseAddr(peer4), netip.MustParseAddr(peer6), netip.MustParseAddr("::ffff:10.0.0.103"),
	}}
	t.Cleanup(func() { exec.Command("nft", "flush", "ruleset").Run() }) // of this namespace
	return w
}

const (
	here4, here6     = "10.0.0.1", "fd00::1"
	client4, client6 = "10.0.0.100", "fd00::100"
	peer4, peer6     = "10.0.0.101", "fd00::101"
	mapped4          = "10.0.0.103"
)

func pairs() []struct{ from, to string } {
	return []struct{ from, to string }{{client4, here4}, {client6, here6}}
}

func (w *world) wantClosed(want bool) {
	w.t.Helper()
	got, err := Port{Number: w.at}.Closed(w.t.Context()) // as another process would ask
	nstest.Must(w.t, err)
	if got != want {
		w.t.Fatalf("Closed is %v, want %v", got, want)
	}
}

func (w *world) dial(from, to string) (net.Conn, net.Conn) {
	w.t.Helper()
	c, err := w.r.dial(from, to, w.at)
	nstest.Must(w.t, err)
	w.t.Cleanup(func() { c.Close() })
	return c, <-w.accepted
}

func (w *world) wantRefused(from, to string) {
	w.t.Helper()
	start := time.Now()
	c, err := w.r.dial(from, to, w.at)
	if err == nil {
		c.Close()
		<-w.accepted
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		w.t.Errorf("%s to %s: %v, want ECONNREFUSED", from, to, err)
	}
	if took := time.Since(start); took > 500*time.Millisecond {
		w.t.Errorf("%s to %s: refused after %s, want at once", from, to, took)
	}
}

// wantAlive sends a byte each way.
func (w *world) wantAlive(a, b net.Conn) {
	w.t.Helper()
	for _, ends := range [][2]net.Conn{{a, b}, {b, a}} {
		nstest.Must(w.t, ends[1].SetDeadline(time.Now().Add(2*time.Second)))
		_, err := ends[0].Write([]byte("x"))
		nstest.Must(w.t, err)
		_, err = ends[1].Read(make([]byte, 1))
		nstest.Must(w.t, err)
	}
}

func TestClose(t *testing.T) {
	w := newWorld(t)
	w.wantClosed(false)
	type link struct{ client, server net.Conn }
	var clients, peers []link
	for _, p := range pairs() {
		c, s := w.dial(p.from, p.to)
		clients = append(clients, link{c, s})
	}
	for _, p := range [][2]string{{peer4, here4}, {peer6, here6}, {mapped4, here4}} {
		c, s := w.dial(p[0], p[1])
		peers = append(peers, link{c, s})
	}
	for range 2 { // a second Close changes nothing
		nstest.Must(t, w.port.Close(t.Context()))
		w.wantClosed(true)
		for _, p := range pairs() {
			w.wantRefused(p.from, p.to)
			w.wantRefused("", p.to) // from this host itself, by its address in the network
		}
	}
	for _, l := range clients {
		_, err := l.client.Write([]byte("INSERT"))
		nstest.Must(t, err) // the segment goes out, and is answered with a reset
		nstest.Must(t, l.client.SetReadDeadline(time.Now().Add(500*time.Millisecond)))
		if _, err = l.client.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("client: %v, want ECONNRESET", err)
		}
		nstest.Must(t, l.server.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
		if n, _ := l.server.Read(make([]byte, 10)); n != 0 {
			t.Error("what the client sent reached the server")
		}
	}
	for _, l := range peers {
		w.wantAlive(l.client, l.server)
	}
	for _, p := range [][2]string{{peer4, here4}, {peer6, here6}, {mapped4, here4}, {"", "127.0.0.1"},
		{"", "127.1.2.3"}, {"", "::1"}} {
		w.wantAlive(w.dial(p[0], p[1])) // new connections too
	}

	// The rule for loopback goes by the destination address, whatever the source address is.
	for _, p := range [][2]string{{here4, "127.0.0.1"}, {here6, "::1"}} {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(p[0])}, Timeout: 2 * time.Second}
		c, err := d.Dial("tcp", net.JoinHostPort(p[1], strconv.Itoa(int(w.at))))
		nstest.Must(t, err)
		w.wantAlive(c, <-w.accepted)
		nstest.Must(t, c.Close())
	}

	for range 2 { // a second Open is no error
		nstest.Must(t, Port{Number: w.at}.Open(t.Context())) // by another process
		w.wantClosed(false)
		for _, p := range pairs() {
			w.wantAlive(w.dial(p.from, p.to))
		}
	}
}

func TestOtherPortStaysOpen(t *testing.T) {
	w := newWorld(t)
	other, accepted := listen(t)
	nstest.Must(t, w.port.Close(t.Context()))
	nstest.Must(t, Port{Number: other}.Close(t.Context()))
	nstest.Must(t, Port{Number: other}.Open(t.Context()))
	w.wantClosed(true) // opening one port leaves the other closed
	for _, p := range pairs() {
		c, err := w.r.dial(p.from, p.to, other)
		nstest.Must(t, err)
		w.wantAlive(c, <-accepted)
		nstest.Must(t, c.Close())
		w.wantRefused(p.from, p.to)
	}
}

func TestCloseTakesNewPeers(t *testing.T) {
	w := newWorld(t)
	nstest.Must(t, w.port.Close(t.Context()))
	w.wantAlive(w.dial(peer4, here4))
	w.port.Peers = []netip.Addr{netip.MustParseAddr(client4)}
	nstest.Must(t, w.port.Close(t.Context()))
	w.wantAlive(w.dial(client4, here4))
	w.wantRefused(peer4, here4)
}

// TestRulesTakenAwayByOthers: Closed says what is in force, not what was asked for.
func TestRulesTakenAwayByOthers(t *testing.T) {
	w := newWorld(t)
	table := "mmm_fence_" + strconv.Itoa(int(w.at))
	for _, args := range [][]string{
		{"flush", "ruleset"},
		{"flush", "table", "inet", table},
		{"delete", "chain", "inet", table, "input"},
		{"add", "table", "inet", table, "{ flags dormant; }"},
	} {
		nstest.Must(t, w.port.Close(t.Context()))
		w.wantClosed(true)
		if out, err := exec.Command("nft", args...).CombinedOutput(); err != nil {
			t.Fatalf("nft %v: %v: %s", args, err, out)
		}
		w.wantClosed(false)
		w.wantAlive(w.dial(client4, here4))
		nstest.Must(t, w.port.Close(t.Context()))
		w.wantRefused(client4, here4)
	}
}

func TestWrongArguments(t *testing.T) {
	if (Port{}).Close(t.Context()) == nil {
		t.Error("port 0 was taken")
	}
	for _, ip := range []netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0")} {
		if (Port{Number: 3306, Peers: []netip.Addr{ip}}).Close(t.Context()) == nil {
			t.Errorf("peer %s was taken", ip)
		}
	}
}
