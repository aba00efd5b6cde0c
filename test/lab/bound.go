package lab

import (
	"time"

	"mysql-mmm/pkg/cluster"
)

// The parts of what a fault may cost. Besides, a lease may run for (L+K)·D after the writer was last vouched for
// (docs/design.md, "Never two writers").
const (
	quiet     = 750 * time.Millisecond // counts as nothing: a write may wait 0.25 s for an acknowledgement
	takeover  = time.Second            // to appoint, catch up, open and announce
	returning = 6 * time.Second        // of a writer that nobody can replace, once the fault is mended
)

// Bound is for how long clients may be without a writer in a cell of the matrix, where a fault lasts for heal.
//
// A fault of the writer's host costs what is left of the lease, the detection of the fault and the takeover. Where
// nobody can take over it costs as long as it lasts. A fault of the monitor, of the peer or of one line costs nothing
// as long as somebody vouches for the writer.
func (c *Cluster) Bound(s State, f Fault, heal time.Duration) time.Duration {
	mended := f.Takes + heal + returning
	lease := cluster.Lease(time.Duration(c.lease()) * time.Second)
	if f.Monitor && s.Alone {
		mended += lease.Over() // a monitor that has just started revives no lease while it has not heard all candidates
	}
	lost := lease.Over() + takeover + c.CheckPeriod + f.Slow
	if s.CantConfirm {
		mended += lease.Over()
		lost += takeover
	}
	switch {
	case f.Writer && f.Monitor: // no monitor is there that could decide on a failover
		return max(mended, lost)
	case f.Writer && (s.Alone || s.NoSuccessor):
		return max(mended, lost)
	case f.Writer:
		return lost
	case f.Monitor && s.Alone:
		return max(mended, lost)
	}
	return quiet
}
