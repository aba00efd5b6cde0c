package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// This file is the monitor's half of the rules that keep two hosts from being the writer at once (docs/design.md,
// "Never two writers"; R6, R7 and R10 in the comments are its rules). The agents' half is package lease.

// pause: a step that comes late means that this process, and not the world, stood still. All suspicion starts anew
// (R7).
func (x *stepper) pause() {
	if x.s.stepped > 0 && x.t.leased() && x.in.Now-x.s.stepped > max(x.t.Lease.Late(), latestStep) {
		x.out.add(Warn, "", "This monitor stood still for %.1f seconds: it looks at everything anew before it decides",
			(x.in.Now - x.s.stepped).Seconds())
		x.s.vouched = x.in.Now
	}
	x.s.stepped = x.in.Now
}

// latestStep: steps come at least this often, on a machine that does its work.
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

// protected: the address is the writer's, and host has it by an epoch. An agent that was never heard may be ours.
func (x *stepper) protected(a *Address, host string) bool {
	return a.Role == x.t.ActiveMasterRole && x.s.epochs(x.t) && !x.s.Hosts[host].Classic
}

// heard takes over from an answer what the lease rests on. What an answer does not say stays as it was: an agent that
// is busy, or whose disk hangs, is none that knows no leases.
func (x *stepper) heard(h *HostInfo, ans Answer) {
	was := h.Classic
	h.Classic, h.heard, h.obeyed, h.knows = !ans.Extended, true, true, ans.Epoch.Number
	if !x.s.epochs(x.t) || !x.s.bound(x.t, ans.Host) {
		return
	}
	if h.Classic && !was && x.t.leased() {
		x.out.add(Warn, ans.Host, "Host '%s' is unprotected: its agent knows no lease", ans.Host)
		x.out.about(Unprotected{})
	}
	if ans.Stamp != (Stamp{}) {
		h.Stamp, h.Stamped, h.Live = ans.Stamp, x.in.Now, ans.Live
	}
	if ans.Candidates != "" && ans.Candidates != h.Candidates {
		h.Candidates = ans.Candidates
		if want := x.t.terms().Candidates; h.Candidates != want {
			x.out.add(Warn, ans.Host,
				"By its own configuration the agent on host '%s' knows %s for those who may be the writer, this monitor %s: others are "+
					"preferred to it until it has the same", ans.Host, h.Candidates, want)
		}
	}
	a := x.writer()
	if x.s.Epoch.Grants(ans.Host) {
		// From now on it may be echoed, so from now on the lease counts (R6c).
		x.s.vouched = max(x.s.vouched, x.in.Now)
	}
	x.acknowledged(ans)
	x.closed(ans)
	if p := ans.PromisedTo; p != "" && (p == a.Holder || p == a.Leaving) {
		x.s.vouched = max(x.s.vouched, x.in.Now-ans.PromiseAge)
	}
}

// leaseOver: nobody can have vouched for the writer in time for its lease not to be over, on any clock. A holding
// without a lease never is.
func (x *stepper) leaseOver() bool {
	return !x.s.Endless && x.in.Now >= x.s.vouched+x.s.Epoch.Terms.Longest.Over()
}

// outOfReach: the host holds the writer role under a lease, and neither its agent nor the end of the lease has been
// heard of. It keeps its state and its roles so long: to wait costs nothing, for nothing is renewed (R7).
func (x *stepper) outOfReach(host string) bool {
	a := x.writer()
	if a == nil || a.Holder != host || !x.protected(a, host) {
		return false
	}
	return !x.patienceOver() || !x.s.Hosts[host].AgentUp && !x.s.Endless && !x.leaseOver()
}

// patienceOver: after a power cut the last writer is waited for, its server too, which may start after its agent.
func (x *stepper) patienceOver() bool { return x.in.Now >= x.s.patience }

// back ends the waiting for a last writer that is back.
func (x *stepper) back() {
	if a := x.writer(); a != nil && x.s.patience > 0 && a.Holder != "" && x.s.Hosts[a.Holder].AgentUp &&
		x.alive(x.s.Hosts[a.Holder]) {
		x.s.patience = 0
	}
}

// powerCut looks whether everything has just booted, and only the last writer is not back yet. It has all that was
// acknowledged: it is waited for, for wait_for_other_master. uptime is in seconds, 0 where it is not known: a monitor
// that starts before anybody else answers waits for as long, and looks again when the first one does.
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

// lapse takes the role from a writer that can't be reached and whose lease is over: its address is off by itself.
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

