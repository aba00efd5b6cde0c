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
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sync/errgroup"
)

// echoTimeout is how long one ICMP echo may take (monitor manual, "Checks").
const echoTimeout = 500 * time.Millisecond

// Pinger sends ICMP echo requests for all checks over one raw socket a family (RFC 792, RFC 4443).
type Pinger struct {
	v4, v6 *icmp.PacketConn
	id     uint16
	token  uint64 // in each payload: an answer without it is to somebody else

	mu      sync.Mutex
	seq     uint16
	waiting map[uint16]waiter
}

type waiter struct {
	ip   netip.Addr
	done chan struct{}
}

// ListenPinger opens the sockets. It needs CAP_NET_RAW. A machine without IPv6 pings IPv4 only.
func ListenPinger() (*Pinger, error) {
	v4, err := icmp.ListenPacket("ip4:icmp", "0.0.0.0")
	if err != nil {
		return nil, fmt.Errorf("open a socket for pings (this needs root or CAP_NET_RAW): %w", err)
	}
	p := &Pinger{v4: v4, id: uint16(rand.Uint32()), token: rand.Uint64(), waiting: map[uint16]waiter{}}
	if v6, err := icmp.ListenPacket("ip6:ipv6-icmp", "::"); err == nil {
		p.v6 = v6
	}
	return p, nil
}

// Run hands answers to those who wait for them, until ctx ends; then the sockets are closed.
func (p *Pinger) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return p.receive(ctx, p.v4, 1) })
	if p.v6 != nil {
		group.Go(func() error { return p.receive(ctx, p.v6, 58) })
	}
	group.Go(func() error {
		<-ctx.Done()
		p.v4.Close()
		if p.v6 != nil {
			p.v6.Close()
		}
		return nil
	})
	return group.Wait()
}

// String names the task.
func (p *Pinger) String() string { return "pinger" }

func (p *Pinger) receive(ctx context.Context, conn *icmp.PacketConn, protocol int) error {
	buf := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("receive pings: %w", err)
		}
		if err != nil {
			continue // an ICMP error for an echo of ours; its waiter runs out of time
		}
		m, err := icmp.ParseMessage(protocol, buf[:n])
		if err != nil || m.Type != ipv4.ICMPTypeEchoReply && m.Type != ipv6.ICMPTypeEchoReply {
			continue
		}
		echo, ok := m.Body.(*icmp.Echo)
		if !ok || echo.ID != int(p.id) || len(echo.Data) < 8 || binary.BigEndian.Uint64(echo.Data) != p.token {
			continue
		}
		if a, ok := from.(*net.IPAddr); ok {
			ip, _ := netip.AddrFromSlice(a.IP)
			p.answered(uint16(echo.Seq), ip.Unmap())
		}
	}
}

func (p *Pinger) answered(seq uint16, from netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w, ok := p.waiting[seq]; ok && w.ip == from {
		close(w.done)
		delete(p.waiting, seq)
	}
}

// Ping sends one echo and waits for its answer, for half a second at most.
func (p *Pinger) Ping(ctx context.Context, ip netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, echoTimeout)
	defer cancel()
	w := waiter{ip: ip, done: make(chan struct{})}
	p.mu.Lock()
	p.seq++
	seq := p.seq
	p.waiting[seq] = w
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.waiting[seq].done == w.done {
			delete(p.waiting, seq)
		}
	}()
	if err := p.send(ip, seq); err != nil {
		return fmt.Errorf("ping %s: %w", ip, err)
	}
	select {
	case <-w.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("ping %s: no answer", ip)
	}
}

func (p *Pinger) send(ip netip.Addr, seq uint16) error {
	m := icmp.Message{Type: ipv4.ICMPTypeEcho, Body: &icmp.Echo{ID: int(p.id), Seq: int(seq), Data: binary.BigEndian.AppendUint64(nil, p.token)}}
	conn := p.v4
	if ip.Is6() {
		if conn = p.v6; conn == nil {
			return errors.New("this machine has no IPv6")
		}
		m.Type = ipv6.ICMPTypeEchoRequest
	}
	packet, err := m.Marshal(nil)
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(packet, &net.IPAddr{IP: ip.AsSlice(), Zone: ip.Zone()})
	return err
}

// EchoSender sends one echo. *Pinger is one.
type EchoSender interface {
	Ping(ctx context.Context, ip netip.Addr) error
}

type pingProbe struct {
	sender EchoSender
	ip     netip.Addr
}

// NewPing makes the ping check.
func NewPing(s EchoSender, ip netip.Addr) Probe { return pingProbe{s, ip} }

func (p pingProbe) Close() {}

func (p pingProbe) Probe(ctx context.Context) Result {
	if err := p.sender.Ping(ctx, p.ip); err != nil {
		return Result{Failed, fmt.Sprintf("ERROR: Could not ping %s", p.ip)}
	}
	return Result{OK, "OK"}
}
