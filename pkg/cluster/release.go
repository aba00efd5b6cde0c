package cluster

import (
	"fmt"
	"slices"
	"time"
)

// take starts to take an address from its holder; next is the host it is meant for, or "" for whoever fits.
func (x *stepper) take(a *Address, next string) {
	x.leaves(a, next)
	a.Leaving, a.Holder, a.Next = a.Holder, "", next
	a.Confirmed, a.failed, a.origin, a.gone, a.Forced = false, "", "", "", false
	a.Lacks, a.accepted = false, false
	a.seq, a.since = x.seq, x.in.Now
	a.busy, a.awaited = 0, false
	now, known := x.in.Verdicts[a.Leaving]
	a.answered = x.s.Hosts[a.Leaving].Good.MySQL && (!known || now.MySQL)
	x.moved = true
}

// leaves tells that an address begins to leave its holder. An address that goes back counts as under way since it left
// its first holder.
func (x *stepper) leaves(a *Address, next string) {
	if !a.journey.underway || a.journey.from == "" {
		a.journey = journey{underway: true, from: a.Holder, planned: next != "", began: x.in.Now}
	}
	x.out.happened(a.Holder, RoleLeaving{Role: a.RoleIP, From: a.Holder, To: next, Planned: next != ""})
}

// given tells that an address has a new holder. That host need not have the address yet.
func (x *stepper) given(a *Address) {
	if !a.journey.underway {
		a.journey = journey{underway: true, began: x.in.Now}
	}
	from := a.journey.from
	if a.Role == x.t.ActiveMasterRole {
		from = x.s.LastWriter
	}
	x.out.happened(a.Holder, RoleGiven{Role: a.RoleIP, From: from, To: a.Holder, Planned: a.journey.planned})
}

// arrives tells that the holder's agent has said that it has the address, the first time that it says so.
func (x *stepper) arrives(a *Address) {
	j := a.journey
	if !j.underway {
		return
	}
	a.journey = journey{}
	x.out.happened(a.Holder, RoleArrived{Role: a.RoleIP, From: j.from, To: a.Holder, Planned: j.planned,
		Took: x.in.Now - j.began})
}

// give hands a free address to a host.
func (x *stepper) give(a *Address, host string) {
	a.Forced = a.Forced && host == a.Next
	a.Holder, a.Next, a.Confirmed = host, "", false
	a.accepted, a.awaited = false, false
	a.seq, a.since = x.seq, x.in.Now
	x.moved = true
	x.given(a)
	if a.Role != x.t.ActiveMasterRole {
		return
	}
	if x.s.epochs(x.t) {
		x.appointed(host)
	}
	x.s.vouched = x.in.Now
	if host != x.s.LastWriter {
		x.s.opened = ""
		x.s.Switch = Switch{From: x.s.LastWriter, To: host}
		x.outlive(x.s.LastWriter)
		x.s.LastWriter = host
	}
}

// answers takes over what agents said, and which agents could not be reached.
func (x *stepper) answers() {
	for _, ans := range x.in.Answers {
		h, known := x.s.Hosts[ans.Host]
		if !known || !ans.Reached && !x.s.NetworkUp {
			continue // without a network of our own, not reaching an agent says nothing about it
		}
		switch {
		case h.AgentUp && !ans.Reached:
			x.out.add(Fatal, ans.Host, "Can't reach agent on host '%s'", ans.Host)
		case !h.AgentUp && ans.Reached:
			x.out.add(Fatal, ans.Host, "Agent on host '%s' is reachable again", ans.Host)
			h.back = x.in.Now
		}
		h.AgentUp = ans.Reached
		if !ans.Reached && h.silent == 0 {
			h.silent = x.in.Now
		}
		if ans.Reached {
			h.silent = 0
			x.booted(&h, ans)
			h.Uptime = ans.Uptime
			if h.State == Online {
				h.OnlineUptime = ans.Uptime
			}
			if ans.Seq >= h.tellSeq {
				h.tellSeq = 0
			}
			h.Via, h.Working = ans.Via, ans.Busy
			if !ans.Busy { // an agent that is busy says nothing about these
				h.ServerGone, h.Writing, h.Backup = ans.ServerGone, ans.Writing, ans.Backup
				h.Embargo, h.Astray = ans.Embargo, ans.Astray
			}
			h.Problems = x.problems(h, ans)
			x.heard(&h, ans)
		}
		x.s.Hosts[ans.Host] = h
		if ans.Reached {
			x.audits(ans)
		}
		if !ans.Reached && h.tellSeq > 0 && ans.Seq >= h.tellSeq {
			x.out.add(Error, ans.Host, "Can't send offline status notification to '%s' - killing it!", ans.Host)
			x.kill(ans.Host)
		}
		for i := range x.s.Addresses {
			x.answerFor(&x.s.Addresses[i], ans)
		}
		if ans.Reached && ans.Host == x.s.Switch.To && ans.Host == x.s.ActiveMaster(x.t) {
			x.noteSwitch(ans)
		}
	}
}

