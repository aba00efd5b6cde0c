package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Command is an operator's command that changes something. Answers that the original gives too have the original's
// texts.
type Command struct {
	Words []string
	// AgentUp says for the hosts that the command names whether their agents have just answered a PING.
	AgentUp map[string]bool
	// Behind says for the hosts that the command names how far their replication is behind, where that is known.
	Behind map[string]time.Duration
}

// Move is a planned move that was ordered and has yet to happen.
type Move struct {
	RoleIP   // embedded: a Move is a RoleIP on its way
	From, To string
	Forced   bool
}

// Help lists the commands, as `mmm_control help` prints them.
const Help = `Valid commands are:
    help                              - show this message
    ping                              - ping monitor
    show                              - show status
    checks [<host>|all [<check>|all]] - show checks status
    set_online <host>                 - set host <host> online
    set_offline <host>                - set host <host> offline
    mode                              - print current mode.
    set_active                        - switch into active mode.
    set_manual                        - switch into manual mode.
    set_passive                       - switch into passive mode.
    move_role [--force] <role> <host> - move exclusive role <role> to host <host>
                                        (Only use --force if you know what you are doing!)
    set_ip <ip> <host>                - set role with ip <ip> to host <host>
# doctor [--verbose]                  - find out what is wrong, and how to mend it (needs no monitor)
# config check|convert <file>         - check a configuration file, or convert it to HCL or back (needs no monitor)
# history [<n>]                       - show the last <n> (20) changes, with causes and evidence
# explain <host>                      - say why <host> is in its state and what would change that
# watch                               - show status and checks, again at each change, until ctrl-C
# completion bash|zsh|fish            - print a script that completes commands in this shell (needs no monitor)
`

// Invalid is the answer to a line that is no command.
func Invalid(line string) string {
	return fmt.Sprintf("Invalid command '%s'\n\n%s", line, Help)
}

// command runs an operator's command and leaves its answer in the output.
func (x *stepper) command(c Command) {
	name, args := c.Words[0], c.Words[1:]
	forced := name == "move_role" && len(args) == 3 && args[0] == "--force"
	switch {
	case name == "set_active" && len(args) == 0:
		x.out.Answer = x.setActive()
	case name == "set_manual" && len(args) == 0:
		x.out.Answer = x.setManual()
	case name == "set_passive" && len(args) == 0:
		x.out.Answer = x.setPassive()
	case name == "set_online" && len(args) == 1:
		x.out.Answer = x.setOnline(args[0], c.AgentUp[args[0]])
	case name == "set_offline" && len(args) == 1:
		x.out.Answer = x.setOffline(args[0], c.AgentUp[args[0]])
	case forced:
		x.out.Answer = x.forceRole(args[1], args[2], c.AgentUp[args[2]])
	case name == "move_role" && len(args) == 2 && !strings.HasPrefix(args[0], "--"):
		x.out.Answer = x.moveRole(args[0], args[1], c.AgentUp[args[1]], c.Behind[args[1]])
	case name == "set_ip" && len(args) == 2:
		x.out.Answer = x.setIP(args[0], args[1])
	default:
		x.out.Answer = Invalid(strings.Join(c.Words, " "))
	}
}

func (x *stepper) setActive() string {
	if x.s.Mode == Active {
		return "OK: Already in active mode."
	}
	x.out.add(Fatal, "", "Admin changed mode from %s to ACTIVE", x.s.Mode)
	x.activate()
	return "OK: Switched into active mode."
}

// activate switches into active mode. Out of passive mode every agent gets its order anew, and is told to drop
// addresses that it should not have (CLEAR_BAD_ROLES). Out of manual and wait mode, hosts that are not ONLINE lose the
// addresses that they still have.
func (x *stepper) activate() {
	if x.s.Mode == Passive {
		x.out.Clear = true
	} else {
		for _, h := range x.t.Hosts {
			if x.s.Hosts[h.Name].State != Online {
				x.clearRoles(h.Name)
			}
		}
	}
	x.enterMode(Active)
}

func (x *stepper) enterMode(m Mode) {
	x.s.Mode, x.s.ModeSince, x.s.Cause = m, x.in.Now, ""
}

func (x *stepper) setManual() string {
	if x.s.manual() {
		return "OK: Already in manual mode."
	}
	x.out.add(Fatal, "", "Admin changed mode from %s to MANUAL", x.s.Mode)
	x.out.Clear = x.s.Mode == Passive
	x.enterMode(Manual)
	return "OK: Switched into manual mode."
}

func (x *stepper) setPassive() string {
	if x.s.Mode == Passive {
		return "OK: Already in passive mode."
	}
	x.out.add(Fatal, "", "Admin changed mode from %s to PASSIVE", x.s.Mode)
	x.enterMode(Passive)
	x.s.Cause = "Admin switched to passive mode."
	return "OK: Switched into passive mode."
}

