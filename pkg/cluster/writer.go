package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// This file is the monitor's half of the rules that keep two hosts from being the writer at once (docs/design.md,
// "Never two writers"; R2, R6, R7 and R10 in the comments are rules of that table). The agents' half is package lease.

// pause: a step that comes late means that this process stood still, and not that hosts were silent. So it counts the
// writer's lease anew (R7).
func (x *stepper) pause() {
	if x.s.stepped > 0 && x.t.leased() && x.in.Now-x.s.stepped > max(x.t.Lease.Late(), latestStep) {
		x.out.add(Warn, "", "This monitor stood still for %.1f seconds: it looks at everything anew before it decides",
			(x.in.Now - x.s.stepped).Seconds())
		x.s.vouched = x.in.Now
	}
	x.s.stepped = x.in.Now
}

// latestStep: on a machine that is not standing still, steps come at least this often.
const latestStep = 500 * time.Millisecond

// writer is the address of the active master role, or nil.
func (x *stepper) writer() *Address {
	for i := range x.s.Addresses {
		if x.s.Addresses[i].Role == x.t.ActiveMasterRole {
			return &x.s.Addresses[i]
		}
	}
	return nil
}

// protected: the address is the writer's, and the host has it by an epoch. An agent that this monitor has not heard
// counts as one of ours.
func (x *stepper) protected(a *Address, host string) bool {
	return a.Role == x.t.ActiveMasterRole && x.s.epochs(x.t) && !x.s.Hosts[host].Classic
}

// heard takes over from an answer what the lease rests on. What the answer leaves out stays as it was: an agent that is
// busy, or whose disk hangs, leaves it out and knows leases all the same.
func (x *stepper) heard(h *HostInfo, ans Answer) {
	was := h.Classic
	h.heard, h.knows = true, ans.Epoch.Number
	if ans.Extended || ans.OK { // an error of the protocol does not say what kind of agent it is
		h.Classic, h.obeyed = !ans.Extended, true
	}
	if !x.s.epochs(x.t) || !x.s.bound(x.t, ans.Host) {
		return
	}
	if h.Classic && !was && x.t.leased() {
		x.out.add(Warn, ans.Host, "Host '%s' is unprotected: its agent knows no lease", ans.Host)
		x.out.about(NoLease{})
	}
	if ans.Stamp != (Stamp{}) {
		h.Stamp, h.Stamped, h.Live = ans.Stamp, x.in.Now, ans.Live
	}
	if ans.Candidates != "" && ans.Candidates != h.Candidates {
		h.Candidates = ans.Candidates
		if want := x.t.terms().Candidates; h.Candidates != want {
			x.out.add(Warn, ans.Host,
				"By the configuration of host '%s' the writer may be one of %s, by that of this monitor one of %s: other hosts are "+
					"preferred to it until both agree", ans.Host, h.Candidates, want)
		}
	}
	a := x.writer()
	if x.s.Epoch.Grants(ans.Host) {
		// From now on the stamp of this answer may be echoed, so the lease counts from now (R6).
		x.s.vouched = max(x.s.vouched, x.in.Now)
	}
	x.acknowledged(ans)
	x.closed(ans)
	if p := ans.PromisedTo; p != "" && (p == a.Holder || p == a.Leaving) {
		x.s.vouched = max(x.s.vouched, x.in.Now-ans.PromiseAge)
	}
}

// leaseOver: the writer's lease is over on every clock, also if it was last prolonged at the latest moment that is
// possible. A holding without a lease is never over.
func (x *stepper) leaseOver() bool {
	return !x.s.Endless && x.in.Now >= x.s.vouched+x.s.Epoch.Terms.Longest.Over()
}

