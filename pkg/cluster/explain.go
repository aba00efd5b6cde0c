package cluster

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explanation says for people why a host is in its state, what would bring it ONLINE, and what becomes of its roles.
type Explanation struct {
	Host  string    `json:"host"`
	State HostState `json:"state"`
	Age   float64   `json:"seconds_in_state,omitempty"` // 0: since before this monitor started
	Why   []string  `json:"why"`
	Needs []Need    `json:"needs"` // all must be met for ONLINE; none where it is ONLINE
	Or    string    `json:"or,omitempty"`
	Roles []string  `json:"roles"`
}

// Need is one condition of becoming ONLINE.
type Need struct {
	What string `json:"what"`
	Met  bool   `json:"met"`
}

// Explain explains a host by the rules of Step (docs/concepts.md). It is false for a host that is not in the topology.
func Explain(t Topology, s State, host string) (Explanation, bool) {
	h, known := t.Host(host)
	if !known {
		return Explanation{}, false
	}
	next := s.clone()
	e := explainer{rules: stepper{t: t, s: &next, in: Input{Now: s.stepped}, out: &Output{}}, host: h,
		info: s.Hosts[host]}
	e.it = Explanation{Host: host, State: e.info.State, Why: []string{}, Needs: []Need{}, Roles: []string{}}
	if e.info.Since > 0 {
		e.it.Age = (s.stepped - e.info.Since).Seconds()
	}
	e.why()
	e.needs()
	e.roles()
	return e.it, true
}

// explainer asks the rules of Step, on a copy of the state.
type explainer struct {
	rules stepper
	host  Host
	info  HostInfo
	it    Explanation
}

func (e *explainer) because(format string, args ...any) {
	e.it.Why = append(e.it.Why, fmt.Sprintf(format, args...))
}

func (e *explainer) why() {
	h := e.info
	checks := fmt.Sprintf("ping: %s, mysql: %s, rep_threads: %s, rep_backlog: %s",
		okText(h.Good.Ping), okText(h.Good.MySQL), okText(h.Good.RepThreads), okText(h.Good.RepBacklog))
	switch h.State {
	case Online:
		e.whyOnline()
	case AdminOffline:
		e.because("An operator has set it offline. It stays so until an operator sets it online.")
	case HardOffline:
		e.because("Its server does not answer for longer than trap_period, or its process is gone.")
	case AwaitingRecovery:
		e.because("It has been out and is not trusted with roles yet.")
	case ReplicationFail:
		e.because("Its replication does not run, while the host that it replicates from is ONLINE.")
	case ReplicationDelay:
		e.because("Its replication is further behind than max_backlog, while the host that it replicates from is ONLINE.")
	case Unknown: // no state that the monitor decides on
	}
	e.because("Checks: %s.", checks)
	if h.Flapping {
		e.because("It is flapping: it left ONLINE more than %d times within %s.", e.rules.t.FlapCount, e.rules.t.FlapDuration)
	}
	if !h.AgentUp {
		e.because("Its agent can't be reached.")
	}
	if h.Via != "" {
		e.because("Its agent is reached through host %s only.", h.Via)
	}
	if g := h.Good; g.Surveyed > 0 && !g.Waits && e.rules.s.ActiveMaster(e.rules.t) == e.host.Name {
		e.because("What it commits waits for nobody: should it die, its last commits may be lost with it (semi-synchronous replication is off).")
	}
	if why := e.rules.s.lastChoice(e.host.Name); why != "" {
		e.because("It is taken for roles last: %s.", why)
	}
	if w := h.Writing; w.Stall != "" {
		e.because("Its server answers and can't write: %s.", w.Stall)
	}
	if h.Writing.Fenced {
		e.because("Its server can't be closed for writes: its port is closed to clients.")
	}
	for _, p := range h.Problems {
		e.because("Its agent reports: %s", p)
	}
	if why := e.rules.s.Missing(e.rules.t)[e.host.Name]; why != "" {
		e.because("It would lack something, should it have to take over from the writer now: %s.", why)
	}
	if a := h.Audit; a.open() && a.Finding != "" {
		e.because("It was the writer, and %s.", a.Finding)
	} else if a.open() {
		e.because("It was the writer: what its log has beyond %s is still to be looked for.", a.At)
	}
}

