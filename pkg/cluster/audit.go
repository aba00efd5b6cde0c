package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// This file is about transactions that only a former writer has. A successor that takes over without the former
// writer's word (the former writer was dead, say) notes up to which place it has the former writer's log, and
// replicates nothing more from there. When the former writer is back, its agent looks for transactions beyond that
// place. An original agent can't look: then the successor's agent looks at the log across the network. Where nothing is
// found the former writer rejoins by itself; else an operator decides.

// Audit is what is known of the end of a former writer's log.
type Audit struct {
	At      string // position in it up to which the successor has it; "": nothing is to be looked for
	Done    bool   // an agent has looked
	Beyond  int    // number of transactions beyond At that only the former writer has
	Finding string // what is wrong, for people; "": nothing is
	Waived  bool   // the host is let in whatever was found: an operator said so, or it is the writer again
	Past    bool   // the host has been the writer again since, and is not now: the audit says nothing of that time
}

// open: the host may not be ONLINE.
func (a Audit) open() bool { return a.At != "" && !a.Waived && (!a.Done || a.Finding != "") }

// trusted: other hosts may replicate from the host again.
func (a Audit) trusted() bool { return a.At != "" && !a.open() }

// Across is what a host's agent has found in the log of another host, whose own agent can't look.
type Across struct {
	Host  string
	Audit Audit // without Waived
}

// Embargo is what the agent of a successor reports: it replicates nothing more from the former writer Host, whose log
// it has up to At.
type Embargo struct{ Host, At string }

// audits takes over what an answer says of the log of its own host, and of the logs of former writers.
func (x *stepper) audits(ans Answer) {
	if e := ans.Embargo; e.At != "" && x.newDoubt(ans) {
		h := x.s.Hosts[e.Host]
		h.Audit = Audit{At: e.At}
		x.s.Hosts[e.Host] = h
		x.out.add(Warn, e.Host,
			"Host '%s' has taken over without host '%s', whose log it has up to %s: what '%s' has beyond is looked for when it is back",
			ans.Host, e.Host, e.At, e.Host)
	}
	if w := x.writer(); w != nil && w.Holder == ans.Host && w.Confirmed && ans.Writable && x.s.unsure == 0 {
		x.settleAudit(ans.Host)
	}
	if across := ans.Across; x.s.Hosts[across.Host].Classic { // its server was closed for writes when its log was read
		x.audited(across.Host, across.Audit)
	}
	if !ans.Writable && !ans.Writing.Fenced { // a server that is open may commit more beyond that place
		x.audited(ans.Host, ans.Audit)
	}
}

// newDoubt: the embargo that the answer reports names a place beyond which its host's log has to be looked at, and that
// is news. The place that the newest successor reports counts. The place of an earlier successor, which was away since,
// counts only where no newer one is known.
func (x *stepper) newDoubt(ans Answer) bool {
	e := ans.Embargo
	h, known := x.s.Hosts[e.Host]
	a, w := h.Audit, x.writer()
	successor := x.s.Switch.To == ans.Host && x.s.Switch.From == e.Host && w != nil && ans.Seq >= w.seq
	switch {
	case !known:
		return false
	case a.At == e.At:
		return a.Past && successor
	}
	return a.At == "" || a.Past || successor
}

// outlive: the host has just lost the writer role. Its audit was made before that, so it says nothing about what the
// host has written since.
func (x *stepper) outlive(host string) {
	if h := x.s.Hosts[host]; h.Audit.At != "" {
		h.Audit.Past = true
		x.s.Hosts[host] = h
	}
}

// audited takes over what was found in a host's log.
func (x *stepper) audited(host string, a Audit) {
	h := x.s.Hosts[host]
	if a.At == "" || a.At != h.Audit.At || h.Audit.Done && a.Finding == h.Audit.Finding {
		return
	}
	h.Audit.Done, h.Audit.Beyond, h.Audit.Finding = true, a.Beyond, a.Finding
	x.s.Hosts[host] = h
	x.moved = true
	if a.Finding == "" {
		x.out.add(Info, host, "Host '%s' has no transactions that others lack", host)
		return
	}
	x.out.add(Fatal, host, "Host '%s' has diverged: %s. It stays out until it is set up anew or set_online",
		host, a.Finding)
}

// settleAudit ends the doubt about the log of a host that is the writer again, and open for writes: its transactions
// are accepted, and the other hosts replicate them. Else a host that took over from it in the meantime would never
// replicate from it again.
func (x *stepper) settleAudit(writer string) {
	h := x.s.Hosts[writer]
	if !h.Audit.open() {
		return
	}
	h.Audit.Waived = true
	x.s.Hosts[writer] = h
	x.moved = true
	x.out.add(Warn, writer, "Host '%s' is the writer again: its transactions after %s are accepted, and the other hosts replicate them",
		writer, h.Audit.At)
}

// waive lets a host in although its log has, or may have, what others lack: an operator says so.
func (x *stepper) waive(host string) {
	h := x.s.Hosts[host]
	if !h.Audit.open() {
		return
	}
	h.Audit.Waived = true
	x.s.Hosts[host] = h
	why := h.Audit.Finding
	if why == "" {
		why = "nobody has looked yet"
	}
	x.out.add(Fatal, host, "Admin lets host '%s' in with what only it has (%s)", host, why)
}

// trust lists, for the order of a host, the former writers that it may replicate from again: HOST@POSITION, with the
// position beyond which that log was found to be in order. Of a former writer that has been the writer again since, and
// that this host takes over from, the position is left out: the place that this host is about to note is a new one,
// even where the position is the same.
func (s State) trust(host string) string {
	var list []string
	own := s.Hosts[host].Embargo
	for name, h := range s.Hosts {
		switch {
		case !h.Audit.trusted():
		case h.Audit.Past && s.Switch.From == name && s.Switch.To == host:
			list = append(list, name+"@")
		default:
			list = append(list, name+"@"+h.Audit.At)
			// the host took over earlier than the one whose place is in h.Audit, and noted a place of its own
			if own.Host == name && own.At != "" && own.At != h.Audit.At {
				list = append(list, name+"@"+own.At)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// across lists the former writers whose logs are in doubt and whose own agents, original ones, can't look: as
// HOST@POSITION.
func (s State) across() string {
	var list []string
	for name, h := range s.Hosts {
		if h.Classic && h.Audit.open() {
			list = append(list, name+"@"+h.Audit.At)
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// Trusts says whether an order's list of trust names the host of an embargo with the place of that embargo.
func Trusts(trust string, e Embargo) bool {
	return slices.Contains(strings.Split(trust, ","), e.Host+"@"+e.At)
}

// TrustsHost says whether an order's list of trust names the host with any place.
func TrustsHost(trust, host string) bool {
	return slices.ContainsFunc(strings.Split(trust, ","), func(e string) bool { return strings.HasPrefix(e, host+"@") })
}

// concerns are what people should know of hosts whose logs are not in order, a line each.
func (s State) concerns(t Topology) []string {
	var lines []string
	for _, h := range t.Hosts {
		a := s.Hosts[h.Name].Audit
		switch {
		case !a.open():
		case a.Finding != "":
			lines = append(lines, fmt.Sprintf("host %s: %s. 'set_online %s' lets it in with them", h.Name, a.Finding,
				h.Name))
		default:
			lines = append(lines,
				fmt.Sprintf("host %s was the writer: what it has beyond %s is looked for when it is back", h.Name,
					a.At))
		}
	}
	return lines
}
