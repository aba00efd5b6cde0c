package cluster

import (
	"net/netip"
	"slices"
	"time"
)

// Mode says what the monitor may do by itself (docs/concepts.md, "Modes of the monitor").
type Mode string

// The modes of the monitor. Wait is Manual until the masters are up, then Active.
const (
	Active  Mode = "ACTIVE"
	Manual  Mode = "MANUAL"
	Wait    Mode = "WAIT"
	Passive Mode = "PASSIVE"
)

// Topology is what the configuration says of the cluster. It never changes while a State built on it is in use.
type Topology struct {
	Hosts            []Host // sorted by name
	Roles            []Role // sorted by name
	ActiveMasterRole string // exclusive role whose holder is the writer

	AutoSetOnline      time.Duration // time in AWAITING_RECOVERY before ONLINE; 0 = only by hand
	FlapDuration       time.Duration // window in which departures from ONLINE are counted
	FlapCount          int           // more departures than this within the window: flapping; 0 = never
	WaitForOtherMaster time.Duration // how long a master that is missing is waited for; 0 = for ever
	FailoverLoss       Loss
	// how long a writer that can't write keeps the role where another one is fit; 0 = for ever
	WriteTimeout   time.Duration
	Interruption   time.Duration // how long a host must receive nothing for that to count (trap_period of rep_threads)
	CarefulStartup bool          // an address on two hosts at the start leads to PASSIVE mode

	Lease        Lease // of the active master role; 0 = classic, none
	FastFailover bool  // unanimous evidence that a server is gone counts at once, without the trap period

	// ReleaseTimeout is how long a host may take to give up an address before it counts as unable to.
	ReleaseTimeout time.Duration
	// SwitchTimeout is how long the target of a planned move may take before the role goes back.
	SwitchTimeout time.Duration
	// NetworkGrace is how long failed checks are disbelieved after the monitor's own network came back, and after a
	// host gave the writer role up: for as long as it takes until each check has a new verdict.
	NetworkGrace time.Duration
}

// Host is one database host.
type Host struct {
	Name   string
	IP     netip.Addr
	Port   int    // of its server; 0: not known
	Master bool   // mode master; false: slave
	Peer   string // the other master, for a master
}

// Role is a set of addresses and the hosts that may serve them.
type Role struct {
	Name      string
	Exclusive bool // one address, one host; else balanced
	Hosts     []string
	IPs       []netip.Addr
	Prefer    string // exclusive roles: host that gets the role whenever it can have it
}

// Host finds a host by name.
func (t Topology) Host(name string) (Host, bool) {
	i := slices.IndexFunc(t.Hosts, func(h Host) bool { return h.Name == name })
	if i < 0 {
		return Host{}, false
	}
	return t.Hosts[i], true
}

// Role finds a role by name.
func (t Topology) Role(name string) (Role, bool) {
	i := slices.IndexFunc(t.Roles, func(r Role) bool { return r.Name == name })
	if i < 0 {
		return Role{}, false
	}
	return t.Roles[i], true
}

// mayWrite says whether the host is in the active master role's list.
func (t Topology) mayWrite(host string) bool {
	r, ok := t.Role(t.ActiveMasterRole)
	return ok && slices.Contains(r.Hosts, host)
}

// leased says whether the writer needs a lease: with one candidate nobody else can be given the role.
func (t Topology) leased() bool {
	r, ok := t.Role(t.ActiveMasterRole)
	return ok && t.Lease > 0 && len(r.Hosts) > 1
}

// roleIPs lists every virtual address of the configuration, sorted.
func (t Topology) roleIPs() []RoleIP {
	var all []RoleIP
	for _, r := range t.Roles {
		for _, ip := range r.IPs {
			all = append(all, RoleIP{Role: r.Name, IP: ip})
		}
	}
	slices.SortFunc(all, RoleIP.Compare)
	return all
}
