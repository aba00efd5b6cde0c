package replication

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// This file is about a source that says nothing: how this host stops to receive from it, and to send to it.

// Dumps are the connections by which replicas read the local server's binary log.
type Dumps interface {
	EndDumps(ctx context.Context, replica netip.Addr) (int, error)
}

// unhookTimeout bounds unhook. A semi-synchronous server would wait longer than that for an acknowledgement of its
// first commit.
const unhookTimeout = 500 * time.Millisecond

// To stop the I/O thread is quick, unless the thread waits for a source that says nothing. Then the server may take
// seconds to say that it has stopped; what the thread is is looked at meanwhile.
const (
	stopPatience = 200 * time.Millisecond
	hangUpAfter  = 20 * time.Millisecond // by then the thread has been told to stop, and does not connect anew
	stopTimeout  = 5 * time.Second
)

// stopReceiving stops the I/O thread. It ends the thread's connection to the source meanwhile, so that the thread
// notices. After stopPatience it is enough that the thread is not connected, whatever the server has answered: only
// what a connected thread receives would be written over the transactions of this host, once that is open. A thread
// that is still connected after stopTimeout is an error.
func (c catchUp) stopReceiving(ctx context.Context, source netip.AddrPort) error {
	stopped := make(chan error, 1)
	c.stopping.Go(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		stopped <- c.local.StopReceiving(ctx)
	})
	hangUp := time.After(hangUpAfter)
	look := time.After(stopPatience)
	for {
		select {
		case err := <-stopped:
			return err
		case <-ctx.Done():
			return ctx.Err()
		case <-hangUp:
			c.hangUp(ctx, source)
		case <-look:
			asking, cancel := context.WithTimeout(ctx, PeerTimeout)
			r, err := c.local.Replica(asking)
			cancel()
			if err == nil && r.IORunning != "Yes" {
				return nil
			}
			look = time.After(drainPause)
		}
	}
}

// hangUp ends this host's connections to a source that says nothing: the I/O thread notices that at once, and an order
// to stop only when it looks next.
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

// connectionTo returns the address and port to which this host's replication from a host connects; it is not valid
// where that is not known.
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

// unhook ends the connections by which a former writer that does not answer reads this server's log. A semi-synchronous
// server would wait for its acknowledgements, both when it executes the last of what it has received and with its own
// first commit. A former writer that lives connects again.
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

// What a source committed before its clients were cut off may still be on its way to this host.
const (
	quietFor  = 100 * time.Millisecond // for how long nothing must have come in
	quietMost = time.Second            // how long quiet waits at most
)

// quiet waits until nothing has been received for quietFor, for most at most.
func (c catchUp) quiet(ctx context.Context, most time.Duration) error {
	var last mysqlctl.Position
	began := time.Now()
	for moved := began; time.Since(moved) < quietFor && time.Since(began) < most; {
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
