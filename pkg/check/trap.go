package check

import "time"

// Verdict is what is believed of one check on one host, after the trap period.
type Verdict struct {
	Known   bool
	Good    bool
	Changed time.Time // wall clock of the last change of Good, for people
	Message string    // of the newest result

	unknown bool          // the newest result was Unknown
	failing bool          // failing since, without a success
	since   time.Duration // when that began
	last    time.Duration // when it was last probed
}

// Change is what a result did to a verdict.
type Change uint8

// The changes that are worth a line in the log.
const (
	NoChange Change = iota
	BecameOK
	BecameFailed
	BecameUnknown
)

// Trap are the rules of belief.
type Trap struct {
	// Period is how long a check must fail without a success before it counts as failed (trap_period).
	Period time.Duration
	// Gap is the longest time between two probes that is believed to be the check's own. After a longer one the monitor
	// itself was stopped, and suspicion starts anew: in the meantime nobody looked.
	Gap time.Duration
}

// Next takes a result of a probe that ended at now (monotonic) and wall, and returns the new verdict. One success makes a check
// good at once; failures only once they have lasted for the trap period; Unknown changes nothing. The first result is the verdict.
func (t Trap) Next(v Verdict, now time.Duration, wall time.Time, r Result) (Verdict, Change, time.Duration) {
	first := !v.Known
	if v.failing && now-v.last > t.Gap {
		v.since = now
	}
	wasUnknown := v.unknown
	v.last, v.Message, v.unknown = now, r.Message, r.Status == Unknown
	switch r.Status {
	case OK:
		v.failing = false
		if first || !v.Good {
			v.Known, v.Good, v.Changed = true, true, wall
			return v, BecameOK, 0
		}
	case Failed:
		if !v.failing {
			v.failing, v.since = true, now
		}
		if first || v.Good && now-v.since >= t.Period {
			v.Known, v.Good, v.Changed = true, false, wall
			return v, BecameFailed, now - v.since
		}
	case Unknown:
		if first {
			v.Known, v.Good, v.Changed = true, true, wall // nothing speaks against it
		}
		if !wasUnknown {
			return v, BecameUnknown, 0
		}
	}
	return v, NoChange, 0
}

// wait is how long after a probe the next is due: the check's period, or less where the trap period ends before, so that it
// is the only thing that delays a verdict.
func (t Trap) wait(v Verdict, now, period time.Duration) time.Duration {
	if v.failing && v.Good {
		if left := v.since + t.Period - now; left < period {
			return max(left, 0)
		}
	}
	return period
}