func (x *stepper) setOnline(host string, agentUp bool) string {
	t, known := x.t.Host(host)
	if !known {
		return unknownHost(host)
	}
	h := x.s.Hosts[host]
	switch {
	case h.State == Online:
		return "OK: This host is already ONLINE. Skipping command."
	case h.State != AdminOffline && h.State != AwaitingRecovery:
		return fmt.Sprintf("ERROR: Host '%s' is '%s' at the moment. It can't be switched to ONLINE.", host, h.State)
	}
	good, ok := x.in.Verdicts[host]
	if !ok {
		good = h.Good
	}
	if !good.Ping || !good.MySQL {
		return fmt.Sprintf("ERROR: Checks ping and/or mysql are not ok for host '%s'. It can't be switched to ONLINE.",
			host)
	}
	open := h.Audit.open() // its peer replicates nothing from it until it is let in
	if peer, ok := x.s.Hosts[t.Peer]; ok && !open && peer.State == Online && !peer.Good.replicates() {
		return fmt.Sprintf("ERROR: Some replication checks failed on peer '%s'. We can't set '%s' online now. Please, wait some time.", t.Peer, host)
	}
	if !agentUp {
		return fmt.Sprintf("ERROR: Can't reach agent daemon on '%s'! Can't switch its state!", host)
	}
	x.forgetFlapping(host)
	x.waive(host)
	x.adminState(host, Online)
	return fmt.Sprintf("OK: State of '%s' changed to ONLINE. Now you can wait some time and check its new roles!", host)
}

func (x *stepper) setOffline(host string, agentUp bool) string {
	if _, known := x.t.Host(host); !known {
		return unknownHost(host)
	}
	switch st := x.s.Hosts[host].State; {
	case st == AdminOffline:
		return "OK: This host is already ADMIN_OFFLINE. Skipping command."
	case st != Online && st != ReplicationFail && st != ReplicationDelay:
		return fmt.Sprintf("ERROR: Host '%s' is '%s' at the moment. It can't be switched to ADMIN_OFFLINE.", host, st)
	case !agentUp:
		return fmt.Sprintf("ERROR: Can't reach agent daemon on '%s'! Can't switch its state!", host)
	}
	x.adminState(host, AdminOffline)
	x.clearRoles(host)
	return fmt.Sprintf("OK: State of '%s' changed to ADMIN_OFFLINE. Now you can wait some time and check all roles!",
		host)
}

func (x *stepper) adminState(host string, to HostState) {
	h := x.s.Hosts[host]
	x.out.changed(host, h.State, to, "Admin changed state of '%s' from %s to %s", host, h.State, to)
	h.State, h.Since = to, x.in.Now
	x.s.Hosts[host] = h
}

// mostBehind is how far the target of a planned move may be behind: nobody can write while it catches up.
func (x *stepper) mostBehind() time.Duration { return min(5*time.Second, x.t.SwitchTimeout/2) }

func (x *stepper) moveRole(role, host string, agentUp bool, behind time.Duration) string {
	if x.s.Mode == Passive {
		return "ERROR: This command is not allowed in passive mode"
	}
	r, known := x.t.Role(role)
	if !known {
		return unknownRole(role)
	}
	if _, known := x.t.Host(host); !known {
		return unknownHost(host)
	}
	if !r.Exclusive {
		return x.dropBalanced(r, host)
	}
	if st := x.s.Hosts[host].State; st != Online {
		return fmt.Sprintf("ERROR: Can't move role to host with state %s.", st)
	}
	a, answer := x.movable(r, host, agentUp)
	if answer != "" {
		return answer
	}
	if x.s.Mode == Active && r.Prefer != "" && a.Holder == r.Prefer {
		return fmt.Sprintf("ERROR: Role '%s' is assigned to preferred host '%s'. Can't move it!", role, r.Prefer)
	}
	if role == x.t.ActiveMasterRole && behind > x.mostBehind() {
		return fmt.Sprintf("ERROR: Host '%s' is %d seconds behind. Role '%s' can't be moved to it before it has caught up.", host, int(behind.Seconds()), role)
	}
	if g := x.s.Hosts[host].Good; role == x.t.ActiveMasterRole && a.Confirmed &&
		g.elsewhere(a.Holder, x.s.Hosts[a.Holder].Good.Reception) {
		from := "'" + g.From + "'"
		if g.From == "" {
			from = fmt.Sprintf("the server with server_id %d, which is no host of the configuration", g.SourceID)
		}
		return fmt.Sprintf("ERROR: Host '%s' replicates from %s, and '%s' is the writer: it lacks what the writer writes. Role '%s' can't be moved to it.",
			host, from, a.Holder, role)
	}
	if gone := x.s.strangers(x.t); role == x.t.ActiveMasterRole && a.Holder == "" && len(gone) > 0 {
		return fmt.Sprintf("ERROR: Role '%s' is not moved to '%s': %s may hold it, and the configuration has none of them any more. "+
			"Add them again, or switch them off and use --force.", role, host, strings.Join(gone, ", "))
	}
	if role == x.t.ActiveMasterRole && !x.mayAppoint(host) {
		return fmt.Sprintf("ERROR: Host '%s' has only just become a candidate for role '%s', and not everybody who may hold the role knows that. "+
			"Please, wait some seconds.", host, role)
	}
	if a.Holder == "" && !x.mayTakeOver(r, host) {
		return fmt.Sprintf("ERROR: Role '%s' is not moved to '%s': %s. With --force it is, without what is missing.",
			role, host, x.s.missing(x.t, host))
	}
	a.Why = ""
	x.out.Move = &Move{RoleIP: a.RoleIP, From: a.Holder, To: host}
	x.out.add(Fatal, host, "Admin moved role '%s' from '%s' to '%s'", role, a.Holder, host)
	x.move(a, host)
	return x.out.Move.done()
}

