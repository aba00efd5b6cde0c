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
	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// Probe asks the neighbours whether one of them has ip, as RFC 5227 section 2.1.1 has it: ARP requests without a sender's
// address, two of them, within wait. It returns the hardware address of who answers, or who asks for the same
// address; nil for nobody. The RFC waits for seconds; the caller knows how long it can. IPv6 addresses are
// not asked for: the answer is nil.
// It needs CAP_NET_RAW.
func (i *Interface) Probe(ctx context.Context, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	ip = ip.Unmap()
	ifi, err := i.hardware(ctx)
	if err != nil {
		return nil, fmt.Errorf("probe %s on %s: %w", ip, i.name, err)
	}
	if ip.Is6() || ifi.Flags&net.FlagLoopback != 0 || len(ifi.HardwareAddr) != 6 {
		return nil, nil
	}
	owner, err := probe(ifi, ip, wait)
	if err != nil {
		return nil, fmt.Errorf("probe %s on %s: %w", ip, i.name, explain(err, "CAP_NET_RAW"))
	}
	return owner, nil
}

func probe(ifi *net.Interface, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	c, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	defer c.Close()
	request, err := arp.NewPacket(arp.OperationRequest, ifi.HardwareAddr, netip.IPv4Unspecified(), net.HardwareAddr{0, 0, 0, 0, 0, 0}, ip)
	if err != nil {
		return nil, err
	}
	b, err := request.MarshalBinary()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	for n := range 2 {
		if _, err := c.WriteTo(b, &packet.Addr{HardwareAddr: ethernet.Broadcast}); err != nil {
			return nil, err
		}
		if owner, err := listen(c, ifi, ip, began.Add(wait*time.Duration(n+1)/2)); owner != nil || err != nil {
			return owner, err
		}
	}
	return nil, nil
}

// listen waits until somebody speaks for ip, or asks who does.
func listen(c *packet.Conn, ifi *net.Interface, ip netip.Addr, until time.Time) (net.HardwareAddr, error) {
	if err := c.SetReadDeadline(until); err != nil {
		return nil, err
	}
	b := make([]byte, ifi.MTU+64)
	for {
		n, _, err := c.ReadFrom(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var p arp.Packet
		if p.UnmarshalBinary(b[:n]) != nil || bytes.Equal(p.SenderHardwareAddr, ifi.HardwareAddr) {
			continue
		}
		probesToo := p.Operation == arp.OperationRequest && p.SenderIP.IsUnspecified() && p.TargetIP == ip
		if p.SenderIP == ip || probesToo {
			return bytes.Clone(p.SenderHardwareAddr), nil
		}
	}
}
