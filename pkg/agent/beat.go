package agent

import (
	"context"
	"errors"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/vip"
	"mysql-mmm/pkg/wire"
)

// slowCall is how long setting a lifetime may take: the sums of the lease count on no more.
const slowCall = 50 * time.Millisecond

// newBeat is the ticker of what the lease asks for by itself.
func newBeat(l *Leasing) *time.Ticker {
	period := mendPeriod
	if l != nil && l.Lease > 0 {
		period = max(l.Lease.Poll()/2, 10*time.Millisecond)
	}
	return time.NewTicker(period)
}

// want is what this host is to be at the moment: its last order, as far as its lease allows.
func (o *owner) want() wire.Order {
	if o.order == nil {
		return wire.Order{State: cluster.Unknown, Roles: o.present}
	}
	if o.tenant == nil {
		return *o.order
	}
	now := o.tenant.Clock.Now()
	return lawful(o.site, *o.order, o.tenant.holds(now), o.tenant.alone(now))
}

// lapsed: the role is this host's, but what it is to be now leaves it out.
func (o *owner) lapsed(want wire.Order) bool {
	return o.order != nil && o.site.writer(o.order.Roles) && !o.site.writer(want.Roles)
}

func (o *owner) lifetime() func(cluster.RoleIP) time.Duration {
	if o.tenant == nil || o.order == nil || o.order.Lease == 0 {
		return func(cluster.RoleIP) time.Duration { return 0 }
	}
	return o.tenant.lifetime(o.site)
}

// grace is how long a statement that writes may go on: no longer than the lease, since another host may be open after
// its end. A host that is to leave has until then; one that holds none, and is open, gives no time at all.
func (o *owner) grace() func(most time.Duration) time.Duration {
	if o.tenant == nil || o.order == nil || o.order.Lease == 0 {
		return func(most time.Duration) time.Duration { return most }
	}
	until, clock := o.tenant.tenure.Until(), o.tenant.Clock
	return func(most time.Duration) time.Duration { return min(most, max(0, until-clock.Now())) }
}

// beat asks the other candidates where the lease runs low, and fences where it has run out.
func (o *owner) beat(ctx context.Context) {
	if o.tenant == nil || o.order == nil || o.order.Lease == 0 {
		return
	}
	t := o.tenant
	t.checkClock()
	q, whom := t.question()
	for _, host := range whom {
		o.group.Go(func() error {
			v := vouch{by: host, question: q, promised: t.Leasing.ask(ctx, host, q)}
			select {
			case t.answered <- v:
			case <-ctx.Done():
			}
			return nil
		})
	}
	o.company(ctx)
	lost := o.lapsed(o.want())
	if lost != o.unnerved {
		o.unnerved = lost
		if lost && t.tenure.Taken {
			o.lapses++
			o.log.Log(ctx, levelFatal, "Nobody vouches for this host any more: the lease on the writer role is over, its address goes")
		}
	}
	if o.round == nil || !sameOrder(o.round.order, o.want()) {
		if lost != o.site.writer(o.present) {
			return // as it is to be
		}
		o.interrupt(ctx)
	}
}

// company finds out whether a host that the monitor has not spoken to for a while is cut off from everybody: if another agent
// answers it keeps its reader addresses.
func (o *owner) company(ctx context.Context) {
	t := o.tenant
	if t.visiting || t.Clock.Now()-t.contact < time.Duration(o.order.Lease)/2 {
		return
	}
	t.visiting = true
	limit := time.Duration(o.order.Lease) / 3
	o.group.Go(func() error {
		v := vouch{by: "", promised: t.anybody(ctx, limit)}
		select {
		case t.answered <- v:
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

func (o *owner) promise(q wire.Question) vouchReply {
	if o.tenant == nil {
		return vouchReply{}
	}
	return o.tenant.promise(q)
}

// renew gives the addresses that this host is to have, and has, the lifetime that is left for them. It never adds one.
func (o *owner) renew(ctx context.Context) {
	if o.tenant == nil || o.order == nil || o.order.Lease == 0 {
		return
	}
	for _, r := range o.want().Roles {
		if err := o.renewOne(ctx, r); err != nil && !errors.Is(err, vip.ErrNotPresent) {
			o.log.Log(ctx, levelFatal, "Couldn't renew "+r.String()+": "+err.Error())
		}
	}
}

// renewOne sets one lifetime; one that took too long to set is set again, and at last given up.
func (o *owner) renewOne(ctx context.Context, r cluster.RoleIP) error {
	ctx, cancel := context.WithTimeout(ctx, netlinkTimeout)
	defer cancel()
	for range 3 {
		left := o.lifetime()(r)
		if left < 0 {
			break
		}
		began := o.tenant.Clock.Now()
		if err := o.host.addrs.Renew(ctx, r.IP, left); err != nil {
			return err
		}
		if o.tenant.Clock.Now()-began <= slowCall {
			return nil
		}
	}
	return o.host.remove(ctx, r)
}
