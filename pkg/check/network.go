package check

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"
)

// Network watches whether the monitor itself has a network: whether one of some addresses answers (ping_ips).
type Network struct {
	Echo     Echoer
	IPs      []netip.Addr  // at least one
	Interval time.Duration // ping_interval, the pause between rounds; more than 0

	// Doubt asks for a round at once: a host has just failed to answer, and the reason may be that the monitor itself
	// is cut off. nil: nobody asks.
	Doubt <-chan struct{}

	// Emit is called by Run's goroutine after each round.
	Emit func(up bool)
}

// Run returns nil when ctx ends.
func (n *Network) Run(ctx context.Context) error {
	if len(n.IPs) == 0 || n.Interval <= 0 {
		return errors.New("watch the network: no addresses to ping, or no interval")
	}
	up := true
	last := n.IPs[0] // the address that answered last
	for {
		up = up && n.Echo.Ping(ctx, last) == nil
		// The network is down only when no address has answered in two rounds: one packet may get lost, and packets
		// that are sent at the same time may get lost together.
		for tries := 0; !up && tries < 2 && ctx.Err() == nil; tries++ {
			last, up = n.any(ctx, last)
		}
		if ctx.Err() != nil {
			return nil
		}
		n.Emit(up)
		if !n.pause(ctx) {
			return nil
		}
	}
}

// any pings all addresses at once and returns the first to answer, or last where none does.
func (n *Network) any(ctx context.Context, last netip.Addr) (netip.Addr, bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answered := make(chan netip.Addr, len(n.IPs))
	var group sync.WaitGroup
	for _, ip := range n.IPs {
		group.Go(func() {
			if n.Echo.Ping(ctx, ip) == nil {
				answered <- ip
				cancel()
			}
		})
	}
	group.Wait()
	select {
	case ip := <-answered:
		return ip, true
	default:
		return last, false
	}
}

// pause waits until the next round is due, and tells whether there is one: not after the end of ctx.
func (n *Network) pause(ctx context.Context) bool {
	timer := time.NewTimer(n.Interval)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-n.Doubt:
		return true
	case <-ctx.Done():
		return false
	}
}