// problems is what the answer complains of; what is new is logged, once.
func (x *stepper) problems(h HostInfo, ans Answer) []string {
	now := slices.Clone(ans.Problems)
	if !ans.OK && !ans.Busy && len(now) == 0 {
		now = []string{ans.Text}
	}
	for _, p := range now {
		if !slices.Contains(h.Problems, p) {
			x.out.add(Error, ans.Host, "Agent on host '%s' reports: %s", ans.Host, p)
			if slices.Contains(ans.Conflicts, p) {
				x.out.about(Conflict{})
			}
		}
	}
	return now
}

func (x *stepper) answerFor(a *Address, ans Answer) {
	if ans.Seq < a.seq {
		return // says nothing about what the present order asks
	}
	switch {
	case a.Holder == ans.Host && ans.Reached:
		a.Confirmed = holds(a, ans)
		if a.Confirmed {
			x.arrives(a)
			a.origin, a.Forced, a.Lacks = "", false, false
		}
	case a.Leaving == ans.Host:
		if ans.Reached && ans.Busy {
			a.busy = x.in.Now
		}
		switch {
		case ans.Reached && x.protected(a, ans.Host) && x.s.unsure > 0: // see confirm: its word proves nothing yet
		case ans.Reached && x.protected(a, ans.Host):
			if x.hasLeft(a, ans) {
				x.left(a, ans.Host)
			} else if !ans.Busy {
				a.failed = notLeft(ans)
			}
		case ans.Reached && x.free(a, ans):
			x.left(a, "")
		case !ans.Reached:
			a.failed = "its agent can't be reached: " + ans.Text
		case !ans.Busy:
			a.failed = notLeft(ans)
		}
	}
}

// notLeft is why an address has not left a host, by an answer of its agent.
func notLeft(ans Answer) string {
	switch {
	case len(ans.Problems) > 0:
		return ans.Problems[0]
	case ans.OK:
		return "its agent says that it still has the role"
	}
	return ans.Text
}

// holds: the answer says that the host has the address.
func holds(a *Address, ans Answer) bool {
	if !ans.Extended {
		return ans.OK // all that a classic agent says
	}
	return slices.Contains(ans.Have, a.RoleIP)
}

// free: the answer proves that the host does not have the address any more and, where it was the writer, that its
// server does not accept writes.
func (x *stepper) free(a *Address, ans Answer) bool {
	if !ans.Extended {
		return ans.OK
	}
	return !slices.Contains(ans.Have, a.RoleIP) && (a.Role != x.t.ActiveMasterRole || !ans.Writable)
}

// noteSwitch takes over at which positions the new writer took over, as its agent says, so that slaves can follow it.
// An original agent does not say: then slaves follow as they do in the original.
func (x *stepper) noteSwitch(ans Answer) {
	switch {
	case !ans.Extended && ans.OK && x.s.Switch.Start == "":
		x.s.Switch = Switch{}
	case ans.Switch.To == ans.Host && ans.Switch.Start != "" && x.s.Switch.Start == "":
		x.s.Switch = ans.Switch
	}
}

// kill asks for kill_host to be run, unless it is running for that host already.
func (x *stepper) kill(host string) {
	h, known := x.s.Hosts[host]
	h.tellSeq = 0
	if !h.killing {
		h.killing = true
		x.out.Kills = append(x.out.Kills, Kill{Host: host, PingGood: h.Good.Ping})
	}
	if known {
		x.s.Hosts[host] = h
	}
}

