package original

import (
	"net/netip"
	"slices"
	"strings"
)

// Site is what both daemons read in mmm_common.conf.
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

// Role has one address where it is exclusive.
type Role struct {
	Name      string
	Exclusive bool
	Hosts     []string
	IPs       []netip.Addr
}

func (s Site) host(name string) Host {
	return s.Hosts[slices.IndexFunc(s.Hosts, func(h Host) bool { return h.Name == name })]
}

// writes says whether a role with its address is the active master's.
func (s Site) writes(role string) bool { return strings.HasPrefix(role, s.Writer+"(") }

func name(role string, ip netip.Addr) string { return role + "(" + ip.String() + ")" }

// address is that of a role as it is written on the wire; one that can't be read is nobody's.
func address(role string) netip.Addr {
	_, rest, _ := strings.Cut(role, "(")
	ip, err := netip.ParseAddr(strings.TrimSuffix(rest, ")"))
	if err != nil {
		return netip.Addr{}
	}
	return ip
}
