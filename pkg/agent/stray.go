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
	leased := o.holder != nil && o.holder.leased()
	return slices.DeleteFunc(slices.Clone(o.agent.site.Addresses), func(r cluster.RoleIP) bool {
		return slices.Contains(want, r) || o.order == nil && !(leased && r.Role == o.agent.site.ActiveMasterRole)
	})
}

// borrowed: nobody has ordered anything since the start, and nobody vouches for this host, which had the writer's role
// under a lease, or may have had it by a record that can't be read: what it has of the address leaves when the lifetime
// is over that an agent before this one has set.
func (o *owner) borrowed() bool {
	if o.holder == nil || !o.unasked() {
		return false
	}
	return o.holder.lease.Saved.Taken != "" && o.holder.lease.Lease() > 0 || o.holder.unread && o.holder.leased()
}

// disclaim takes out of what this agent may have added all that has no end: somebody else has put it there. That it
// can't be seen changes nothing.
func (h *host) disclaim(ctx context.Context, m *Memory) {
	if h.lasting == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, netlinkTimeout)
	defer cancel()
	there, err := h.lasting.Lasting(ctx)
	if err != nil {
		return
	}
	m.mine = slices.DeleteFunc(slices.Clone(m.mine), func(ip netip.Addr) bool { return slices.Contains(there, ip) })
}

// own are those of the addresses that are found first which an agent of this host may have added: all but the writer's,
// and that where it is inherited.
func (s Site) own(present []netip.Addr, inherited bool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(present), func(ip netip.Addr) bool {
		return !inherited && s.writer(s.roles([]netip.Addr{ip}))
	})
}

// evict removes what somebody else has added. Unlike an address that this host gives up it goes before the server is
// asked anything: a server that hangs does not keep it here.
func (h *host) evict(ctx context.Context, p pass, present []netip.Addr, m *Memory) (left []netip.Addr,
	problems []string) {
	if !m.looked { // the kernel did not say at the start
		m.mine, m.looked = h.site.own(present, p.inherited), true
	}
	m.mine = slices.DeleteFunc(slices.Clone(m.mine), func(ip netip.Addr) bool { return !slices.Contains(present, ip) })
	for _, r := range p.strays {
		if !slices.Contains(present, r.IP) || slices.Contains(m.mine, r.IP) {
			continue
		}
		h.log.Warn(fmt.Sprintf("Somebody has added %s to this host: removing it", r))
		if err := h.publisher.Withdraw(ctx, r); err != nil {
			problems = append(problems, problem(Action{Kind: Remove, Address: r}, err))
			continue
		}
		present = slices.DeleteFunc(present, func(ip netip.Addr) bool { return ip == r.IP })
	}
	return present, problems
}
