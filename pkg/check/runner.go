package check

import (
	"context"
	"fmt"
	"time"
)

// Runner runs one check of one host.
type Runner struct {
	Host            string
	Name            Name
	Probe           Probe         // used by this Runner alone; Run closes it
	Period, Timeout time.Duration // check_period, timeout; more than 0
	Trap            time.Duration // trap_period; 0 or more

	// Emit is called after each probe, by Run's goroutine: the next probe waits until Emit has returned.
	Emit func(Update)
}

// minInterval is the least time between the starts of two probes whose connection breaks again and again.
const minInterval = 50 * time.Millisecond

// lateness is how late a process that was not stopped may be on a busy machine, even where its periods are short.
const lateness = 250 * time.Millisecond

// Run probes at once, then once in each Period counted from start to start, and at once when the connection of a probe
// that was OK breaks. While a failing check does not count as failed yet, a probe also ends when the trap period does.
// It returns nil when ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	defer r.Probe.Close()
	if r.Period <= 0 || r.Timeout <= 0 {
		return fmt.Errorf("run check %s on %s: period %v and timeout %v must be more than 0", r.Name, r.Host, r.Period,
			r.Timeout)
	}
	slack := max(r.Period/2, lateness)
	trap := Trap{Period: r.Trap, MaxIdle: r.Period + slack, MaxProbe: r.Timeout + slack}
	origin := time.Now()
	first := phase(r.Host, r.Name, r.Period)
	var verdict Verdict
	var rest time.Duration
	for {
		start := time.Since(origin)
		result := r.probe(ctx)
		if ctx.Err() != nil {
			return nil // the result says that ctx has ended, and nothing of the host
		}
		end := time.Now()
		p := Probed{Start: start, End: end.Sub(origin), Rest: rest, Wall: end, Result: result}
		var change Change
		verdict, change = verdict.Next(p, trap)
		r.Emit(Update{Host: r.Host, Name: r.Name, Result: result, Verdict: verdict, Change: change,
			FailedFor: verdict.FailedFor(), Took: p.End - p.Start})

		now := time.Since(origin)
		at := nextStart(verdict, r.Trap, slotAfter(first, r.Period, start, now), now, p.End-p.Start)
		if w, ok := r.Probe.(watcher); ok && result.Status == OK && broken(ctx, w, origin.Add(at)) {
			at = start + minInterval
		}
		rest = at - now
		if !sleep(ctx, time.Until(origin.Add(at))) {
			return nil
		}
	}
}

func (r *Runner) probe(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.Probe.Probe(ctx)
}

// broken tells whether w broke before the given time.
func broken(ctx context.Context, w watcher, until time.Time) bool {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	return w.Broken(ctx) == nil
}

// sleep waits for d, and tells whether ctx lasted that long.
func sleep(ctx context.Context, d time.Duration) bool {
	if ctx.Err() != nil {
		return false
	}
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
