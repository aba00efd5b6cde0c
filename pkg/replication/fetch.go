package replication

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// fetchAsk bounds the question to the other hosts: the dead writer's clients are waiting.
const fetchAsk = 250 * time.Millisecond

// more is another host that has received more of the dead writer's log than this one.
type more struct {
	name   string
	server Remote
	up     mysqlctl.Position // up to where it has received the dead writer's log
}

// fetch gets from another host what that host has received of the dead writer from and this host has not. That needs
// GTIDs: by file and position the place in the other host's log can't be found, and nothing is fetched. It returns up
// to where this host has the dead writer's log then; that is after where nobody has more, or where it can't be fetched,
// which a FATAL line says. After an error the local replication may be running, or aimed at another host than from.
func (c catchUp) fetch(
	ctx context.Context, r mysqlctl.Replica, from string, after mysqlctl.Position,
) (mysqlctl.Position, error) {
	best, found := c.mostAdvanced(ctx, r, from)
	if !found || !r.UsesGTID {
		return after, nil
	}
	c.log.Info(fmt.Sprintf("Host '%s' has received %s of '%s', this host %s: fetching the difference",
		best.name, best.up, from, r.Received))
	c.say(fmt.Sprintf("Fetching from '%s' what it has received of '%s'", best.name, from))
	up, err := c.fetchFrom(ctx, best)
	if err != nil {
		up = after
		c.log.Log(ctx, levelFatal,
			fmt.Sprintf("Couldn't fetch what another host has received of '%s' and this one has not "+
				"(%v): DATA LOSS of what is beyond %s", from, err, after))
	}
	return up, c.aimBack(ctx, from)
}

// aimBack points the local replication at the former writer again and leaves it stopped, until the monitor trusts that
// one. Were this host opened while it follows another host, it would replicate its own transactions from there.
func (c catchUp) aimBack(ctx context.Context, from string) error {
	old, ok := c.sources(from)
	if !ok {
		return fmt.Errorf("host '%s' is not in this host's configuration", from)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := c.lettingGo(ctx, from, func() error { return c.local.Aim(ctx, old.byGTID()) }); err != nil {
		return fmt.Errorf("stop replication from another host than '%s': %w", from, err)
	}
	return nil
}

// strayed says whether this host follows, by GTID, another host than the writer that it was taking over from: an
// earlier attempt fetched from that host, and was broken off before aimBack.
func (c catchUp) strayed(r mysqlctl.Replica, o cluster.Order) bool {
	e := c.embargo.get()
	if e.Host == "" || e.At != "" || !r.UsesGTID || o.Switch.To == c.self && o.Switch.From != e.Host {
		return false
	}
	name, _, known := c.peers.Source(r)
	return known && name != e.Host
}

// fetchFrom replicates from the other host what that host has executed of the dead writer's log, and returns up to
// where both hosts now have that log.
func (c catchUp) fetchFrom(ctx context.Context, best more) (up mysqlctl.Position, err error) {
	src, ok := c.sources(best.name)
	if !ok {
		return up, fmt.Errorf("host '%s' is not in this host's configuration", best.name)
	}
	// A newer order must not break this off half-way: the replication would be left pointing at a host that never was
	// the writer.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.patience)
	defer cancel()
	at, err := executesAll(ctx, best)
	if err != nil {
		return up, err
	}
	if err := c.local.Repoint(ctx, src.byGTID()); err != nil {
		return up, err
	}
	return at.old, c.lettingGo(ctx, best.name, func() error {
		if err := c.local.WaitExecuted(ctx, at.new); err != nil {
			return err
		}
		return c.local.StopReplication(ctx)
	})
}

// executesAll waits until the other host has executed, and so logged, what it has received, and returns its places in
// the dead writer's log and in its own. It waits until both places stand still, as the last of what the dead writer has
// sent may still be coming in there.
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

// sameSource says whether two servers replicate from the same source, by whatever addresses.
func sameSource(p Peers, a, b mysqlctl.Replica) bool {
	one, _, known := p.Source(a)
	other, _, too := p.Source(b)
	if known && too {
		return one == other
	}
	return known == too && a.SourceHost == b.SourceHost && a.SourcePort == b.SourcePort
}

// mostAdvanced asks all other hosts at the same time how much they have received of this host's source, and returns the
// one that has received most, if that is more than this host has.
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
