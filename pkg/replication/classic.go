package replication

import (
	"context"
	"fmt"
	"time"

	"mysql-mmm/pkg/cluster"
)

// This file is about former writers that don't look at their own logs. An original agent can't; then the agent of the
// host that has taken over looks, and tells the monitor. An original monitor knows nothing of embargoes: it neither has
// a former writer's log looked at nor says whom to trust. Under its orders the agent that has taken over does both
// itself. Else its host would never replicate from the former writer again, and would lack all that is written there
// after the role has moved back (docs/migration.md).

// formerLog is the log of a former writer, read over the network.
type formerLog struct {
	// Embedded: a formerLog is a Remote that answers one question by itself.
	Remote
	id uint32 // the former writer's server_id
}

func (l formerLog) ServerID(context.Context) (uint32, error) { return l.id, nil }

// lookAcross is for orders of an original monitor. It lifts the embargo where the former writer is back, is closed for
// writes, and has nothing that this host lacks; or where somebody has started the replication from it, which means that
// this person has looked. Else it logs what the former writer has.
func (f *follower) lookAcross(ctx context.Context, e cluster.Embargo, o cluster.Order) error {
	if e.At == "" && f.writer(o) {
		return nil // this host is taking over from that writer
	}
	r, err := f.local.Replica(ctx)
	if err != nil {
		return ignoreNotReplica(err)
	}
	source, former, known := f.peers.Source(r)
	switch {
	case source != e.Host:
		return f.embargo.set(cluster.Embargo{})
	case r.IORunning != "No":
		f.log.Warn(fmt.Sprintf("Replication from host '%s' was started: what only that host had comes in", e.Host))
		return f.embargo.set(cluster.Embargo{})
	case !known || r.SourceID == 0:
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, PeerTimeout)
	defer cancel()
	if open, err := former.Writable(asking); err != nil || open {
		return nil // the former writer is not back yet, or not closed yet
	}
	if e.At != "" {
		found, err := audit(ctx, formerLog{former, r.SourceID}, e.At)
		if err != nil {
			return fmt.Errorf("look at the log of host '%s': %w", e.Host, err)
		}
		if found.Finding != "" {
			f.sayAcross(ctx, fmt.Sprintf("Host '%s' was the writer, and %s: nothing is replicated from it. "+
				"START SLAVE on this host lets it in", e.Host, found.Finding))
			return nil
		}
		if err := f.reaches(ctx, r); err != nil {
			f.sayAcross(ctx, fmt.Sprintf("Nothing is replicated from '%s', which was the writer: %v", e.Host, err))
			return nil
		}
	}
	if err := f.local.StartReplication(ctx); err != nil {
		return err
	}
	f.log.Info(fmt.Sprintf("Host '%s' has been looked at: replicating from it again", e.Host))
	return f.embargo.set(cluster.Embargo{})
}

// lookFor looks at the log of the former writer for the monitor, once that server is back and closed for writes. Where
// it has found something it looks again after lookAgain.
func (f *follower) lookFor(ctx context.Context, e cluster.Embargo) error {
	last := f.across.Load()
	if last.Host == e.Host && last.Audit.At == e.At && (last.Audit.Finding == "" || time.Since(f.crossed) < lookAgain) {
		return nil
	}
	r, err := f.local.Replica(ctx)
	if err != nil {
		return ignoreNotReplica(err)
	}
	source, former, known := f.peers.Source(r)
	if !known || source != e.Host || r.SourceID == 0 {
		return nil
	}
	asking, cancel := context.WithTimeout(ctx, PeerTimeout)
	defer cancel()
	open, err := former.Writable(asking)
	if err != nil {
		return nil // the former writer is not back yet
	}
	if open {
		return fmt.Errorf("host '%s' was the writer and takes writes, and its agent can't close it: nothing is replicated from it "+
			"before it is closed (SET GLOBAL read_only=1 there)", e.Host)
	}
	found, err := audit(ctx, formerLog{former, r.SourceID}, e.At)
	if err != nil {
		return fmt.Errorf("look at the log of host '%s': %w", e.Host, err)
	}
	f.across.Store(&cluster.Across{Host: e.Host, Audit: found})
	f.crossed = time.Now()
	return nil
}

// sayAcross logs, once for each text, what keeps the embargo up. It is not reported as a problem in the answer to an
// order, because an original monitor would take that for a failed order.
func (f *follower) sayAcross(ctx context.Context, text string) {
	if text != f.told {
		f.log.Log(ctx, levelFatal, text)
	}
	f.told = text
}