func (e *explainer) whyOnline() {
	h := e.info
	switch {
	case e.rules.alive(h) && h.Good.alive():
		e.because("Its server answers.")
	case e.rules.outOfReach(e.host.Name):
		e.because("It holds the writer role on a lease and nobody hears of it: it is condemned in %s at most.",
			e.rules.s.leaseLeft(e.rules.t))
	case h.ReachedBy != "":
		e.because("It can't be reached from the monitor, but host %s reaches its server.", h.ReachedBy)
	case h.Good.Asking:
		e.because("It can't be reached from the monitor; the other hosts are being asked.")
	case h.AgentUp && h.Via != "":
		e.because("It can't be reached from the monitor, but its agent answers through host %s.", h.Via)
	}
	if h.Good.replicates() {
		return
	}
	peer, known := e.rules.peer(e.host)
	switch {
	case e.rules.writerToBe(e.host.Name):
		e.because("Its replication fails, which does not count for the writer.")
	case !known:
		e.because("Its replication fails, but there is no host that it should replicate from.")
	case peer.State != Online:
		e.because("Its replication fails, but the host that it replicates from is %s: that is not held against it.",
			peer.State)
	case peer.Since > 0 && e.rules.in.Now-peer.Since < freshPeer:
		e.because("Its replication fails, but the host that it replicates from came back less than %s ago.", freshPeer)
	}
}

func (e *explainer) need(met bool, format string, args ...any) {
	e.it.Needs = append(e.it.Needs, Need{What: fmt.Sprintf(format, args...), Met: met})
}

func (e *explainer) needs() {
	h, name := e.info, e.host.Name
	if h.State == Online {
		return
	}
	e.need(e.rules.alive(h), "its server answers (checks ping and mysql)")
	if h.State == AdminOffline {
		e.need(false, "an operator says so: mmm_control set_online %s", name)
		return
	}
	if a := h.Audit; a.open() && a.Finding != "" {
		e.need(false, "it is set up anew, or an operator lets it in with what only it has")
	} else if a.open() {
		e.need(false, "its agent has looked for transactions that only it has")
	}
	_, bad := e.rules.replicationTrouble(e.host, h)
	if e.rules.stalls(e.host.Name) {
		e.need(false, "its server writes, and is closed for writes")
	}
	if waits := h.State == AwaitingRecovery || h.State == HardOffline && !bad; !waits || !e.rules.sourceDown(e.host) {
		e.need(h.Good.replicates(),
			"its replication runs and is not too far behind (checks rep_threads and rep_backlog)")
	}
	if h.State == ReplicationFail || h.State == ReplicationDelay {
		if h.Flapping {
			e.waits()
		}
		return
	}
	e.waits()
}

// waits adds what a host in AWAITING_RECOVERY waits for: a time, or an operator.
func (e *explainer) waits() {
	h, auto, name := e.info, e.rules.t.AutoSetOnline, e.host.Name
	waited := time.Duration(0)
	if h.State == AwaitingRecovery {
		waited = e.rules.in.Now - h.Since
	}
	wait := func(total time.Duration, rule string) {
		left := max(total-waited, 0)
		e.need(left == 0, "%s in AWAITING_RECOVERY (%s): %d seconds left", total, rule,
			int(left.Round(time.Second).Seconds()))
	}
	short := "without a reboot it needs no waiting after less than " + shortOutage.String()
	switch {
	case auto > 0 && h.Flapping:
		wait(e.rules.t.FlapDuration, "flap_duration, as it is flapping")
	case auto > 0 && h.OnlineUptime > 0:
		wait(auto, "auto_set_online; "+short)
	case auto > 0:
		wait(auto, "auto_set_online")
	case !h.Flapping && h.OnlineUptime > 0:
		e.need(false, "an operator says so, as auto_set_online is 0; %s", short)
	default:
		e.need(false, "an operator says so, as auto_set_online is 0")
	}
	if h.State == AwaitingRecovery {
		e.it.Or = "mmm_control set_online " + name
	}
}