// outOfReach: the host holds the writer role under a lease, its agent does not answer, and the lease is not over yet;
// or it is waited for after a power cut. It keeps its state and its roles for that time: nobody renews its lease, so
// waiting risks nothing (R7).
func (x *stepper) outOfReach(host string) bool {
	a := x.writer()
	if a == nil || a.Holder != host || !x.protected(a, host) {
		return false
	}
	return !x.patienceOver() || !x.s.Hosts[host].AgentUp && !x.s.Endless && !x.leaseOver()
}

// patienceOver: the last writer is not waited for, or not any longer, after a power cut. Its server is waited for too,
// since that may start after its agent.
func (x *stepper) patienceOver() bool { return x.in.Now >= x.s.patience }

// back ends the waiting for a last writer whose agent and server answer again.
func (x *stepper) back() {
	if a := x.writer(); a != nil && x.s.patience > 0 && a.Holder != "" && x.s.Hosts[a.Holder].AgentUp &&
		x.alive(x.s.Hosts[a.Holder]) {
		x.s.patience = 0
	}
}

// powerCut looks whether everything has just booted, and only the last writer is not back yet. The last writer has all
// that was acknowledged, so it is waited for, for wait_for_other_master. uptime is in seconds, 0 where it is not known.
// A monitor that starts before any other candidate answers waits for as long, and looks again when the first one
// answers.
func (x *stepper) powerCut(uptime func(host string) float64) {
	a := x.writer()
	x.s.bootKnown = a == nil || !x.t.leased() || a.Holder == "" || x.s.Hosts[a.Holder].AgentUp
	if x.s.bootKnown {
		return
	}
	r, _ := x.t.Role(a.Role)
	others := slices.DeleteFunc(slices.Clone(r.Hosts), func(host string) bool { return host == a.Holder })
	for _, name := range others {
		up := uptime(name)
		x.s.bootKnown = x.s.bootKnown || up > 0
		if up > x.t.WaitForOtherMaster.Seconds() {
			x.s.patience = 0
			return
		}
	}
	if !x.s.bootKnown {
		x.s.patience = cmp.Or(x.s.patience, x.in.Now+x.t.WaitForOtherMaster)
		return
	}
	x.s.patience = x.in.Now + x.t.WaitForOtherMaster
	x.out.add(Warn, a.Holder,
		"Host '%s' was the writer and can't be reached, and the others have just booted: waiting up to %d seconds for it",
		a.Holder, int(x.t.WaitForOtherMaster.Seconds()))
}

// lapse takes the role from a writer that can't be reached and whose lease is over: its address has gone by itself.
func (x *stepper) lapse() {
	a := x.writer()
	if a == nil || !x.s.epochs(x.t) || !x.leaseOver() || !x.patienceOver() {
		return
	}
	if h := a.Holder; h != "" && !x.s.manual() && x.protected(a, h) && !x.s.Hosts[h].AgentUp && !x.networkJustBack() {
		x.out.add(Error, h, "Nobody has vouched for host '%s' for %.1f seconds: its lease is over", h,
			(x.in.Now - x.s.vouched).Seconds())
		x.take(a, "")
	}
	if h := a.Leaving; h != "" && x.protected(a, h) && (!x.disowned() || x.s.Successors != "") {
		x.out.add(Info, h, "Role '%s' has left host '%s': its lease is over", a.RoleIP, h)
		x.s.timed = true
		x.left(a, "")
	}
}

// disowned: this monitor has lost its state, and not every host has been proven not to be the writer yet.
func (x *stepper) disowned() bool { return x.s.Epoch.Holder == "" && x.s.Epoch.Leaving }

