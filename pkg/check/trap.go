package check

import "time"

// Trap says when a failing check counts as failed.
type Trap struct {
	// Period is how long the check must fail without a success (trap_period). A single failure is enough where Period
	// is 0, and for a check that has no verdict yet.
	Period time.Duration

	// MaxIdle is the longest believable time from the end of a probe to the start of the next, unless more was planned
	// (Probed.Rest). MaxProbe is that from the start of a probe to its end. Where more time has passed, the whole
	// process was stopped: such a time says nothing about a host, and neither does a deadline that passed in it.
	MaxIdle, MaxProbe time.Duration
}

// Probed is a finished probe. Start and End are times of one monotonic clock.
type Probed struct {
	Start, End time.Duration
	Rest       time.Duration // the planned time between the end of the probe before and the start of this one
	Wall       time.Time     // wall clock at End, for display
	Result     Result
}

// Change says what a probe has changed, for the log.
type Change int

// The changes. BecameOK is also the end of an unknown state, as the original monitor's log told that too.
const (
	None Change = iota
	BecameOK
	BecameFailed
	BecameUnknown
)

// Verdict says whether one check of one host counts as failed. The zero Verdict is that of a check that never ran.
type Verdict struct {
	Good    bool
	Decided bool      // false until a probe has found OK, ERROR or a sign of life; Good is only assumed until then
	Since   time.Time // wall clock when Good last changed, or was first decided
	Message string    // of the newest probe

	probed       bool
	status       Status        // of the newest probe
	end          time.Duration // of the newest probe
	failures     int           // since the last success, sign of life or pause
	failingSince time.Duration // start of the first of these failures; its end where it came after a pause
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
		// A sign of life ends a row of failures: else a single lost probe, much later, would complete the row.
		if p.Result.Living {
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

// FailedFor returns how long the check has been failing without a success, from the start of the first failed probe to
// the end of the newest probe; 0 where it is not failing.
func (v Verdict) FailedFor() time.Duration {
	if v.failures == 0 {
		return 0
	}
	return v.end - v.failingSince
}

// suspected tells whether the newest probe failed and the check does not count as failed yet, and since when it fails.
func (v Verdict) suspected() (since time.Duration, ok bool) {
	return v.failingSince, v.Good && v.status == Error
}
