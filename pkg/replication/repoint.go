package replication

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// This file is about following a new writer, from exactly the right place in its log.

// errAstray means that this slave has executed transactions that the writer lacks.
var errAstray = errors.New("must be set up anew")

// repoint makes this slave follow the active master, exactly or not at all: it never skips or repeats a transaction.
func (f *follower) repoint(ctx context.Context, o cluster.Order) error {
	src, ok := f.sources(o.Master)
	if !ok {
		return fmt.Errorf("host '%s' is not in this host's configuration", o.Master)
	}
	replica, err := f.local.Replica(ctx)
	if err != nil {
		return err
	}
	from, _, _ := f.peers.Source(replica)
	if from == o.Master && !f.isVirtual(replica.SourceHost) ||
		replica.SourceHost == src.Host && replica.SourcePort == src.Port {
		return nil
	}
	to := mysqlctl.Source{Host: src.Host, Port: src.Port, User: src.User, Password: src.Password,
		GTID: replica.UsesGTID}
	if err := f.local.CheckSource(ctx, to); err != nil {
		return err // before anything is stopped
	}
	sw := o.Switch
	known := o.Extended && sw.To == o.Master && sw.Start != ""
	if o.Extended && sw.To == o.Master && sw.From != "" && sw.Start == "" {
		return errNotYet
	}
	if f.problem() == "" {
		f.log.Info(fmt.Sprintf("Changing active master to '%s'", o.Master))
	}
	switch {
	case replica.UsesGTID:
		err = f.settle(ctx, replica, o.Master, sw, known && sw.From == from)
	case known && sw.From == from:
		to.Start, err = f.atSwitch(ctx, sw)
	default:
		to.Start, err = f.atRest(ctx, replica, o.Master)
	}
	if err != nil {
		return err
	}
	if err := f.local.Repoint(ctx, to); err != nil {
		return err
	}
	return f.stopped.set(runs, "")
}

// settle executes what has been received, and stops the replication, so that this slave can follow the new writer by
// GTID. GTIDs find the place for a slave that is level with the new writer or behind it. Where this slave has
// transactions that the new writer lacks, settle fails, and replication goes on as before.
func (f *follower) settle(ctx context.Context, r mysqlctl.Replica, master string, sw cluster.Switch, known bool) error {
	if !r.Received.IsZero() {
		if err := f.local.WaitExecuted(ctx, r.Received); err != nil {
			return fmt.Errorf("execute what was received: %w", err)
		}
	}
	if err := f.contained(ctx, r, master, sw, known); err != nil {
		return err
	}
	if err := f.halt(ctx, following, "to follow "+master); err != nil {
		return err
	}
	// More may have been executed before the replication stood still.
	if err := f.contained(ctx, r, master, sw, known); err != nil {
		return errors.Join(err, f.goOn(ctx))
	}
	return nil
}

// While the former writer is alive, and this slave and the new writer replicate from it, what this slave has executed
// may still be on its way to the new writer.
const (
	onItsWay = 2 * time.Second        // how long contained waits for that
	lookWay  = 100 * time.Millisecond // between two looks
)

// contained fails where the new writer lacks something that this slave has executed. It compares GTIDs or, where there
// are none that tell, the places in the former writer's log, if the order has told them (known).
func (f *follower) contained(ctx context.Context, r mysqlctl.Replica, master string, sw cluster.Switch,
	known bool) error {
	applied, err := f.local.Applied(ctx)
	if err != nil {
		return err
	}
	if applied == "" {
		if !known {
			return nil
		}
		return f.notAhead(ctx, sw)
	}
	_, to, ok := f.peers.ByName(master)
	if !ok {
		return fmt.Errorf("host '%s' is not in this host's configuration", master)
	}
	for deadline := time.Now().Add(onItsWay); ; {
		missing, err := to.Lacks(ctx, applied)
		if err != nil {
			return fmt.Errorf("ask '%s' whether it has all that this slave has: %w", master, err)
		}
		if missing == "" {
			return nil
		}
		if !time.Now().Before(deadline) {
			return f.beyond(ctx, r, master, to, missing)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookWay):
		}
	}
}

// beyond returns the error that names the transactions that the new writer lacks: this slave waits where the new writer
// may still get them from their common source, and else must be set up anew.
func (f *follower) beyond(ctx context.Context, r mysqlctl.Replica, master string, to Remote, missing string) error {
	missing = shorten(missing)
	other, err := to.Replica(ctx)
	if err == nil && sameSource(f.peers, other, r) && other.IORunning == "Yes" && other.SQLRunning == "Yes" &&
		f.answers(ctx, r) {
		return fmt.Errorf("this slave has transactions that '%s' has not executed yet (GTID %s): it waits for them",
			master, missing)
	}
	return fmt.Errorf("this slave has transactions that '%s' lacks (GTID %s): it %w", master, missing, errAstray)
}

// shorten cuts a long set of GTIDs off, so that a line with it can be read.
func shorten(set string) string {
	const most = 200
	if len(set) > most {
		return set[:most] + "…"
	}
	return set
}

