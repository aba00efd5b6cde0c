package cluster

import (
	"fmt"
	"slices"
	"time"
)

// This file is about who may take over from a writer that is dead. Nobody is promoted in silence with less than that
// writer had: what each host receives of the writer's log is watched while the writer answers, and what was seen last
// counts when the writer is dead.

// Loss says what may be missing on a host that becomes the writer without the former writer's word ("failover_loss").
type Loss string

// The values of failover_loss. The zero value is LossNamed.
const (
	LossAny Loss = "any" // the first host that may have the role gets it, whatever it lacks
	// a host that lacks something gets it after wait_for_other_master only, and the log says what
	LossNamed Loss = "named"
	LossNone  Loss = "none" // only a host that certainly has all that was acknowledged gets it
)

// Reception is what the monitor has seen of a host's part in replication. Times are the monitor's clock; 0 is never.
type Reception struct {
	Answered time.Duration // when its server last answered
	Ended    time.Duration // when its port was last found closed: its server had ended
	Lost     time.Duration // since when it receives nothing; 0: it does receive, or that is not known
	Received time.Duration // when it was last found to receive
	Surveyed time.Duration // when its server was last asked for GTID and the fields after it
	Stopped  bool          // it does not even try to receive
	Stuck    bool          // it does not execute what it has received
	Delay    time.Duration // how much later it executes, on purpose (SQL_Delay)
	From     string        // host that it replicates from; "" where that is not known
	SourceID uint32        // server_id of the server that it is connected to; 0 where that is not known
	ServerID uint32        // its own server_id; 0 where that is not known

	GTID   bool // it finds its place by GTID, so it can go on from another host
	Logs   bool // others can fetch from it what it has received
	Waits  bool // its commits wait for an acknowledgement (semi-synchronous replication)
	Ackers int  // how many replicas acknowledge them
	Acks   bool // it acknowledges what it receives
}

// Lack is what a host lacks of a writer's log. It is found while a writer holds the role, by what was seen when that
// writer last answered; without a writer it stays as it is. Only a restart of the host's own machine or server changes
// it at any time.
type Lack struct {
	Missed bool          // it did not receive for trap_period or longer while Of was the writer and answered
	Of     string        // whose log it lacks; "" where that is not known
	For    time.Duration // for how long it had received nothing when Of last answered; 0 where that is not known
	// its machine or server has ended since it last received, so that it may have lost what it had received
	Restarted bool
	Acked     bool // the writer's commits waited for its acknowledgement

	since time.Duration // since when it has not received; 0: it does
	last  time.Duration // when it was last seen not to receive, or to be restarted
}

// Fitness is the part of a Lack that outlives the monitor.
type Fitness string

// What a status file can say; "" where it says nothing.
const (
	FitnessUnknown Fitness = ""
	Lacking        Fitness = "lacking"
	Fit            Fitness = "fit"
	Acknowledged   Fitness = "acknowledged"
)

// ParseFitness reads a fitness as a status file has it. Any other text is an error, the empty one too.
func ParseFitness(s string) (Fitness, error) {
	switch f := Fitness(s); f {
	case Lacking, Fit, Acknowledged:
		return f, nil
	case FitnessUnknown:
	}
	return "", fmt.Errorf("unknown fitness %q", s)
}

func (l Lack) fitness() Fitness {
	switch {
	case l.Missed:
		return Lacking
	case l.Acked:
		return Acknowledged
	}
	return Fit
}

// lack is the Lack that a status file tells of. Where the file says nothing (it is of an original monitor, or of a
// version that did not know fitness) the host's state counts: a host that was not ONLINE beside a writer may lack
// anything.
func (h StoredHost) lack(host, writer string) Lack {
	switch h.Fitness {
	case Lacking:
		return Lack{Missed: true, Of: h.LackOf}
	case Fit:
		return Lack{}
	case Acknowledged:
		return Lack{Acked: true}
	case FitnessUnknown:
	}
	trusted := h.State == Online || h.State == AwaitingRecovery
	if trusted || host == writer {
		return Lack{}
	}
	return Lack{Missed: true, Of: writer}
}

