package cluster

import (
	"slices"
	"strings"
	"time"
)

// This file is about the terms of the writer's holding: which hosts may be the writer, and for how long without being
// vouched for. They are part of the epoch, so a change of the configuration is a decision like any other
// (docs/design.md, "Never two writers", R11 and R12).
//
// Two things make a change safe. The first is *successors*: hosts that may be appointed because time has passed,
// without the former writer's word. Everybody who may still hold the role has to ask each successor for promises: a
// host that nobody asks promises nothing, and so has no reason to wait. The second is the longest lease that anybody
// may still have.

// terms are what the configuration asks for. A single candidate holds the role without a lease, since nobody else can
// be given the role.
func (t Topology) terms() Terms {
	r, _ := t.Role(t.ActiveMasterRole)
	terms := Terms{Candidates: JoinHosts(r.Hosts)}
	if t.leased() {
		terms.Lease, terms.Longest = t.Lease, t.Lease
	}
	return terms
}

// firstTerms sets the terms of a state that has none. Either its monitor knew no epochs: then the writer has the role
// for ever, and can be asked to take a lease. Or its monitor was of a version whose epochs had no terms: then all
// machines had the same configuration, and the terms are those of the configuration.
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

// epochs: decisions about the writer are epochs, since the writer has a lease or once had one.
func (s State) epochs(t Topology) bool { return t.leased() || s.Epoch.Number > 0 }

// newTerms gives the present holding the terms of the configuration; the holder stays the same. It does so only while
// the holder's agent answers, since the agent has to say that it knows the new terms. An original agent knows no terms:
// once an agent of ours takes its place, that finds a holding without a lease, and can go on with it.
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
	if !x.announced(want.Lease) {
		x.unaware(want.Lease)
		return
	}
	x.s.unaware = 0
	x.out.add(Info, a.Holder,
		"Role '%s' stays on host '%s' under other terms: candidates %s, writer_lease %s; before: %s, %s",
		a.RoleIP, a.Holder, want.Candidates, time.Duration(want.Lease), now.Candidates, time.Duration(now.Lease))
	want.Longest = max(now.Longest, want.Lease)
	x.s.Successors = JoinHosts(append(intersection(x.s.Successors, want.Candidates), a.Holder))
	x.s.Endless = x.s.Endless || want.Lease == 0
	x.s.terms = want
}

// announced: the holder may be given this lease. A lease that is longer than any before is announced first, as the
// longest that anybody may have, and counts once all other candidates that answer know of it: a monitor whose status
// file is put back to an older one hears of it from them.
func (x *stepper) announced(lease Lease) bool {
	e := x.s.Epoch
	if e.Terms.Lease == 0 || lease <= e.Terms.Lease { // a holding without a lease never ends by time
		return true
	}
	if lease > e.Terms.Longest {
		terms := e.Terms
		terms.Longest = lease
		x.s.terms = terms
		return false
	}
	return len(x.behind()) == 0
}

// behind are the candidates whose agents answer and do not know the present epoch.
func (x *stepper) behind() []string {
	all := SplitHosts(union(x.s.Epoch.Terms.Candidates, x.t.terms().Candidates))
	return slices.DeleteFunc(all, func(name string) bool {
		h := x.s.Hosts[name]
		return !h.AgentUp || h.Classic || h.knows >= x.s.Epoch.Number
	})
}

// unawareFor is how long a longer lease waits for hosts that do not take it in, before that is logged. Hosts whose
// disks work take it in with the next order.
const unawareFor = 10 * time.Second

// unaware logs, once, which hosts keep a longer lease from counting.
func (x *stepper) unaware(lease Lease) {
	names := x.behind()
	if len(names) == 0 {
		return
	}
	if x.s.unaware == 0 {
		x.s.unaware, x.s.unawareTold = x.in.Now, false
	}
	if x.s.unawareTold || x.in.Now-x.s.unaware < unawareFor {
		return
	}
	x.s.unawareTold = true
	x.out.add(Warn, names[0], "writer_lease %s does not count yet: the agent of '%s' answers, and has not written down for %.0f seconds "+
		"that there may be so long a lease. Look at the disk under its state_path", time.Duration(lease),
		strings.Join(names, "' and of '"), (x.in.Now - x.s.unaware).Seconds())
}

// namesTerms: the host's agent can be told new terms. It can't where it names its candidates and has sent no stamp,
// which a lease would have to count from.
func (h HostInfo) namesTerms() bool { return h.Stamp != (Stamp{}) || h.Candidates == "" }

// acknowledged takes in that the holder knows the present epoch. By then it has taken the lease of that epoch, or has
// given up the role that it held without one.
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

// settle makes all candidates successors, and forgets longer leases, once nobody can hold the role under other terms:
// the holder knows the present terms and so promises nobody else anything, and what was promised before has run out.
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

