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

	// Emit is called by Run's goroutine after the first round, and when the answer changes.
	Emit func(up bool)
}

// Run returns nil when ctx ends.
func (n *Network) Run(ctx context.Context) error {
	if len(n.IPs) == 0 || n.Interval <= 0 {
		return errors.New("watch the network: no addresses to ping, or no interval")
	}
	var known, was bool
	last := n.IPs[0] // that answered
	for {
		up := false
		if was || !known {
			up = n.Echo.Ping(ctx, last) == nil
		}
		// A lost packet is nothing, and what is lost at one time is lost together: only twice counts.
		for tries := 0; !up && tries < 2 && ctx.Err() == nil; tries++ {
			last, up = n.any(ctx, last)
		}
		if ctx.Err() != nil {
			return nil
		}
		if !known || up != was {
			n.Emit(up)
		}
		known, was = true, up
		if !sleep(ctx, n.Interval) {
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
