package check

import (
	"context"
	"net/netip"
	"time"
)

// Network watches the monitor's own network: it is up while one of the addresses answers (monitor manual, "Checks").
type Network struct {
	Sender   EchoSender
	IPs      []netip.Addr  // ping_ips
	Interval time.Duration // ping_interval, between rounds
	Emit     func(up bool) // called after the first round and after each change
}

// Run pings until ctx ends.
func (n Network) Run(ctx context.Context) error {
	known, up := false, false
	for {
		// A second round before saying no: one lost packet is no lost network.
		now := n.round(ctx) || n.round(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if !known || now != up {
			known, up = true, now
			n.Emit(up)
		}
		if !sleep(ctx, n.Interval) {
			return nil
		}
	}
}

// String names the task.
func (n Network) String() string { return "network check" }

// round asks all addresses at once and is content with the first answer.
func (n Network) round(ctx context.Context) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan error, len(n.IPs))
	for _, ip := range n.IPs {
		go func() { answers <- n.Sender.Ping(ctx, ip) }()
	}
	up := false
	for range n.IPs {
		if err := <-answers; err == nil {
			up = true
			cancel()
		}
	}
	return up
}