// closed takes in that a successor, which everybody who may hold the role has to ask, knows an epoch in which nobody is
// the writer: it promises nothing any more. Where there are no successors, all hosts have given their word before such
// an epoch was made. A monitor that has been restarted since then counts from the word of a candidate of the
// configuration: any host that was appointed since, by a decision that this monitor has forgotten, has to ask that one.
func (x *stepper) closed(ans Answer) {
	e := x.s.Epoch
	word := slices.Contains(SplitHosts(x.s.Successors), ans.Host) || x.s.Successors == "" && !e.Leaving &&
		x.t.mayWrite(ans.Host)
	if x.s.shut == 0 && ans.Epoch.Number == e.Number && (e.Holder == "" || e.Leaving) && word {
		x.s.shut = x.in.Now
	}
}

// mayAppoint says whether nobody who may still hold the role can hold it beside the host: each of them has to ask the
// host for a promise, or all their leases have ended since a host that they have to ask knows that nobody is the
// writer.
func (x *stepper) mayAppoint(host string) bool {
	if !x.s.epochs(x.t) || slices.Contains(SplitHosts(x.s.Successors), host) {
		return true
	}
	return x.s.shut > 0 && x.in.Now >= x.s.shut+x.s.Epoch.Terms.Longest.Over()
}

// strangers are all successors, where nobody is the writer and none of the successors is in the configuration any more:
// another host may still hold the role by their promises, and this monitor can't ask them. nil where that is not so.
func (s State) strangers(t Topology) []string {
	all := SplitHosts(s.Successors)
	if s.shut > 0 || s.Epoch.Holder != "" || slices.ContainsFunc(all,
		func(h string) bool { _, known := t.Host(h); return known }) {
		return nil
	}
	return all
}

// unheard are the hosts of which one would have to say that nobody has the role, before host can be made the writer,
// where nobody is the writer and none of them can be reached; nil: one can be reached, or host needs no such word.
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

// appointed sets the terms and the successors for a new holder.
func (x *stepper) appointed(host string) {
	want := x.t.terms()
	r, _ := x.t.Role(x.t.ActiveMasterRole)
	want.Candidates = JoinHosts(append(slices.Clone(r.Hosts), host))
	was := x.s.Epoch.Terms
	if was.Lease > 0 && want.Lease > was.Longest { // a longer lease is announced first: see announced
		want.Lease = was.Longest
	}
	want.Longest = max(was.Longest, want.Lease)
	x.s.Successors = JoinHosts(append(intersection(x.s.Successors, want.Candidates), host))
	x.s.Endless = want.Lease == 0
	x.s.terms = want
}

// union joins two lists of hosts, each of which may be empty.
func union(a, b string) string { return JoinHosts(append(SplitHosts(a), SplitHosts(b)...)) }

// intersection is the hosts that are in both lists.
func intersection(a, b string) []string {
	other := SplitHosts(b)
	return slices.DeleteFunc(SplitHosts(a), func(h string) bool { return !slices.Contains(other, h) })
}

// confirm ends the doubt of a start. A monitor that has just started may have forgotten its last decisions, since its
// disk may have lost them or been put back to an older state. The writer that it knows may then be a former one, whose
// lease is over. So it revives no lease that has ended, and believes no host that says it is not the writer, until all
// candidates have answered, or until any other writer has lost the role because nobody vouches for it, or until the
// writer that it knows says that its lease is live (docs/design.md, "Never two writers", R14).
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

// forgottenLease is the longest lease that a writer may have of which neither this monitor nor the agents that answer
// know: package config allows no longer ones.
const forgottenLease = Lease(time.Minute)

// ignorant: this monitor has just started, knows no earlier decision, and has found no host with the writer role.
// Either there was none, or its state is lost, and perhaps the states of the agents that answer too.
func (s State) ignorant() bool { return s.unsure > 0 && s.Epoch.Number == 0 }

// unheardOf are the candidates that have not answered since this monitor started.
func (s State) unheardOf(t Topology) []string {
	return slices.DeleteFunc(SplitHosts(union(s.Epoch.Terms.Candidates, t.terms().Candidates)),
		func(name string) bool { return s.Hosts[name].heard })
}

// silence says for people that hosts don't answer.
func silence(hosts []string) string {
	if len(hosts) == 1 {
		return "'" + hosts[0] + "' does not answer"
	}
	return "'" + strings.Join(hosts, "', '") + "' do not answer"
}

// bound says whether the host has a say in who is the writer: it may be the writer by the configuration or by the
// present epoch, it is the writer by that epoch, or its word is waited for.
func (s State) bound(t Topology, host string) bool {
	return t.mayWrite(host) || s.Epoch.Holder == host || s.Epoch.Terms.Candidate(host) ||
		slices.Contains(s.unproven, host)
}
