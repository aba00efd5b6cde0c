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

// This file is about following another writer than before, at exactly the right place.

// errAstray: this slave has executed what the writer lacks.
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
	if from == o.Master && !f.isVirtual(replica.SourceHost) || replica.SourceHost == src.Host {
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

// settle executes what has been received, and stops. It refuses, and goes on as before, where this slave has what the
// new writer lacks: GTIDs find the place for one that is level or behind.
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
	// More may have come in until it stood still.
	if err := f.contained(ctx, r, master, sw, known); err != nil {
		return errors.Join(err, f.goOn(ctx))
	}
	return nil
}

// What this slave has executed may still be on its way to the new writer, where the old one is alive and both
// replicate from it.
const (
	onItsWay = 2 * time.Second
	lookWay  = 100 * time.Millisecond
)

// contained looks whether the new writer has all that this slave has executed, by GTID, or, where none tell, by the
// place in the old writer's log.
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

// beyond says what a slave has that the new writer lacks, and what becomes of that.
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

// shorten makes a set of GTIDs fit to be read.
func shorten(set string) string {
	const most = 200
	if len(set) > most {
		return set[:most] + "…"
	}
	return set
}

// notAhead refuses where this slave has executed more of a dead writer's log than the new one had when it took over.
func (f *follower) notAhead(ctx context.Context, sw cluster.Switch) error {
	after, err := mysqlctl.ParsePosition(sw.After)
	if err != nil {
		return nil // the new writer had executed nothing of the old one: nothing to be ahead of
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

// answers says whether the old writer is alive. Then its log goes on with what the new writer writes, and to be further
// in it means nothing.
func (f *follower) answers(ctx context.Context, r mysqlctl.Replica) bool {
	_, old, known := f.peers.Source(r)
	if !known {
		return false
	}
	_, err := old.Position(ctx)
	return err == nil
}

// atSwitch brings this slave to where the new writer took over: the same place in the old writer's log.
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

// mostBeyond is how many transactions a slave that hears late may be beyond the place where the new writer took over:
// half a minute of a busy one.
const mostBeyond = 100_000

// translate finds the place in the new writer's log for a slave that has executed more of the old writer's than there
// was when the new one took over. Where that is what the new writer has written since, and the old one replicates, its
// logs tell.
func (f *follower) translate(ctx context.Context, sw cluster.Switch, took place,
	executed mysqlctl.Position) (mysqlctl.Position, error) {
	_, from, okFrom := f.peers.ByName(sw.From)
	_, to, okTo := f.peers.ByName(sw.To)
	if !okFrom || !okTo {
		return mysqlctl.Position{}, ahead(executed, sw)
	}
	was, err := from.Transactions(ctx, took.old, executed, mostBeyond)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("%w (looked what they are: %w)", ahead(executed, sw), err)
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

// isVirtual says whether an address is that of a role: who replicates from it follows the role without the agent's
// help, and so not always at the right place.
func (f *follower) isVirtual(address string) bool {
	return slices.ContainsFunc(f.addresses, func(ip netip.Addr) bool { return ip.String() == address })
}

func ahead(executed mysqlctl.Position, sw cluster.Switch) error {
	return fmt.Errorf("this slave has executed %s of %s, the new writer only %s when it took over: it has transactions that '%s' lacks and %w",
		executed, sw.From, sw.After, sw.To, errAstray)
}

// stopAt stops the replication. Where it does not stand at p, elsewhere decides: after an error it goes on as before.
func (f *follower) stopAt(ctx context.Context, p mysqlctl.Position, elsewhere func(mysqlctl.Position) error) error {
	if err := f.halt(ctx, following, "to follow another writer"); err != nil {
		return err
	}
	r, err := f.local.Replica(ctx)
	if err == nil && r.Executed != p && r.PlaceGone() {
		// It stays stopped. Started again it would go on at that place in a log that is another one, as soon as that
		// one is long enough.
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

// goOn starts the replication again that an attempt has left stopped, and right: a newer order has ended it half-way,
// or it has failed.
func (f *follower) goOn(ctx context.Context) error {
	if err := ignoreNotReplica(f.local.StartReplication(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	return f.stopped.set(runs, "")
}
