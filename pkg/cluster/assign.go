package cluster

import (
	"fmt"
	"slices"
	"time"
)

// assign places the addresses that are free and keeps the balance (docs/concepts.md, "How a role moves"): first free
// addresses of exclusive roles, then those of balanced roles, then preferences (in active mode only), then the balance.
func (x *stepper) assign() {
	for _, exclusive := range []bool{true, false} {
		for i := range x.s.Addresses {
			a := &x.s.Addresses[i]
			if r, _ := x.t.Role(a.Role); r.Exclusive == exclusive {
				x.orphan(r, a)
			}
		}
	}
	if x.s.Mode == Active {
		x.prefer()
	}
	for _, r := range x.t.Roles {
		if !r.Exclusive {
			x.balance(r)
		}
	}
}

// orphan gives a free address to the host that it is meant for, or else to the host that fewest picks.
func (x *stepper) orphan(r Role, a *Address) {
	if a.Holder != "" || a.Leaving != "" {
		return
	}
	if a.Next != "" && x.may(r, a.Next) && (a.Forced || x.mayTakeOver(r, a.Next)) {
		origin := a.origin
		x.give(a, a.Next)
		a.origin = origin
		return
	}
	if r.Name == x.t.ActiveMasterRole && x.s.ignorant() {
		return
	}
	host := x.fewest(r)
	if host == "" && r.Name == x.t.ActiveMasterRole {
		x.withhold(r, a)
	}
	if host == "" {
		return
	}
	x.short(r, host)
	x.give(a, host)
	x.out.detail(host, "Orphaned role '%s' has been assigned to '%s'", a.RoleIP, host)
}

// fewest picks the host for a free address; "" where no host may have it. For the writer role, hosts whose server can
// write come first, and hosts that have more of a dead writer's log. Then, for every role, comes the preferred host,
// unless it is taken last (lastChoice). Then come, for the writer role, hosts that agree with this monitor on the
// candidates, and for every role hosts that are not taken last, hosts with fewer addresses of the role, hosts with less
// load, and the first by name.
func (x *stepper) fewest(r Role) string {
	best := ""
	for _, h := range x.t.Hosts {
		if x.may(r, h.Name) && x.mayTakeOver(r, h.Name) && (best == "" || x.better(r, h.Name, best)) {
			best = h.Name
		}
	}
	return best
}

// lastChoice says why a host is taken for a role only where no other host can have it: it has transactions that the
// writer lacks, it is being backed up, or its replication is delayed on purpose. "" where nothing speaks against it.
func (s State) lastChoice(host string) string {
	h := s.Hosts[host]
	switch {
	case h.Astray:
		return "it has transactions that the writer lacks, and must be set up anew"
	case h.Good.Delay > 0:
		return fmt.Sprintf("its replication is delayed by %d seconds (SQL_Delay)", int(h.Good.Delay.Seconds()))
	case h.Backup != "":
		return h.Backup + " runs there"
	}
	return ""
}

// better says whether a is picked before b. For the writer role, of hosts that have as much of the log and none of
// which is preferred, one whose own configuration names the same candidates as this monitor's comes first. One that
// names others is safe too, but an operator is at work on it.
func (x *stepper) better(r Role, a, b string) bool {
	writer := r.Name == x.t.ActiveMasterRole
	if sa, sb := x.stalls(a), x.stalls(b); writer && sa != sb {
		return sb
	}
	if c := x.fuller(a, b); writer && c != 0 {
		return c < 0
	}
	if pa, pb := x.preferred(r, a), x.preferred(r, b); pa != pb {
		return pa
	}
	if ca, cb := x.agrees(a), x.agrees(b); writer && ca != cb {
		return ca
	}
	return x.lighter(r, a, b)
}

// preferred: the role prefers the host, and nothing speaks against it.
func (x *stepper) preferred(r Role, host string) bool {
	return host == r.Prefer && x.s.lastChoice(host) == ""
}

// agrees: the host's own configuration names the same candidates as this monitor's, or its agent does not say.
func (x *stepper) agrees(host string) bool {
	c := x.s.Hosts[host].Candidates
	return c == "" || c == x.t.terms().Candidates
}

// may: the host is eligible. For the writer role, besides: nobody who may still hold the role can do so beside this
// host, and the host has not just failed as the writer.
func (x *stepper) may(r Role, host string) bool {
	return x.s.eligible(r, host) && (r.Name != x.t.ActiveMasterRole || x.mayAppoint(host) &&
		x.in.Now >= x.s.Hosts[host].shunned)
}

