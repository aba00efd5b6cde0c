package vip

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DestroySockets ends every TCP connection of this network namespace whose local address is ip, IPv4 sockets and
// IPv6 sockets that carry IPv4 (a server that listens on "::") alike, and returns how many it ended. The owner of such
// a socket gets ECONNABORTED. The client gets a reset at once, even if it only waits for an answer and sends nothing.
// Listening sockets are not touched, nor are connections that are closed already (TIME_WAIT).
//
// Call it while ip is still on the interface: in IPv4 the kernel can't send the reset from an address that it no
// longer has, and the client would hang until its own timeout. Clients may connect again before the address is gone,
// so close the port to them first (package fence), then destroy the sockets, then remove the address. Call it as well
// where the address is gone already because its lifetime has ended: it frees the server from connections that nobody
// can reach.
//
// It needs CAP_NET_ADMIN and a kernel with CONFIG_INET_DIAG_DESTROY (sock_diag(7), Linux 4.9). Where a connection can't
// be ended the others are ended all the same; the first such error is returned.
func DestroySockets(ctx context.Context, ip netip.Addr) (int, error) {
	ip = ip.Unmap()
	if err := check(ip); err != nil {
		return 0, fmt.Errorf("destroy sockets: %w", err)
	}
	n, err := destroySockets(ctx, ip)
	if err != nil {
		return n, fmt.Errorf("destroy sockets of %s: %w", ip, explainDiag(err))
	}
	return n, nil
}

// DestroyClients ends TCP connections to a port of this network namespace in the same way, and returns how many it
// ended. Connections from peers stay, and so do connections of this machine to a loopback address of its own. Close the
// port to clients first, or they connect again.
func DestroyClients(ctx context.Context, port uint16, peers []netip.Addr) (int, error) {
	n, err := destroy(ctx, []uint8{unix.AF_INET, unix.AF_INET6}, func(local, remote netip.AddrPort) bool {
		return local.Port() == port && !local.Addr().IsLoopback() && !slices.Contains(peers, remote.Addr())
	})
	if err != nil {
		return n, fmt.Errorf("destroy sockets of clients of port %d: %w", port, explainDiag(err))
	}
	return n, nil
}

// DestroyTo ends every TCP connection of this network namespace to a remote address and port, and returns how many it
// ended: a process that waits for a machine that says nothing gets ECONNABORTED at once.
func DestroyTo(ctx context.Context, to netip.AddrPort) (int, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	n, err := destroy(ctx, []uint8{unix.AF_INET, unix.AF_INET6}, func(_, remote netip.AddrPort) bool {
		return remote == to
	})
	if err != nil {
		return n, fmt.Errorf("destroy sockets to %s: %w", to, explainDiag(err))
	}
	return n, nil
}

func destroySockets(ctx context.Context, ip netip.Addr) (int, error) {
	families := []uint8{unix.AF_INET6}
	if ip.Is4() {
		families = []uint8{unix.AF_INET, unix.AF_INET6}
	}
	return destroy(ctx, families, func(local, _ netip.AddrPort) bool { return local.Addr() == ip })
}

// destroy ends the connections for whose two ends chosen returns true, and returns how many it ended.
func destroy(ctx context.Context, families []uint8, chosen func(local, remote netip.AddrPort) bool) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	d, err := openDiag(ctx)
	if err != nil {
		return 0, err
	}
	defer d.close()
	n := 0
	var failed error
	for _, family := range families {
		sockets, err := d.connections(ctx, family, chosen)
		if err != nil {
			return n, fmt.Errorf("list sockets: %w", err)
		}
		for _, s := range sockets {
			if ctx.Err() != nil {
				return n, ctx.Err()
			}
			switch err := d.destroy(s); {
			case err == nil:
				n++
			case errors.Is(err, unix.ENOENT): // it has ended by itself
			case failed == nil:
				failed = err
			}
		}
	}
	return n, failed
}

// diag is a pair of sock_diag sockets for the length of one call. The library's handle lists sockets of both families,
// but destroys IPv4 sockets only; destroyer is for both.
type diag struct {
	lister    *netlink.Handle
	destroyer *nl.NetlinkSocket
}

