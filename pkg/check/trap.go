package check

import "time"

// Trap says when a failing check counts as failed.
type Trap struct {
	// Period is how long the check must fail without a success (trap_period). One failure alone is enough only where
	// Period is 0.
	Period time.Duration

	// MaxIdle is the longest believable time from the end of a probe to the start of the next, where not more was meant
	// to be between them; MaxProbe from the start of a probe to its end. After more than that the whole process has
	// been stopped: time in which nobody looked says
	// nothing about a host, and a deadline that passed in it neither.
	MaxIdle, MaxProbe time.Duration
}

// Probed is a finished probe. Start and End are times of one monotonic clock.
type Probed struct {
	Start, End time.Duration
	Rest       time.Duration // that was meant to be between the probe before and this one
	Wall       time.Time     // at End, for display
	Result     Result
}

// Change says what a probe has changed for those who watch the log.
type Change int

// BecameOK is also the end of an unknown state, as in the original, whose log told of it.
const (
	None Change = iota
	BecameOK
	BecameFailed
	BecameUnknown
)

// Verdict is what is to be thought of one check of one host. The zero Verdict is that of a check that never ran.
type Verdict struct {
	Good    bool
	Decided bool      // false until a probe has found OK, ERROR or a sign of life; Good is only assumed until then
	Since   time.Time // when Good last changed
	Message string    // of the newest probe

	probed       bool
	status       Status        // of the newest probe
	end          time.Duration // of the newest probe
	failures     int           // since the last success or pause
	failingSince time.Duration // start of the first of them
}

// Next is the verdict after one more probe (docs/replication.md, "What the checks say"): the first OK or ERROR is the
// verdict at once; later a success makes the check good at once and a failure makes it failed once it has gone on for
// the trap period; UNKNOWN neither changes the verdict nor interrupts a row of failures, unless it is a sign of life.
func (v Verdict) Next(p Probed, trap Trap) (Verdict, Change) {
	paused := p.End-p.Start > trap.MaxProbe || v.probed && p.Start-v.end > max(trap.MaxIdle, p.Rest+lateness)
	next := v
	next.probed, next.status, next.end, next.Message = true, p.Result.Status, p.End, p.Result.Message
	if paused {
		next.failures = 0
	}
	if !v.probed {
		next.Good, next.Since = true, p.Wall
	}
	switch p.Result.Status {
	case OK:
		next.failures = 0
		if v.Decided && v.Good && v.status != Unknown {
			return next, None
		}
		return next.decide(true, p.Wall), BecameOK
	case Error:
		if next.failures == 0 {
			next.failingSince = p.Start
			if paused {
				next.failingSince = p.End
			}
		}
		next.failures++
		if v.Decided && !v.Good || paused {
			return next, None
		}
		lasted := next.failures > 1 && p.End-next.failingSince >= trap.Period
		if !v.Decided || lasted || trap.Period == 0 {
			return next.decide(false, p.Wall), BecameFailed
		}
		return next, None
	default:
		if p.Result.Living { // what came before is no row any more: one lost probe later on would be enough
			next.failures, next.Decided = 0, true
		}
		if v.probed && v.status == Unknown {
			return next, None
		}
		return next, BecameUnknown
	}
}

func (v Verdict) decide(good bool, wall time.Time) Verdict {
	if !v.Decided || v.Good != good {
		v.Since = wall
	}
	v.Good, v.Decided = good, true
	return v
}

// FailedFor is how long the check has been failing without a success, from the start of the first failed probe to the
// end of the last.
func (v Verdict) FailedFor() time.Duration {
	if v.failures == 0 {
		return 0
	}
	return v.end - v.failingSince
}

// suspected tells since when the check fails that does not count as failed yet.
func (v Verdict) suspected() (since time.Duration, ok bool) {
	return v.failingSince, v.Good && v.status == Error
}
