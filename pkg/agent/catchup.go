package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// Replicating is the local server's replication, as far as waiting for it goes.
type Replicating interface {
	Replica(ctx context.Context) (mysqlctl.Replica, error)
	Position(ctx context.Context) (mysqlctl.Position, error)
	WaitExecuted(ctx context.Context, p mysqlctl.Position) error
}

// Remote is another host's server.
type Remote interface {
	Replica(ctx context.Context) (mysqlctl.Replica, error)
	Position(ctx context.Context) (mysqlctl.Position, error)
	Writable(ctx context.Context) (bool, error)
	Transactions(ctx context.Context, start, end mysqlctl.Position, limit int) ([]mysqlctl.Transaction, error)
}

// Peers are the servers of the other hosts.
type Peers interface {
	ByIP(ip string) (name string, server Remote, ok bool) // ok is false for an address of no configured host
	ByName(name string) (ip string, server Remote, ok bool)
}

// remoteTimeout bounds a question to another host's server: one that is dead must not hold up the new writer.
const remoteTimeout = time.Second

// catchUp brings a server that is about to be opened up to date with the old master.
type catchUp struct {
	self  string
	local Replicating
	peers Peers
	log   *slog.Logger
}

// run waits until the local server has executed all that the old master wrote, or all that it has received where the
// old master does not answer (agent manual, "Catch up and repoint"). It returns where it took over.
func (c catchUp) run(ctx context.Context) (cluster.Switch, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	sw := cluster.Switch{To: c.self}
	replica, err := c.local.Replica(ctx)
	switch {
	case errors.Is(err, mysqlctl.ErrNotReplica):
		c.log.Warn("This host replicates from nobody: there is nothing to catch up with")
	case err != nil:
		return sw, err
	default:
		sw.From, _, _ = c.peers.ByIP(replica.SourceHost)
		after, err := c.wait(ctx, replica)
		if err != nil {
			return sw, err
		}
		sw.After = after.String()
	}
	start, err := c.local.Position(ctx)
	if errors.Is(err, mysqlctl.ErrNoBinlog) {
		return sw, nil // it can have no slaves
	}
	if err != nil {
		return sw, err
	}
	sw.Start = start.String()
	return sw, nil
}

// wait returns the position in the source's log up to which all has been executed.
func (c catchUp) wait(ctx context.Context, r mysqlctl.Replica) (mysqlctl.Position, error) {
	target, known := c.sourcePosition(ctx, r)
	for {
		if !known {
			target = r.Received
		}
		if done, err := reached(r.Executed, target); err != nil {
			return target, err
		} else if !done {
			if err := c.local.WaitExecuted(ctx, target); err != nil {
				return target, fmt.Errorf("wait for %s of %s: %w", target, r.SourceHost, err)
			}
		}
		next, err := c.local.Replica(ctx)
		if err != nil {
			return target, err
		}
		// More may have come in while it waited, out of the network's buffers of a source that has just died.
		if done, err := reached(next.Executed, next.Received); err != nil {
			return target, err
		} else if done {
			return next.Executed, nil
		}
		r, known = next, false
	}
}

// sourcePosition asks the source for the end of its log. A position of other files than those that were received
// (a source set up anew) is no position to wait for.
func (c catchUp) sourcePosition(ctx context.Context, r mysqlctl.Replica) (mysqlctl.Position, bool) {
	_, source, ok := c.peers.ByIP(r.SourceHost)
	if !ok {
		return mysqlctl.Position{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, remoteTimeout)
	defer cancel()
	p, err := source.Position(ctx)
	if err != nil {
		c.log.Warn(fmt.Sprintf("Couldn't get the position of the old master %s (%v): catching up with what was received", r.SourceHost, err))
		return mysqlctl.Position{}, false
	}
	return p, true
}

// reached says whether executed is at or past target. Nothing to reach is reached.
func reached(executed, target mysqlctl.Position) (bool, error) {
	if target.IsZero() {
		return true, nil
	}
	if executed.IsZero() {
		return false, nil
	}
	c, err := executed.Compare(target)
	return c >= 0, err
}
