package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/wire"
)

// renewalPeriod is how often the owner looks at its lease at least: often enough to tell the kernel the new lifetime of
// the writer's address when another whole second of the lease is over (keepUp).
const renewalPeriod = 100 * time.Millisecond

// newRenewals is the ticker at which the owner looks at its lease (keepLease).
func newRenewals(l *Leasing) *time.Ticker {
	period := mendPeriod
	if l != nil {
		period = renewalPeriod
		if l.Lease > 0 {
			period = max(min(period, l.Lease.Poll()/2), 10*time.Millisecond)
		}
	}
	return time.NewTicker(period)
}

// want is what this host is to be at the moment: its last order, as far as its lease allows. Before the first order the
// addresses that were found stay, and a host whose lease is live, by the promises of others, goes on as the writer that
// it was before its agent was restarted.
func (o *owner) want() cluster.Order {
	switch {
	case o.holder == nil && o.order == nil:
		return cluster.Order{State: cluster.Unknown, Roles: o.present}
	case o.holder == nil:
		return *o.order
	}
	now := o.holder.leasing.Clock.Now()
	holds := o.holder.holds(now)
	if o.order == nil {
		strays := o.strays(nil)
		roles := slices.DeleteFunc(slices.Clone(o.present), func(r cluster.RoleIP) bool {
			return slices.Contains(strays, r) && !slices.Contains(o.memory.mine, r.IP)
		})
		switch {
		case holds:
			roles = o.agent.site.withWriter(roles)
		case o.dismissed():
			roles = slices.DeleteFunc(roles, func(r cluster.RoleIP) bool { return r.Role == o.agent.site.ActiveMasterRole })
		}
		return cluster.Order{State: cluster.Unknown, Roles: roles}
	}
	return allowedByLease(o.agent.site, *o.order, holds, o.holder.alone(now, o.order.Lease))
}

// dismissed says whether this host must give the writer's address up though nobody has ordered anything since the
// start: the newest epoch, of which another agent has told it, gives the role to another host, or takes it from this
// one.
func (o *owner) dismissed() bool {
	if o.order != nil || o.holder == nil || !o.holder.leased() {
		return false
	}
	saved := o.holder.lease.Saved
	return saved.Epoch.Number > 0 && !saved.Released && !o.holder.lease.Wants()
}

// withWriter adds the addresses of the active master role.
func (s Site) withWriter(roles []cluster.RoleIP) []cluster.RoleIP {
	all := slices.Clone(roles)
	for _, r := range s.Addresses {
		if r.Role == s.ActiveMasterRole && !slices.Contains(all, r) {
			all = append(all, r)
		}
	}
	return all
}

// lapsed says whether the last order gives this host the writer role, and want leaves the role out, as the lease is
// over.
func (o *owner) lapsed(want cluster.Order) bool {
	return o.order != nil && o.agent.site.writer(o.order.Roles) && !o.agent.site.writer(want.Roles)
}

// lifetime returns a function that says what to tell the kernel of an address at the moment of the call; 0: it stays
// for ever.
func (o *owner) lifetime() func(cluster.RoleIP) (time.Duration, error) {
	if o.holder == nil {
		return func(cluster.RoleIP) (time.Duration, error) { return 0, nil }
	}
	o.holder.publish()
	t, site, readers := o.holder, o.agent.site, o.readerLease()
	if o.order != nil && o.order.Lease == 0 && o.order.Epoch.Number == 0 {
		return func(cluster.RoleIP) (time.Duration, error) { return 0, nil }
	}
	return func(r cluster.RoleIP) (time.Duration, error) { return t.lifetime(site, r, readers) }
}

// readerLease is how long addresses other than the writer's stay while this host hears neither the monitor nor another
// agent; 0: for ever.
func (o *owner) readerLease() cluster.Lease {
	if o.order == nil {
		return 0
	}
	return o.order.Lease
}

// leased says whether an address that this host has, or is to have, has a lease that can end.
func (o *owner) leased() bool {
	return o.holder != nil && (o.readerLease() > 0 || o.holder.lease.Wants() && o.holder.lease.Lease() > 0)
}

// left says how much of the lease is left: until it is over this host has to be closed for writes, since another host
// may be the writer then; lease.Forever where there are no leases. That counts too for a host that is to leave. Nothing
// is left to a host without a lease whose server is open.
func (o *owner) left() func() time.Duration {
	leased := o.holder != nil && o.holder.leased()
	if o.order != nil {
		leased = o.holder != nil && o.order.Lease > 0
	}
	if !leased {
		return func() time.Duration { return lease.Forever }
	}
	until, clock := o.holder.lease.Until(), o.holder.leasing.Clock
	return func() time.Duration { return max(0, until-clock.Now()) }
}

