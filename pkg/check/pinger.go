package check

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// echoTimeout is how long an answer may take (docs/replication.md, "What the checks say").
const echoTimeout = 500 * time.Millisecond

// Pinger sends echo requests (RFC 792, RFC 4443 section 4) to any number of hosts over one raw socket for each address
// family. Answers are received only while Run runs. It is safe for concurrent use.
type Pinger struct {
	v4, v6 *net.IPConn // v6 is nil where the kernel has no IPv6
	id     uint16

	mu      sync.Mutex
	seq     uint16
	waiting map[uint16]waiter // by sequence number
}

type waiter struct {
	ip       netip.Addr
	token    uint64
	answered chan struct{}
}

// NewPinger opens the sockets. It fails where the process may not open raw sockets (CAP_NET_RAW). IPv6 is left out
// where the kernel has none.
func NewPinger() (*Pinger, error) {
	v4, err := listen("ip4:icmp")
	if err != nil {
		return nil, err
	}
	var only4 ipv4.ICMPFilter
	only4.SetAll(true)
	only4.Accept(ipv4.ICMPTypeEchoReply)
	if err := ipv4.NewPacketConn(v4).SetICMPFilter(&only4); err != nil {
		return nil, errors.Join(fmt.Errorf("filter ICMP: %w", err), v4.Close())
	}
	v6, err := listen("ip6:ipv6-icmp")
	if errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL) {
		v6, err = nil, nil
	}
	if err != nil {
		return nil, errors.Join(err, v4.Close())
	}
	if v6 != nil {
		var only6 ipv6.ICMPFilter
		only6.SetAll(true)
		only6.Accept(ipv6.ICMPTypeEchoReply)
		if err := ipv6.NewPacketConn(v6).SetICMPFilter(&only6); err != nil {
			return nil, errors.Join(fmt.Errorf("filter ICMPv6: %w", err), v4.Close(), v6.Close())
		}
	}
	return &Pinger{v4: v4, v6: v6, id: uint16(rand.Uint32()), waiting: make(map[uint16]waiter)}, nil
}

func listen(network string) (*net.IPConn, error) {
	conn, err := net.ListenIP(network, nil)
	if errors.Is(err, syscall.EPERM) {
		return nil, fmt.Errorf("open a raw socket for pings (needs root or CAP_NET_RAW): %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a raw socket for pings: %w", err)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("enlarge buffers: %w", err), conn.Close())
	}
	// Requests to dead neighbours stay in the send buffer for the seconds that ARP takes to give up, and must not fill
	// the buffer for the others. Answers of many hosts can come all at once. Without CAP_NET_ADMIN the buffers keep
	// their usual size, which is enough for some 270 packets.
	const size = 4 << 20
	_ = raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, size)
		_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
	})
	return conn, nil
}

// Run takes in the answers until ctx ends, and closes the sockets.
func (p *Pinger) Run(ctx context.Context) error {
	group, sub := errgroup.WithContext(ctx)
	group.Go(func() error {
		<-sub.Done()
		return p.close()
	})
	group.Go(func() error { return p.receive(sub, p.v4, 1) })
	if p.v6 != nil {
		group.Go(func() error { return p.receive(sub, p.v6, 58) })
	}
	return group.Wait()
}

func (p *Pinger) close() error {
	if p.v6 == nil {
		return p.v4.Close()
	}
	return errors.Join(p.v4.Close(), p.v6.Close())
}

// receive reads answers; protocol is the IP protocol number of ICMP in the address family.
func (p *Pinger) receive(ctx context.Context, conn *net.IPConn, protocol int) error {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFromIP(buf)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("receive ping: %w", err)
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil {
			continue // not ICMP: any host can send us anything
		}
		ip, _ := netip.AddrFromSlice(from.IP)
		if echo, ok := m.Body.(*icmp.Echo); ok && (m.Type == ipv4.ICMPTypeEchoReply ||
			m.Type == ipv6.ICMPTypeEchoReply) {
			p.answer(ip.Unmap(), echo)
		}
	}
}

// answer wakes the Ping that waits for this echo reply. Replies to other programs, late ones and forged ones wake
// nobody.
func (p *Pinger) answer(from netip.Addr, echo *icmp.Echo) {
	if echo.ID != int(p.id) || len(echo.Data) != 8 {
		return
	}
	seq := uint16(echo.Seq)
	p.mu.Lock()
	defer p.mu.Unlock()
	w, ok := p.waiting[seq]
	if !ok || w.token != binary.BigEndian.Uint64(echo.Data) || w.ip != from {
		return
	}
	delete(p.waiting, seq)
	close(w.answered)
}

// Ping returns nil where ip has answered one echo request within half a second and before ctx ended.
func (p *Pinger) Ping(ctx context.Context, ip netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, echoTimeout)
	defer cancel()
	ip = ip.Unmap()
	seq, w, err := p.enlist(ip.WithZone(""))
	if err != nil {
		return fmt.Errorf("ping %s: %w", ip, err)
	}
	defer p.dismiss(seq)
	if err := p.send(ip, seq, w.token); err != nil {
		return fmt.Errorf("ping %s: %w", ip, err)
	}
	select {
	case <-w.answered:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ping %s: no answer: %w", ip, ctx.Err())
	}
}

func (p *Pinger) enlist(ip netip.Addr) (uint16, waiter, error) {
	w := waiter{ip: ip, token: rand.Uint64(), answered: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) > 1<<15 {
		return 0, waiter{}, errors.New("too many pings under way")
	}
	for p.seq++; ; p.seq++ {
		if _, taken := p.waiting[p.seq]; !taken {
			p.waiting[p.seq] = w
			return p.seq, w, nil
		}
	}
}

func (p *Pinger) dismiss(seq uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.waiting, seq)
}

func (p *Pinger) send(ip netip.Addr, seq uint16, token uint64) error {
	conn, m := p.v4, icmp.Message{Type: ipv4.ICMPTypeEcho}
	if ip.Is6() {
		conn, m.Type = p.v6, ipv6.ICMPTypeEchoRequest
	}
	if conn == nil {
		return errors.New("this machine has no IPv6")
	}
	m.Body = &icmp.Echo{ID: int(p.id), Seq: int(seq), Data: binary.BigEndian.AppendUint64(nil, token)}
	packet, err := m.Marshal(nil) // the kernel fills in the checksum of ICMPv6
	if err != nil {
		return err
	}
	_, err = conn.WriteToIP(packet, &net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()})
	return err
}

// String returns the name of the Pinger in logs.
func (p *Pinger) String() string { return "pinger" }
