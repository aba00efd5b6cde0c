package check

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
)

// openPinger makes a running Pinger in a network of its own: 192.0.2.1 and 2001:db8::1 are this host's, on a cable to
// 192.0.2.2 and 2001:db8::2; nobody has any other address of these networks.
func openPinger(t *testing.T) *Pinger {
	t.Helper()
	var p *Pinger
	inNetwork(t, func() {
		var err error
		if p, err = NewPinger(); err != nil {
			t.Fatal(err)
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
	// The kernel takes its time until it lets the first packets through a new cable.
	for _, ip := range []string{"192.0.2.2", "2001:db8::2"} {
		eventually(t, ip+" answers", func() bool { return p.Ping(ctx, netip.MustParseAddr(ip)) == nil })
	}
	return p
}

// inNetwork calls f on a thread in a new namespace, which lives as long as the sockets that f opens, or until the test
// ends.
func inNetwork(t *testing.T, f func()) {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	fatal(t, err)
	defer home.Close()
	defer func() { fatal(t, netns.Set(home)) }()
	far, err := netns.New()
	fatal(t, err)
	t.Cleanup(func() { far.Close() })
	near, err := netns.New()
	fatal(t, err)
	t.Cleanup(func() { near.Close() })

	cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "near"}, PeerName: "far",
		PeerNamespace: netlink.NsFd(far)}
	fatal(t, netlink.LinkAdd(cable))
	raise(t, "lo")
	raise(t, "near", "192.0.2.1/24", "2001:db8::1/64")
	fatal(t, netns.Set(far))
	raise(t, "far", "192.0.2.2/24", "2001:db8::2/64")
	fatal(t, netns.Set(near))
	f()
}

func raise(t *testing.T, name string, addrs ...string) {
	t.Helper()
	link, err := netlink.LinkByName(name)
	fatal(t, err)
	fatal(t, netlink.LinkSetUp(link))
	for _, text := range addrs {
		addr, err := netlink.ParseAddr(text)
		fatal(t, err)
		addr.Flags = syscall.IFA_F_NODAD
		fatal(t, netlink.AddrAdd(link, addr))
	}
}

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestPing(t *testing.T) {
	p := openPinger(t)
	for _, tt := range []struct {
		ip       string
		answers  bool
		atMost   time.Duration
		message  string
		complain string
	}{
		{"127.0.0.1", true, 0, "OK", ""},
		{"::1", true, 0, "OK", ""},
		{"::ffff:127.0.0.1", true, 0, "OK", ""},
		{"192.0.2.2", true, 0, "OK", ""},
		{"2001:db8::2", true, 0, "OK", ""},
		{"192.0.2.77", false, time.Second, "ERROR: Could not ping 192.0.2.77", "no answer"},
		{"2001:db8::77", false, time.Second, "ERROR: Could not ping 2001:db8::77", "no answer"},
		{"198.51.100.1", false, 100 * time.Millisecond, "ERROR: Could not ping 198.51.100.1", "network is unreachable"},
	} {
		start := time.Now()
		ip := netip.MustParseAddr(tt.ip)
		r := NewPing(p, ip).Probe(t.Context())
		took := time.Since(start)
		if (r.Status == OK) != tt.answers || r.Message != tt.message || !strings.Contains(r.Detail, tt.complain) {
			t.Errorf("%s: %+v", tt.ip, r)
		}
		if !tt.answers && (took > tt.atMost || tt.complain == "no answer" && took < echoTimeout) {
			t.Errorf("%s: gave up after %v", tt.ip, took)
		}
	}
}

// TestPingManyAtOnce: of many pings at once, some are never answered. Each gets its own answer, and none delays
// another.
func TestPingManyAtOnce(t *testing.T) {
	p := openPinger(t)
	var group sync.WaitGroup
	for i := range 400 {
		ip, dead := netip.MustParseAddr("192.0.2.2"), i%4 == 0
		if dead {
			ip = netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i/4)})
		}
		group.Go(func() {
			if err := p.Ping(t.Context(), ip); (err != nil) != dead {
				t.Errorf("ping %s: %v", ip, err)
			}
		})
	}
	group.Wait()
	if len(p.waiting) != 0 {
		t.Errorf("%d pings are still waited for", len(p.waiting))
	}
}

