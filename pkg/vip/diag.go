package vip

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// CanDestroySockets tells whether DestroySockets would work, by asking for the end of a connection between ports that
// nobody can have; nothing is ended. nil where it would.
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
