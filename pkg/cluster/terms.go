package cluster

import (
	"slices"
	"strings"
	"time"
)

// This file is about the terms of the writer's holding: who may be the writer, and for how long without being vouched
// for. They are part of the epoch, so a change of the configuration is a decision like any other (docs/design.md,
// "Never two writers", R11).
//
// Two things make a change safe. The first is *successors*: hosts that may be appointed because time has passed,
// without the word of the one before. Everybody who may still hold the role has to ask each of them, or else a
// promise would hold nobody back. The second is the longest lease that anybody may still have.

// terms are what the configuration asks for. With one candidate nobody else can be given the role: it holds without a
// lease.
func (t Topology) terms() Terms {
	r, _ := t.Role(t.ActiveMasterRole)
	terms := Terms{Candidates: JoinHosts(r.Hosts)}
	if t.leased() {
		terms.Lease, terms.Longest = t.Lease, t.Lease
	}
	return terms
}

// firstTerms are those of a state that has none: of a monitor that knew no epochs, or no terms. Who is found to be
// the writer by the former has the role for ever, and can be asked to take a lease. Of the latter all machines had
// the same configuration.
func (s *State) firstTerms(t Topology) {
	if s.Epoch.Terms != (Terms{}) {
		return
	}
	want := t.terms()
	s.Successors = want.Candidates
	if s.Epoch.Number == 0 {
		s.Epoch.Terms = Terms{Candidates: want.Candidates}
		return
	}
	s.Epoch.Terms = want
	s.Epoch.Terms.Candidates = union(want.Candidates, s.Epoch.Holder)
}

// epochs: the writer is decided by epochs: it has a lease, or had one once.
func (s State) epochs(t Topology) bool { return t.leased() || s.Epoch.Number > 0 }

// newTerms makes the terms of the present holding those of the configuration, as far as its holder answers: who does
// not could not say that it knows them. An original agent knows of no terms: the one that takes its place finds a
// holding without a lease, which it can go on with. The holder and its holding stay.
func (x *stepper) newTerms() {
	a := x.writer()
	if a == nil || !x.s.epochs(x.t) || !x.s.Epoch.Grants(a.Holder) || x.s.Mode == Passive || !x.s.NetworkUp {
		return
	}
	want, now := x.t.terms(), x.s.Epoch.Terms
	h := x.s.Hosts[a.Holder]
	if want.Candidates == now.Candidates && want.Lease == now.Lease || !x.t.mayWrite(a.Holder) ||
		!h.AgentUp || h.Classic ||
		!h.obeyed || !h.namesTerms() {
		return
	}
	if !x.heralded(want.Lease) {
		return
	}
	x.out.add(Info, a.Holder,
		"Role '%s' stays on host '%s' under other terms: candidates %s, writer_lease %s; before: %s, %s",
		a.RoleIP, a.Holder, want.Candidates, time.Duration(want.Lease), now.Candidates, time.Duration(now.Lease))
	want.Longest = max(now.Longest, want.Lease)
	x.s.Successors = JoinHosts(append(intersection(x.s.Successors, want.Candidates), a.Holder))
	x.s.Endless = x.s.Endless || want.Lease == 0
	x.s.terms = want
}

// heralded: a lease that is longer than any before counts for its holder once all other candidates that answer know of
// it, as the longest that anybody may have: a monitor whose status file is put back hears of it from them.
func (x *stepper) heralded(lease Lease) bool {
	e := x.s.Epoch
	if e.Terms.Lease == 0 || lease <= e.Terms.Lease { // what never ends by time needs no longest
		return true
	}
	if lease > e.Terms.Longest {
		terms := e.Terms
		terms.Longest = lease
		x.s.terms = terms
		return false
	}
	for _, name := range SplitHosts(union(e.Terms.Candidates, x.t.terms().Candidates)) {
		if h := x.s.Hosts[name]; h.AgentUp && !h.Classic && h.knows < e.Number {
			return false
		}
	}
	return true
}

// namesTerms: its agent is of a version that goes by the terms of an epoch, or by its own file, but can be told a
// lease at least.
func (h HostInfo) namesTerms() bool { return h.Stamp != (Stamp{}) || h.Candidates == "" }

// acknowledged takes in that the holder knows the present epoch. It has taken the lease in it or let go of what it
// held for ever.
func (x *stepper) acknowledged(ans Answer) {
	if !x.s.Epoch.Grants(ans.Host) || ans.Epoch.Number != x.s.Epoch.Number {
		return
	}
	if x.s.acked == 0 {
		x.s.acked = x.in.Now
	}
	if x.s.Epoch.Terms.Lease > 0 {
		x.s.Endless = false
	}
}

// settle widens who may be appointed, and forgets longer leases, once nobody can hold the role under other terms: the
// holder knows the present ones and so promises nobody else, and what was promised before has run out.
func (x *stepper) settle() {
	terms := x.s.Epoch.Terms
	if x.s.acked == 0 || x.s.Mode == Passive || !x.s.NetworkUp || x.in.Now < x.s.acked+terms.Longest.Over() ||
		x.s.Endless && terms.Lease > 0 {
		return
	}
	x.s.Successors = terms.Candidates
	if terms.Longest != terms.Lease {
		terms.Longest = terms.Lease
		x.s.terms = terms
	}
}

