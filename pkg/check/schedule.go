package check

import (
	"hash/fnv"
	"time"
)

// phase returns when in the period a check of a host has its slot, so that the checks of many hosts are spread over the
// period, the same way at each start. It is more than 0 and at most period.
func phase(host string, name Name, period time.Duration) time.Duration {
	const steps = 1 << 12
	h := fnv.New32a()
	_, _ = h.Write([]byte(host + " " + string(name))) // never fails
	return period * time.Duration(h.Sum32()%steps+1) / steps
}

// slotAfter returns the first of the times first, first+period, … that is after last and not before now.
func slotAfter(first, period, last, now time.Duration) time.Duration {
	slot := first
	if last >= first {
		slot += ((last-first)/period + 1) * period
	}
	if slot < now {
		slot += (now - slot + period - 1) / period * period
	}
	return slot
}

// margin is how much later than needed the deciding probe is to end: timers are uneven, and a probe that ends before
// the trap period decides nothing.
const margin = 10 * time.Millisecond

// nextStart returns when to probe again: at slot or, where the check fails and does not count as failed yet, so early
// that the deciding probe ends when the trap period is over. took is how long the last probe took, the best guess for
// the next one.
func nextStart(v Verdict, trap, slot, now, took time.Duration) time.Duration {
	since, ok := v.suspected()
	if !ok {
		return slot
	}
	deciding := max(since+trap-took+margin, now)
	if slot+took > deciding {
		return deciding // a probe at slot would still run by then
	}
	return slot
}