// keepLease asks the other candidates for promises where the lease runs low, and starts a round where the lease has
// ended or come back.
func (o *owner) keepLease(ctx context.Context) {
	if !o.leased() {
		return
	}
	h := o.holder
	h.checkClock()
	q, whom := h.question()
	for _, host := range whom {
		o.group.Go(func() error {
			v := vouch{by: host, question: q, promised: h.leasing.ask(ctx, host, q)}
			select {
			case h.answered <- v:
			case <-ctx.Done():
			}
			return nil
		})
	}
	o.askForContact(ctx)
	o.keepUp(ctx)
	lost := o.lapsed(o.want())
	if lost != o.wasLapsed {
		o.wasLapsed = lost
		if lost && h.lease.Saved.Taken != "" {
			o.lapses++
			o.agent.log.Log(ctx, levelFatal,
				"Nobody vouches for this host any more: the lease on the writer role is over, its address goes")
		}
	}
	want := o.want()
	if o.agent.site.writer(want.Roles) != o.agent.site.writer(o.present) &&
		(o.round == nil || !sameOrder(o.round.order, want)) {
		o.interrupt(ctx)
	}
}

// keepUp tells the kernel the lifetime of the writer's address anew when another whole second of the lease is over.
// Lifetimes are whole seconds, rounded down: without this the address would end up to a second before its lease.
func (o *owner) keepUp(ctx context.Context) {
	left := o.holder.lease.Left(o.holder.leasing.Clock.Now())
	if left == lease.Forever || left <= 0 || left.Truncate(time.Second) >= o.toldKernel {
		return
	}
	o.renew(ctx)
}

// askForContact asks the other agents for a sign of life where this host has heard neither the monitor nor another
// agent for half of the readers' lease. If one answers, this host is not cut off, and keeps its reader addresses.
func (o *owner) askForContact(ctx context.Context) {
	h := o.holder
	l := time.Duration(o.readerLease())
	if l == 0 || h.visiting || h.leasing.Clock.Now()-h.contact < l/2 {
		return
	}
	h.visiting = true
	limit := l / 3
	o.group.Go(func() error {
		v := vouch{by: "", promised: h.leasing.anybody(ctx, limit)}
		select {
		case h.answered <- v:
		case <-ctx.Done():
		}
		return nil
	})
}

// anybody says whether the agent of any other host answers.
func (l Leasing) anybody(ctx context.Context, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answers := make(chan bool, len(l.Everybody))
	for _, host := range l.Everybody {
		go func() {
			_, err := l.Ask(ctx, host, wire.NewRequest("PING", host).String())
			answers <- err == nil
		}()
	}
	found := false
	for range l.Everybody {
		if <-answers {
			found = true
			cancel()
		}
	}
	return found
}

// renew tells the kernel how long the addresses may stay that this host has and is to have: for ever where the order is
// of a monitor that knows no leases. It adds no address.
func (o *owner) renew(ctx context.Context) {
	if o.holder == nil || o.order == nil && !o.holder.holds(o.holder.leasing.Clock.Now()) {
		return
	}
	if left := o.holder.lease.Left(o.holder.leasing.Clock.Now()); left != lease.Forever {
		o.toldKernel = left.Truncate(time.Second)
	}
	for _, r := range o.want().Roles {
		if o.order == nil && r.Role != o.agent.site.ActiveMasterRole {
			continue // no order has said yet for how long a reader address may stay
		}
		if err := o.renewOne(ctx, r); err != nil && !errors.Is(err, endpoint.ErrTooShort) {
			o.agent.log.Log(ctx, levelFatal, "Couldn't renew "+r.String()+": "+err.Error())
		}
	}
}

// renewOne sets the lifetime of one address. Where too little is left of the lease the lifetime that the kernel was
// told before stands. An address whose lifetime was set too late may outlast its lease, and is taken off.
func (o *owner) renewOne(ctx context.Context, r cluster.RoleIP) error {
	lifetime := o.lifetime()
	err := o.agent.host.publisher.Renew(ctx, r, func() (time.Duration, error) { return lifetime(r) })
	if errors.Is(err, endpoint.ErrLate) {
		o.agent.log.Log(ctx, levelFatal, fmt.Sprintf("Taking %s off: %v", r, err))
		return o.agent.host.publisher.Withdraw(context.WithoutCancel(ctx), r)
	}
	return err
}
