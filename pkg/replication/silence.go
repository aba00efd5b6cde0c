package replication

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// This file is about a source that says nothing: what this host still waits for from it, and what it is told of here.

// Dumps are the connections by which others read the local server's binary log.
type Dumps interface {
	EndDumps(ctx context.Context, replica netip.Addr) (int, error)
}

// unhookTimeout: a semi-synchronous server that can't be asked waits longer than this for its first commit.
const unhookTimeout = 500 * time.Millisecond

// Stopping is quick, unless the I/O thread waits for a source that says nothing: that can take seconds, and need not be
// waited for, as a thread that has been told to stop takes nothing from its source any more.
const (
	stopPatience = 200 * time.Millisecond
	hangUpAfter  = 20 * time.Millisecond // by then it has been told to stop, and does not connect anew
	stopTimeout  = 5 * time.Second
)

func (c catchUp) stopReceiving(ctx context.Context, source netip.AddrPort) error {
	stopped := make(chan error, 1)
	c.stopping.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		stopped <- c.local.StopReceiving(ctx)
	})
	hangUp := time.After(hangUpAfter)
	patience := time.After(stopPatience)
	for {
		select {
		case err := <-stopped:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-hangUp:
			c.hangUp(ctx, source)
		case <-patience:
			return nil
		}
	}
}

// hangUp ends this host's connections to a source that says nothing: the thread that reads from it hears of that at
// once, and of its end only when it looks next.
func (c catchUp) hangUp(ctx context.Context, source netip.AddrPort) {
	if c.connections == nil || !source.IsValid() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if _, err := c.connections(ctx, source); err != nil {
		c.log.Info(fmt.Sprintf("Couldn't end the connections to %s: %v", source, err))
	}
}

// connectionTo is where this host's replication from a host goes to; not valid where that is not known.
func (c catchUp) connectionTo(from string, r mysqlctl.Replica) netip.AddrPort {
	for _, address := range []string{r.SourceHost, c.address(from)} {
		if ip, err := netip.ParseAddr(address); err == nil && r.SourcePort > 0 && r.SourcePort <= math.MaxUint16 {
			return netip.AddrPortFrom(ip, uint16(r.SourcePort))
		}
	}
	return netip.AddrPort{}
}

func (c catchUp) address(host string) string {
	ip, _, _ := c.peers.ByName(host)
	return ip
}

// unhook ends what a former writer that does not answer still reads here: a semi-synchronous server would wait for it,
// with the last that it executes of that one's as with its own first commit. One that lives connects again.
func (c catchUp) unhook(ctx context.Context, from string) {
	ip, err := netip.ParseAddr(c.address(from))
	if c.dumps == nil || err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, unhookTimeout)
	defer cancel()
	if _, err := c.dumps.EndDumps(ctx, ip); err != nil {
		c.log.Info(fmt.Sprintf("Couldn't end the connections by which '%s' replicates: %v", from, err))
	}
}

// Times of quiet: what a source had committed before its clients were cut off may still be on its way.
const (
	quietFor  = 100 * time.Millisecond
	quietMost = time.Second
)

// quiet waits until nothing has come in for a moment.
func (c catchUp) quiet(ctx context.Context) error {
	var last mysqlctl.Position
	began := time.Now()
	for moved := began; time.Since(moved) < quietFor && time.Since(began) < quietMost; {
		r, err := c.local.Replica(ctx)
		if err != nil {
			return err
		}
		if r.Received != last {
			last, moved = r.Received, time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPause):
		}
	}
	return nil
}