func TestPingEndsWithItsContext(t *testing.T) {
	p := openPinger(t)
	start := time.Now()
	err := p.Ping(within(t, 50*time.Millisecond), netip.MustParseAddr("192.0.2.77"))
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 300*time.Millisecond {
		t.Errorf("%v after %v", err, took)
	}
}

// TestPingBelievesOnlyItsAnswer: only the reply to its own request ends a Ping.
func TestPingBelievesOnlyItsAnswer(t *testing.T) {
	p := &Pinger{id: 7, waiting: make(map[uint16]waiter)}
	ip := netip.MustParseAddr("192.0.2.1")
	seq, w, err := p.enlist(ip)
	fatal(t, err)
	token := func(n uint64) []byte {
		return []byte{byte(n >> 56), byte(n >> 48), byte(n >> 40), byte(n >> 32), byte(n >> 24), byte(n >> 16),
			byte(n >> 8), byte(n)}
	}
	right := icmp.Echo{ID: 7, Seq: int(seq), Data: token(w.token)}
	heard := func() bool {
		select {
		case <-w.answered:
			return true
		default:
			return false
		}
	}
	for name, wrong := range map[string]icmp.Echo{
		"another program's": {ID: 8, Seq: right.Seq, Data: right.Data},
		"another ping's":    {ID: 7, Seq: right.Seq + 1, Data: right.Data},
		"a late one's":      {ID: 7, Seq: right.Seq, Data: token(w.token + 1)},
		"a cut one":         {ID: 7, Seq: right.Seq, Data: right.Data[:7]},
		"an empty one":      {ID: 7, Seq: right.Seq},
	} {
		if p.answer(ip, &wrong); heard() {
			t.Fatalf("believed %s", name)
		}
	}
	if p.answer(netip.MustParseAddr("192.0.2.2"), &right); heard() {
		t.Fatal("believed another host")
	}
	if p.answer(ip, &right); !heard() {
		t.Error("did not believe the right one")
	}
	p.answer(ip, &right) // a duplicate does no harm
}

// TestPingSurvivesNoise: other packets don't end Run.
func TestPingSurvivesNoise(t *testing.T) {
	p := openPinger(t)
	for _, m := range []icmp.Message{
		{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.RawBody{Data: []byte{1}}},
		{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.RawBody{}},
		{Type: ipv4.ICMPTypeEchoReply, Body: &icmp.Echo{ID: int(p.id), Seq: 1, Data: make([]byte, 1400)}},
		{Type: ipv4.ICMPTypeDestinationUnreachable, Body: &icmp.DstUnreach{Data: make([]byte, 28)}},
	} {
		packet, err := m.Marshal(nil)
		fatal(t, err)
		_, err = p.v4.WriteToIP(packet, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)})
		fatal(t, err)
	}
	if err := p.Ping(t.Context(), netip.MustParseAddr("127.0.0.1")); err != nil {
		t.Error(err)
	}
}

// TestPingerWithoutRights: without the right to open raw sockets, NewPinger's error says what is missing.
func TestPingerWithoutRights(t *testing.T) {
	if os.Getenv("CHECK_TEST_UNPRIVILEGED") != "" {
		_, err := NewPinger()
		if err == nil || !strings.Contains(err.Error(), "CAP_NET_RAW") {
			t.Errorf("error %v", err)
		}
		return
	}
	self, err := os.ReadFile("/proc/self/exe")
	fatal(t, err)
	f, err := os.CreateTemp("", "checktest") // where anybody may execute it
	fatal(t, err)
	defer os.Remove(f.Name())
	_, err = f.Write(self)
	fatal(t, errors.Join(err, f.Chmod(0o755), f.Close()))
	cmd := exec.Command(f.Name(), "-test.run=^TestPingerWithoutRights$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "CHECK_TEST_UNPRIVILEGED=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
