package cluster

import "fmt"

// This file is about what becomes of the writer's role where everybody who could have it lacks something: it is kept
// back, or given to a host that does not open, until what is lacking can be had, or is given up.

// withhold keeps the role from hosts that lack something, says so, and ends that after wait_for_other_master.
func (x *stepper) withhold(r Role, a *Address) {
	best, lacking := "", ""
	for _, name := range r.Hosts {
		if !x.s.eligible(r, name) {
			continue
		}
		lacking += name + " "
		if best == "" || x.fuller(name, best) < 0 {
			best = name
		}
	}
	if best == "" || x.mayTakeOver(r, best) {
		return
	}
	x.s.vacant = first(x.s.vacant, x.in.Now)
	why, patience := x.s.missing(x.t, best), x.t.WaitForOtherMaster
	began := max(x.s.vacant, x.s.Hosts[best].Since)
	if x.losesByTime() && x.in.Now-began >= patience {
		x.promote(a, best, fmt.Sprintf("'%s' has not come back for %d seconds", x.s.LastWriter,
			int(patience.Seconds())))
		return
	}
	if x.s.withheld == lacking {
		return
	}
	x.s.withheld = lacking
	x.out.add(Fatal, best, "Role '%s' is given to nobody: %s. It gets the role %s", a.RoleIP, why,
		x.until(r.Name, best))
}

// short says what a host that takes over lacks because of an interruption that was too short to count.
func (x *stepper) short(r Role, host string) {
	last := x.s.LastWriter
	if r.Name != x.t.ActiveMasterRole || host == last || x.reachable(x.s.Hosts[last]) {
		return
	}
	h := x.s.Hosts[host]
	if gap := x.s.Hosts[last].Good.Answered - h.Good.Lost; h.Good.Lost > 0 && gap > 0 && !h.Lack.Missed {
		x.out.add(Fatal, host,
			"Host '%s' had received nothing of '%s' for %.1f seconds when that last answered: what was written then is missing", host, last, gap.Seconds())
	}
}

// lacks marks a holder that was given the role though it lacks something, because the writer before it, which alone has
// that, answers: it is not to open without that one's word. What answered a moment ago may not answer it.
func (x *stepper) lacks() {
	a := x.writer()
	if a == nil {
		return
	}
	a.Lacks = a.Holder != "" && !a.Confirmed && !a.Forced && !a.accepted && x.t.FailoverLoss != LossAny &&
		x.s.missing(x.t, a.Holder) != ""
}

// unanswered ends, after wait_for_other_master, that a holder is not opened before the writer before it has answered
// it, and says before that what it waits for.
func (x *stepper) unanswered(a *Address) {
	host := a.Holder
	h := x.s.Hosts[host]
	if !a.Lacks || !h.AgentUp || h.Working || len(h.Problems) == 0 {
		return
	}
	patience, why := x.t.WaitForOtherMaster, x.s.missing(x.t, host)
	if x.losesByTime() && x.in.Now-a.since >= patience {
		a.accepted = true
		a.seq, a.since = x.seq, x.in.Now // from now on it has the time that everybody has to take the role
		x.out.add(Fatal, host,
			"DATA LOSS: host '%s' opens as the writer, because '%s' has not come back for %d seconds: %s",
			host, x.s.Switch.From, int(patience.Seconds()), why)
		return
	}
	if a.awaited {
		return
	}
	a.awaited = true
	x.out.add(Fatal, host,
		"Role '%s' is given to '%s', which does not open without the word of '%s': %s. It opens when that one answers it, else %s",
		a.RoleIP, host, x.s.Switch.From, why, x.until(a.Role, host))
}

// losesByTime: what nobody else has is given up after wait_for_other_master.
func (x *stepper) losesByTime() bool {
	return x.t.FailoverLoss != LossNone && x.s.Mode == Active && x.t.WaitForOtherMaster > 0
}

// until says when, or how, a host that lacks something is the writer all the same.
func (x *stepper) until(role, host string) string {
	force := fmt.Sprintf("with 'mmm_control move_role --force %s %s'", role, host)
	patience := int(x.t.WaitForOtherMaster.Seconds())
	switch {
	case x.t.FailoverLoss == LossNone:
		return fmt.Sprintf("only %s (failover_loss none)", force)
	case x.s.Mode != Active:
		return fmt.Sprintf("only %s (mode %s)", force, x.s.Mode)
	case patience == 0:
		return fmt.Sprintf("only %s (wait_for_other_master 0)", force)
	}
	return fmt.Sprintf("%d seconds after (wait_for_other_master), or at once %s", patience, force)
}

// promote gives the role to a host that lacks something.
func (x *stepper) promote(a *Address, host, because string) {
	x.out.add(Fatal, host, "DATA LOSS: role '%s' is given to '%s', because %s: %s", a.RoleIP, host, because,
		x.s.missing(x.t, host))
	x.give(a, host)
	a.accepted = true
}
