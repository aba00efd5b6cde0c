package vip

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/ndp"
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// announce sends one announcement of ip, now. On a loopback interface there is nobody to tell, and announce does
// nothing. It does not look whether ip is on the interface. It needs CAP_NET_RAW.
func (i *Interface) announce(ctx context.Context, ip netip.Addr) error {
	ifi, err := i.hardware(ctx)
	if err != nil {
		return fmt.Errorf("announce %s on %s: %w", ip, i.name, err)
	}
	if ifi.Flags&net.FlagLoopback != 0 {
		return nil
	}
	if err := broadcast(ctx, ifi, ip); err != nil {
		return fmt.Errorf("announce %s on %s: %w", ip, i.name, explain(err, "CAP_NET_RAW"))
	}
	return nil
}

// hardware describes the interface the way packet sockets want it.
func (i *Interface) hardware(ctx context.Context) (*net.Interface, error) {
	ifi := &net.Interface{}
	err := i.do(ctx, func(c conn) error {
		link, err := c.h.LinkByIndex(c.link.Attrs().Index)
		if err != nil {
			return err
		}
		l := link.Attrs()
		*ifi = net.Interface{Index: l.Index, Name: l.Name, MTU: l.MTU, HardwareAddr: l.HardwareAddr, Flags: l.Flags}
		// The kernel clears the flag "running" up to a second after the carrier is lost; LOWER_UP goes at once.
		if l.RawFlags&unix.IFF_LOWER_UP == 0 {
			ifi.Flags &^= net.FlagRunning
		}
		return nil
	})
	return ifi, err
}

func broadcast(ctx context.Context, ifi *net.Interface, ip netip.Addr) error {
	if len(ifi.HardwareAddr) != 6 {
		return fmt.Errorf("want an Ethernet address, the interface has %q", ifi.HardwareAddr)
	}
	to, protocol, build := ethernet.Broadcast, ethernet.EtherTypeARP, gratuitousARP
	if ip.Is6() {
		to, protocol, build = allNodesHardware(), ethernet.EtherTypeIPv6, unsolicitedAdvertisement
	}
	payloads, err := build(ifi.HardwareAddr, ip)
	if err != nil {
		return err
	}
	c, err := packet.Listen(ifi, packet.Datagram, int(protocol), nil)
	if err != nil {
		return fmt.Errorf("open packet socket: %w", err)
	}
	defer c.Close()
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(kernelTimeout)
	}
	if err := c.SetWriteDeadline(deadline); err != nil {
		return err
	}
	for _, b := range payloads {
		if _, err := c.WriteTo(b, &packet.Addr{HardwareAddr: to}); err != nil {
			return err
		}
	}
	return nil
}

// gratuitousARP builds a request and a reply with ip as both sender and target (RFC 826; RFC 5227 section 3 for the
// request with an empty target hardware address). Some systems heed only one of the two. The reply has mac as its
// target hardware address too, because Linux regards no other reply as gratuitous (RFC 5944 section 4.6).
func gratuitousARP(mac net.HardwareAddr, ip netip.Addr) ([][]byte, error) {
	var payloads [][]byte
	for _, p := range []struct {
		op     arp.Operation
		target net.HardwareAddr
	}{
		{arp.OperationRequest, make(net.HardwareAddr, len(mac))},
		{arp.OperationReply, mac},
	} {
		msg, err := arp.NewPacket(p.op, mac, ip, p.target, ip)
		if err != nil {
			return nil, fmt.Errorf("build ARP packet: %w", err)
		}
		b, err := msg.MarshalBinary()
		if err != nil {
			return nil, fmt.Errorf("build ARP packet: %w", err)
		}
		payloads = append(payloads, b)
	}
	return payloads, nil
}

// unsolicitedAdvertisement builds the IPv6 packet of RFC 4861 section 7.2.6: to all nodes, with the override flag
// and this machine's link-layer address. Its source is ip itself, so that the interface needs no other address.
func unsolicitedAdvertisement(mac net.HardwareAddr, ip netip.Addr) ([][]byte, error) {
	body, err := ndp.MarshalMessageChecksum(&ndp.NeighborAdvertisement{
		Override:      true,
		TargetAddress: ip,
		Options:       []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: mac}},
	}, ip, netip.IPv6LinkLocalAllNodes())
	if err != nil {
		return nil, fmt.Errorf("build neighbour advertisement: %w", err)
	}
	return [][]byte{icmpv6Packet(ip, netip.IPv6LinkLocalAllNodes(), body)}, nil
}

// The IPv6 header of RFC 8200 section 3. Neighbours drop packets with any hop limit but 255 (RFC 4861 section 7.1).
const (
	ipv6HeaderLen    = 40
	nextHeaderICMPv6 = 58
	ndpHopLimit      = 255
)

func icmpv6Packet(from, to netip.Addr, body []byte) []byte {
	const version = 6 << 4
	b := []byte{version, 0, 0, 0}
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	b = append(b, nextHeaderICMPv6, ndpHopLimit)
	b = append(b, from.AsSlice()...)
	b = append(b, to.AsSlice()...)
	return append(b, body...)
}

// allNodesHardware is the Ethernet group address for all nodes (ff02::1).
func allNodesHardware() net.HardwareAddr { return groupHardware(netip.IPv6LinkLocalAllNodes()) }

// groupHardware is the Ethernet group address for an IPv6 multicast group (RFC 2464 section 7).
func groupHardware(group netip.Addr) net.HardwareAddr {
	b := group.As16()
	return append(net.HardwareAddr{0x33, 0x33}, b[12:]...)
}