func (e *explainer) role(format string, args ...any) {
	e.it.Roles = append(e.it.Roles, fmt.Sprintf(format, args...))
}

// roles says what would become of the addresses that the host has, should it fail now, and which addresses it may get.
func (e *explainer) roles() {
	name, writer := e.host.Name, e.rules.t.ActiveMasterRole
	without := e.without()
	for _, a := range e.rules.s.Addresses {
		r, _ := e.rules.t.Role(a.Role)
		switch {
		case a.Leaving == name && a.Role == writer && e.rules.protected(&a, name):
			e.role("%s is leaving: it is free once its agent says so, or in %s when its lease is over on every clock",
				a.RoleIP, e.rules.s.leaseLeft(e.rules.t))
		case a.Leaving == name:
			e.role("%s is leaving: it is free once its agent says so", a.RoleIP)
		case a.Holder == name && e.rules.s.Mode == Passive:
			e.role("%s is here; the monitor is passive and moves nothing", a.RoleIP)
		case a.Holder == name && e.rules.s.manual():
			e.role("%s is here, and stays here whatever happens: mode %s", a.RoleIP, e.rules.s.Mode)
		case a.Holder == name:
			e.fate(r, a, without.fewest(r))
		case a.Holder == "" && a.Next == name:
			e.role("%s is on its way here", a.RoleIP)
		}
	}
	if e.info.State != Online {
		for _, r := range e.rules.t.Roles {
			if slices.Contains(r.Hosts, name) {
				e.role("%s can come here once it is ONLINE", r.Name)
			}
		}
	}
}

func (e *explainer) fate(r Role, a Address, to string) {
	where := "would go to " + to
	if to == "" {
		where = "would have nowhere to go"
	}
	if !a.Confirmed {
		e.role("%s is given to it and not confirmed by its agent yet", a.RoleIP)
		return
	}
	when := "as soon as its agent has given it up"
	if e.rules.protected(&a, a.Holder) {
		when = fmt.Sprintf("as soon as its agent has given it up, or %.1f seconds after it was last heard",
			e.rules.t.Lease.Over().Seconds())
	}
	if to == "" {
		when = "no other host that may have it is ONLINE with an agent that answers"
		if why, _ := e.rules.s.Exposed(e.rules.t); r.Name == e.rules.t.ActiveMasterRole && why != "" {
			when = why
		}
	}
	e.role("%s is here; should this host fail now, it %s: %s", a.RoleIP, where, when)
}

// without is the cluster as it would be if this host failed now.
func (e *explainer) without() stepper {
	s := e.rules.s.clone()
	h := s.Hosts[e.host.Name]
	h.State, h.AgentUp, h.Good = HardOffline, false, Verdicts{Reception: h.Good.Reception}
	s.Hosts[e.host.Name] = h
	for i := range s.Addresses {
		if a := &s.Addresses[i]; a.Holder == e.host.Name {
			a.Holder = ""
		}
	}
	return stepper{t: e.rules.t, s: &s, in: e.rules.in, out: &Output{}}
}

// String renders `mmm_control explain`.
func (e Explanation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s", e.Host, e.State)
	if e.Age > 0 {
		fmt.Fprintf(&b, " for %s", time.Duration(e.Age)*time.Second)
	}
	b.WriteString(".\n\nWhy:\n")
	for _, w := range e.Why {
		fmt.Fprintf(&b, "    %s\n", w)
	}
	if len(e.Needs) > 0 {
		b.WriteString("\nTo become ONLINE:\n")
	}
	for _, n := range e.Needs {
		mark := " "
		if n.Met {
			mark = "x"
		}
		fmt.Fprintf(&b, "    [%s] %s\n", mark, n.What)
	}
	if e.Or != "" {
		fmt.Fprintf(&b, "    or: %s\n", e.Or)
	}
	b.WriteString("\nRoles:\n")
	for _, r := range e.Roles {
		fmt.Fprintf(&b, "    %s\n", r)
	}
	if len(e.Roles) == 0 {
		b.WriteString("    none here, and none on its way\n")
	}
	return b.String()
}
