package endpoint

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/vip"
)

// Addresses is the interface that carries the virtual addresses.
type Addresses interface {
	List(ctx context.Context) ([]netip.Addr, error)
	Add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error
	Remove(ctx context.Context, ip netip.Addr) error
	Renew(ctx context.Context, ip netip.Addr, lifetime time.Duration) error // never adds
}

// Announcer tells the network where an address is now. Its methods never block.
type Announcer interface {
	Announce(ip netip.Addr) // it has come
	Forget(ip netip.Addr)
}

// Departures answers with a reset who still looks here for an address that has left.
type Departures interface {
	Prepare(ctx context.Context) error
	Refuse(ctx context.Context, ip netip.Addr, during time.Duration) error
	Welcome(ctx context.Context, ip netip.Addr) error
}

const (
	// kernelTimeout bounds each call that adds, renews, removes or lists addresses.
	kernelTimeout = time.Second
	// courtesyTimeout bounds what spares clients a timeout. The work that it goes with is done whether it succeeds,
	// fails or hangs.
	courtesyTimeout = 200 * time.Millisecond
	// refuseTime is longer than a planned move takes, and shorter than anybody would look for the reason.
	refuseTime = 2 * time.Second
	// prepareTimeout bounds what is made ready at the start.
	prepareTimeout = 2 * time.Second
)

// VIP publishes a role by its virtual address: on an interface, announced to the neighbours; and when it goes, the
// connections to it are ended, and who comes late is told.
type VIP struct {
	Addresses  Addresses
	Announcer  Announcer
	Departures Departures // nil: clients of an address that has left are not told
	// Sockets ends the TCP connections to an address of this host; nil: they end by themselves.
	Sockets func(ctx context.Context, ip netip.Addr) (int, error)
	Log     *slog.Logger
}

// String names the task.
func (v *VIP) String() string { return "virtual addresses" }

// Run makes ready what would cost time when an address leaves, and returns.
func (v *VIP) Run(ctx context.Context) error {
	if v.Departures == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	if err := v.Departures.Prepare(ctx); err != nil {
		v.Log.Info(fmt.Sprintf("Clients of an address that leaves will have to wait for their timeouts: %v", err))
	}
	return nil
}

// List is Publisher's.
func (v *VIP) List(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	return v.Addresses.List(ctx)
}

// Publish is Publisher's.
func (v *VIP) Publish(ctx context.Context, r cluster.RoleIP, left Lifetime) error {
	v.welcome(ctx, r.IP)
	adding, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	err := inTime(left, func(left time.Duration) error { return v.Addresses.Add(adding, r.IP, left) })
	switch {
	case errors.Is(err, ErrLate):
		return errors.Join(err, v.Withdraw(context.WithoutCancel(ctx), r))
	case err != nil:
		return err
	}
	v.Announcer.Announce(r.IP)
	return nil
}

// Renew is Publisher's.
func (v *VIP) Renew(ctx context.Context, r cluster.RoleIP, left Lifetime) error {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	err := inTime(left, func(left time.Duration) error { return v.Addresses.Renew(ctx, r.IP, left) })
	if errors.Is(err, vip.ErrNotPresent) {
		return nil
	}
	return err
}

// Withdraw is Publisher's.
func (v *VIP) Withdraw(ctx context.Context, r cluster.RoleIP) error {
	v.Announcer.Forget(r.IP)
	v.refuse(ctx, r.IP)
	v.endSockets(ctx, r.IP, courtesyTimeout) // while a reset still finds its way
	removing, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	err := v.Addresses.Remove(removing, r.IP)
	v.endSockets(ctx, r.IP, kernelTimeout)
	return err
}

// refuse has clients of an address that leaves told that it is not here any more.
func (v *VIP) refuse(ctx context.Context, ip netip.Addr) {
	if v.Departures == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, courtesyTimeout)
	defer cancel()
	if err := v.Departures.Refuse(ctx, ip, refuseTime); err != nil {
		v.Log.Debug(fmt.Sprintf("Clients of %s will have to wait for their timeouts: %v", ip, err))
	}
}

// welcome ends what refuse began. Should it fail, clients are refused for the seconds that refuse has asked for.
func (v *VIP) welcome(ctx context.Context, ip netip.Addr) {
	if v.Departures == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, courtesyTimeout)
	defer cancel()
	if err := v.Departures.Welcome(ctx, ip); err != nil {
		v.Log.Warn(fmt.Sprintf("Clients of %s are refused for up to %s: %v", ip, refuseTime, err))
	}
}

// endSockets ends the connections to an address, so that clients hear of it at once. The address goes all the same.
func (v *VIP) endSockets(ctx context.Context, ip netip.Addr, within time.Duration) {
	if v.Sockets == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if _, err := v.Sockets(ctx, ip); err != nil {
		v.Log.Warn(fmt.Sprintf("Couldn't end the connections to %s: %v", ip, err))
	}
}