// left frees the address. gone is the host where its own agent has said so, in answer to the order to leave (R6a).
func (x *stepper) left(a *Address, gone string) {
	a.Leaving, a.failed = "", ""
	x.moved = true
	if a.Role != x.t.ActiveMasterRole {
		return
	}
	a.gone = gone
	if gone != "" {
		x.s.Endless = false
	}
	if len(x.s.unproven) > 0 {
		a.Leaving, a.gone = x.s.unproven[0], ""
		x.s.unproven = x.s.unproven[1:]
		a.seq, a.since = x.seq, x.in.Now
		return
	}
	if x.disowned() && !x.s.timed { // all have given their word
		x.s.shut = x.in.Now
		if x.s.Epoch.Terms.Candidates == x.t.terms().Candidates {
			x.s.Successors = x.s.Epoch.Terms.Candidates // nobody knows of any others
		}
	}
}

// lostState: an agent knows an epoch that this monitor has not made, a later one or another of the same number. So the
// monitor has lost its state: nobody is the writer until every host that may be has been proven not to be (R10).
func (x *stepper) lostState() {
	ours, highest, lost := x.s.Epoch, x.s.Epoch.Number, false
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
	}
	if lost {
		x.out.add(Fatal, "",
			"The agents know an epoch %d that is not the one of this monitor (%s): its state is lost, every host has to give up the writer role first", highest, ours)
		terms.Longest = max(terms.Longest, ours.Terms.Longest)
		x.disown(highest, terms, successors)
	}
}

// resume gives the address the place that the saved epoch says, whatever the votes: nobody else can have it.
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

// disown makes an epoch of its own in which nobody is the writer. Every host of the configuration has to give its
// word, and every other that the agents know for a candidate and that can be asked; or its lease has to be over. That
// proves something only for who has to ask somebody that refuses: only successors, whom all the terms that are known
// name, may follow then. (One agent alone may know terms that others, with an older secret say, still vouch by.)
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

// newEpoch numbers the decision about the writer, where this step has changed it (R2).
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

// hasLeft: the answer, given in knowledge of the epoch that says so, proves that the host is the writer no more (R6a).
func (x *stepper) hasLeft(a *Address, ans Answer) bool {
	return x.s.unsure == 0 && ans.Extended && ans.Epoch.Number >= x.s.Epoch.Number && x.s.Epoch.Leaving &&
		(x.s.Epoch.Holder == ans.Host || x.s.Epoch.Holder == "") &&
		!slices.Contains(ans.Have, a.RoleIP) && !ans.Writable
}

// reachability takes over which hosts can be reached by others.
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

// alive says whether the host counts as up: its server answers this monitor, or another host while the line between
// the two of them is cut. A server that takes this monitor's connections and does not answer hangs: that it takes
// those of another host is no sign of life. Evidence against it that is unanimous needs no trap period; and who was
// condemned by it, within that period, is not alive again before its port takes a connection.
func (x *stepper) alive(h HostInfo) bool {
	if x.unanimous(h) || h.State == HardOffline && h.Good.Refused {
		return false
	}
	relayed := h.AgentUp && h.Via != "" && !h.ServerGone
	return h.Good.alive() || h.Good.Asking || (h.Good.Mute || !h.Good.Ping) && !h.Good.Greeted &&
		(h.ReachedBy != "" || relayed)
}

// inDoubt: the host counts as up only until the others have been asked. That keeps it from being condemned, and is no
// reason to give it anything.
func (x *stepper) inDoubt(h HostInfo) bool { return h.Good.Asking && !h.Good.alive() }

// unanimous: the port refuses, and the host's own agent says that the server's process is gone.
func (x *stepper) unanimous(h HostInfo) bool {
	return x.t.FastFailover && h.AgentUp && h.Good.Refused && h.ServerGone
}

// coldStart makes a host the writer that nobody has set online, where there would be no writer for ever: after a power
// cut. The host that was the writer last has all that was acknowledged, and needs no asking; another one only after
// wait_for_other_master, and not in silence.
func (x *stepper) coldStart() {
	a := x.writer()
	if a == nil || x.s.Mode != Active || x.s.LastWriter == "" || a.Holder != "" || a.Leaving != "" {
		return
	}
	r, _ := x.t.Role(a.Role)
	best, lacking := "", false // lacking: somebody is ONLINE who lacks something
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
		return // withhold decides between those who are ONLINE; or nobody is to get it
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

// Echo is the stamp to send host with an order of this epoch: none to one that the epoch makes the writer and that is
// not any more, or of which this monitor can't be sure yet.
func (s State) Echo(t Topology, host string, e Epoch) Stamp {
	if e.Grants(host) && (!s.Epoch.Grants(host) || s.unsure > 0) {
		return Stamp{}
	}
	return s.Hosts[host].Stamp
}

// LeaseLeft is how long it may take until the role of an unreachable writer can move; 0 without a lease.
func (s State) LeaseLeft(t Topology) time.Duration {
	if !t.leased() {
		return 0
	}
	return max(max(s.vouched+s.Epoch.Terms.Longest.Over(), s.patience)-s.stepped, 0)
}

// leaseLeft says it for people.
func (s State) leaseLeft(t Topology) string {
	return fmt.Sprintf("%.1f seconds", s.LeaseLeft(t).Seconds())
}
