package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"mysql-mmm/pkg/cluster"
)

// strays are the configured addresses that this host is not to have. One that is on the interface, and that this agent
// has not added, was added by somebody else: evict removes it. Before the first order the agent does not know what its
// host is to have. Then only the writer's address is a stray, and only where there are leases: without a lease no host
// may have that address.
func (o *owner) strays(want []cluster.RoleIP) []cluster.RoleIP {
	leased := o.holder != nil && o.holder.leased()
	return slices.DeleteFunc(slices.Clone(o.agent.site.Addresses), func(r cluster.RoleIP) bool {
		return slices.Contains(want, r) || o.order == nil && !(leased && r.Role == o.agent.site.ActiveMasterRole)
	})
}

// borrowed says whether this host may have the writer's address only for what is left of the lifetime that a former
// agent has set. That is so where nobody has ordered anything since the start, no lease is live, and the former agent
// held the writer role under a lease, or may have, as its record can't be read.
func (o *owner) borrowed() bool {
	if o.holder == nil || !o.unasked() {
		return false
	}
	return o.holder.lease.Saved.Taken != "" && o.holder.lease.Lease() > 0 || o.holder.unread && o.holder.leased()
}

// disclaim takes the addresses without a lifetime out of those that this agent counts as its own: a former agent would
// have given the writer's address a lifetime, so somebody else has added it. Where the kernel does not answer nothing
// changes.
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

// own are the addresses among those of the first look (present) that a former agent of this host may have added: all
// but the writer's, and the writer's too where it is inherited (owner.inherited).
func (s Site) own(present []netip.Addr, inherited bool) []netip.Addr {
	return slices.DeleteFunc(slices.Clone(present), func(ip netip.Addr) bool {
		return !inherited && s.writer(s.roles([]netip.Addr{ip}))
	})
}

// evict removes the strays that somebody else has added, and returns the addresses that are left. This happens before
// the server is asked anything, unlike with an address that this host gives up: a server that hangs does not keep a
// stray here.
func (h *host) evict(ctx context.Context, p pass, present []netip.Addr, m *Memory) (left []netip.Addr,
	problems []problem) {
	if !m.looked { // the kernel did not answer when the agent started
		m.mine, m.looked = h.site.own(present, p.inherited), true
	}
	m.mine = slices.DeleteFunc(slices.Clone(m.mine), func(ip netip.Addr) bool { return !slices.Contains(present, ip) })
	for _, r := range p.strays {
		if !slices.Contains(present, r.IP) || slices.Contains(m.mine, r.IP) {
			continue
		}
		h.log.Warn(fmt.Sprintf("Somebody has added %s to this host: removing it", r))
		if err := h.publisher.Withdraw(ctx, r); err != nil {
			problems = append(problems, failure(Action{Kind: Remove, Address: r}, err))
			continue
		}
		present = slices.DeleteFunc(present, func(ip netip.Addr) bool { return ip == r.IP })
	}
	return present, problems
}
