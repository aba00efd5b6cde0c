package cluster

import (
	"fmt"
	"time"
)

// This file is about a writer that answers and writes nothing: its disk hangs or is full, or what it commits is not
// acknowledged. Its checks are good, so that nothing else would ever replace it.

// Writing is what an agent says of its server's writing. The zero value is a server that writes, as far as is known.
type Writing struct {
	Stalled time.Duration // for how long nothing has been written though something is to be
	Stall   string        // how that is known
	Fenced  bool          // the server may be open for writes, and no client reaches it
}

// stallRenewed is how old a report of a stall may be. A candidate that has become fit within that time may be the one
// whose acknowledgement the writer waited for: then a newer report is waited for.
const stallRenewed = 2 * time.Second

// stalls says whether the host's agent reports that its server can't write, or that the server may be open for writes
// and its port is closed to clients.
func (x *stepper) stalls(host string) bool { return x.s.Hosts[host].Writing != (Writing{}) }

// replaceStalled takes all roles from a writer that has written nothing for write_timeout, where another host is fit to
// have it. Where nobody is, a writer that may go on soon is better than none.
func (x *stepper) replaceStalled() {
	a := x.writer()
	if a == nil || a.Holder == "" || x.t.WriteTimeout == 0 {
		return
	}
	holder := a.Holder
	h := x.s.Hosts[holder]
	if !h.AgentUp || h.Writing.Stalled < x.t.WriteTimeout || !a.Confirmed {
		h.stallTold = h.stallTold && h.Writing.Stalled > 0
		x.s.Hosts[holder] = h
		return
	}
	r, _ := x.t.Role(a.Role)
	shunned, told := h.shunned, h.stallTold
	h.shunned, h.stallTold = x.in.Now+freshPeer, true
	x.s.Hosts[holder] = h
	to := x.fewest(r)
	fit := to != "" && !x.stalls(to)
	if !fit {
		h.unrelieved = x.in.Now
	}
	if fit && !x.s.manual() && (h.unrelieved == 0 || x.in.Now-h.unrelieved >= stallRenewed) {
		x.enter(holder, AwaitingRecovery, " because it answers and can't write: "+h.Writing.Stall)
		x.clearRoles(holder)
		return
	}
	h.shunned = shunned
	x.s.Hosts[holder] = h
	if !told {
		x.out.add(Fatal, holder, "Host '%s' answers and can't write: %s. It keeps role '%s': %s", holder,
			h.Writing.Stall, a.RoleIP, x.whyNotReplaced())
	}
}

// whyNotReplaced says why nobody gets the role of a writer that can't write.
func (x *stepper) whyNotReplaced() string {
	if x.s.manual() {
		return fmt.Sprintf("the mode is %s", x.s.Mode)
	}
	if why, _ := x.s.Exposed(x.t); why != "" {
		return why
	}
	return "nobody else may be appointed yet"
}

// cantWrite are what people should know of hosts that answer and do not write, a line each.
func (s State) cantWrite(t Topology) []string {
	var lines []string
	for _, h := range t.Hosts {
		switch info := s.Hosts[h.Name]; {
		case info.Writing.Stall != "":
			lines = append(lines, fmt.Sprintf("host %s answers and can't write: %s", h.Name, info.Writing.Stall))
		case info.Writing.Fenced:
			lines = append(lines,
				fmt.Sprintf("host %s can't be closed for writes: its server's port is closed to clients", h.Name))
		}
	}
	return lines
}