// reception takes over how all hosts receive what the writer writes. While no host is known to be open as the writer
// nothing can be missed, so everything stays as it is.
func (x *stepper) reception() {
	a := x.writer()
	if a == nil {
		return
	}
	if a.Holder != "" || a.Leaving != "" {
		x.s.vacant, x.s.withheld = 0, ""
	}
	if a.Holder == "" || !a.Confirmed {
		return
	}
	x.s.opened = a.Holder
	acks := 0
	for _, h := range x.s.Hosts {
		if h.Good.Acks {
			acks++
		}
	}
	for _, t := range x.t.Hosts {
		h := x.s.Hosts[t.Name]
		next := Lack{}
		if t.Name != a.Holder {
			next = x.lack(h, a.Holder, acks)
		}
		if h.Lack.fitness() != next.fitness() || h.Lack.Of != next.Of {
			x.out.Save = true
		}
		x.tellLack(t.Name, h, next)
		h.Lack = next
		x.s.Hosts[t.Name] = h
	}
}

// booted notes the boot that an answer names, and what the host may have lost where its machine has booted since.
func (x *stepper) booted(h *HostInfo, ans Answer) {
	was, boot := h.Boot, ans.Stamp.machine()
	anew := h.Uptime > 0 && ans.Uptime < h.Uptime-bootSlack.Seconds()
	if was != "" && boot != "" {
		anew = was != boot
	}
	if boot != "" && boot != was {
		h.Boot, x.out.Save = boot, true
	}
	if anew {
		x.restarted(ans.Host, h)
	}
}

// ended notes which servers have ended, and what their hosts may have lost by that.
func (x *stepper) ended() {
	for _, t := range x.t.Hosts {
		h := x.s.Hosts[t.Name]
		if h.Good.Ended <= h.ended {
			continue
		}
		h.ended = h.Good.Ended
		x.restarted(t.Name, &h)
		x.s.Hosts[t.Name] = h
	}
}

// restarted: the machine of a host has booted, or its server has ended. What the host had received of the writer's log,
// and acknowledged, need not be there when the server is back: not all of it was on the disk (sync_relay_log), or the
// server throws it away at its start and fetches it again (relay_log_recovery; MariaDB by GTID always). The host counts
// as lacking that until it has received for trap_period again, whoever is the writer by then.
func (x *stepper) restarted(host string, h *HostInfo) {
	of := x.s.precedes(host)
	switch {
	case of == "":
		return
	case h.Lack.Missed:
		h.Lack.last = x.in.Now
		return
	}
	next := lostByRestart(of, x.in.Now)
	x.tellLack(host, *h, next)
	h.Lack = next
	x.out.Save = true
}

// precedes is the writer whose log a host needs, should it become the writer: "" where that is its own log. A host that
// has been appointed, and not found to have taken over, still needs the log of the writer before it.
func (s State) precedes(host string) string {
	sw := s.Switch
	switch {
	case host != s.LastWriter:
		return s.LastWriter
	case sw.To == host && sw.Start == "" && sw.From != host && s.opened != host:
		return sw.From
	}
	return ""
}

// lostByRestart is the Lack of a host that was restarted: what it had received of the writer's log may be lost.
func lostByRestart(writer string, now time.Duration) Lack {
	return Lack{Missed: true, Restarted: true, Of: writer, last: now}
}

// bootSlack: an answer that arrives late tells of a shorter uptime than the one before it, and the machine has not
// booted. The uptime is compared only where an agent does not name its boot (the original's).
const bootSlack = 5 * time.Second