// movable finds the address to move, or says why it can't be.
func (x *stepper) movable(r Role, host string, agentUp bool) (*Address, string) {
	if !slices.Contains(r.Hosts, host) {
		return nil, fmt.Sprintf("ERROR: Host '%s' can't handle role '%s'. Only following hosts could: %s", host, r.Name,
			strings.Join(r.Hosts, ", "))
	}
	i := slices.IndexFunc(x.s.Addresses, func(a Address) bool { return a.Role == r.Name })
	a := &x.s.Addresses[i]
	switch {
	case a.Holder == host:
		return nil, fmt.Sprintf("OK: Role is on '%s' already. Skipping command.", host)
	case !agentUp:
		return nil, fmt.Sprintf("ERROR: Can't reach agent daemon on '%s'! Can't move roles there!", host)
	case a.Leaving != "":
		return nil, fmt.Sprintf("ERROR: Role '%s' is just leaving host '%s'. Please, wait some time.", r.Name,
			a.Leaving)
	}
	return a, ""
}

func (x *stepper) dropBalanced(r Role, host string) string {
	x.out.add(Info, host, "Removing balanced role %s from host '%s':", r.Name, host)
	for i := range x.s.Addresses {
		if a := &x.s.Addresses[i]; a.Role == r.Name && a.Holder == host {
			x.take(a, "")
			x.out.detail(host, "    Removed role '%s' from host '%s'", a.RoleIP, host)
		}
	}
	return fmt.Sprintf("OK: Balanced role %s has been removed from host '%s'. Now you can wait some time and check new roles info!", r.Name, host)
}

func (x *stepper) forceRole(role, host string, agentUp bool) string {
	if x.s.Mode == Passive {
		return "ERROR: This command is not allowed in passive mode"
	}
	r, known := x.t.Role(role)
	if !known {
		return unknownRole(role)
	}
	if _, known := x.t.Host(host); !known {
		return unknownHost(host)
	}
	if role != x.t.ActiveMasterRole {
		return "ERROR: move_role --forced may be used for the active master role only!"
	}
	switch st := x.s.Hosts[host].State; {
	case st == ReplicationFail || st == ReplicationDelay:
	case st == Online && !x.movesPlainly(host):
	default:
		return fmt.Sprintf("ERROR: Can't force move of role to host with state %s.", st)
	}
	a, from := x.writer(), ""
	if stuck := a.Holder == host && !a.Confirmed; stuck && agentUp {
		from = x.s.Switch.From
	} else if leaving := a.Leaving; leaving != "" && x.s.Hosts[leaving].State != Online && agentUp {
		from = leaving // it may still be writing, so it is waited for, whatever an operator says
	} else {
		var answer string
		if a, answer = x.movable(r, host, agentUp); answer != "" {
			return answer
		}
		from = a.Holder
	}
	x.out.Move = &Move{RoleIP: a.RoleIP, From: from, To: host, Forced: true}
	x.out.add(Fatal, host, "Admin moved role '%s' from '%s' to '%s' enforcedly", role, from, host)
	if a.Leaving != "" && x.s.Endless && !x.s.Hosts[a.Leaving].AgentUp {
		x.out.add(Fatal, a.Leaving,
			"Host '%s' may hold role '%s' without a lease: it counts as switched off, on the admin's word", a.Leaving,
			role)
		x.s.Endless = false
	}
	if gone := x.s.strangers(x.t); len(gone) > 0 && a.Leaving == "" {
		x.out.add(Fatal, host,
			"Hosts %s may hold role '%s' and are not in the configuration: they count as switched off, on the admin's word",
			strings.Join(gone, ", "), role)
		x.s.Successors = host
	}
	if x.s.Hosts[host].State != Online {
		x.adminState(host, Online)
	}
	x.force(a, host)
	return x.out.Move.done()
}