// left makes an address free. gone is the host that it has left, where that host's own agent has said so in answer to
// the order to leave (R6); "" where something else proves it. Where a monitor that has lost its state has hosts left
// that are not proven yet, the address is not free: it leaves the next of them.
func (x *stepper) left(a *Address, gone string) {
	a.Leaving, a.failed = "", ""
	x.moved = true
	if a.Role != x.t.ActiveMasterRole {
		return
	}
	a.gone = gone
	if gone != "" && !x.disowned() { // else another one of the hosts may be the one without a lease
		x.s.Endless = false
	}
	if len(x.s.unproven) > 0 {
		a.Leaving, a.gone = x.s.unproven[0], ""
		x.s.unproven = x.s.unproven[1:]
		a.seq, a.since = x.seq, x.in.Now
		return
	}
	if x.disowned() && !x.s.timed { // all hosts have given their word
		x.s.shut, x.s.Endless = x.in.Now, false
		if x.s.Epoch.Terms.Candidates == x.t.terms().Candidates {
			x.s.Successors = x.s.Epoch.Terms.Candidates // no agent knows of other candidates
		}
	}
}

// lostState: an agent knows an epoch that this monitor has not made: a later one, or another of the same number. So the
// monitor has lost its state. Nobody is the writer until each host that may be has been proven not to be (R10).
func (x *stepper) lostState() {
	ours, highest, lost, endless := x.s.Epoch, x.s.Epoch.Number, false, false
	terms := x.t.terms()
	successors := terms.Candidates
	for _, ans := range x.in.Answers {
		if !ans.Reached || !x.s.epochs(x.t) || !x.s.bound(x.t, ans.Host) {
			continue
		}
		lost = lost || ans.Epoch.Number > ours.Number || ans.Epoch.Contradicts(ours)
		highest = max(highest, ans.Epoch.Number)
		terms.Candidates = union(terms.Candidates, ans.Epoch.Terms.Candidates)
		if known := ans.Epoch.Terms.Candidates; known != "" {
			successors = JoinHosts(intersection(successors, known))
		}
		terms.Longest = max(terms.Longest, ans.Epoch.Terms.Longest)
		endless = endless || ans.Epoch.Holder != "" && ans.Epoch.Terms.Candidates != "" && ans.Epoch.Terms.Lease == 0
	}
	if lost {
		x.s.Endless = x.s.Endless || endless
		x.out.add(Fatal, "",
			"The agents know an epoch %d that is not the one of this monitor (%s): its state is lost, every host has to give up the writer role first", highest, ours)
		terms.Longest = max(terms.Longest, ours.Terms.Longest)
		x.disown(highest, terms, successors)
	}
}

// resume puts the writer's address where the saved epoch says, whatever the votes of the start: no other host can have
// it.
func (x *stepper) resume(a *Address) {
	e := x.s.Epoch
	a.gone = e.Gone
	switch {
	case e.Leaving && e.Holder == "":
		x.disown(e.Number, e.Terms, x.s.Successors)
	case e.Leaving:
		a.Leaving = e.Holder
	case e.Holder != "" && !x.t.mayWrite(e.Holder):
		a.Leaving = e.Holder // it has been taken out of the configuration
	default:
		a.Holder = e.Holder
	}
	if h, known := x.s.Hosts[a.Holder]; known && h.State != AdminOffline {
		h.State, h.Since = Online, 0
		x.s.Hosts[a.Holder] = h
		x.s.LastWriter = a.Holder
	}
}

// disown makes an epoch in which nobody is the writer. Then every candidate that can be asked, by the configuration or
// by what the agents know, has to give its word that it is not the writer, or its lease has to be over. The end of a
// lease proves something only for a holder that has to ask a host which refuses. So where time was the proof, only
// successors may be appointed: hosts that all known terms name as candidates. (One agent alone may know terms by which
// two other hosts vouch for each other, with an older secret, say.)
func (x *stepper) disown(highest uint64, terms Terms, successors string) {
	a := x.writer()
	var all []string
	for _, name := range SplitHosts(union(terms.Candidates, x.t.terms().Candidates)) {
		if _, known := x.t.Host(name); known {
			all = append(all, name)
		}
	}
	if a.Holder != "" {
		x.leaves(a, "")
	}
	a.Holder, a.Next, a.Confirmed, a.failed, a.origin, a.gone = "", "", false, "", "", ""
	a.Leaving, x.s.unproven = all[0], all[1:]
	a.seq, a.since = x.seq, x.in.Now
	x.s.vouched = x.in.Now
	x.s.Switch.After, x.s.Switch.Start = "", "" // somebody else may have taken over since
	x.s.Successors, x.s.timed, x.s.acked, x.s.shut, x.s.unsure = successors, false, 0, 0, 0
	x.s.Epoch = Epoch{Number: highest + 1, Leaving: true, Terms: terms}
}

