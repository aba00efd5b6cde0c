package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
)

// Who asks the network which hardware address answers for ip, as any host does that wants to send to ip (RFC 826). from
// is an address of this interface, wait is above zero. It returns nil where nobody has answered after wait; answers of
// this interface itself do not count. Unlike Probe it does not claim ip, so that it never stands in the way of a host
// that is about to take ip. It is for IPv4 only and needs CAP_NET_RAW. It returns ErrLinkDown if the link is down.
func (i *Interface) Who(ctx context.Context, ip, from netip.Addr, wait time.Duration) (net.HardwareAddr, error) {
	ip, from = ip.Unmap(), from.Unmap()
	if !ip.Is4() || !from.Is4() || wait <= 0 {
		return nil,
			fmt.Errorf("ask who has %s on %s: want IPv4 addresses and a time to wait above zero, got %s from %s", ip,
				i.name, wait, from)
	}
	ifi, err := i.hardware(ctx)
	if err == nil {
		err = running(ifi)
	}
	if err == nil && len(ifi.HardwareAddr) != 6 {
		err = errors.New("it has no Ethernet address")
	}
	if err != nil {
		return nil, fmt.Errorf("ask who has %s on %s: %w", ip, i.name, err)
	}
	q, err := whoQuestion(ifi.HardwareAddr, ip, from)
	if err != nil {
		return nil, err
	}
	mac, err := askQuestion(ctx, ifi, q, wait)
	if err != nil {
		return nil, fmt.Errorf("ask who has %s on %s: %w", ip, i.name, explain(err, "CAP_NET_RAW"))
	}
	return mac, nil
}

// whoQuestion is a plain ARP request for ip. Any ARP packet that another machine sends from ip counts as an answer.
func whoQuestion(own net.HardwareAddr, ip, from netip.Addr) (question, error) {
	msg, err := arp.NewPacket(arp.OperationRequest, own, from, make(net.HardwareAddr, len(own)), ip)
	if err != nil {
		return question{}, fmt.Errorf("build ARP request: %w", err)
	}
	payload, err := msg.MarshalBinary()
	if err != nil {
		return question{}, fmt.Errorf("build ARP request: %w", err)
	}
	return question{protocol: ethernet.EtherTypeARP, to: ethernet.Broadcast, payload: payload,
		claims: func(b []byte, _ net.HardwareAddr) net.HardwareAddr {
			var p arp.Packet
			if p.UnmarshalBinary(b) != nil || p.SenderIP != ip || bytes.Equal(p.SenderHardwareAddr, own) {
				return nil
			}
			return p.SenderHardwareAddr
		}}, nil
}
