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

// This file is about former writers: what this host looks for in its own log when it was the writer, and when it
// replicates from another former writer again.

// lookAgain is how long a finding about a log counts. A server with a finding may be set up anew, under the same agent,
// in a way that the end of its log does not show.
const lookAgain = time.Minute

// lookBack audits this server's own log beyond the place that the monitor names (o.Left), once for each place. Where it
// found something it looks again after lookAgain, and at once when the log has become shorter: then the server was set
// up anew.
func (f *follower) lookBack(ctx context.Context, o cluster.Order) error {
	last := f.audit.Load()
	if o.Left == "" {
		// When the monitor names a place again, this host has been the writer since, and has written more: what was
		// found says nothing then.
		f.audit.Store(&cluster.Audit{})
		return nil
	}
	if last.At == o.Left && last.Finding == "" {
		return nil
	}
	found, err := f.look(ctx, o.Left, last)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // the server does not run yet
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

// look audits the own log. It returns the last result where that is younger than lookAgain and the log has not become
// shorter: to read the log takes long on a busy server.
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

// keepAway carries the embargo out: nothing is replicated from the former writer before the monitor trusts its log, and
// replication from it is started and the embargo lifted when the monitor does.
func (f *follower) keepAway(ctx context.Context, o cluster.Order) error {
	e := f.embargo.get()
	asked := e.At != "" && cluster.Trusts(o.Across, e)
	if !asked {
		f.across.Store(&cluster.Across{}) // as in lookBack
	}
	if e.Host == "" && f.embargo.doubtful() {
		return f.goOnInDoubt(ctx, o)
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
	strange := err == nil && !known // an unknown source may be the former writer, by another address
	trusted := cluster.Trusts(o.Trust, e)
	if e.At == "" {
		if f.writer(o) {
			return nil // this host is taking over from the former writer
		}
		trusted = true // that takeover has come to nothing
	}
	if e.At == "" && f.leftAstray(e, replica, source, known, o) {
		return f.aimBack(ctx, e.Host)
	}
	if e.At == "" && strange {
		source = e.Host // takesOverFrom took the unknown source for the former writer
	}
	switch {
	case strange && e.At != "" && replica.IORunning != "No":
		f.log.Warn(fmt.Sprintf("Replication was started, perhaps from host '%s', whose log has not been looked at yet: stopping it",
			e.Host))
		return f.local.StopReceiving(ctx)
	case strange && e.At != "" && trusted:
		return fmt.Errorf("%s: nothing is replicated before this host is pointed at a known one (CHANGE MASTER TO)", stranger(replica))
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
		f.log.Warn(fmt.Sprintf("Replication from host '%s' was started, whose log has not been looked at yet: stopping it",
			e.Host))
		return f.local.StopReceiving(ctx)
	}
	return nil
}

// leftAstray says whether this host still follows, by GTID, another host than the former writer, from a takeover that
// has come to nothing: it was fetching there what it lacked (catchUp.fetch), and could not be aimed back. A slave
// follows the writer anyway.
func (f *follower) leftAstray(e cluster.Embargo, r mysqlctl.Replica, source string, known bool, o cluster.Order) bool {
	return known && source != e.Host && r.UsesGTID && !f.slave && o.State != cluster.AdminOffline
}

// aimBack points the replication at the former writer again, and starts it.
func (f *follower) aimBack(ctx context.Context, from string) error {
	src, ok := f.sources(from)
	if !ok {
		return fmt.Errorf("host '%s' is not in this host's configuration", from)
	}
	if err := f.local.Aim(ctx, src.byGTID()); err != nil {
		return fmt.Errorf("point replication at '%s' again: %w", from, err)
	}
	if err := f.local.StartReplication(ctx); err != nil {
		return err
	}
	f.log.Info(fmt.Sprintf("This host does not take over any more: replicating from '%s' again", from))
	return f.embargo.set(cluster.Embargo{})
}

// goOnInDoubt is keepAway where the file of the embargo could not be read. A receiving that is stopped may have been
// stopped by the embargo: it is started where the monitor trusts the log of the source. Where the monitor does not, or
// has not heard of a takeover, everything stays as it is.
func (f *follower) goOnInDoubt(ctx context.Context, o cluster.Order) error {
	replica, err := f.local.Replica(ctx)
	if err != nil {
		return ignoreNotReplica(err)
	}
	source, _, known := f.peers.Source(replica)
	if !known || replica.IORunning != "No" || o.State == cluster.AdminOffline || f.stopped.why != runs ||
		!cluster.TrustsHost(o.Trust, source) {
		return nil
	}
	if err := f.reaches(ctx, replica); err != nil {
		return err
	}
	if err := f.local.StartReplication(ctx); err != nil {
		return err
	}
	f.log.Info(fmt.Sprintf("Host '%s' has been looked at: replicating from it again, in case this host had stopped that",
		source))
	return f.embargo.set(cluster.Embargo{})
}

// reaches fails where the source's log no longer goes up to the place to which this server has read it: the source has
// been set up anew. To go on at that place would fail at best, and else begin at a wrong place in the new log. With
// MySQL's GTIDs the place is found in any log.
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
	if f.anew != (readTo{name, r.Received}) {
		if c, err := end.Compare(r.Received); err == nil && c >= 0 {
			if r.UsesGTID {
				return nil // by GTID replication does not begin at that place
			}
			if _, err = source.Transactions(ctx, r.Received, end, 1); !errors.Is(err, mysqlctl.ErrLogGone) {
				return err
			}
		}
		f.anew = readTo{name, r.Received}
	}
	return fmt.Errorf("host '%s' has a new binary log, which ends at %s, and this host has read the former one up to %s: tell it where to go on in the new one (CHANGE MASTER TO)",
		name, end, r.Received)
}

// readTo is the place up to which a host's log was read.
type readTo struct {
	host string
	at   mysqlctl.Position
}
