package doctor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

// addresses judges the interfaces, and which host has which address.
func (j *judge) addresses() {
	for _, h := range j.facts.Config.Hosts {
		if e := j.exam(h.Name); e != nil {
			j.nic(h, e)
		}
	}
	for _, r := range j.facts.Config.Roles {
		for _, ip := range r.IPs {
			j.address(r, ip)
		}
	}
	for _, h := range j.facts.Config.Hosts {
		j.hostAddress(h)
	}
}

// nic judges the cluster_interface of one host, and the addresses of roles that the host has.
func (j *judge) nic(h config.Host, e *wire.Examination) {
	variable := fmt.Sprintf("cluster_interface of <host %s> in %s on %s", h.Name, e.File, h.Name)
	switch e.Link {
	case wire.LinkMissing:
		j.add(Error, "interface-missing", h.Name, variable+": one of those that this shows: ip -br addr",
			"it has no interface %s", e.Interface)
		return
	case wire.LinkDown:
		j.add(Error, "interface-down", h.Name, "ip link set "+e.Interface+" up, and see to its cable",
			"its interface %s is down, or has no carrier", e.Interface)
		return
	case wire.LinkUp:
	}
	own := slices.IndexFunc(e.Addresses, func(a wire.HostAddress) bool { return a.Prefix.Addr() == h.IP })
	switch {
	case own < 0:
		j.add(Error, "interface-ip", h.Name, fmt.Sprintf("correct ip in <host %s>, or %s", h.Name, variable),
			"its ip %s is not on its interface %s", h.IP, e.Interface)
	case e.Addresses[own].Interface != e.Interface:
		j.add(Error, "interface-ip", h.Name, fmt.Sprintf("cluster_interface %s in %s on %s", e.Addresses[own].Interface,
			e.File, h.Name),
			"its ip %s is on %s, but cluster_interface is %s", h.IP, e.Addresses[own].Interface, e.Interface)
	default:
		j.ok("interface-ip", h.Name, "%s is up and has %s", e.Interface, h.IP)
		j.subnets(h, e)
	}
	for _, a := range e.Addresses {
		if role := j.roleOf(a.Prefix.Addr()); role != "" {
			j.held(h, e, a, cluster.RoleIP{Role: role, IP: a.Prefix.Addr()})
		}
	}
}

func (j *judge) roleOf(ip netip.Addr) string {
	for _, r := range j.facts.Config.Roles {
		if slices.Contains(r.IPs, ip) {
			return r.Name
		}
	}
	return ""
}

// subnets judges whether the addresses of h's roles are in a network of its interface: other machines reach an address
// outside of these networks only if they have a route to it.
func (j *judge) subnets(h config.Host, e *wire.Examination) {
	for _, r := range j.facts.Config.Roles {
		if !slices.Contains(r.Hosts, h.Name) {
			continue
		}
		for _, ip := range r.IPs {
			inside := slices.ContainsFunc(e.Addresses, func(a wire.HostAddress) bool {
				return a.Interface == e.Interface && !a.Prefix.IsSingleIP() && a.Prefix.Contains(ip)
			})
			if !inside {
				j.add(Warning, "address-subnet", h.Name,
					fmt.Sprintf("ips of <role %s>: addresses of that network; or routes to %s on all machines", r.Name,
						ip),
					"%s(%s) is in no network of its interface %s", r.Name, ip, e.Interface)
			}
		}
	}
}

// held judges an address of a role that a host has.
func (j *judge) held(h config.Host, e *wire.Examination, a wire.HostAddress, r cluster.RoleIP) {
	remove := fmt.Sprintf("on %s: ip addr del %s dev %s", h.Name, a.Prefix, a.Interface)
	switch {
	case a.Interface != e.Interface:
		j.add(Error, "address-elsewhere", h.Name, remove,
			"it has %s on %s, which is not its cluster_interface: its agent does not take the address off there", r,
			a.Interface)
	case e.State == cluster.Unknown:
		j.add(Warning, "address-unordered", h.Name, "start the monitor, which decides about it; or "+remove,
			"it has %s, and no monitor has sent its agent an order since the agent's start", r)
	case !slices.Contains(e.Ordered, r):
		j.add(Error, "address-stray", h.Name, remove, "it has %s, but by the monitor's order it must not have it", r)
	}
}

// address judges which hosts and other machines have an address of a role, or answer for it (ARP).
func (j *judge) address(r config.Role, ip netip.Addr) {
	role := cluster.RoleIP{Role: r.Name, IP: ip}
	holders := j.holders(ip)
	if len(holders) > 1 {
		j.add(Error, "address-twice", holders[1],
			fmt.Sprintf("mmm_control show says who is to have it; on the other: ip addr del %s/%d dev …", ip,
				ip.BitLen()), "%s is on %s", role, list(holders))
	}
	for _, mac := range j.answering(ip) {
		owner := j.owner(mac)
		switch {
		case owner == "":
			j.add(Error, "address-conflict", MonitorHost,
				fmt.Sprintf("find %s in the switches' tables, and on that machine: ip addr del %s dev …", mac, ip),
				"the machine %s answers for %s, and is no host of the cluster", mac, role)
		case slices.Contains(holders, owner):
			j.ok("address-conflict", owner, "only %s answers for %s", owner, role)
		case j.exam(owner) == nil:
			j.add(Warning, "address-conflict", owner, fmt.Sprintf("start its agent; or on %s: ip addr del %s dev …",
				owner, ip), "it answers for %s, and its agent can't be asked", role)
		default:
			j.add(Error, "address-conflict", owner,
				fmt.Sprintf("on %s: ip addr; cat /proc/sys/net/ipv4/conf/*/proxy_arp", owner),
				"it answers for %s and does not have it", role)
		}
	}
}

// answering lists the hardware addresses that answered for an address when agents asked the network.
func (j *judge) answering(ip netip.Addr) []string {
	macs := map[string]bool{}
	for _, h := range j.facts.Config.Hosts {
		if e := j.exam(h.Name); e != nil && e.Seen[ip] != "" {
			macs[e.Seen[ip]] = true
		}
	}
	return slices.Sorted(maps.Keys(macs))
}

// owner is the host with the hardware address mac: its agent says so, or mac answers for the host's own ip. "" for
// none.
func (j *judge) owner(mac string) string {
	for _, h := range j.facts.Config.Hosts {
		if e := j.exam(h.Name); e != nil && e.Hardware == mac {
			return h.Name
		}
	}
	for _, h := range j.facts.Config.Hosts {
		if slices.Contains(j.answering(h.IP), mac) {
			return h.Name
		}
	}
	return ""
}

// hostAddress looks for another machine with a host's own address.
func (j *judge) hostAddress(h config.Host) {
	e := j.exam(h.Name)
	if e == nil || e.Hardware == "" || !slices.ContainsFunc(e.Addresses, func(a wire.HostAddress) bool {
		return a.Interface == e.Interface && a.Prefix.Addr() == h.IP
	}) {
		return
	}
	for _, mac := range j.answering(h.IP) {
		if mac != e.Hardware {
			j.add(Error, "address-conflict", h.Name,
				fmt.Sprintf("find %s in the switches' tables, and take %s off that machine", mac, h.IP),
				"the machine %s answers for its ip %s too", mac, h.IP)
		}
	}
}
