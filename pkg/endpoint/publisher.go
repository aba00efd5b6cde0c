package endpoint

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Publisher sends the clients of a role to this host. One goroutine at a time publishes and withdraws. CONTRIBUTING.md
// says what it takes to add a Publisher.
type Publisher interface {
	// List returns the addresses by which clients reach this host now, whoever has published them. An error says nothing
	// of them: what was published before may still be.
	List(ctx context.Context) ([]netip.Addr, error)
	// Publish sends clients to this host, for no longer than left says. Where that may have come too late it withdraws
	// the role again and returns ErrLate, joined with the error of Withdraw if that has failed.
	Publish(ctx context.Context, r cluster.RoleIP, left Lifetime) error
	// Renew sets anew how long a role that is published may stay. It publishes nothing: a role that is not published is no
	// error. After ErrLate the role may stay for too long, and the caller has to withdraw it.
	Renew(ctx context.Context, r cluster.RoleIP, left Lifetime) error
	// Withdraw returns nil when no client is sent to this host any more. An error says why that is not certain.
	Withdraw(ctx context.Context, r cluster.RoleIP) error
}

// Lifetime says for how long an endpoint may be published, from the moment of the call on; 0: for ever. A Publisher may
// call it more than once. An error is a reason not to publish: ErrTooShort where too little of the lease is left.
type Lifetime func() (time.Duration, error)

var (
	// ErrLate says that an endpoint was published for a lifetime that may end after its lease.
	ErrLate = errors.New("its lease is over, or this machine is too slow for it")
	// ErrTooShort says that less of a lease is left than the shortest lifetime that can be set.
	ErrTooShort = errors.New("too little is left of its lease")
)

// slowCall is how long setting a lifetime may take: the time after which a lease counts as over on every clock
// (cluster.Lease.Over) allows for no more.
const slowCall = 50 * time.Millisecond

// inTime tells the kernel a lifetime. The lifetime counts from the moment in which the kernel hears of it, which may be
// late in the call. So after a call that took long another one is made, with a lifetime that is shorter by the time
// that the former call took, in whole seconds. It returns ErrLate where three calls took too long, or another one
// failed.
func inTime(lifetime Lifetime, tell func(time.Duration) error) error {
	var spare time.Duration
	for lap := range 3 {
		began := time.Now()
		left, err := lifetime()
		if err == nil && left > 0 && left <= spare {
			err = ErrTooShort
		}
		if err == nil && left > 0 {
			left -= spare
		}
		if err == nil {
			err = tell(left)
		}
		if err != nil && lap > 0 {
			return errors.Join(ErrLate, err)
		}
		if err != nil {
			return err
		}
		took := time.Since(began)
		if left == 0 || took <= slowCall+spare {
			return nil
		}
		spare = took.Truncate(time.Second) + time.Second
	}
	return ErrLate
}