// newEpoch gives the decision about the writer a new number, where this step has changed it (R2).
func (x *stepper) newEpoch() {
	a := x.writer()
	if a == nil || !x.s.epochs(x.t) || x.s.Mode == Passive {
		return
	}
	was := x.s.Epoch
	e := Epoch{Holder: a.Holder, Gone: a.gone, Terms: was.Terms}
	if a.Leaving != "" {
		e = Epoch{Holder: a.Leaving, Leaving: true, Terms: was.Terms}
		if len(x.s.unproven) > 0 || was.Holder == "" && was.Leaving {
			e.Holder = ""
		}
	}
	if x.s.terms != (Terms{}) {
		e.Terms, x.s.terms = x.s.terms, Terms{}
	}
	if e.same(was) || was.Number == 0 && e.Holder == "" && !e.Leaving {
		return // nothing has changed; or nobody has been the writer yet
	}
	e.Number = was.Number + 1
	e.Since = e.Number
	if e.Holder == was.Holder {
		e.Since = was.Since
		if was.Leaving && !e.Leaving {
			e.Since = e.Number
		}
	}
	x.s.acked = 0
	if e.Grants(e.Holder) || was.Grants(was.Holder) {
		x.s.shut = 0
	}
	x.s.Epoch = e
	if e.Grants(e.Holder) { // the newest stamp of the holder will be echoed, whenever it came
		x.s.vouched = max(x.s.vouched, x.s.Hosts[e.Holder].Stamped)
	}
}

// hasLeft: the answer proves that the host is the writer no more. Its agent knew the epoch that tells the host to leave
// when it gave the answer (R6).
func (x *stepper) hasLeft(a *Address, ans Answer) bool {
	return x.s.unsure == 0 && ans.Extended && ans.Epoch.Number >= x.s.Epoch.Number && x.s.Epoch.Leaving &&
		(x.s.Epoch.Holder == ans.Host || x.s.Epoch.Holder == "") &&
		!slices.Contains(ans.Have, a.RoleIP) && !ans.Writable
}

// reachability takes over which hosts that this monitor can't reach are reached by other hosts.
func (x *stepper) reachability() {
	if x.in.ReachedBy == nil {
		return
	}
	for name, h := range x.s.Hosts {
		w := x.in.ReachedBy[name]
		if h.ReachedBy == w {
			continue
		}
		if w != "" && h.ReachedBy == "" && h.State == Online {
			x.out.add(Warn, name,
				"Host '%s' can't be reached from here, but host '%s' reaches its server: it stays as it is", name, w)
		}
		h.ReachedBy = w
		x.s.Hosts[name] = h
	}
}

// alive says whether the host counts as up: its server answers this monitor or, while the line from this monitor to the
// host is cut, another host. A server that takes this monitor's connections and does not answer hangs, whatever it does
// with those of other hosts. Unanimous evidence that the server is gone needs no trap period. A host that was condemned
// by it is not alive again, within that period, before its port takes a connection.
func (x *stepper) alive(h HostInfo) bool {
	if x.unanimous(h) || h.State == HardOffline && h.Good.Refused {
		return false
	}
	relayed := h.AgentUp && h.Via != "" && !h.ServerGone
	return h.Good.alive() || h.Good.Asking || (h.Good.Mute || !h.Good.Ping) && !h.Good.Greeted &&
		(h.ReachedBy != "" || relayed)
}

