package cluster

import (
	"cmp"
	"slices"
)

// Order is all that a host must be now. The monitor decides it, package wire carries it, and the host's agent obeys it.
type Order struct {
	Host   string
	State  HostState
	Roles  []RoleIP
	Master string // host that holds the active master role; "" where nobody does

	// Extended: the monitor is one of ours, and all below has a meaning. An original monitor's order has none of it.
	Extended bool
	Seq      uint64 // counts the monitor's orders to this host; the agent returns it in its report
	Echo     Stamp  // newest moment on the agent's clock that the monitor knows

	Switch Switch // how Master became the writer
	Epoch  Epoch  // who is the writer; zero for a host that has no say in that, or where nobody has a lease
	Forced bool   // the writer is to open without having executed all
	// the writer lacks data that only Switch.From has: it is not to open before the server of Switch.From answers it
	Lacks bool
	Down  bool // the server of Switch.From does not run, as the agent there says
	Cut   bool // Switch.From can't be closed for writes, and no client reaches it: its server must be asked for nothing
	// the host was the writer: the place in its log up to which the others have it; "": nothing to look for
	Left  string
	Trust string // former writers that may be replicated from again, with their places: "HOST@POSITION,..."
	// former writers whose own agents can't look at their logs, with their places, as in Trust: a host that replicates
	// nothing from one of them looks at that log itself
	Across string

	// Lease is how long the addresses of readers stay without an order; 0: for ever. It is the lease of the writer as
	// well where the epoch has no terms.
	Lease Lease
}

// Equal says whether both orders decide the same for the same host: their numbers and echoes may differ.
func (o Order) Equal(p Order) bool {
	return o.Host == p.Host && o.State == p.State && o.Master == p.Master && o.Switch == p.Switch &&
		o.Epoch == p.Epoch && o.Lease == p.Lease &&
		o.Forced == p.Forced && o.Lacks == p.Lacks && o.Cut == p.Cut && o.Down == p.Down &&
		o.Left == p.Left && o.Trust == p.Trust && o.Across == p.Across &&
		slices.Equal(o.Roles, p.Roles)
}

// Orders says what every host must be told, in the order of telling: masters that are not the writer, then slaves, then
// the writer (docs/concepts.md, "How a role moves"). In passive mode there are no new orders; the monitor repeats the last
// one to the writer.
func Orders(t Topology, s State) []Order {
	if s.Mode == Passive {
		return nil
	}
	master := s.ActiveMaster(t)
	across := s.across()
	forced := slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Role == t.ActiveMasterRole && a.Forced })
	lacks := slices.ContainsFunc(s.Addresses, func(a Address) bool { return a.Role == t.ActiveMasterRole && a.Lacks })
	var orders []Order
	for _, h := range t.Hosts {
		o := Order{Host: h.Name, State: s.Hosts[h.Name].State, Roles: s.RolesOf(h.Name), Master: master}
		if t.leased() {
			o.Lease = t.Lease
		}
		if s.Epoch.Number > 0 && s.bound(t, h.Name) {
			o.Epoch, o.Lease = s.Epoch, s.Epoch.Terms.Lease
		}
		o.Trust, o.Across, o.Forced = s.trust(h.Name), across, forced && h.Name == master
		o.Lacks = lacks && h.Name == master
		if a := s.Hosts[h.Name].Audit; a.open() {
			o.Left = a.At
		}
		if s.Switch.To == master {
			o.Switch = s.Switch
			before := s.Hosts[s.Switch.From]
			o.Cut = h.Name == master && before.AgentUp && before.Writing.Fenced
			o.Down = h.Name == master && before.AgentUp && before.ServerGone
		}
		orders = append(orders, o)
	}
	rank := func(o Order) int {
		h, _ := t.Host(o.Host)
		switch {
		case o.Host == master:
			return 2
		case h.Master:
			return 0
		}
		return 1
	}
	slices.SortStableFunc(orders, func(a, b Order) int { return cmp.Compare(rank(a), rank(b)) })
	return orders
}