// notAhead fails where this slave has executed more of a dead writer's log than the new writer had when it took over.
func (f *follower) notAhead(ctx context.Context, sw cluster.Switch) error {
	after, err := mysqlctl.ParsePosition(sw.After)
	if err != nil {
		return nil // the new writer had executed nothing of the former writer's log: there is no place to compare with
	}
	r, err := f.local.Replica(ctx)
	if err != nil {
		return err
	}
	if c, err := r.Executed.Compare(after); err == nil && c > 0 && !f.answers(ctx, r) {
		return ahead(r.Executed, sw)
	}
	return nil
}

// answers says whether the former writer, from which this slave replicates, is alive. Then its log goes on with what
// the new writer writes, and a slave that is further in that log does not have to have anything that the new writer
// lacks.
func (f *follower) answers(ctx context.Context, r mysqlctl.Replica) bool {
	_, old, known := f.peers.Source(r)
	if !known {
		return false
	}
	_, err := old.Position(ctx)
	return err == nil
}

// atSwitch brings this slave, by file and position, to the place in the former writer's log at which the new writer
// took over, and stops it there. It returns the place in the new writer's log from which to go on.
func (f *follower) atSwitch(ctx context.Context, sw cluster.Switch) (mysqlctl.Position, error) {
	after, err := mysqlctl.ParsePosition(sw.After)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("where %s took over: %w", sw.To, err)
	}
	start, err := mysqlctl.ParsePosition(sw.Start)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("where %s took over: %w", sw.To, err)
	}
	if err := f.local.WaitExecuted(ctx, after); err != nil {
		return mysqlctl.Position{}, fmt.Errorf("execute what the new writer had executed of %s (%s): %w", sw.From,
			after, err)
	}
	err = f.stopAt(ctx, after, func(executed mysqlctl.Position) error {
		var err error
		start, err = f.translate(ctx, sw, place{old: after, new: start}, executed)
		return err
	})
	return start, err
}

// mostBeyond is how many transactions are read of a log at most. A slave that hears late of a new writer may be that
// far beyond the place where the new writer took over: half a minute of a busy writer.
const mostBeyond = 100_000

// translate finds the place in the new writer's log for a slave that has executed more of the former writer's log than
// the new writer had when it took over. There is such a place where the former writer replicates from the new one, and
// what the slave has executed beyond is what the new writer has written since: then both logs have the same
// transactions.
func (f *follower) translate(ctx context.Context, sw cluster.Switch, took place,
	executed mysqlctl.Position) (mysqlctl.Position, error) {
	_, from, okFrom := f.peers.ByName(sw.From)
	_, to, okTo := f.peers.ByName(sw.To)
	if !okFrom || !okTo {
		return mysqlctl.Position{}, ahead(executed, sw)
	}
	was, err := from.Transactions(ctx, took.old, executed, mostBeyond)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("%w (couldn't look what they are: %w)", ahead(executed, sw), err)
	}
	if len(was) == 0 || len(was) == mostBeyond {
		return mysqlctl.Position{}, fmt.Errorf("%w (found %d transactions)", ahead(executed, sw), len(was))
	}
	end, err := to.Position(ctx)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	now, err := to.Transactions(ctx, took.new, end, len(was)+1)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	start, err := mysqlctl.Translate(was, now, end)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("%w: %w", ahead(executed, sw), err)
	}
	return start, nil
}

// isVirtual says whether a source's address is one of a role, or a name of one. A slave that replicates from such an
// address follows the role without the agent's help, and so not always from the right place.
func (f *follower) isVirtual(address string) bool {
	return slices.ContainsFunc(f.peers.Addresses(address), func(ip netip.Addr) bool {
		return slices.Contains(f.addresses, ip)
	})
}

func ahead(executed mysqlctl.Position, sw cluster.Switch) error {
	return fmt.Errorf("this slave has executed %s of %s, the new writer only %s when it took over: it has transactions that '%s' lacks and %w",
		executed, sw.From, sw.After, sw.To, errAstray)
}

// stopAt stops the replication. Where it then does not stand at p, elsewhere is called with the place at which it
// stands. After an error replication goes on as before, except where the source's log no longer has that place: then it
// stays stopped.
func (f *follower) stopAt(ctx context.Context, p mysqlctl.Position, elsewhere func(mysqlctl.Position) error) error {
	if err := f.halt(ctx, following, "to follow another writer"); err != nil {
		return err
	}
	r, err := f.local.Replica(ctx)
	if err == nil && r.Executed != p && r.PlaceGone() {
		// The note is removed, so that no agent starts the replication again: the source has a new log, and once that
		// is long enough, replication would go on at this place in the wrong log.
		if err := f.stopped.set(runs, ""); err != nil {
			return err
		}
		return fmt.Errorf("the log of %s does not go up to %s any more, to which this slave has executed it: it %w (%s)", r.SourceHost, r.Executed, errAstray, r.IOError)
	}
	if err == nil && r.Executed != p {
		err = elsewhere(r.Executed)
	}
	if err != nil {
		return errors.Join(err, f.goOn(ctx))
	}
	return nil
}

// goOn starts the replication again that an attempt to follow a new writer has left stopped: the attempt has failed, or
// was ended half-way by a newer order.
func (f *follower) goOn(ctx context.Context) error {
	if err := ignoreNotReplica(f.local.StartReplication(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return f.stopped.set(runs, "")
}
