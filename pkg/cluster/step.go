package cluster

import (
	"slices"
	"time"
)

// Input is everything that happened since the last Step.
type Input struct {
	Now       time.Duration       // monitor's monotonic clock
	NetworkUp bool                // whether one of the ping_ips answers
	Verdicts  map[string]Verdicts // of every host, as they stand now
	Answers   []Answer
	Killed    []KillResult
	// for each host that this monitor can't reach: another host that reaches its server; nil: unchanged
	ReachedBy map[string]string
	Warnings  []string // about the servers, as they stand now
	Command   *Command
}

// Answer is what an agent answered to an order, or why it could not be reached with it.
type Answer struct {
	Host     string
	Seq      uint64 // of the order that was sent
	Reached  bool   // it answered at all
	OK       bool   // its text begins with OK
	Text     string // its text, or why it could not be reached
	Uptime   float64
	Extended bool // one of our agents: the fields below say what is
	Busy     bool // still at work on the order
	Have     []RoleIP
	Writable bool // its server certainly or possibly accepts writes
	Switch   Switch
	Problems []string
	// those of the Problems that say that another machine has an address
	Conflicts []string

	// What the lease rests on; zero from an original agent.
	Epoch      Epoch  // newest epoch that the agent knows
	Stamp      Stamp  // the agent's clock when it answered
	Live       bool   // it holds the writer role at the moment
	Candidates string // hosts that may be the writer by its own file, joined; "": it does not say
	PromisedTo string // host that this one last vouched for
	PromiseAge time.Duration
	ServerGone bool // its server's process is gone

	Backup  string  // what backs its server up; "" for nothing
	Astray  bool    // its server has executed what the writer lacks
	Writing Writing // what it says of its server's writing

	Embargo Embargo // the former writer that it replicates nothing more from
	Audit   Audit   // what it found in its own log; without Waived
	Across  Across  // what it found in the log of a former writer whose agent can't look
	Via     string  // host whose agent passed it on; "" for none
}

// KillResult is how kill_host ended; Err is empty when the host is off for certain.
type KillResult struct {
	Host string
	Err  string
}

// stepper carries one Step through its parts.
type stepper struct {
	t   Topology
	s   *State
	in  Input
	out *Output
	seq uint64 // number the orders get if this step changes them

	moved bool // this round changed something that may make room for more
}

// Step takes what happened and returns the next state with the events that explain it. Neither t, s nor in is changed.
// The same values give the same answer, always.
func Step(t Topology, s State, in Input) (State, Output) {
	next := s.clone()
	next.Warnings = in.Warnings
	var out Output
	x := stepper{t: t, s: &next, in: in, out: &out, seq: s.Seq + 1}
	x.network()
	x.pause()
	x.reachability()
	x.answers()
	if !x.s.bootKnown {
		x.powerCut(func(host string) float64 { return x.s.Hosts[host].Uptime })
	}
	x.lostState()
	x.confirm()
	x.kills()
	if in.Command != nil {
		x.command(*in.Command)
	}
	if next.NetworkUp && next.Mode != Passive {
		x.verdicts()
		x.ended()
		x.reception()
		// Until nothing follows any more: one change can make room for the next. A few rounds always suffice.
		x.moved = true
		for round := 0; round < maxRounds && x.moved; round++ {
			x.moved = false
			x.round()
		}
		x.lacks()
	}
	x.settle()
	x.newTerms()
	x.newEpoch()
	x.expose()
	if x.numbered() || mayOrder(s, next) && !slices.EqualFunc(Orders(t, s), Orders(t, next), Order.Equal) {
		next.Seq = x.seq
	}
	return next, out
}

// mayOrder says whether the orders of two states can differ: most steps change nothing that orders are made of.
func mayOrder(s, next State) bool {
	if s.Mode != next.Mode || s.Switch != next.Switch || s.Epoch != next.Epoch ||
		!slices.Equal(s.Addresses, next.Addresses) {
		return true
	}
	for name, h := range next.Hosts {
		if old := s.Hosts[name]; old.State != h.State || old.Audit != h.Audit || old.Embargo != h.Embargo ||
			old.Writing.Fenced != h.Writing.Fenced || old.ServerGone != h.ServerGone || old.AgentUp != h.AgentUp ||
			old.Classic != h.Classic {
			return true
		}
	}
	return false
}

// numbered: something waits for an answer to the orders of this very step, so these orders need a number of their own,
// even where they say the same as the last ones.
func (x *stepper) numbered() bool {
	for _, h := range x.s.Hosts {
		if h.tellSeq == x.seq {
			return true
		}
	}
	return slices.ContainsFunc(x.s.Addresses, func(a Address) bool { return a.seq == x.seq })
}

// maxRounds bounds what one Step does, should two rules ever undo each other.
const maxRounds = 8

// round evaluates every rule once.
func (x *stepper) round() {
	x.back()
	for _, h := range x.t.Hosts {
		x.host(h)
	}
	x.coldStart()
	x.waitMode()
	x.replaceStalled()
	x.release()
	x.assign()
}

func (x *stepper) network() {
	switch {
	case x.s.NetworkUp && !x.in.NetworkUp:
		x.out.add(Fatal, "", "Network is unreachable")
	case !x.s.NetworkUp && x.in.NetworkUp:
		x.out.add(Fatal, "", "Network is reachable")
		x.s.NetworkBack = x.in.Now
	}
	x.s.NetworkUp = x.in.NetworkUp
}

// networkJustBack: the monitor's own network came back a moment ago, so the silence of a host says nothing about the
// host yet.
func (x *stepper) networkJustBack() bool {
	return x.s.NetworkBack > 0 && x.in.Now < x.s.NetworkBack+x.t.NetworkGrace
}

// verdicts takes over the checks' verdicts. Right after the monitor's own network came back a check that failed
// meanwhile says nothing about its host yet.
func (x *stepper) verdicts() {
	grace := x.networkJustBack()
	for name, v := range x.in.Verdicts {
		h, known := x.s.Hosts[name]
		if !known {
			continue
		}
		if grace {
			v.Ping = v.Ping || h.Good.Ping
			v.MySQL = v.MySQL || h.Good.MySQL
			v.RepThreads = v.RepThreads || h.Good.RepThreads
			v.RepBacklog = v.RepBacklog || h.Good.RepBacklog
		}
		h.Good = v
		if v.MySQL {
			h.gaveUp = 0
		}
		x.s.Hosts[name] = h
	}
}

// waitMode ends WAIT: both masters are ONLINE, or one has been for wait_for_other_master.
func (x *stepper) waitMode() {
	if x.s.Mode != Wait {
		return
	}
	var masters, online int
	var longest time.Duration
	for _, h := range x.t.Hosts {
		if !x.t.mayWrite(h.Name) {
			continue
		}
		masters++
		if info := x.s.Hosts[h.Name]; info.State == Online {
			online++
			longest = max(longest, x.in.Now-max(info.Since, x.s.ModeSince))
		}
	}
	switch patience := x.t.WaitForOtherMaster; {
	case online > 0 && online == masters:
		x.out.add(Fatal, "", "All masters are ONLINE: switching into active mode")
	case online > 0 && patience > 0 && longest >= patience:
		x.out.add(Fatal, "",
			"Only %d of %d masters ONLINE after wait_for_other_master(%d seconds): switching into active mode", online,
			masters, int(patience.Seconds()))
	default:
		return
	}
	x.activate()
}
