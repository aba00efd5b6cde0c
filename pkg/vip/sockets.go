package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DestroySockets ends every TCP connection of this machine whose own end is ip (sock_diag(7), SOCK_DESTROY): programs get
// ECONNABORTED, and the other ends a reset as long as ip is still on an interface. So it is to be called before the
// address is removed; and again afterwards, for what connected in between. Sockets that listen are left alone. It
// returns how many it ended. It needs CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY.
func DestroySockets(_ context.Context, ip netip.Addr) (int, error) {
	ip = ip.Unmap()
	ended := 0
	var failed error
	// A server that listens on :: has IPv4 connections as IPv6 sockets.
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if ip.Is6() && family == unix.AF_INET {
			continue
		}
		sockets, err := netlink.SocketDiagTCP(family)
		if err != nil {
			return ended, fmt.Errorf("list connections: %w", explain(err, "CAP_NET_ADMIN"))
		}
		for _, s := range sockets {
			local, ok := netip.AddrFromSlice(s.ID.Source)
			if !ok || local.Unmap() != ip || s.State == netlink.TCP_LISTEN || s.State == netlink.TCP_TIME_WAIT {
				continue
			}
			err := destroy(family, s.ID)
			switch {
			case err == nil:
				ended++
			case !errors.Is(err, unix.ENOENT): // it ended by itself
				failed = fmt.Errorf("end connection from %s: %w", s.ID.Destination, explain(err, "CAP_NET_ADMIN"))
			}
		}
	}
	if errors.Is(failed, unix.EOPNOTSUPP) {
		failed = errors.New("end connections: this kernel can't (CONFIG_INET_DIAG_DESTROY)")
	}
	return ended, failed
}

// destroy sends struct inet_diag_req_v2 (linux/inet_diag.h) for one socket; the library's own call knows IPv4 only.
func destroy(family uint8, id netlink.SocketID) error {
	b := make([]byte, 56)
	b[0], b[1] = family, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[4:], 0xffffffff) // any state
	binary.BigEndian.PutUint16(b[8:], id.SourcePort)
	binary.BigEndian.PutUint16(b[10:], id.DestinationPort)
	copy(b[12:28], address(family, id.Source))
	copy(b[28:44], address(family, id.Destination))
	binary.NativeEndian.PutUint32(b[44:], id.Interface)
	binary.NativeEndian.PutUint32(b[48:], id.Cookie[0])
	binary.NativeEndian.PutUint32(b[52:], id.Cookie[1])
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.AddRawData(b)
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

func address(family uint8, ip []byte) []byte {
	a, _ := netip.AddrFromSlice(ip)
	if family == unix.AF_INET {
		return a.Unmap().AsSlice()
	}
	b := a.As16()
	return b[:]
}
