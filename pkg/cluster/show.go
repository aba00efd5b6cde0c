package cluster

import (
	"fmt"
	"slices"
	"strings"
)

// Show renders `mmm_control show` (mmm_control(1)).
func Show(t Topology, s State) string {
	var b strings.Builder
	if s.Mode == Passive {
		b.WriteString("# --- Monitor is in PASSIVE MODE ---\n")
		fmt.Fprintf(&b, "# Cause: %s\n", strings.ReplaceAll(strings.TrimRight(s.Cause, "\n"), "\n", "\n# "))
	}
	for _, h := range t.Hosts {
		if !s.Hosts[h.Name].AgentUp {
			fmt.Fprintf(&b, "# Warning: agent on host %s is not reachable\n", h.Name)
		}
	}
	for _, h := range t.Hosts {
		for _, p := range s.Hosts[h.Name].Problems {
			fmt.Fprintf(&b, "# Warning: agent on host %s reports: %s\n", h.Name, p)
		}
	}
	if r, ok := t.Role(t.ActiveMasterRole); ok && t.Lease == 0 && len(r.Hosts) > 1 {
		b.WriteString("# Warning: writer_lease is 0: a writer that can't be reached may stay writer beside a new one\n")
	}
	for _, name := range s.Unprotected(t) {
		fmt.Fprintf(&b, "# Warning: host %s is unprotected: its agent knows no lease\n", name)
	}
	for _, h := range t.Hosts {
		if via := s.Hosts[h.Name].Via; via != "" {
			fmt.Fprintf(&b, "# Warning: agent on host %s is reached through host %s only\n", h.Name, via)
		}
		if w := s.Hosts[h.Name].ReachedBy; w != "" {
			fmt.Fprintf(&b, "# Warning: host %s can't be reached from the monitor, but host %s reaches it\n", h.Name, w)
		}
	}
	for _, line := range s.cantWrite(t) {
		fmt.Fprintf(&b, "# Warning: %s\n", line)
	}
	for _, c := range s.concerns(t) {
		fmt.Fprintf(&b, "# Warning: %s\n", c)
	}
	for _, name := range s.lacking(t) {
		fmt.Fprintf(&b, "# Warning: host %s can't take the writer role over without loss: %s\n", name,
			s.missing(t, name))
	}
	for _, w := range s.Warnings {
		fmt.Fprintf(&b, "# Warning: %s\n", w)
	}
	for _, a := range s.Addresses {
		switch {
		case a.Leaving != "" && s.noted(a) != "":
			fmt.Fprintf(&b, "# Role %s stays on host %s until the monitor leaves passive mode\n", a.RoleIP, a.Leaving)
		case a.Leaving != "":
			fmt.Fprintf(&b, "# Role %s is leaving host %s\n", a.RoleIP, a.Leaving)
		}
	}
	for _, h := range t.Hosts {
		fmt.Fprintf(&b, "  %s(%s) %s/%s. Roles: %s\n", h.Name, h.IP, hostMode(h), s.Hosts[h.Name].State,
			FormatRoleIPs(s.shown(h.Name), ", "))
	}
	for _, r := range t.Roles {
		if r.Prefer != "" {
			b.WriteString(preference(s, r))
		}
	}
	return b.String()
}

// noted is the host for which set_ip has noted an address in passive mode, in which nothing is moved; "" for none.
func (s State) noted(a Address) string {
	if s.Mode != Passive || a.Holder != "" {
		return ""
	}
	return a.Next
}

// shown are the addresses that the host is told to have, and those that set_ip has noted for it.
func (s State) shown(host string) []RoleIP {
	roles := s.RolesOf(host)
	for _, a := range s.Addresses {
		if s.noted(a) == host {
			roles = append(roles, a.RoleIP)
		}
	}
	return roles
}

func preference(s State, r Role) string {
	i := slices.IndexFunc(s.Addresses, func(a Address) bool { return a.Role == r.Name })
	switch holder := s.Addresses[i].Holder; holder {
	case r.Prefer:
		return fmt.Sprintf("# Role %s is assigned to it's preferred host %s.\n", r.Name, r.Prefer)
	case "":
		return fmt.Sprintf("# Role %s has %s configured as it's preferred host.\n", r.Name, r.Prefer)
	default:
		return fmt.Sprintf("# Role %s has %s configured as it's preferred host but is assigned to %s at the moment.\n",
			r.Name, r.Prefer, holder)
	}
}

func hostMode(h Host) string {
	if h.Master {
		return "master"
	}
	return "slave"
}

// View is what `show --json` prints.
type View struct {
	Mode  Mode       `json:"mode"`
	Cause string     `json:"cause,omitempty"`
	Hosts []HostView `json:"hosts"`
	Roles []RoleView `json:"roles"`

	Warnings []string `json:"warnings"`
}

// HostView is one host in a View.
type HostView struct {
	Name     string    `json:"name"`
	IP       string    `json:"ip"`
	Mode     string    `json:"mode"`
	State    HostState `json:"state"`
	AgentUp  bool      `json:"agent_reachable"`
	Flapping bool      `json:"flapping"`
	Roles    []string  `json:"roles"`
	Problems []string  `json:"problems"`
	Audit    *Finding  `json:"audit,omitempty"`
	Lacks    string    `json:"lacks,omitempty"` // what it would lack, were it to take over from the writer now
}

// Finding is what was found in a former writer's log, or that nobody has looked yet.
type Finding struct {
	At      string `json:"at"`
	Looked  bool   `json:"looked"`
	Beyond  int    `json:"transactions"`
	Finding string `json:"finding,omitempty"`
}

// RoleView is one address in a View.
type RoleView struct {
	Role      string `json:"role"`
	IP        string `json:"ip"`
	Host      string `json:"host"`
	Confirmed bool   `json:"confirmed"`
	Leaving   string `json:"leaving,omitempty"`
	Prefer    string `json:"prefer,omitempty"`
}

// MakeView collects the View of a state.
func MakeView(t Topology, s State) View {
	v := View{Mode: s.Mode, Cause: s.Cause, Hosts: []HostView{}, Roles: []RoleView{},
		Warnings: append([]string{}, s.Warnings...)}
	lacks := s.Missing(t)
	for _, h := range t.Hosts {
		info := s.Hosts[h.Name]
		hv := HostView{Name: h.Name, IP: h.IP.String(), Mode: hostMode(h), State: info.State, AgentUp: info.AgentUp,
			Flapping: info.Flapping, Roles: []string{}, Problems: append([]string{}, info.Problems...),
			Lacks: lacks[h.Name]}
		for _, r := range s.RolesOf(h.Name) {
			hv.Roles = append(hv.Roles, r.String())
		}
		if a := info.Audit; a.open() {
			hv.Audit = &Finding{At: a.At, Looked: a.Done, Beyond: a.Beyond, Finding: a.Finding}
		}
		v.Hosts = append(v.Hosts, hv)
	}
	for _, a := range s.Addresses {
		r, _ := t.Role(a.Role)
		v.Roles = append(v.Roles, RoleView{Role: a.Role, IP: a.IP.String(), Host: a.Holder, Confirmed: a.Confirmed,
			Leaving: a.Leaving, Prefer: r.Prefer})
	}
	return v
}
