package agent

import (
	"net/netip"
	"slices"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// Site is what the configuration says of this host.
type Site struct {
	Host             string           // this host's name
	Slave            bool             // mode slave: follows the active master
	MayWrite         bool             // may hold the active master role
	ActiveMasterRole string           // role whose holder is open for writes
	Addresses        []cluster.RoleIP // every virtual address of the configuration
}

// Facts is what this host is at one moment.
type Facts struct {
	Present  []netip.Addr // configured addresses on the interface
	Unseen   bool         // the kernel did not answer: Present is what was found before, and there may be others
	Writable wire.Tri     // whether the server takes writes; No as well where Down
	Down     bool         // the server's port refuses connections: it does not run
	Gone     bool         // Down, and the process that answered last does not exist any more
	Stalled  bool         // the server answers, and has written nothing for stalledFor though it has something to write
	Fenced   bool         // the server may take writes and answers nobody; its port is closed, so no client reaches it
	Refused  bool         // the server answers, and does not let this agent open or close it for writes
	Late     bool         // the server takes writes, though the lease is over and this agent has tried to close it
}

// Memory is what an agent knows beyond the facts.
type Memory struct {
	// Opened: in the present holding of the active master role this host has caught up and been opened for writes, so
	// that it may be opened again without catching up, and its address put back.
	Opened bool
	// holding is the holding in which this host was last opened, by the number of the holding's first epoch; 0: none, or
	// there are no epochs. A host whose lease was over for a while, and that nobody has replaced meanwhile, is opened
	// again without catching up.
	holding uint64
	Switch  cluster.Switch // where in the logs this host took over
	Port    Port           // whether the firewall keeps clients from the server
	// portSeen: this agent has looked whether a former agent has left the port closed.
	portSeen bool
	mine     []netip.Addr // addresses that this agent has added, or may have inherited (Site.own)
	looked   bool         // this agent has seen the addresses once, so that mine is complete
	Closed   bool         // the server was closed when it last answered, and this agent has not begun to open it since

	// notes are what this pass did that people should know, beside what has failed.
	notes []string
	// endClients: the writer role was taken away, so client connections are to be ended once a round is not interrupted.
	endClients bool
}

// Kind is what an Action does.
type Kind string

// The actions, in the words of problem reports.
const (
	Deny    Kind = "deny writes"
	Remove  Kind = "remove"
	Add     Kind = "add"
	CatchUp Kind = "catch up with the former writer"
	Allow   Kind = "allow writes"
)

// Action is one step towards the order.
type Action struct {
	Kind    Kind
	Address cluster.RoleIP // of Remove and Add
}

// Replication is what package replication is to know of this host; the rest is for its maker to fill in.
func (s Site) Replication() replication.Config {
	c := replication.Config{Host: s.Host, Slave: s.Slave,
		Writer: func(o cluster.Order) bool { return s.writer(o.Roles) }}
	for _, r := range s.Addresses {
		c.Addresses = append(c.Addresses, r.IP)
	}
	return c
}

// writer says whether the order gives this host the active master role.
func (s Site) writer(roles []cluster.RoleIP) bool {
	return slices.ContainsFunc(roles, func(r cluster.RoleIP) bool { return r.Role == s.ActiveMasterRole })
}

// unknown lists roles of an order that the configuration of this host does not have.
func (s Site) unknown(roles []cluster.RoleIP) []cluster.RoleIP {
	return slices.DeleteFunc(slices.Clone(roles), func(r cluster.RoleIP) bool {
		return slices.Contains(s.Addresses,
			r)
	})
}

// roles turns addresses into the roles that they are configured for.
func (s Site) roles(ips []netip.Addr) []cluster.RoleIP {
	return slices.DeleteFunc(slices.Clone(s.Addresses), func(r cluster.RoleIP) bool {
		return !slices.Contains(ips,
			r.IP)
	})
}

// mustFlee says whether the writer's address has to go before the server is closed for writes: the lease is over, so
// that there is no time left, or the server does not answer or does not write, so that closing it may take for ever.
func mustFlee(f Facts, lapsed bool) bool { return lapsed || f.Writable == wire.Unsure || f.Stalled }

// Plan lists the actions that make a host with these facts what the order says, in their order: writes are denied
// before the address of the writer goes; what has to go goes before anything comes; the writer's address comes last,
// after the server has caught up and been opened. At rest the list is empty. A host whose lease has lapsed, or whose
// server does not answer or does not write, gives the writer's address up before it denies writes (mustFlee).
func Plan(site Site, order cluster.Order, f Facts, m Memory, lapsed bool) []Action {
	var plan []Action
	writer := site.writer(order.Roles)
	deny := !writer && site.MayWrite && f.Writable != wire.No
	late := deny && mustFlee(f, lapsed)
	if deny && !late {
		plan = append(plan, Action{Kind: Deny})
	}
	for _, r := range site.Addresses {
		if slices.Contains(f.Present, r.IP) && !slices.Contains(order.Roles, r) {
			plan = append(plan, Action{Kind: Remove, Address: r})
		}
	}
	if late {
		plan = append(plan, Action{Kind: Deny})
	}
	var last []Action
	for _, r := range order.Roles {
		if !slices.Contains(site.Addresses, r) {
			continue // pass reports it as a problem
		}
		present := slices.Contains(f.Present, r.IP)
		add := Action{Kind: Add, Address: r}
		switch {
		case r.Role == site.ActiveMasterRole:
			last = append(last, openWriter(f, m, present)...)
			if !present {
				last = append(last, add)
			}
		case !present:
			plan = append(plan, add)
		}
	}
	return append(plan, last...)
}

// openWriter lists the actions that open the writer's server. A server that is open beside the writer's address is left
// alone: that is a writer at work, found after a restart of the agent. A server that was opened in this holding and has
// died, or hangs, is opened again when it answers.
func openWriter(f Facts, m Memory, present bool) []Action {
	open := f.Writable == wire.Yes
	switch {
	case open && (m.Opened || present), m.Opened && (f.Down || f.Writable == wire.Unsure):
		return nil // a server that is down or hangs can't be opened now
	case m.Opened:
		return []Action{{Kind: Allow}}
	}
	return []Action{{Kind: CatchUp}, {Kind: Allow}}
}