// lack is what the host lacks now of the writer's log.
func (x *stepper) lack(h HostInfo, writer string, acks int) Lack {
	l, w, g := h.Lack, x.s.Hosts[writer].Good, h.Good
	elsewhere := g.elsewhere(writer, w.Reception)
	switch {
	case !x.alive(h): // it has not answered for trap_period
		l.since = first(l.since, max(x.in.Now-x.t.Interruption, 1))
	case g.Lost > 0:
		l.since = first(l.since, g.Lost)
	case elsewhere:
		l.since = first(l.since, x.in.Now)
	default:
		l.since = 0
	}
	if l.since > 0 {
		l.last = x.in.Now
		if w.Answered >= l.since && w.Answered-l.since >= x.t.Interruption {
			l.Missed, l.Restarted, l.Of, l.For = true, false, writer, w.Answered-l.since
		}
	} else if l.Missed && h.Good.replicates() && g.Lag <= caughtUp && g.Received > l.last &&
		g.Received-l.last >= x.t.Interruption {
		l = Lack{}
	}
	// A survey that was made when the writer was dead already says nothing about its commits.
	if w.Answered > max(g.Surveyed, w.Surveyed) {
		l.Acked = l.since == 0 && !l.Missed && g.Acks && w.Waits && w.Ackers > 0 && w.Ackers == acks
	}
	return l
}

// elsewhere: the host certainly does not replicate from the writer, whose own reception is w. A server that is no host
// of the configuration is not the writer either.
func (r Reception) elsewhere(writer string, w Reception) bool {
	if r.From != "" {
		return r.From != writer
	}
	return r.SourceID != 0 && w.ServerID != 0 && r.SourceID != w.ServerID
}

// first is since, or now where since is 0.
func first(since, now time.Duration) time.Duration {
	if since > 0 {
		return since
	}
	return now
}

// tellLack logs what changes for a host that could take over. For a host that is not ONLINE its state says enough.
func (x *stepper) tellLack(name string, h HostInfo, next Lack) {
	if h.Lack.Missed == next.Missed || !x.t.mayWrite(name) || h.State != Online && next.Missed ||
		name == x.s.ActiveMaster(x.t) {
		return
	}
	if next.Restarted {
		x.out.add(Warn, name,
			"The server of host '%s' has ended: what it had received of '%s' may be lost, should it have to take over before it receives again",
			name, next.Of)
		return
	}
	if next.Missed {
		x.out.add(Warn, name,
			"Host '%s' receives nothing of what '%s' writes: it lacks that, should it have to take over", name, next.Of)
		return
	}
	x.out.add(Info, name, "Host '%s' has all that the writer writes again", name)
}

// missing says what host would certainly or possibly lack, were it to become the writer without the former writer's
// word: a sentence without a full stop; "" for nothing.
func (s State) missing(t Topology, host string) string {
	h, of := s.Hosts[host], s.LastWriter
	if h.Lack.Of != "" {
		of = h.Lack.Of
	}
	if of == "" {
		return "" // at a first start nobody has written anything
	}
	switch w := s.Hosts[of].Good; {
	case h.Lack.Missed && s.fetches(t, host, of):
	case h.Lack.Missed && h.Lack.Restarted:
		return fmt.Sprintf("the server of '%s' has ended and has not replicated from '%s' since: what it had received may be lost", host, of)
	case h.Lack.Missed && h.Lack.For > 0:
		return fmt.Sprintf("'%s' had received nothing of '%s' for %d seconds when '%s' last answered", host, of,
			int(h.Lack.For.Seconds()), of)
	case h.Lack.Missed:
		return fmt.Sprintf("'%s' did not replicate from '%s' when '%s' last answered", host, of, of)
	case host == of:
		return ""
	case h.Good.Stopped && w.Answered == 0:
		return fmt.Sprintf("the replication of '%s' is stopped, and '%s' has not answered since this monitor started",
			host, of)
	}
	if t.FailoverLoss == LossNone && !s.acknowledged(t, host, of) {
		return fmt.Sprintf("'%s' did not have to wait for an acknowledgement of '%s' when it committed", of, host)
	}
	return ""
}

// fetches: the host can get what it lacks, by GTID, from another host that lacks nothing. A host that replicates from a
// server which is no host of the configuration can't: it does not know whose log to go on with.
func (s State) fetches(t Topology, host, of string) bool {
	g := s.Hosts[host].Good
	if g.From == "" && g.elsewhere(of, s.Hosts[of].Good.Reception) {
		return false
	}
	return g.GTID && slices.ContainsFunc(t.Hosts, func(o Host) bool {
		h := s.Hosts[o.Name]
		return o.Name != host && o.Name != of && h.Good.alive() && h.Good.Logs && h.Good.From == of && !h.Lack.Missed
	})
}