// kills takes over how kill_host ended. Where there is none, or it fails, a role without a lease is given away all the
// same, as in the original and with a FATAL line: there is no better proof. With a lease the end of the lease is waited
// for; a writer that may hold the role without one, although there is to be a lease now, is waited for itself.
func (x *stepper) kills() {
	for _, k := range x.in.Killed {
		h, known := x.s.Hosts[k.Host] // a writer may have been taken out of the configuration
		h.killing = false
		if known {
			x.s.Hosts[k.Host] = h
		}
		waits := false
		for i := range x.s.Addresses {
			a := &x.s.Addresses[i]
			switch {
			case a.Leaving != k.Host || a.failed == "":
			case k.Err != "" && x.protected(a, k.Host) && (x.t.leased() || !x.s.Endless):
				waits = true // for a proof: the end of its lease or, without a lease, its word
			default:
				if k.Err == "" && a.Role == x.t.ActiveMasterRole && !x.disowned() {
					x.s.Endless = false
				}
				x.left(a, "")
			}
		}
		switch {
		case k.Err == "":
			x.out.add(Info, k.Host, "Host '%s' has been killed", k.Host)
		case waits && x.s.Endless:
			x.out.add(Fatal, k.Host,
				"Could not kill host '%s' (%s) - it may hold the writer role without a lease: nobody else is the writer before it "+
					"is back, or has been killed, or an operator forces the role away", k.Host, k.Err)
		case waits:
			x.out.add(Fatal, k.Host,
				"Could not kill host '%s' (%s) - its writer role waits until its lease has run out", k.Host, k.Err)
		case x.t.leased() && !h.Classic:
			x.out.add(Warn, k.Host, "Could not kill host '%s' (%s)", k.Host, k.Err)
		default:
			x.out.add(Fatal, k.Host, "Could not kill host '%s' (%s) - there may be duplicate ips now!", k.Host, k.Err)
			x.out.about(Conflict{})
		}
	}
}

// release decides about addresses that their host fails to give up, and about planned moves whose target fails.
func (x *stepper) release() {
	x.lapse()
	x.expire()
	for i := range x.s.Addresses {
		a := &x.s.Addresses[i]
		x.releaseStuck(a)
		x.moveBack(a)
		x.passOn(a)
		x.unanswered(a)
	}
}

// expire takes the addresses of readers from a host whose agent has been silent for so long that they have gone by
// themselves, and makes them free for other hosts. Where that host still has them (only the monitor can't reach its
// agent), the new host finds that another machine has the address, and does not add it.
func (x *stepper) expire() {
	if !x.t.leased() || x.s.manual() {
		return
	}
	for i := range x.s.Addresses {
		a := &x.s.Addresses[i]
		h := x.s.Hosts[a.Holder]
		r, _ := x.t.Role(a.Role)
		if r.Exclusive || h.AgentUp || h.Classic || h.silent == 0 || x.in.Now-h.silent < x.t.Lease.Over() ||
			x.fewest(r) == "" {
			continue
		}
		x.out.add(Warn, a.Holder,
			"Role '%s' is taken from host '%s': its agent has not answered for %.1f seconds, and addresses last no longer without it",
			a.RoleIP, a.Holder, (x.in.Now - h.silent).Seconds())
		x.take(a, "")
		x.left(a, "")
	}
}

func (x *stepper) releaseStuck(a *Address) {
	if a.Leaving == "" {
		return
	}
	if late := x.in.Now - a.since; late >= x.t.ReleaseTimeout && a.failed == "" {
		x.overdue(a, late)
	}
	if a.failed == "" {
		return
	}
	host := a.Leaving
	r, _ := x.t.Role(a.Role)
	switch {
	case a.Next != "" && !a.Forced && x.s.Hosts[host].State == Online: // a planned move, which forces nothing
		x.out.add(Fatal, host, "Role '%s' stays on host '%s': %s", a.RoleIP, host, a.failed)
		a.Why = a.failed
		a.Holder, a.Leaving, a.Next, a.failed = host, "", "", ""
		x.given(a)
		a.seq, a.since, a.notBefore = x.seq, x.in.Now, x.in.Now+freshPeer
		x.moved = true
	case !r.Exclusive:
		x.out.add(Error, host, "Role '%s' is taken from host '%s' although its agent has not confirmed that it gave the role up: %s",
			a.RoleIP, host, a.failed)
		x.left(a, "")
	case x.protected(a, host) && x.s.Hosts[host].State != HardOffline && (x.s.Hosts[host].AgentUp || a.Forced):
		if !a.awaited {
			a.awaited = true
			x.out.add(Error, host, "Host '%s' did not give up role '%s' (%s): %s, and its lease is waited for", host,
				a.RoleIP, a.failed, map[bool]string{true: "its agent answers", false: "an operator forces it away"}[x.s.Hosts[host].AgentUp])
		}
	case a.killed == a.seq:
	case !x.s.Hosts[host].killing:
		a.killed = a.seq
		x.out.add(Error, host, "Host '%s' did not give up role '%s' (%s) - killing it!", host, a.RoleIP, a.failed)
		x.kill(host)
	}
}

const (
	freshBusy = 5 * time.Second // an agent that is at work says so every few seconds
	// how much longer than ReleaseTimeout an agent at work is waited for: in a planned move, for an address of a
	// balanced role, and where its server is dead. In all other cases it is waited for as long as it is at work.
	longBusy = time.Minute
)

