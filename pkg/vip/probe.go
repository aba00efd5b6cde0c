package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// ErrLinkDown means that the interface exists but can't reach anybody: it is set down or has no carrier.
var ErrLinkDown = errors.New("link is down")

// Probe asks the network whether somebody else has ip, before ip is put on this interface: by RFC 5227 section 2.1 for
// IPv4, by the duplicate address detection of RFC 4862 section 5.4 for IPv6. It sends two probes in the course of wait
// and returns the hardware address of the first machine that has ip or is probing for it too, or nil if no machine
// spoke up. What this interface itself sends does not count, so ip may be on it already. On a loopback interface there
// is nobody to ask, and the answer is nil.
//
// wait has to be above zero. It may be far shorter than the seconds of the RFCs: 50 ms is plenty between healthy hosts
// on one switch. For that reason silence is a good sign and not a proof. Probe needs CAP_NET_RAW. It returns
// ErrLinkDown if the link was down at the start or at the end of wait, as nobody could have answered then. The kernel
// reports up to a second late that a link is up again.
func (i *Interface) Probe(ctx context.Context, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	ip = ip.Unmap()
	if err := check(ip); err != nil {
		return nil, fmt.Errorf("probe for an address on %s: %w", i.name, err)
	}
	if wait <= 0 {
		return nil, fmt.Errorf("probe for %s on %s: want a time to wait above zero, got %s", ip, i.name, wait)
	}
	mac, err := i.probe(ctx, ip, wait)
	if err != nil {
		return nil, fmt.Errorf("probe for %s on %s: %w", ip, i.name, explain(err, "CAP_NET_RAW"))
	}
	return mac, nil
}

func (i *Interface) probe(ctx context.Context, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	ifi, err := i.hardware(ctx)
	if err != nil {
		return nil, err
	}
	if ifi.Flags&net.FlagLoopback != 0 {
		return nil, nil
	}
	if err := running(ifi); err != nil {
		return nil, err
	}
	mac, err := ask(ctx, ifi, ip, wait)
	if errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENETDOWN) { // nothing can be sent: the carrier has just gone
		return nil, ErrLinkDown
	}
	if err != nil || mac != nil {
		return mac, err
	}
	// Nobody answered. That counts only if the link was up to carry the question.
	after, err := i.hardware(ctx)
	if err != nil {
		return nil, err
	}
	if after.Index != ifi.Index {
		return nil, fmt.Errorf("%w: it was replaced by another of its name", ErrNoInterface)
	}
	return nil, running(after)
}

func running(ifi *net.Interface) error {
	if ifi.Flags&net.FlagUp == 0 || ifi.Flags&net.FlagRunning == 0 {
		return ErrLinkDown
	}
	return nil
}

// ask sends the probes and listens.
func ask(ctx context.Context, ifi *net.Interface, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	q, err := questionFor(ifi.HardwareAddr, ip)
	if err != nil {
		return nil, err
	}
	return askQuestion(ctx, ifi, q, wait)
}

func askQuestion(ctx context.Context, ifi *net.Interface, q question, wait time.Duration) (net.HardwareAddr, error) {
	c, err := packet.Listen(ifi, packet.Datagram, int(q.protocol), nil)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	// Close takes some 20 ms, until no packet is under way to the socket. The caller need not wait for that.
	defer func() { go c.Close() }()
	for _, group := range q.groups {
		if err := c.JoinGroup(group); err != nil {
			return nil, fmt.Errorf("join %s: %w", group, err)
		}
	}
	start := time.Now()
	// A limit of its own for sending: on a busy machine wait may be over before this process gets to run.
	if err := c.SetWriteDeadline(start.Add(kernelTimeout)); err != nil {
		return nil, err
	}
	for _, until := range []time.Time{start.Add(wait / 2), start.Add(wait)} {
		if _, err := c.WriteTo(q.payload, &packet.Addr{HardwareAddr: q.to}); err != nil {
			return nil, err
		}
		mac, err := answer(ctx, c, ifi.HardwareAddr, until, q.claims)
		if err != nil || mac != nil {
			return mac, err
		}
	}
	return nil, nil
}

// answer waits for somebody else's claim and returns the hardware address in it; nil if there was none before until.
func answer(ctx context.Context, c *packet.Conn, own net.HardwareAddr, until time.Time, claims claim) (net.HardwareAddr,
	error) {
	if err := c.SetReadDeadline(until); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Now()) })
	defer stop()
	b := make([]byte, 65536)
	for {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		n, from, err := c.ReadFrom(b)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil, nil
		case err != nil:
			return nil, err
		}
		var sender net.HardwareAddr
		if a, ok := from.(*packet.Addr); ok {
			sender = a.HardwareAddr
		}
		if mac := claims(b[:n], sender); mac != nil && !bytes.Equal(mac, own) && !bytes.Equal(sender, own) {
			return bytes.Clone(mac), nil
		}
	}
}

