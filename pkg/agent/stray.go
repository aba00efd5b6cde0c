package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"mysql-mmm/pkg/cluster"
)

// strays are the addresses that nobody but somebody else can have added, unless this agent has: all that it is not to
// have. Before the first order nobody has said what it is to have; the writer's address needs a lease even then.
func (o *owner) strays(want []cluster.RoleIP) []cluster.RoleIP {
	leased := o.tenant != nil && o.tenant.Lease > 0
	return slices.DeleteFunc(slices.Clone(o.site.Addresses), func(r cluster.RoleIP) bool {
		return slices.Contains(want, r) || o.order == nil && !(leased && r.Role == o.site.ActiveMasterRole)
	})
}

// evict removes what somebody else has added. Unlike an address that this host gives up it goes before the server is
// asked anything: a server that hangs does not keep it here.
func (h *host) evict(ctx context.Context, strays []cluster.RoleIP, present []netip.Addr, m *Memory) (left []netip.Addr, problems []string) {
	if !m.looked {
		m.mine, m.looked = present, true
	}
	m.mine = slices.DeleteFunc(slices.Clone(m.mine), func(ip netip.Addr) bool { return !slices.Contains(present, ip) })
	for _, r := range strays {
		if !slices.Contains(present, r.IP) || slices.Contains(m.mine, r.IP) {
			continue
		}
		h.log.Warn(fmt.Sprintf("Somebody has added %s to this host: removing it", r))
		if err := h.remove(ctx, r); err != nil {
			problems = append(problems, problem(Action{Kind: Remove, Address: r}, err))
			continue
		}
		present = slices.DeleteFunc(present, func(ip netip.Addr) bool { return ip == r.IP })
	}
	return present, problems
}
