package original

import (
	"net/netip"
	"slices"
	"strings"
)

// Site is what both original daemons need of mmm_common.conf.
type Site struct {
	Hosts  []Host
	Roles  []Role
	Writer string // active_master_role
}

// Host is a database host.
type Host struct {
	Name  string
	IP    netip.Addr
	Peer  string
	Slave bool
}

// Role is a role; an exclusive one has one address.
type Role struct {
	Name      string
	Exclusive bool
	Hosts     []string
	IPs       []netip.Addr
}

func (s Site) host(name string) Host {
	return s.Hosts[slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == name })]
}

// writes says whether a role, written with its address, is the active master's.
func (s Site) writes(role string) bool { return strings.HasPrefix(role, s.Writer+"(") }

// name is a role with one of its addresses as it is written on the wire, "reader(10.77.0.101)".
func name(role string, ip netip.Addr) string { return role + "(" + ip.String() + ")" }

// address is the address in a role as name writes it; the zero Addr where it can't be read.
func address(role string) netip.Addr {
	_, rest, _ := strings.Cut(role, "(")
	ip, err := netip.ParseAddr(strings.TrimSuffix(rest, ")"))
	if err != nil {
		return netip.Addr{}
	}
	return ip
}