// claim reads a packet and returns the hardware address of the machine that claims the address in it, nil where the
// packet claims nothing. from is the sender of the frame.
type claim func(b []byte, from net.HardwareAddr) net.HardwareAddr

// question is what a probe sends, and which packets count as an answer.
type question struct {
	protocol ethernet.EtherType
	to       net.HardwareAddr
	payload  []byte
	groups   []net.HardwareAddr // to listen to
	claims   claim
}

func questionFor(own net.HardwareAddr, ip netip.Addr) (question, error) {
	if len(own) != 6 {
		return question{}, fmt.Errorf("want an Ethernet address, the interface has %q", own)
	}
	if ip.Is4() {
		return arpQuestion(own, ip)
	}
	return ndpQuestion(ip)
}

// arpQuestion is the probe of RFC 5227 section 2.1.1: its sender address is 0.0.0.0, so that it changes no ARP cache.
func arpQuestion(own net.HardwareAddr, ip netip.Addr) (question, error) {
	msg, err := arp.NewPacket(arp.OperationRequest, own, netip.IPv4Unspecified(), make(net.HardwareAddr, len(own)), ip)
	if err != nil {
		return question{}, fmt.Errorf("build ARP probe: %w", err)
	}
	payload, err := msg.MarshalBinary()
	if err != nil {
		return question{}, fmt.Errorf("build ARP probe: %w", err)
	}
	return question{
		protocol: ethernet.EtherTypeARP, to: ethernet.Broadcast, payload: payload,
		claims: func(b []byte, _ net.HardwareAddr) net.HardwareAddr { return arpClaim(b, ip) },
	}, nil
}

// arpClaim takes any ARP packet from ip for a claim, be it a request or a reply, and any probe for ip.
func arpClaim(b []byte, ip netip.Addr) net.HardwareAddr {
	var p arp.Packet
	if p.UnmarshalBinary(b) != nil {
		return nil
	}
	probe := p.Operation == arp.OperationRequest && p.SenderIP == netip.IPv4Unspecified() && p.TargetIP == ip
	if p.SenderIP == ip || probe {
		return p.SenderHardwareAddr
	}
	return nil
}

// ndpQuestion is the solicitation of RFC 4862 section 5.4.2. A switch with MLD snooping may withhold other hosts'
// probes from this one, which listens at the interface and does not report that it joined the group. The answer of a
// host that has the address arrives all the same: it goes to all nodes.
func ndpQuestion(ip netip.Addr) (question, error) {
	group, err := ndp.SolicitedNodeMulticast(ip)
	if err != nil {
		return question{}, fmt.Errorf("build neighbour solicitation: %w", err)
	}
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborSolicitation{TargetAddress: ip}, netip.IPv6Unspecified(),
		group)
	if err != nil {
		return question{}, fmt.Errorf("build neighbour solicitation: %w", err)
	}
	return question{
		protocol: ethernet.EtherTypeIPv6, to: groupHardware(group),
		payload: icmpv6Packet(netip.IPv6Unspecified(), group, body),
		groups:  []net.HardwareAddr{groupHardware(group), allNodesHardware()},
		claims:  func(b []byte, from net.HardwareAddr) net.HardwareAddr { return ndpClaim(b, from, ip) },
	}, nil
}

// ndpClaim takes an advertisement of ip for a claim, and a solicitation for ip whose source is the unspecified address,
// which is another host's probe (RFC 4862 section 5.4.3).
func ndpClaim(b []byte, from net.HardwareAddr, ip netip.Addr) net.HardwareAddr {
	if len(b) < ipv6HeaderLen || b[6] != nextHeaderICMPv6 || b[7] != ndpHopLimit {
		return nil
	}
	m, err := ndp.ParseMessage(b[ipv6HeaderLen:])
	if err != nil {
		return nil
	}
	source, _ := netip.AddrFromSlice(b[8:24])
	switch m := m.(type) {
	case *ndp.NeighborAdvertisement:
		if m.TargetAddress != ip {
			return nil
		}
		for _, o := range m.Options {
			if lla, ok := o.(*ndp.LinkLayerAddress); ok && lla.Direction == ndp.Target {
				return lla.Addr
			}
		}
		return from
	case *ndp.NeighborSolicitation:
		if m.TargetAddress == ip && source == netip.IPv6Unspecified() {
			return from
		}
	}
	return nil
}
