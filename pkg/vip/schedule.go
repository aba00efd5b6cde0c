package vip

import (
	"net/netip"
	"time"
)

// schedule says when an address is announced, counted from Announce: a burst, as a single announcement may be
// lost, then once a second for switches and neighbours that are busy with the failure that moved the address.
// MMM 2.2 sends five announcements.
func schedule() []time.Duration {
	const ms = time.Millisecond
	return []time.Duration{0, 100 * ms, 300 * ms, 1000 * ms, 2000 * ms, 3000 * ms, 4000 * ms, 5000 * ms}
}

// plan holds the announcements that are still to be made. It does not read the clock.
type plan map[netip.Addr]*announcement

type announcement struct {
	start  time.Time
	due    time.Time // when the address is announced next
	done   int       // how many entries of the schedule have been announced or have passed
	failed bool      // the newest announcement failed
}

// begin has ip announced from now on, at once.
func (p plan) begin(ip netip.Addr, now time.Time) { p[ip] = &announcement{start: now, due: now} }

// goOn has ip announced at once and every refresh, unless it is on the plan.
func (p plan) goOn(ip netip.Addr, now time.Time) {
	if p[ip] == nil {
		p[ip] = &announcement{start: now, due: now, done: len(schedule())}
	}
}

// next is the address to be announced next, and when. An address that has not been announced at all goes before all
// repeats. false means that the plan is empty.
func (p plan) next() (netip.Addr, time.Time, bool) {
	var first netip.Addr
	var when time.Time
	for ip, a := range p {
		if !first.IsValid() || a.before(p[first]) || !p[first].before(a) && ip.Less(first) {
			first, when = ip, a.due
		}
	}
	return first, when, first.IsValid()
}

func (a *announcement) before(b *announcement) bool {
	if fresh := a.done == 0; fresh != (b.done == 0) {
		return fresh
	}
	return a.due.Before(b.due)
}

// advance takes the announcements of ip that are due by now off the plan. All that are overdue count as one: what was
// missed while the machine was asleep or busy is not made up for in a burst. After the schedule ip is due every
// refresh.
func (p plan) advance(ip netip.Addr, now time.Time, refresh time.Duration) {
	a := p[ip]
	times := schedule()
	for a.done < len(times) && !a.start.Add(times[a.done]).After(now) {
		a.done++
	}
	switch {
	case a.done < len(times):
		a.due = a.start.Add(times[a.done])
	case refresh > 0:
		a.due = now.Add(refresh)
	default:
		delete(p, ip)
	}
}