// closed takes in that a host which everybody who may hold the role has to ask knows an epoch in which nobody is the
// writer: it promises nothing any more. Without such a host all have given their word before an epoch without a writer
// was made, and a monitor that has been restarted since counts anew: from a candidate of the configuration, whom
// anybody that it may have appointed since, and forgotten, has to ask.
func (x *stepper) closed(ans Answer) {
	e := x.s.Epoch
	word := slices.Contains(SplitHosts(x.s.Successors), ans.Host) || x.s.Successors == "" && !e.Leaving &&
		x.t.mayWrite(ans.Host)
	if x.s.shut == 0 && ans.Epoch.Number == e.Number && (e.Holder == "" || e.Leaving) && word {
		x.s.shut = x.in.Now
	}
}

// mayAppoint says whether nobody who may still hold the role could do so beside the host: each of them has to ask it,
// or all their leases have ended since somebody whom they have to ask refuses.
func (x *stepper) mayAppoint(host string) bool {
	if !x.s.epochs(x.t) || slices.Contains(SplitHosts(x.s.Successors), host) {
		return true
	}
	return x.s.shut > 0 && x.in.Now >= x.s.shut+x.s.Epoch.Terms.Longest.Over()
}

// strangers are the successors of a role that nobody has, where none of them is in the configuration any more: whoever
// else may hold it asks them, and they can't be heard. nil: somebody can be asked.
func (s State) strangers(t Topology) []string {
	all := SplitHosts(s.Successors)
	if s.shut > 0 || s.Epoch.Holder != "" || slices.ContainsFunc(all,
		func(h string) bool { _, known := t.Host(h); return known }) {
		return nil
	}
	return all
}

// unheard are the hosts without whose word the given one can't be made the writer, where nobody is and none of them can
// be reached; nil: it can be, or somebody can say so.
func (s State) unheard(t Topology, host string) []string {
	all := SplitHosts(s.Successors)
	for _, a := range s.Addresses {
		if len(all) == 0 && a.Role == t.ActiveMasterRole && s.Epoch.Holder == "" && s.Epoch.Leaving {
			all = append(slices.Clone(s.unproven), a.Leaving)
		}
	}
	if s.shut > 0 || s.Epoch.Number == 0 || s.Epoch.Holder != "" ||
		slices.ContainsFunc(all, func(h string) bool { return h == host || s.Hosts[h].AgentUp }) {
		return nil
	}
	return all
}

// appointed are the terms for a new holder.
func (x *stepper) appointed(host string) {
	want := x.t.terms()
	r, _ := x.t.Role(x.t.ActiveMasterRole)
	want.Candidates = JoinHosts(append(slices.Clone(r.Hosts), host))
	was := x.s.Epoch.Terms
	if was.Lease > 0 && want.Lease > was.Longest { // to be heralded
		want.Lease = was.Longest
	}
	want.Longest = max(was.Longest, want.Lease)
	x.s.Successors = JoinHosts(append(intersection(x.s.Successors, want.Candidates), host))
	x.s.Endless = want.Lease == 0
	x.s.terms = want
}

// union joins two lists, of which each may be empty.
func union(a, b string) string { return JoinHosts(append(SplitHosts(a), SplitHosts(b)...)) }

func intersection(a, b string) []string {
	other := SplitHosts(b)
	return slices.DeleteFunc(SplitHosts(a), func(h string) bool { return !slices.Contains(other, h) })
}

// confirm ends the doubt of a start: a monitor that has just started may have forgotten its last decisions: its disk
// may have lost them, or been put back. The writer that it knows may be the one before, whose lease is over. So it
// revives no lease that has lapsed, and believes no word of who is not the writer at the moment, before every
// candidate was heard, or before whoever else it may be has lost the role for want of anybody who vouches for it.
func (x *stepper) confirm() {
	if x.s.unsure == 0 {
		return
	}
	e := x.s.Epoch
	heard := len(x.s.unheardOf(x.t)) == 0
	if heard || x.in.Now >= x.s.unsure || e.Grants(e.Holder) && x.s.Hosts[e.Holder].Live {
		x.s.unsure = 0
	}
}

// forgottenLease is how long the lease may be of which a monitor without a state, and the agents that answer it, know
// nothing: longer ones are seldom configured. Who has one of those must not lose the states of monitor and agents at
// once.
const forgottenLease = Lease(time.Minute)

// ignorant: this monitor has just started, knows no decision of before, and has found nobody with the writer's role.
// Either there was none, or its state is lost, and perhaps those of the agents that answer as well.
func (s State) ignorant() bool { return s.unsure > 0 && s.Epoch.Number == 0 }

// unheardOf are the hosts that may be the writer and have not answered since the start.
func (s State) unheardOf(t Topology) []string {
	return slices.DeleteFunc(SplitHosts(union(s.Epoch.Terms.Candidates, t.terms().Candidates)),
		func(name string) bool { return s.Hosts[name].heard })
}

// silence says of hosts that they don't answer.
func silence(hosts []string) string {
	if len(hosts) == 1 {
		return "'" + hosts[0] + "' does not answer"
	}
	return "'" + strings.Join(hosts, "', '") + "' do not answer"
}

// bound says whether the host has a say in who is the writer: it may be, it is by the present epoch, or its word is
// waited for.
func (s State) bound(t Topology, host string) bool {
	return t.mayWrite(host) || s.Epoch.Holder == host || s.Epoch.Terms.Candidate(host) ||
		slices.Contains(s.unproven, host)
}