func openDiag(ctx context.Context) (*diag, error) {
	timeout := kernelTimeout
	if deadline, ok := ctx.Deadline(); ok {
		timeout = max(min(timeout, time.Until(deadline)), time.Millisecond)
	}
	lister, err := netlink.NewHandle(unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open sock_diag socket: %w", err)
	}
	destroyer, err := nl.Subscribe(unix.NETLINK_INET_DIAG)
	if err != nil {
		lister.Close()
		return nil, fmt.Errorf("open sock_diag socket: %w", err)
	}
	d := &diag{lister, destroyer}
	limit := unix.NsecToTimeval(timeout.Nanoseconds())
	err = errors.Join(lister.SetSocketTimeout(timeout), destroyer.SetSendTimeout(&limit),
		destroyer.SetReceiveTimeout(&limit))
	if err != nil {
		d.close()
		return nil, fmt.Errorf("set sock_diag timeout: %w", err)
	}
	return d, nil
}

func (d *diag) close() {
	d.lister.Close()
	d.destroyer.Close()
}

// list returns all TCP sockets of one address family.
func (d *diag) list(ctx context.Context, family uint8) ([]*netlink.Socket, error) {
	all, err := d.lister.SocketDiagTCP(family)
	for errors.Is(err, netlink.ErrDumpInterrupted) && ctx.Err() == nil {
		all, err = d.lister.SocketDiagTCP(family)
	}
	return all, err
}

// connections returns the chosen sockets of one address family that are open connections.
func (d *diag) connections(ctx context.Context, family uint8,
	chosen func(local, remote netip.AddrPort) bool) ([]*netlink.Socket, error) {
	all, err := d.list(ctx, family)
	if err != nil {
		return nil, err
	}
	var ours []*netlink.Socket
	for _, s := range all {
		switch s.State {
		case netlink.TCP_LISTEN, netlink.TCP_CLOSE, netlink.TCP_TIME_WAIT:
			continue
		}
		local, ok := netip.AddrFromSlice(s.ID.Source)
		remote, known := netip.AddrFromSlice(s.ID.Destination)
		if ok && known && chosen(netip.AddrPortFrom(local.Unmap(), s.ID.SourcePort),
			netip.AddrPortFrom(remote.Unmap(), s.ID.DestinationPort)) {
			ours = append(ours, s)
		}
	}
	return ours, nil
}

func (d *diag) destroy(s *netlink.Socket) error {
	req := nl.NewNetlinkRequest(nl.SOCK_DESTROY, unix.NLM_F_ACK)
	req.Sockets = map[int]*nl.SocketHandle{unix.NETLINK_INET_DIAG: {Socket: d.destroyer, Seq: req.Seq}}
	req.AddRawData(destroyRequest(s))
	_, err := req.Execute(unix.NETLINK_INET_DIAG, 0)
	return err
}

// destroyRequest is struct inet_diag_req_v2 (linux/inet_diag.h). The cookie names this very socket, so that a later
// socket with the same addresses and ports is not hit.
func destroyRequest(s *netlink.Socket) []byte {
	b := []byte{s.Family, unix.IPPROTO_TCP, 0, 0}
	b = binary.NativeEndian.AppendUint32(b, 1<<s.State)
	b = binary.BigEndian.AppendUint16(b, s.ID.SourcePort)
	b = binary.BigEndian.AppendUint16(b, s.ID.DestinationPort)
	for _, ip := range [][]byte{s.ID.Source, s.ID.Destination} {
		var field [16]byte
		if s.Family == unix.AF_INET {
			copy(field[:], ip[len(ip)-4:])
		} else {
			copy(field[:], ip)
		}
		b = append(b, field[:]...)
	}
	b = binary.NativeEndian.AppendUint32(b, s.ID.Interface)
	b = binary.NativeEndian.AppendUint32(b, s.ID.Cookie[0])
	return binary.NativeEndian.AppendUint32(b, s.ID.Cookie[1])
}

func explainDiag(err error) error {
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("kernel was built without CONFIG_INET_DIAG_DESTROY: %w", err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("kernel has no TCP sock_diag (CONFIG_INET_DIAG, modules inet_diag and tcp_diag): %w", err)
	}
	return explain(err, "CAP_NET_ADMIN")
}
