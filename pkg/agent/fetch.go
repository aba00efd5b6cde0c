package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// fetchAsk bounds the question to the other slaves: the dead writer's clients are waiting.
const fetchAsk = 250 * time.Millisecond

// more is another host that has received more of a dead writer.
type more struct {
	name   string
	server Remote
	up     mysqlctl.Position // to where it has received the dead writer's log
}

// fetch gets from another host what it has received of the dead writer from and this host has not, where GTIDs find the place; by file and
// position there is no way, and that host is set aside. It returns up to where this host has the dead writer's
// log then, or zero where nobody has more of it. The local replication is left stopped, and aimed at from.
func (c catchUp) fetch(ctx context.Context, r mysqlctl.Replica, from string) (mysqlctl.Position, error) {
	best, found := c.mostAdvanced(ctx, r, from)
	if !found || !r.UsesGTID {
		return mysqlctl.Position{}, nil
	}
	old, okOld := c.sources(from)
	src, ok := c.sources(best.name)
	if !ok || !okOld {
		return mysqlctl.Position{}, errors.New("it is not in this host's configuration")
	}
	c.log.Info(fmt.Sprintf("Host '%s' has received %s of '%s', this host %s: fetching the difference", best.name, best.up, from, r.Received))
	c.say(fmt.Sprintf("Fetching from '%s' what it has received of '%s'", best.name, from))
	// No newer order breaks it off half-way: the replication would be left pointing at a host that never was the
	// writer.
	whole := context.WithoutCancel(ctx)
	limited, cancel := context.WithTimeout(whole, c.patience)
	defer cancel()
	up, err := c.fetchFrom(limited, best, src)
	// Back to the old one whatever happened, stopped: the monitor says when it is trusted again.
	aiming, stop := context.WithTimeout(whole, stopTimeout)
	defer stop()
	aimed := c.local.Aim(aiming, mysqlctl.Source{Host: old.Host, Port: old.Port, User: old.User, Password: old.Password, GTID: true})
	if err := errors.Join(err, aimed); err != nil {
		return mysqlctl.Position{}, err
	}
	return up, nil
}

// fetchFrom returns up to where the other host has the dead writer's log, and so this one now.
func (c catchUp) fetchFrom(ctx context.Context, best more, src Source) (up mysqlctl.Position, err error) {
	at, err := executesAll(ctx, best)
	if err != nil {
		return up, err
	}
	if err := c.local.Repoint(ctx, mysqlctl.Source{Host: src.Host, Port: src.Port, User: src.User, Password: src.Password, GTID: true}); err != nil {
		return up, err
	}
	if err := c.local.WaitExecuted(ctx, at.new); err != nil {
		return up, err
	}
	return at.old, c.local.StopReplication(ctx)
}

// executesAll waits until the other host has executed, and so logged, what it has received, and returns where it stands in the dead
// writer's log and in its own. The last of what the dead one has sent may still be coming in there.
func executesAll(ctx context.Context, best more) (place, error) {
	var last place
	for {
		r, err := best.server.Replica(ctx)
		if err != nil {
			return last, err
		}
		end, err := best.server.Position(ctx)
		if err != nil {
			return last, err
		}
		now := place{old: r.Executed, new: end}
		done, err := reached(r.Executed, best.up)
		if err != nil || done && now == last {
			return now, err
		}
		last = now
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("wait for '%s' to execute what it has received: %w", best.name, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// sameSource says whether two servers replicate from the same one, by whatever address.
func sameSource(p Peers, a, b mysqlctl.Replica) bool {
	one, _, known := p.Source(a)
	other, _, too := p.Source(b)
	if known && too {
		return one == other
	}
	return known == too && a.SourceHost == b.SourceHost && a.SourcePort == b.SourcePort
}

// mostAdvanced asks all other hosts at once who has received more of the same source.
func (c catchUp) mostAdvanced(ctx context.Context, r mysqlctl.Replica, from string) (best more, found bool) {
	ctx, cancel := context.WithTimeout(ctx, fetchAsk)
	defer cancel()
	names := slices.DeleteFunc(c.peers.Names(), func(name string) bool { return name == c.self || name == from })
	answers := make(chan more, len(names))
	for _, name := range names {
		go func() {
			_, server, _ := c.peers.ByName(name)
			m := more{name: name, server: server}
			if other, err := server.Replica(ctx); err == nil && sameSource(c.peers, other, r) {
				m.up = other.Received
			}
			answers <- m
		}()
	}
	most := r.Received
	for range names {
		m := <-answers
		if m.up.IsZero() || most.IsZero() {
			continue
		}
		if cmp, err := m.up.Compare(most); err == nil && cmp > 0 {
			best, found, most = m, true, m.up
		}
	}
	return best, found
}
