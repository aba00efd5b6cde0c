package fence

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/nstest"
)

// TestNewcomers: new connections are refused, over IPv4 and IPv6. Connections that exist stay, and the hosts of the
// cluster, the monitor and this host itself are let in.
func TestNewcomers(t *testing.T) {
	w := newWorld(t)
	n := Newcomers{Number: w.at, Peers: []netip.Addr{netip.MustParseAddr(peer4), netip.MustParseAddr(here4)}}
	nstest.Must(t, n.Welcome(t.Context())) // nobody was refused
	for range 2 {
		var ends [][2]net.Conn
		for _, p := range pairs() {
			nstest.Must(t, n.Welcome(t.Context()))
			c, s := w.dial(p.from, p.to)
			ends = append(ends, [2]net.Conn{c, s})
		}
		for range 2 {
			nstest.Must(t, n.Refuse(t.Context(), netip.MustParseAddr(peer6), time.Minute))
		}
		for i, p := range pairs() {
			w.wantRefused(p.from, p.to)
			w.wantAlive(ends[i][0], ends[i][1])
		}
	}
	for _, spared := range []struct{ from, to string }{{peer4, here4}, {peer6, here6}, {"", here4}, {"", "127.0.0.1"}} {
		w.wantAlive(w.dial(spared.from, spared.to))
	}
	nstest.Must(t, Newcomers{Number: w.at}.Welcome(t.Context())) // as another process would
	for _, p := range pairs() {
		w.wantAlive(w.dial(p.from, p.to))
	}
}

// TestNewcomersEnd: the kernel ends the refusing by itself, without the process that began it.
func TestNewcomersEnd(t *testing.T) {
	w := newWorld(t)
	n := Newcomers{Number: w.at}
	nstest.Must(t, n.Refuse(t.Context(), netip.Addr{}, 2*time.Second))
	w.wantDial(client4, here4, unix.ECONNREFUSED)
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := w.r.dial(client4, here4, w.at)
		if err == nil {
			c.Close()
			<-w.accepted
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("still refused: %v", err)
		}
	}
}

func TestNewcomersOfNoPort(t *testing.T) {
	for name, n := range map[string]Newcomers{
		"port": {},
		"zone": {Number: 3306, Peers: []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}},
	} {
		if n.Refuse(t.Context(), netip.Addr{}, time.Second) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
