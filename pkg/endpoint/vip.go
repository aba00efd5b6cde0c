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
	Add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error // lifetime 0: for ever
	Remove(ctx context.Context, ip netip.Addr) error
	Renew(ctx context.Context, ip netip.Addr, lifetime time.Duration) error // never adds: vip.ErrNotPresent
}

// Announcer tells the network where an address is now. Its methods never block.
type Announcer interface {
	Announce(ip netip.Addr) // the address is on this host now
	Forget(ip netip.Addr)   // the address leaves: it is announced no more
}

// Departures answers clients that still connect here to an address that has left with a TCP reset, from Refuse until
// Welcome, or until the time during is over.
type Departures interface {
	Prepare(ctx context.Context) error
	Refuse(ctx context.Context, ip netip.Addr, during time.Duration) error
	Welcome(ctx context.Context, ip netip.Addr) error
}

const (
	// kernelTimeout bounds each call that adds, renews, removes or lists addresses.
	kernelTimeout = time.Second
	// courtesyTimeout bounds each step that only spares clients a timeout. The address comes or goes whether such a step
	// succeeds, fails or hangs.
	courtesyTimeout = 200 * time.Millisecond
	// refuseTime is how long clients of an address that has left are refused: longer than a planned move takes, and too
	// short for anybody to wonder where the resets come from.
	refuseTime = 2 * time.Second
	// prepareTimeout bounds Departures.Prepare.
	prepareTimeout = 2 * time.Second
)

// VIP is the Publisher that puts the virtual address of a role on an interface and announces it to the neighbours. When
// the address goes, VIP ends the connections to it, and has clients refused that still connect to it here.
type VIP struct {
	Addresses  Addresses
	Announcer  Announcer
	Departures Departures // nil: clients of an address that has left wait for their timeouts
	// Sockets ends the TCP connections to an address of this host, and counts them; nil: they end by themselves.
	Sockets func(ctx context.Context, ip netip.Addr) (int, error)
	Log     *slog.Logger
}

// String names the task.
func (v *VIP) String() string { return "virtual addresses" }

// Run prepares Departures, which would cost time when an address leaves, and returns. A failure is only logged.
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

// List implements Publisher.
func (v *VIP) List(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	return v.Addresses.List(ctx)
}

// Publish implements Publisher.
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

// Renew implements Publisher.
func (v *VIP) Renew(ctx context.Context, r cluster.RoleIP, left Lifetime) error {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	err := inTime(left, func(left time.Duration) error { return v.Addresses.Renew(ctx, r.IP, left) })
	if errors.Is(err, vip.ErrNotPresent) {
		return nil
	}
	return err
}

// Withdraw implements Publisher.
func (v *VIP) Withdraw(ctx context.Context, r cluster.RoleIP) error {
	v.Announcer.Forget(r.IP)
	v.refuse(ctx, r.IP)
	v.endSockets(ctx, r.IP, courtesyTimeout) // while resets can still be sent from the address
	removing, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	err := v.Addresses.Remove(removing, r.IP)
	v.endSockets(ctx, r.IP, kernelTimeout)
	return err
}

// refuse has clients of an address that leaves answered with resets. A failure is only logged.
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

// welcome ends what refuse began. Where it fails clients are refused until refuseTime is over.
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

// endSockets ends the connections to an address, so that clients notice at once that it goes. A failure is only logged.
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
