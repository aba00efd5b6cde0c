package cluster

import "fmt"

// This file is about what becomes of the writer role where every host that could have it lacks something: the role is
// kept back, or given to a host that is not opened, until that host can get what it lacks, or until that is given up.

// withhold keeps the role from hosts that all lack something, and logs that. After wait_for_other_master it gives the
// role to the one with the most data.
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
	x.out.add(Fatal, best, "Role '%s' is given to nobody: %s. '%s' gets the role %s", a.RoleIP, why, best,
		x.until(r.Name, best))
}

// short logs what a host that takes over lacks because of an interruption that was too short to count as a Lack.
func (x *stepper) short(r Role, host string) {
	last := x.s.LastWriter
	if r.Name != x.t.ActiveMasterRole || host == last || x.reachable(x.s.Hosts[last]) {
		return
	}
	h := x.s.Hosts[host]
	if gap := x.s.Hosts[last].Good.Answered - h.Good.Lost; h.Good.Lost > 0 && gap > 0 && !h.Lack.Missed {
		x.out.add(Fatal, host,
			"Host '%s' had received nothing of '%s' for %.1f seconds when '%s' last answered: what was written in that time is missing", host, last, gap.Seconds(), last)
	}
}

// lacks marks a holder that was given the role although it lacks something, because the former writer, which alone has
// that, answers this monitor. The holder is not opened before the former writer's server has answered the holder too.
func (x *stepper) lacks() {
	a := x.writer()
	if a == nil {
		return
	}
	a.Lacks = a.Holder != "" && !a.Confirmed && !a.Forced && !a.accepted && x.t.FailoverLoss != LossAny &&
		x.s.missing(x.t, a.Holder) != ""
}

// unanswered is for a holder that is not opened because the former writer's server does not answer it (Address.Lacks).
// It logs what the holder waits for, and ends the waiting after wait_for_other_master.
func (x *stepper) unanswered(a *Address) {
	host := a.Holder
	h := x.s.Hosts[host]
	if !a.Lacks || !h.AgentUp || h.Working || len(h.Problems) == 0 {
		return
	}
	patience, why := x.t.WaitForOtherMaster, x.s.missing(x.t, host)
	if x.losesByTime() && x.in.Now-a.since >= patience {
		a.accepted = true
		a.seq, a.since = x.seq, x.in.Now // from now on the holder has as much time to take the role as any other
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
		"Role '%s' is given to '%s', which does not open before the server of '%s' answers it: %s. Else it opens %s",
		a.RoleIP, host, x.s.Switch.From, why, x.until(a.Role, host))
}

// losesByTime: after wait_for_other_master a host may be the writer without what it lacks.
func (x *stepper) losesByTime() bool {
	return x.t.FailoverLoss != LossNone && x.s.Mode == Active && x.t.WaitForOtherMaster > 0
}

// until says when, or by which command, a host that lacks something becomes the writer all the same.
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
	return fmt.Sprintf("after %d seconds (wait_for_other_master), or at once %s", patience, force)
}

// promote gives the role to a host that lacks something.
func (x *stepper) promote(a *Address, host, because string) {
	x.out.add(Fatal, host, "DATA LOSS: role '%s' is given to '%s', because %s: %s", a.RoleIP, host, because,
		x.s.missing(x.t, host))
	x.give(a, host)
	a.accepted = true
}