// movesPlainly: a plain move to the host, which loses nothing, can be tried, so there is nothing to force.
func (x *stepper) movesPlainly(host string) bool {
	a := x.writer()
	return a.Holder != "" && a.Holder != host && a.Confirmed && x.reachable(x.s.Hosts[a.Holder])
}

// force gives the role to the host as soon as no other host can have it any more, whether the role is free, on another
// host, or on this host that has not taken it.
func (x *stepper) force(a *Address, host string) {
	switch old := a.Holder; old {
	case host:
		a.seq, a.since = x.seq, x.in.Now
		x.moved = true
	case "":
		a.Next = host
	default:
		x.take(a, host)
		x.demote(old)
	}
	a.Forced = true
}

// demote puts the former writer into the state that its own replication checks call for.
func (x *stepper) demote(old string) {
	h := x.s.Hosts[old]
	to := HostState("")
	switch {
	case !h.Good.RepThreads:
		to = ReplicationFail
	case !h.Good.RepBacklog:
		to = ReplicationDelay
	default:
		return
	}
	x.enter(old, to, "")
	if x.s.Mode == Active {
		x.clearRoles(old)
	}
}

func (x *stepper) setIP(text, host string) string {
	if x.s.Mode != Passive {
		return "ERROR: This command is only allowed in passive mode"
	}
	ip, err := netip.ParseAddr(text)
	i := slices.IndexFunc(x.s.Addresses, func(a Address) bool { return a.IP == ip })
	if err != nil || i < 0 {
		return fmt.Sprintf("ERROR: Unknown ip '%s'!", text)
	}
	if _, known := x.t.Host(host); !known {
		return unknownHost(host)
	}
	a := &x.s.Addresses[i]
	r, _ := x.t.Role(a.Role)
	if !slices.Contains(r.Hosts, host) {
		return fmt.Sprintf("ERROR: Host '%s' can't handle role '%s'. Following hosts could: %s", host, r.Name,
			strings.Join(r.Hosts, ", "))
	}
	if st := x.s.Hosts[host].State; st != Online {
		return fmt.Sprintf("ERROR: Host '%s' is '%s' at the moment. Can't move role with ip '%s' there.", host, st,
			text)
	}
	x.out.add(Fatal, host, "Admin set role '%s' to host '%s'", a.RoleIP, host)
	x.setByHand(a, host)
	return fmt.Sprintf("OK: Set role '%s' to host '%s'.", a.RoleIP, host)
}

// setByHand changes which host is to have an address, in passive mode, in which no agent is told anything. A host that
// has the address keeps it until orders flow again, and has to be proven without it then.
func (x *stepper) setByHand(a *Address, host string) {
	switch {
	case a.Holder == host:
	case a.Leaving == host: // back to where it still is
		a.Leaving = ""
		x.give(a, host)
	case a.Leaving != "":
		a.Next = host
	case a.Holder != "":
		x.take(a, host)
	default:
		x.give(a, host)
	}
}

func (m Move) done() string {
	suffix := ""
	if m.Forced {
		suffix = " enforcedly"
	}
	return fmt.Sprintf("OK: Role '%s' has been moved from '%s' to '%s'%s. Now you can wait some time and check new roles info!", m.Role, m.From, m.To, suffix)
}

// Outcome is what to answer to a move that was ordered: that it has happened, or on which host the role is instead.
// decided is false while the move is under way, and there is nothing to answer yet.
func (m Move) Outcome(s State) (answer string, decided bool) {
	i := slices.IndexFunc(s.Addresses, func(a Address) bool { return a.RoleIP == m.RoleIP })
	a := s.Addresses[i]
	switch {
	case a.Holder == m.To:
		return m.done(), a.Confirmed
	case a.Holder == "" && a.Next == m.To:
		return "", false
	case a.Holder != "":
		why := "See the monitor's log for the cause."
		if a.Why != "" {
			why = strings.ToUpper(a.Why[:1]) + a.Why[1:]
		}
		return fmt.Sprintf("ERROR: Role '%s' could not be moved to '%s'. It is on '%s'. %s", m.Role, m.To, a.Holder,
			why), true
	}
	return "", false
}

func unknownHost(h string) string { return fmt.Sprintf("ERROR: Unknown host name '%s'!", h) }
func unknownRole(r string) string { return fmt.Sprintf("ERROR: Unknown role name '%s'!", r) }
