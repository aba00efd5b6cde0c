package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// This file is about transactions that only a former writer has. A host that takes over without the word of the one
// before it (it was dead) notes how far it had its log, and replicates nothing more from it. When the former writer
// is back its agent looks for what it has committed beyond that place; where that is an original one, which can't,
// its successor's agent looks across. With nothing there it rejoins by itself; else an operator decides.

// Audit is what is known of the end of a former writer's log.
type Audit struct {
	At      string // position up to which its successor has it; "": nothing is to be looked for
	Done    bool   // its agent has looked
	Beyond  int    // transactions of its own that it has beyond At
	Finding string // what is wrong, for people; "" is nothing
	Waived  bool   // an operator has set the host online in spite of it
	Past    bool   // the host has had the writer role again since, and lost it: of what it wrote then this says nothing
}

// open: the host may not be ONLINE.
func (a Audit) open() bool { return a.At != "" && !a.Waived && (!a.Done || a.Finding != "") }

// trusted: replication from the host may go on.
func (a Audit) trusted() bool { return a.At != "" && !a.open() }

// Across is what a host's agent has found in the log of another.
type Across struct {
	Host  string
	Audit Audit // without Waived
}

// Embargo is what the agent of a successor reports: it replicates nothing more from Host, whose log it has up to At.
type Embargo struct{ Host, At string }

// audits takes over what an answer says of its host's log and of others'.
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
	if across := ans.Across; x.s.Hosts[across.Host].Classic { // which was closed when its log was read
		x.audited(across.Host, across.Audit)
	}
	if !ans.Writable && !ans.Writing.Fenced { // else it may yet commit what was looked for
		x.audited(ans.Host, ans.Audit)
	}
}

// newDoubt: the host of the embargo that the answer reports is to be looked at beyond that place, and nobody has been
// told so yet. The last successor's place is the one that counts; that of who took over earlier, and was away
// since, only where nothing newer is known.
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

// outlive: the host has lost the writer role, and what was found in its log before it had that is past.
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

// settleAudit ends the doubt in the log of a host that is the writer again, and open: what it has is what all others
// are to have. Else who has taken over from it meanwhile would never replicate from it again.
func (x *stepper) settleAudit(writer string) {
	h := x.s.Hosts[writer]
	if !h.Audit.open() {
		return
	}
	h.Audit.Waived = true
	x.s.Hosts[writer] = h
	x.moved = true
	x.out.add(Warn, writer, "Host '%s' is the writer again: all others are to have what it has beyond %s",
		writer, h.Audit.At)
}

// waive lets a host in whose log holds what others lack.
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

// trust lists, for a host, the others with the places beyond which their logs have been found to be in order. Who
// takes over from one that has been the writer again since is told no place of it: the one that it will name is a
// new one, even where it is the same.
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
			// it took over earlier than who named the other place
			if own.Host == name && own.At != "" && own.At != h.Audit.At {
				list = append(list, name+"@"+own.At)
			}
		}
	}
	slices.Sort(list)
	return strings.Join(list, ",")
}

// across lists the hosts whose logs nobody has looked at yet and whose own agents, original ones, can't.
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

// Trusts says whether an order's list of trust names the host with that place.
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
