package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Found is what three sources say of one host at the monitor's start.
type Found struct {
	Stored *StoredHost  // its line of the status file; nil: none
	Agent  *StoredHost  // what its agent was last told; nil: not reached. A state of UNKNOWN: told nothing
	System *SystemFound // what the host has now; nil: not known
	Epoch  Epoch        // newest epoch that its agent knows
	Stamp  Stamp        // its agent's clock
	Live   bool         // its agent says that it holds the writer role at the moment
	Uptime float64      // seconds since its boot; 0: not known
}

// SystemFound is what a host really has.
type SystemFound struct {
	Writable bool
	Roles    []RoleIP
	MasterIP string // address that it replicates from; "" where it does not replicate
}

// startup gathers the votes.
type startup struct {
	t     Topology
	found map[string]Found
	s     *State
	out   *Output
}

// Start makes the first state of a monitor from what its predecessor, the agents and the hosts say. It changes
// no role that is where the sources say it is.
func Start(t Topology, mode Mode, saved Durable, found map[string]Found, verdicts map[string]Verdicts,
	now time.Duration) (State, Output) {
	s := State{Mode: mode, ModeSince: now, NetworkUp: true, Seq: 1, Hosts: map[string]HostInfo{},
		LastWriter: saved.Writer, Switch: saved.Switch,
		Epoch: saved.Epoch, Successors: saved.Successors, Endless: saved.Endless, vouched: now, stepped: now}
	s.firstTerms(t)
	var out Output
	x := startup{t: t, found: found, s: &s, out: &out}
	for _, h := range t.Hosts {
		f := found[h.Name]
		info := HostInfo{State: firstState(f), Since: now, Good: verdicts[h.Name], AgentUp: f.Agent != nil ||
			f.System != nil}
		if info.State == Online {
			info.Since = 0
		}
		info.Stamp, info.Stamped, info.Live, info.heard = f.Stamp, now, f.Live, f.Agent != nil
		if f.Stored != nil {
			info.Audit, info.Classic = f.Stored.Audit, f.Stored.Classic
			info.Lack = f.Stored.lack(h.Name, saved.Writer)
			info.Boot = f.Stored.Boot
		}
		if boot := f.Stamp.machine(); boot != "" {
			if of := s.precedes(h.Name); of != "" && info.Boot != "" && info.Boot != boot {
				info.Lack = lostByRestart(of, now)
			}
			info.Boot = boot
		}
		s.Hosts[h.Name] = info
	}
	for _, rip := range t.roleIPs() {
		s.Addresses = append(s.Addresses, Address{RoleIP: rip, since: now})
	}
	var conflicts bool
	lease := stepper{t: t, s: &s, in: Input{Now: now}, out: &out, seq: s.Seq}
	for i := range s.Addresses {
		a := &s.Addresses[i]
		on := x.configuredOn(a.RoleIP)
		conflicts = conflicts || len(on) > 1
		if a.Role == t.ActiveMasterRole && s.Epoch.Number > 0 {
			lease.resume(a)
			a.seq = s.Seq
			continue
		}
		winner := x.vote(a.RoleIP)
		x.place(a, winner, on, now)
	}
	for _, h := range t.Hosts {
		lease.in.Answers = append(lease.in.Answers, Answer{Host: h.Name, Reached: true, Epoch: found[h.Name].Epoch})
	}
	// The last writer had no lease, and the role was being taken from it. Where its agent can't be asked it may have the
	// role still.
	if a := lease.writer(); a != nil && t.leased() && s.Epoch.Number == 0 && a.Holder == "" && a.Leaving == "" {
		f := found[saved.Writer]
		if _, known := s.Hosts[saved.Writer]; known && f.Agent == nil && f.System == nil {
			a.Leaving, a.seq = saved.Writer, s.Seq
		}
	}
	if a := lease.writer(); a != nil && s.Epoch.Number == 0 && (a.Holder != "" || a.Leaving != "") {
		s.Endless = true // it was made the writer without an epoch, and so without a lease
	}
	switch a := lease.writer(); {
	case s.Epoch.Number > 0:
		s.unsure = now + s.Epoch.Terms.Longest.Over()
	case t.leased() && a != nil && a.Holder == "" && a.Leaving == "":
		s.unsure = now + max(t.Lease, forgottenLease).Over()
	}
	lease.powerCut(func(host string) float64 { return found[host].Uptime })
	lease.lostState()
	lease.confirm()
	if s.ignorant() {
		out.add(Warn, "", "This monitor knows no earlier decision, and %s and may hold role '%s' under a lease: "+
			"nobody is given the role before they have answered, or %.0f seconds have passed", silence(s.unheardOf(t)),
			t.ActiveMasterRole, (s.unsure - now).Seconds())
	}
	lease.newEpoch()
	lease.lacks()
	table := x.table()
	out.detail("", "%s", table)
	if conflicts {
		if t.CarefulStartup {
			out.add(Fatal, "", "Conflicting roles during startup: switching into passive mode")
			s.Mode, s.Cause = Passive, "Conflicting roles during startup:\n\n"+table
		} else {
			out.add(Fatal, "", "Conflicting roles during startup: they are removed from all hosts but one")
		}
		out.about(Conflict{})
	}
	out.add(Info, "", "Monitor started in %s mode.", strings.ToLower(string(s.Mode)))
	out.Clear = s.Mode != Passive
	return s, out
}

