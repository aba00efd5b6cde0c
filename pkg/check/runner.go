package check

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"
)

// minBreak keeps a connection that breaks again and again from turning a check into a spin.
const minBreak = 50 * time.Millisecond

// Runner probes one host with one check, for ever.
type Runner struct {
	Host    string
	Name    Name
	Probe   Probe
	Period  time.Duration // from the start of a probe to the start of the next
	Timeout time.Duration // of one probe
	Trap    time.Duration
	Emit    func(Update) // called after each probe; must not block for long
}

// Run probes until ctx ends.
func (r Runner) Run(ctx context.Context) error {
	defer r.Probe.Close()
	begin := time.Now()
	trap := Trap{Period: r.Trap, Gap: 2*r.Period + 2*r.Timeout + time.Second}
	next := r.phase()
	var v Verdict
	for {
		started := time.Since(begin)
		result := r.probe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var change Change
		var failed time.Duration
		now := time.Since(begin)
		v, change, failed = trap.Next(v, now, time.Now(), result)
		r.Emit(Update{Host: r.Host, Name: r.Name, Result: result, Verdict: v, Change: change, For: failed})
		if wait := trap.wait(v, now, r.Period); wait < r.Period {
			next = now + wait
		} else {
			for next <= started {
				next += r.Period
			}
		}
		if !r.pause(ctx, next-now, result.Status == OK) {
			return nil
		}
	}
}

// String names the task.
func (r Runner) String() string { return fmt.Sprintf("check %s of %s", r.Name, r.Host) }

// phase spreads the checks of many hosts over their period. The first probe is at once all the same.
func (r Runner) phase() time.Duration {
	h := fnv.New32a()
	h.Write([]byte(r.Host + "/" + string(r.Name)))
	return -time.Duration(uint64(h.Sum32()) * uint64(r.Period) >> 32)
}

func (r Runner) probe(ctx context.Context) Result {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	return r.Probe.Probe(ctx)
}

// pause waits, but not longer than the probe's connection holds.
func (r Runner) pause(ctx context.Context, d time.Duration, good bool) bool {
	b, ok := r.Probe.(breakable)
	if !ok || !good || d <= minBreak {
		return sleep(ctx, d)
	}
	if !sleep(ctx, minBreak) {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, d-minBreak)
	defer cancel()
	_ = b.WaitBroken(limited) // nil: it broke; else the time is over
	return ctx.Err() == nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
