package replication

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// This file is about former writers: what this host looks for in its own log when it was one, and when another is
// replicated from again.

// lookAgain: a server that was not in order may have been set up anew, under the same agent, in a way that its log does
// not show.
const lookAgain = time.Minute

// lookBack audits this server's own log for each place that the monitor names. Where something was found it looks
// again: at once when the log ends before where it did, as that of a server that was set up anew.
func (f *follower) lookBack(ctx context.Context, o cluster.Order) error {
	last := f.audit.Load()
	if o.Left == "" {
		f.audit.Store(&cluster.Audit{}) // should it be asked again, it has been the writer since, and has written more
		return nil
	}
	if last.At == o.Left && last.Finding == "" {
		return nil
	}
	found, err := f.look(ctx, o.Left, last)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // it does not run yet
	}
	if err != nil {
		return fmt.Errorf("look for transactions that only this host has: %w", err)
	}
	f.audit.Store(&found)
	if found.Finding != "" && found.Finding != last.Finding {
		f.log.Log(ctx, levelFatal, "This host was the writer, and "+found.Finding)
	}
	return nil
}

// look returns what it found last where that still holds: to read the log takes long on a busy server.
func (f *follower) look(ctx context.Context, left string, last *cluster.Audit) (cluster.Audit, error) {
	end, err := f.own.Position(ctx)
	if err != nil {
		return cluster.Audit{}, err
	}
	c, err := end.Compare(f.end)
	if last.At == left && err == nil && c >= 0 && time.Since(f.looked) < lookAgain {
		f.end = end
		return *last, nil
	}
	found, err := audit(ctx, f.own, left)
	if err == nil {
		f.end, f.looked = end, time.Now()
	}
	return found, err
}

// keepAway sees to it that nothing comes in from a former writer before the monitor trusts it, and everything
// afterwards.
func (f *follower) keepAway(ctx context.Context, o cluster.Order) error {
	e := f.embargo.get()
	asked := e.At != "" && cluster.Trusts(o.Across, e)
	if !asked {
		f.across.Store(&cluster.Across{}) // as in lookBack
	}
	if e.Host == "" {
		return nil
	}
	if !o.Extended {
		return f.lookAcross(ctx, e, o)
	}
	if asked {
		if err := f.lookFor(ctx, e); err != nil {
			return err
		}
	}
	replica, err := f.local.Replica(ctx)
	if err != nil && !errors.Is(err, mysqlctl.ErrNotReplica) {
		return err
	}
	source, _, known := f.peers.Source(replica)
	strange := err == nil && !known // it may be the very one
	trusted := cluster.Trusts(o.Trust, e)
	if e.At == "" {
		if f.writer(o) {
			return nil // it is being taken over from
		}
		trusted = true // that has come to nothing
	}
	if e.At == "" && strange {
		source = e.Host // it was taken for that one
	}
	switch {
	case strange && e.At != "" && replica.IORunning != "No":
		f.log.Warn(fmt.Sprintf("Replication was started: stopping it, as it may be from host '%s', which has not been looked at yet",
			e.Host))
		return f.local.StopReceiving(ctx)
	case strange && e.At != "" && trusted:
		return fmt.Errorf("%s: nothing is replicated before it is pointed at one (CHANGE MASTER TO)", stranger(replica))
	case trusted && source == e.Host && o.State != cluster.AdminOffline:
		if err := f.reaches(ctx, replica); err != nil {
			return err
		}
		if err := f.local.StartReplication(ctx); err != nil {
			return err
		}
		f.log.Info(fmt.Sprintf("Host '%s' has been looked at: replicating from it again", e.Host))
		return f.embargo.set(cluster.Embargo{})
	case trusted && source != e.Host:
		return f.embargo.set(cluster.Embargo{})
	case source == e.Host && replica.IORunning != "No":
		f.log.Warn(fmt.Sprintf("Replication from host '%s' was started, which has not been looked at yet: stopping it",
			e.Host))
		return f.local.StopReceiving(ctx)
	}
	return nil
}

// reaches looks whether the source's log still goes to where this server has read it. It does not where the source has
// been set up anew: to go on at that place would break at best, and else begin anywhere in the new log. MySQL's GTIDs
// find the place in any log.
func (f *follower) reaches(ctx context.Context, r mysqlctl.Replica) error {
	name, source, known := f.peers.Source(r)
	if !known || r.Received.IsZero() {
		return nil
	}
	if set, err := source.GTIDs(ctx); err != nil || r.UsesGTID && set != "" {
		return err
	}
	end, err := source.Position(ctx)
	if err != nil {
		return err
	}
	if c, err := end.Compare(r.Received); err == nil && c >= 0 {
		return nil
	}
	return fmt.Errorf("host '%s' has a new binary log, which ends at %s, and this host has read the former one up to %s: tell it where to go on in the new one (CHANGE MASTER TO)",
		name, end, r.Received)
}