// inDoubt: the host counts as up only until the other hosts have said whether they reach it. So it is not condemned,
// and not given anything either.
func (x *stepper) inDoubt(h HostInfo) bool { return h.Good.Asking && !h.Good.alive() }

// unanimous: the server's port refuses, and the host's own agent says that the server's process is gone.
func (x *stepper) unanimous(h HostInfo) bool {
	return x.t.FastFailover && h.AgentUp && h.Good.Refused && h.ServerGone
}

// coldStart brings a host ONLINE that no operator has set online, where there would be no writer for ever else: after a
// power cut. The last writer has all that was acknowledged, and is brought back at once. Any other host is brought back
// only after wait_for_other_master, with a FATAL line.
func (x *stepper) coldStart() {
	a := x.writer()
	if a == nil || x.s.Mode != Active || x.s.LastWriter == "" || a.Holder != "" || a.Leaving != "" {
		return
	}
	r, _ := x.t.Role(a.Role)
	best, lacking := "", false // lacking: a host that lacks something is ONLINE
	for _, name := range r.Hosts {
		h := x.s.Hosts[name]
		switch {
		case x.s.eligible(r, name) && x.mayTakeOver(r, name):
			return
		case x.s.eligible(r, name):
			lacking = true
		case h.State != AwaitingRecovery || !x.alive(h) || !h.AgentUp || x.stalls(name):
		case name == x.s.LastWriter && !h.Flapping:
			x.enter(name, Online, " because it was the last writer and nobody else is the writer")
			return
		case best == "" || cmp.Or(x.fuller(name, best), cmp.Compare(h.Since, x.s.Hosts[best].Since)) < 0:
			best = name
		}
	}
	patience := x.t.WaitForOtherMaster
	if best == "" || patience == 0 || x.in.Now-x.s.Hosts[best].Since < patience {
		return
	}
	if best == x.s.LastWriter {
		x.enter(best, Online, fmt.Sprintf(" because nobody else has become the writer for %d seconds",
			int(patience.Seconds())))
		return
	}
	fit := x.mayTakeOver(r, best)
	if !fit && (lacking || x.t.FailoverLoss == LossNone) {
		return // withhold decides about the hosts that are ONLINE; or failover_loss lets no host have it
	}
	x.enter(best, Online,
		fmt.Sprintf(" because nobody is the writer and the last one, '%s', has not come back for %d seconds. What only '%s' has is missing",
			x.s.LastWriter, int(patience.Seconds()), x.s.LastWriter))
	if !fit {
		x.promote(a, best, fmt.Sprintf("'%s' has not come back", x.s.LastWriter))
	}
}

// Unprotected lists the hosts that may be the writer and whose agents know no lease, sorted.
func (s State) Unprotected(t Topology) []string {
	var names []string
	for _, h := range t.Hosts {
		if t.mayWrite(h.Name) && t.leased() && s.Hosts[h.Name].Classic {
			names = append(names, h.Name)
		}
	}
	return names
}

// Echo is the stamp to send to host with an order of epoch e. It is zero where e makes the host the writer and this
// monitor's newest epoch does not, or while this monitor may have forgotten its last decisions: then the order must not
// prolong the lease.
func (s State) Echo(t Topology, host string, e Epoch) Stamp {
	if e.Grants(host) && (!s.Epoch.Grants(host) || s.unsure > 0) {
		return Stamp{}
	}
	return s.Hosts[host].Stamp
}

// LeaseLeft is how long it may take until the role of a writer that can't be reached can move; 0 without a lease.
func (s State) LeaseLeft(t Topology) time.Duration {
	if !t.leased() {
		return 0
	}
	return max(max(s.vouched+s.Epoch.Terms.Longest.Over(), s.patience)-s.stepped, 0)
}

// leaseLeft is LeaseLeft as a text for people.
func (s State) leaseLeft(t Topology) string {
	return fmt.Sprintf("%.1f seconds", s.LeaseLeft(t).Seconds())
}
