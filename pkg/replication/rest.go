package replication

import (
	"context"
	"errors"
	"fmt"

	"mysql-mmm/pkg/mysqlctl"
)

// atRest finds the place in the new master's log for a slave that is not told where the new master took over, because
// the monitor is an original one or this is a first start. The original agent reads the new master's position at some
// moment, and loses or repeats what is written meanwhile. Here the position is only taken when the old and the new
// master stand still and level with each other, and this slave with them; otherwise the slave stays where it is and
// says why.
func (f *follower) atRest(ctx context.Context, r mysqlctl.Replica, master string) (mysqlctl.Position, error) {
	none := mysqlctl.Position{}
	_, to, ok := f.peers.ByName(master)
	if !ok {
		return none, fmt.Errorf("host '%s' is not in this host's configuration", master)
	}
	oldName, from, ok := f.peers.Source(r)
	if !ok {
		return none, fmt.Errorf("%s: set it up by hand", stranger(r))
	}
	target, alive := f.endOf(ctx, from)
	if !alive {
		target = r.Received
	}
	if err := f.local.WaitExecuted(ctx, target); err != nil {
		return none, fmt.Errorf("catch up with '%s': %w", oldName, err)
	}
	before, err := f.standing(ctx, to, from, alive, master)
	if err != nil {
		return none, fmt.Errorf("find the place in the log of '%s': %w", master, err)
	}
	if err := f.stopAt(ctx, before.old, func(at mysqlctl.Position) error {
		return fmt.Errorf("this slave has executed %s of '%s', '%s' has executed %s", at, oldName, master, before.old)
	}); err != nil {
		return none, err
	}
	after, err := f.standing(ctx, to, from, alive, master)
	if err == nil && after != before {
		err = errors.New("the new master is being written to")
	}
	if err != nil {
		return none, errors.Join(fmt.Errorf("find the place in the log of '%s': %w", master, err), f.goOn(ctx))
	}
	return before.new, nil
}

// place is a pair of positions that mean the same: in the former writer's log and in the new one's.
type place struct{ old, new mysqlctl.Position }

// standing reads the new master's place in both logs. It fails where the two masters are not level with each other or,
// with the former writer gone, where the new one is open for writes already.
func (f *follower) standing(ctx context.Context, to, from Remote, alive bool, master string) (place, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*PeerTimeout)
	defer cancel()
	replica, err := to.Replica(ctx)
	if err != nil {
		return place{}, err
	}
	end, err := to.Position(ctx)
	if err != nil {
		return place{}, err
	}
	p := place{old: replica.Executed, new: end}
	if !alive {
		open, err := to.Writable(ctx)
		if err == nil && open {
			err = errors.New("the former writer is gone and the new one is open for writes already: set this slave up by hand")
		}
		return p, err
	}
	back, err := from.Replica(ctx)
	if err != nil {
		return p, err
	}
	source, _, _ := f.peers.Source(back)
	oldEnd, err := from.Position(ctx)
	if err != nil {
		return p, err
	}
	if source != master || back.Executed != end || replica.Executed != oldEnd {
		return p, errors.New("the two masters are not level with each other")
	}
	return p, nil
}

func (f *follower) endOf(ctx context.Context, r Remote) (mysqlctl.Position, bool) {
	ctx, cancel := context.WithTimeout(ctx, PeerTimeout)
	defer cancel()
	p, err := r.Position(ctx)
	return p, err == nil
}
