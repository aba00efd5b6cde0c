package vip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Listeners returns the addresses at which a TCP port of this network namespace takes connections, each once; an empty
// list means that nothing listens on port. "::" stands for IPv4 too, unless the socket is for IPv6 alone (which
// Listeners can't tell). It needs no capability, but a kernel with CONFIG_INET_DIAG and CONFIG_INET_TCP_DIAG
// (sock_diag(7)).
func Listeners(ctx context.Context, port uint16) ([]netip.AddrPort, error) {
	found, err := listeners(ctx, port)
	if err != nil {
		return nil, fmt.Errorf("look who listens on port %d: %w", port, explainDiag(err))
	}
	return found, nil
}

func listeners(ctx context.Context, port uint16) ([]netip.AddrPort, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := openDiag(ctx)
	if err != nil {
		return nil, err
	}
	defer d.close()
	var found []netip.AddrPort
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := d.list(ctx, family)
		if err != nil {
			return nil, fmt.Errorf("list sockets: %w", err)
		}
		for _, s := range all {
			ip, ok := netip.AddrFromSlice(s.ID.Source)
			at := netip.AddrPortFrom(ip.Unmap(), s.ID.SourcePort)
			if ok && s.State == netlink.TCP_LISTEN && at.Port() == port && !slices.Contains(found, at) {
				found = append(found, at)
			}
		}
	}
	return found, nil
}

// CanDestroySockets returns nil where DestroySockets would work. It finds out by asking for the end of a connection
// between ports that nobody can have (0); nothing is ended.
func CanDestroySockets(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := openDiag(ctx)
	if err != nil {
		return fmt.Errorf("look whether sockets can be destroyed: %w", explainDiag(err))
	}
	defer d.close()
	nobody := &netlink.Socket{Family: unix.AF_INET, State: netlink.TCP_ESTABLISHED,
		ID: netlink.SocketID{Source: []byte{127, 0, 0, 1}, Destination: []byte{127, 0, 0, 1}, Cookie: [2]uint32{1, 0}}}
	if err := d.destroy(nobody); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("look whether sockets can be destroyed: %w", explainDiag(err))
	}
	return nil
}