// acknowledged: nothing can be missing on the host that the writer of told its clients was committed. Where several
// hosts acknowledge, each has for certain only what it acknowledged itself, so the host must be able to get the rest
// from the others.
func (s State) acknowledged(t Topology, host, of string) bool {
	h := s.Hosts[host]
	if lost := h.Good.Lost; !h.Lack.Acked || lost > 0 && lost <= s.Hosts[of].Good.Answered {
		return false
	}
	return !slices.ContainsFunc(t.Hosts, func(o Host) bool {
		other := s.Hosts[o.Name]
		return o.Name != host && other.Lack.Acked && !(h.Good.GTID && other.Good.alive() && other.Good.Logs)
	})
}

// mayTakeOver: the host may have the role as far as the data goes: it lacks nothing, or the former writer's server
// answers, so that the host fetches from there what it lacks, before it is opened.
func (x *stepper) mayTakeOver(r Role, host string) bool {
	if r.Name != x.t.ActiveMasterRole || x.t.FailoverLoss == LossAny {
		return true
	}
	of := x.s.LastWriter
	if l := x.s.Hosts[host].Lack; l.Of != "" {
		of = l.Of
	}
	return of != host && x.reachable(x.s.Hosts[of]) || x.s.missing(x.t, host) == ""
}

// reachable: as far as is known, the host's server answers at this very moment.
func (x *stepper) reachable(h HostInfo) bool {
	g := h.Good
	return h.AgentUp && !h.ServerGone && h.Writing == (Writing{}) && g.alive() && !g.Mute && !g.Asking && !g.Refused &&
		!g.Greeted
}

// fuller compares two hosts by what they have of the dead writer's log: below 0 where a has more.
func (x *stepper) fuller(a, b string) int {
	ha, hb := x.s.Hosts[a], x.s.Hosts[b]
	switch {
	case ha.Lack.Missed != hb.Lack.Missed:
		return sign(hb.Lack.Missed)
	case ha.Lack.Missed && ha.Lack.For != hb.Lack.For:
		return sign(ha.Lack.For > 0 && (hb.Lack.For == 0 || ha.Lack.For < hb.Lack.For))
	case ha.Good.Stuck != hb.Good.Stuck:
		return sign(hb.Good.Stuck)
	}
	return 0
}

func sign(before bool) int {
	if before {
		return -1
	}
	return 1
}

// sourceDown: the host's peer is dead, so its failing replication is not the host's own fault. That lets it in only
// where the last writer is not another host that is dead: else this host would be the writer before the last writer had
// time to come back.
func (x *stepper) sourceDown(t Host) bool {
	peer, known := x.peer(t)
	if !known || x.alive(peer) {
		return false
	}
	last := x.s.LastWriter
	return last == "" || last == t.Name || x.alive(x.s.Hosts[last])
}

// Missing lists what each host that may be the writer would lack, should it have to take over from the present one
// now; hosts that would lack nothing are left out.
func (s State) Missing(t Topology) map[string]string {
	all := map[string]string{}
	r, _ := t.Role(t.ActiveMasterRole)
	for _, name := range r.Hosts {
		if why := s.missing(t, name); why != "" && name != s.ActiveMaster(t) {
			all[name] = why
		}
	}
	return all
}

// lacking are the candidates other than the writer that are up and lack something, for `show`: those that certainly do,
// and while the role is kept from everybody also those that possibly do.
func (s State) lacking(t Topology) []string {
	r, _ := t.Role(t.ActiveMasterRole)
	return slices.DeleteFunc(slices.Sorted(slices.Values(r.Hosts)), func(name string) bool {
		h := s.Hosts[name]
		out := h.State != Online && h.State != ReplicationFail && h.State != ReplicationDelay
		return out || !h.Lack.Missed && s.vacant == 0 || name == s.ActiveMaster(t) || s.missing(t, name) == ""
	})
}