func (x *stepper) lighter(r Role, a, b string) bool {
	if r.Name == x.t.ActiveMasterRole {
		if c := x.fuller(a, b); c != 0 {
			return c < 0
		}
	}
	if la, lb := x.s.lastChoice(a) != "", x.s.lastChoice(b) != ""; la != lb {
		return lb
	}
	if ca, cb := x.count(r, a), x.count(r, b); ca != cb {
		return ca < cb
	}
	return x.load(a) < x.load(b)
}

// count is how many addresses of the role the host has or is about to get.
func (x *stepper) count(r Role, host string) int {
	n := 0
	for _, a := range x.s.Addresses {
		if a.Role == r.Name && (a.Holder == host || a.Holder == "" && a.Next == host) {
			n++
		}
	}
	return n
}

// load counts a host's roles in halves: the active master role counts one half, any other address a whole.
func (x *stepper) load(host string) int {
	n := 0
	for _, a := range x.s.Addresses {
		if a.Holder != host && !(a.Holder == "" && a.Next == host) {
			continue
		}
		if a.Role == x.t.ActiveMasterRole {
			n++
		} else {
			n += 2
		}
	}
	return n
}

// caughtUp is the lag up to which a host has caught up: servers count it in whole seconds.
const caughtUp = time.Second

// prefer moves roles to their preferred hosts, but not to one that has not caught up.
func (x *stepper) prefer() {
	for i := range x.s.Addresses {
		a := &x.s.Addresses[i]
		r, _ := x.t.Role(a.Role)
		if r.Prefer == "" || a.Holder == "" || a.Holder == r.Prefer || x.in.Now < a.notBefore {
			continue
		}
		good := x.s.Hosts[r.Prefer].Good
		if x.may(r, r.Prefer) && x.preferred(r, r.Prefer) && good.replicates() &&
			(r.Name != x.t.ActiveMasterRole || good.Lag <= caughtUp && !x.stalls(r.Prefer)) {
			x.out.add(Info, r.Prefer, "Moving role '%s' from host '%s' to preferred host '%s'", a.RoleIP, a.Holder,
				r.Prefer)
			x.move(a, r.Prefer)
		}
	}
}

// move starts a planned move.
func (x *stepper) move(a *Address, to string) {
	origin := a.Holder
	x.take(a, to)
	a.origin = origin
}

// balance moves addresses until no two eligible hosts differ by more than one. A host that is taken last (lastChoice)
// has none while other hosts can have them.
func (x *stepper) balance(r Role) {
	var hosts, last []string
	for _, h := range x.t.Hosts {
		switch {
		case !x.s.eligible(r, h.Name):
		case x.s.lastChoice(h.Name) != "":
			last = append(last, h.Name)
		default:
			hosts = append(hosts, h.Name)
		}
	}
	if len(hosts) == 0 {
		hosts, last = last, nil
	}
	for _, from := range last {
		for i := x.lastOf(r, from); i >= 0; i = x.lastOf(r, from) {
			to := slices.MinFunc(hosts, func(a, b string) int { return x.byLoad(r, a, b) })
			a := &x.s.Addresses[i]
			x.out.add(Info, to, "Moving role '%s' from host '%s' to host '%s': %s", a.RoleIP, from, to,
				x.s.lastChoice(from))
			x.take(a, to)
		}
	}
	if len(hosts) < 2 {
		return
	}
	for {
		least := slices.MinFunc(hosts, func(a, b string) int { return x.byLoad(r, a, b) })
		most := slices.MaxFunc(hosts, func(a, b string) int { return x.byLoad(r, a, b) })
		if x.count(r, most)-x.count(r, least) <= 1 {
			return
		}
		i := x.lastOf(r, most)
		if i < 0 {
			return // it has too many, and none of them may be moved now
		}
		a := &x.s.Addresses[i]
		x.out.add(Info, least, "Moving role '%s' from host '%s' to host '%s'", a.RoleIP, most, least)
		x.take(a, least)
	}
}

func (x *stepper) byLoad(r Role, a, b string) int {
	switch {
	case x.lighter(r, a, b):
		return -1
	case x.lighter(r, b, a):
		return 1
	}
	return 0
}

// lastOf is the index of the last address of the role that the host has and that may be moved now, or -1.
func (x *stepper) lastOf(r Role, host string) int {
	for i := len(x.s.Addresses) - 1; i >= 0; i-- {
		if a := x.s.Addresses[i]; a.Role == r.Name && a.Holder == host && x.in.Now >= a.notBefore {
			return i
		}
	}
	return -1
}