// overdue looks at a host that takes long to give an address up. Where its agent says that it is at work on that, it is
// waited for: a statement that was killed may take its time to be rolled back. kill_host is for hosts whose agent or
// server does not answer.
func (x *stepper) overdue(a *Address, late time.Duration) {
	r, _ := x.t.Role(a.Role)
	atWork := a.busy > 0 && x.in.Now-a.busy < freshBusy
	lost := a.Next != "" || !r.Exclusive || x.s.Hosts[a.Leaving].State == HardOffline
	switch {
	case !atWork, lost && late >= x.t.ReleaseTimeout+longBusy:
		a.failed = fmt.Sprintf("it has not given it up for %d seconds", int(late.Seconds()))
	case !a.awaited:
		a.awaited = true
		x.out.add(Warn, a.Leaving,
			"Host '%s' has not given up role '%s' for %d seconds, and says that it is at work on it: waiting for it",
			a.Leaving, a.RoleIP, int(late.Seconds()))
	}
}

// excused: the host is giving the writer role up, by its agent's word, or has just done so. Its server may refuse the
// monitor's connections meanwhile, as it does where iptables_block_cmd (blocking_type soft) keeps everybody away: a
// failed check is no sign of death then, nor for NetworkGrace afterwards. A host that answers no pings, or whose agent
// does not answer or says that the server is gone, is judged as any other, and so is a host that takes too long.
func (x *stepper) excused(host string) bool {
	h := x.s.Hosts[host]
	if !h.AgentUp || h.ServerGone || !h.Good.Ping || x.s.manual() {
		return false
	}
	if x.givesUp(host) {
		h.gaveUp = x.in.Now
		x.s.Hosts[host] = h
	}
	return h.gaveUp > 0 && x.in.Now < h.gaveUp+x.t.NetworkGrace
}

// givesUp: the host is giving the writer role up, its server answered when that began, and either ReleaseTimeout is not
// over or its agent says that it is at work on it.
func (x *stepper) givesUp(host string) bool {
	a := x.writer()
	if a == nil || a.Leaving != host || !a.answered || a.failed != "" {
		return false
	}
	return x.in.Now-a.since < x.t.ReleaseTimeout || a.busy > 0 && x.in.Now-a.busy < freshBusy
}

// passOn takes the role from a host that was given it while there was no writer, and that fails to take it, where
// another host could take it. A host that is at work, on what it has received of the former writer's log, is waited
// for. A host that can't even write down that it was appointed is not.
func (x *stepper) passOn(a *Address) {
	h := x.s.Hosts[a.Holder]
	if a.Role != x.t.ActiveMasterRole || a.Holder == "" || a.Confirmed || a.origin != "" || a.Forced || x.s.manual() ||
		x.in.Now-max(a.since, h.back) < x.t.SwitchTimeout {
		return
	}
	recorded := !x.s.epochs(x.t) || x.s.acked > 0
	if !h.AgentUp || h.Classic || recorded && (h.Working || len(h.Problems) == 0) {
		return // it is at work, or waits until a promise that it gave is over
	}
	r, _ := x.t.Role(a.Role)
	failed := a.Holder
	h.shunned = x.in.Now + freshPeer
	x.s.Hosts[failed] = h
	if to := x.fewest(r); to == "" || a.Lacks && x.s.missing(x.t, to) != "" {
		h.shunned = 0
		x.s.Hosts[failed] = h
		return
	}
	why := "its agent can't write down that it was appointed"
	if len(h.Problems) > 0 {
		why = h.Problems[0]
	}
	x.out.add(Fatal, failed, "Host '%s' has not taken role '%s' for %d seconds (%s): another one is to have it", failed,
		a.RoleIP,
		int((x.in.Now - a.since).Seconds()), why)
	x.take(a, "")
}

// moveBack ends a planned move whose target did not take the role within SwitchTimeout.
func (x *stepper) moveBack(a *Address) {
	if a.origin == "" || a.Holder == "" || a.Confirmed || x.in.Now-a.since < x.t.SwitchTimeout {
		return
	}
	target, origin := a.Holder, a.origin
	a.origin = ""
	r, _ := x.t.Role(a.Role)
	if !x.s.eligible(r, origin) {
		return
	}
	why := "it did not take it in time"
	if p := x.s.Hosts[target].Problems; len(p) > 0 {
		why = p[0]
	}
	x.out.add(Fatal, target, "Role '%s' could not be moved to '%s' (%s) - moving it back to '%s'", a.RoleIP, target,
		why, origin)
	x.take(a, origin)
	a.Why = why
	a.notBefore = x.in.Now + freshPeer
}
