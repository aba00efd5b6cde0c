package endpoint

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Publisher sends the clients of a role to this host. One goroutine at a time publishes and withdraws; CONTRIBUTING.md
// says what it takes to add one.
type Publisher interface {
	// List tells which addresses clients reach here now, whoever has published them. Where it fails nothing is known:
	// what was there may still be.
	List(ctx context.Context) ([]netip.Addr, error)
	// Publish sends clients here for no longer than left says. After ErrLate they are sent here no more.
	Publish(ctx context.Context, r cluster.RoleIP, left Lifetime) error
	// Renew tells how long what is published may stay; what is not is left alone. After ErrLate it may stay too long, and
	// is to be withdrawn.
	Renew(ctx context.Context, r cluster.RoleIP, left Lifetime) error
	// Withdraw returns when no client is sent here any more, or why that is not certain.
	Withdraw(ctx context.Context, r cluster.RoleIP) error
}

// Lifetime says for how long an endpoint may be published, from now on: 0 is for ever. It is asked when it is needed,
// and may be asked again. Its error is a reason not to publish: ErrTooShort where too little is left.
type Lifetime func() (time.Duration, error)

var (
	// ErrLate is of a publisher that may have been told a lifetime that ends after the lease.
	ErrLate = errors.New("its lease is over, or this machine too slow for it")
	// ErrTooShort is of a lease of which less is left than a lifetime of the kernel's would last.
	ErrTooShort = errors.New("too little is left of its lease")
)

// slowCall is how long setting a lifetime may take: the sums of the lease count on no more.
const slowCall = 50 * time.Millisecond

// inTime tells the kernel a lifetime. That counts from the moment in which the kernel hears of it, so a call that took
// long is made again, with as much less as that one took.
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