// Standing is the order that the saved decision gives its holder, before anything has been checked or asked: a monitor
// that starts vouches for the writer that it knows. It is false where nobody is the writer under a lease by that
// decision.
func Standing(t Topology, saved Durable) (Order, bool) {
	s := State{Mode: Active, Epoch: saved.Epoch, Switch: saved.Switch, Hosts: map[string]HostInfo{}}
	s.firstTerms(t)
	holder := s.Epoch.Holder
	if !s.Epoch.Grants(holder) || !t.mayWrite(holder) || s.Epoch.Terms.Lease == 0 {
		return Order{}, false
	}
	for _, h := range t.Hosts {
		s.Hosts[h.Name] = HostInfo{State: Online, Audit: saved.Hosts[h.Name].Audit}
	}
	for _, rip := range t.roleIPs() {
		a := Address{RoleIP: rip}
		if rip.Role == t.ActiveMasterRole || slices.Contains(saved.Hosts[holder].Roles, rip) {
			a.Holder = holder
		}
		a.Lacks = rip.Role == t.ActiveMasterRole && t.FailoverLoss != LossAny &&
			saved.Hosts[holder].lack(holder, saved.Writer).Missed
		s.Addresses = append(s.Addresses, a)
	}
	for _, o := range Orders(t, s) {
		if o.Host == holder {
			return o, true
		}
	}
	return Order{}, false
}

// firstState is the worst that the status file and the agent say; AWAITING_RECOVERY where neither knows.
func firstState(f Found) HostState {
	for _, st := range []HostState{AdminOffline, HardOffline, ReplicationFail, ReplicationDelay, Online} {
		if f.Stored != nil && f.Stored.State == st || f.Agent != nil && f.Agent.State == st {
			return st
		}
	}
	return AwaitingRecovery
}

// configuredOn lists the hosts that really have the address.
func (x startup) configuredOn(rip RoleIP) []string {
	var on []string
	for _, h := range x.t.Hosts {
		if f := x.found[h.Name].System; f != nil && slices.Contains(f.Roles, rip) {
			on = append(on, h.Name)
		}
	}
	return on
}

// vote says which host is to have the address: "" where nothing speaks for any host.
func (x startup) vote(rip RoleIP) string {
	r, _ := x.t.Role(rip.Role)
	best, most := "", 0
	for _, h := range x.t.Hosts {
		if !slices.Contains(r.Hosts, h.Name) {
			continue
		}
		if n := x.votes(rip, h); n > most {
			best, most = h.Name, n
		}
	}
	if best != "" && rip.Role == x.t.ActiveMasterRole {
		h := x.s.Hosts[best]
		h.State, h.Since = Online, 0
		x.s.Hosts[best] = h
	}
	return best
}

