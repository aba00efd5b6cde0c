package vip

import (
	"net/netip"
	"time"
)

// schedule says when an address is announced, counted from Announce: a burst, as a single announcement may be
// lost, then once a second for the switches and neighbours that were busy with the same failure.
// The agent manual ("VIP") asks for five.
func schedule() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{0, 100 * ms, 300 * ms, 1000 * ms, 2000 * ms, 3000 * ms, 4000 * ms, 5000 * ms}
}

// plan is what is left to be announced. It does not read the clock.
type plan map[netip.Addr]*announcement

type announcement struct {
	start  time.Time
	done   int  // how many entries of the schedule are behind it
	failed bool // one of them failed
}

// next is the address to be announced first, and when.
func (p plan) next() (netip.Addr, time.Time, bool) {
	var first netip.Addr
	var when time.Time
	for ip, a := range p {
		at := a.start.Add(schedule()[a.done])
		if !first.IsValid() || at.Before(when) || at.Equal(when) && ip.Less(first) {
			first, when = ip, at
		}
	}
	return first, when, first.IsValid()
}

// advance takes the announcements of ip up to now off the plan. All that are overdue count as one: what was
// missed in a sleep is not made up for in a burst. After the last of the schedule comes one every refresh; 0 is none.
func (p plan) advance(ip netip.Addr, now time.Time, refresh time.Duration) {
	a := p[ip]
	times := schedule()
	for a.done < len(times) && !a.start.Add(times[a.done]).After(now) {
		a.done++
	}
	switch {
	case a.done < len(times):
	case refresh == 0:
		delete(p, ip)
	default:
		a.done--
		a.start = now.Add(refresh - times[a.done])
	}
}