// votes counts what speaks for a host as the holder of an address. A server that is open for writes weighs most for the
// active master role, an address that the host has now for the others.
func (x startup) votes(rip RoleIP, h Host) int {
	f, st := x.found[h.Name], x.s.Hosts[h.Name].State
	n := 0
	has := func(roles []RoleIP, weight int) {
		if slices.Contains(roles, rip) {
			n += weight
		}
	}
	if rip.Role != x.t.ActiveMasterRole {
		if st != Online && st != AwaitingRecovery {
			return 0
		}
		weigh(f, has, 4)
		return n
	}
	if st == AdminOffline || st == HardOffline && x.s.Mode != Manual {
		return 0
	}
	if f.System != nil && f.System.Writable {
		n += 4
	}
	if f.Stored != nil {
		has(f.Stored.Roles, 1)
	}
	if f.Agent != nil {
		has(f.Agent.Roles, 1)
	}
	if f.System != nil {
		has(f.System.Roles, 2)
	}
	if n == 0 {
		return 0 // slaves that replicate from a host count only where something else speaks for it too
	}
	for _, other := range x.t.Hosts {
		if s := x.found[other.Name].System; !other.Master && s != nil && s.MasterIP == h.IP.String() {
			n++
		}
	}
	return n
}

// weigh adds the votes for a role that is not the active master's.
func weigh(f Found, has func([]RoleIP, int), system int) {
	if f.System != nil {
		has(f.System.Roles, system)
	}
	if f.Stored != nil {
		has(f.Stored.Roles, 2)
	}
	if f.Agent != nil {
		has(f.Agent.Roles, 1)
	}
}

// place gives the address to the winner, but not before another host that has it has been proven without it.
func (x startup) place(a *Address, winner string, on []string, now time.Duration) {
	others := slices.DeleteFunc(slices.Clone(on), func(h string) bool { return h == winner })
	switch {
	case slices.Contains(on, winner) || len(others) == 0:
		a.Holder = winner
	default:
		a.Leaving, a.Next = others[0], winner
	}
	a.seq = 1
	if a.Role == x.t.ActiveMasterRole && winner != "" {
		if x.s.Switch.To != winner {
			x.s.Switch = Switch{}
		}
		x.s.LastWriter = winner
	}
}

// table is the "Startup status" of the log.
func (x startup) table() string {
	var b strings.Builder
	width := 6
	for _, h := range x.t.Hosts {
		width = max(width, len(h.Name))
	}
	b.WriteString("Startup status:\n\nRoles:\n")
	fmt.Fprintf(&b, "    %-23s  %-*s  %-6s  %-6s  %s\n", "Role", width, "Host", "Stored", "System", "Agent")
	for _, rip := range x.t.roleIPs() {
		for _, h := range x.t.Hosts {
			f := x.found[h.Name]
			stored := f.Stored != nil && slices.Contains(f.Stored.Roles, rip)
			system := f.System != nil && slices.Contains(f.System.Roles, rip)
			agent := f.Agent != nil && slices.Contains(f.Agent.Roles, rip)
			if stored || system || agent {
				fmt.Fprintf(&b, "    %-23s  %-*s  %-6s  %-6s  %s\n", rip, width, h.Name, yesNo(stored), yesNo(system),
					yesNo(agent))
			}
		}
	}
	b.WriteString("\nHosts:\n")
	fmt.Fprintf(&b, "    %-*s  %-*s  %-8s  %-16s  %-16s\n", width, "Host", width, "Master", "Writable", "Stored state",
		"Agent state")
	for _, h := range x.t.Hosts {
		f := x.found[h.Name]
		stored, agent, master, writable := Unknown, Unknown, "-", "No"
		if f.Stored != nil {
			stored = f.Stored.State
		}
		if f.Agent != nil {
			agent = f.Agent.State
		}
		if f.System != nil {
			writable = yesNo(f.System.Writable)
			if !h.Master && f.System.MasterIP != "" {
				master = x.nameOf(f.System.MasterIP)
			}
		}
		fmt.Fprintf(&b, "    %-*s  %-*s  %-8s  %-16s  %-16s\n", width, h.Name, width, master, writable, stored, agent)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (x startup) nameOf(ip string) string {
	for _, h := range x.t.Hosts {
		if h.IP.String() == ip {
			return h.Name
		}
	}
	return ip
}

func yesNo(b bool) string {
	if b {
		return "Yes"
	}
	return "No"
}
