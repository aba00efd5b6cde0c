package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// round is one pass of observe, plan, apply, observe.
type round struct {
	order  cluster.Order
	cancel context.CancelFunc
	done   chan outcome
}

type outcome struct {
	memory      Memory
	facts       Facts
	problems    []problem
	interrupted bool // by an order that wants something else
}

// start begins a round. While one is under way it begins none; another one follows where an order waits for its answer.
func (o *owner) start(ctx context.Context) {
	if o.round != nil {
		o.again = o.again || len(o.waiting) > 0
		return
	}
	want := o.want()
	o.agent.writer.Store(o.agent.site.writer(want.Roles) || o.memory.Port == PortClosed)
	if o.agent.site.writer(want.Roles) {
		o.ending() // a host that is to be the writer keeps its clients
	}
	life := ctx
	ctx, cancel := context.WithCancel(life)
	r := &round{order: want, cancel: cancel, done: make(chan outcome, 1)}
	o.round, o.again = r, false
	p := pass{order: want, memory: o.memory, before: ips(o.present),
		unasked: o.unasked(), dismissed: o.dismissed(), candidate: o.candidate(), holding: o.holding(),
		lapsed: o.lapsed(want),
		stall:  o.agent.stalls.get(), strays: o.strays(want.Roles), inherited: o.inherited(), borrowed: o.borrowed(),
		lifetime: o.lifetime(), left: o.left(),
		later: func(task func(context.Context)) { o.group.Go(func() error { task(life); return nil }) }}
	o.group.Go(func() error {
		defer cancel()
		r.done <- o.agent.host.pass(ctx, p)
		return nil
	})
}

// unasked says whether nobody has ordered anything since the start, and no live lease makes this host the writer.
func (o *owner) unasked() bool {
	return o.order == nil && (o.holder == nil || !o.holder.holds(o.holder.leasing.Clock.Now()))
}

// holding is the number of the first epoch of the holding, where the newest epoch gives this host the writer role; 0:
// it does not, or there are no epochs.
func (o *owner) holding() uint64 {
	if o.holder == nil || !o.holder.lease.Wants() {
		return 0
	}
	return o.holder.lease.Saved.Epoch.Since
}

// candidate says whether this host may be the writer, by its own file or by the newest epoch that it knows.
func (o *owner) candidate() bool {
	return o.agent.site.MayWrite || o.holder != nil && o.holder.lease.Saved.Epoch.Terms.Candidate(o.agent.site.Host)
}

// pass is what one round starts from.
type pass struct {
	order  cluster.Order
	memory Memory
	before []netip.Addr // the addresses that the last look found
	// nothing is ordered: all that is done is to close the server of a candidate without the writer's address for writes
	unasked   bool
	dismissed bool // see owner.dismissed: the writer's address goes as well
	candidate bool // this host may be the writer
	// first epoch of the holding in which the role is this host's; 0: it is not, or there are no epochs
	holding   uint64
	lapsed    bool             // the order gives this host the writer role, and its lease is over
	hangs     bool             // the server does not answer, or does not write: it can't be closed for writes
	refused   bool             // the server answers, and does not let this agent close it for writes
	stall     stall            // of the server, when the round began
	borrowed  bool             // see owner.borrowed
	strays    []cluster.RoleIP // see owner.strays
	inherited bool             // see owner.inherited
	lifetime  func(cluster.RoleIP) (time.Duration, error)
	left      func() time.Duration             // of the lease (owner.left)
	later     func(task func(context.Context)) // runs a task that goes on after the round
}

// grace is how long statements that write may go on now, at most: as configured (most), and no longer than the lease.
func (p pass) grace(most time.Duration) time.Duration { return min(most, p.left()) }

// planned says whether nothing forces this host to give the writer role up, so that the role stays here where closing
// the server fails. That is only so under a monitor of ours: an original one does not understand that an answer says
// so, and takes any answer for success.
func (p pass) planned() bool {
	return p.order.Extended && p.order.State == cluster.Online && !p.lapsed && !p.hangs && !p.refused
}

// pass is the work of one round: it observes, plans, applies and observes again.
func (h *host) pass(ctx context.Context, p pass) outcome {
	order, m := p.order, p.memory
	writer := h.site.writer(order.Roles)
	was := m.Opened
	if !writer {
		// endClients and notes are there where a round was interrupted that would have seen to them.
		m = Memory{Port: m.Port, portSeen: m.portSeen, Closed: m.Closed, holding: m.holding, mine: m.mine,
			looked: m.looked, endClients: m.endClients, notes: m.notes}
	} else {
		m.endClients = false
		m.Opened = m.Opened || p.holding > 0 && m.holding == p.holding
	}
	if h.fence != nil && !m.portSeen {
		m.portSeen = true
		if h.stillClosed(ctx) {
			m.Port = PortClosed // by the former agent, as the server could not be closed for writes
		}
	}
	if p.borrowed {
		h.disclaim(ctx, &m)
	}
	facts, problems, err := h.recognise(ctx, p, &m)
	facts.Stalled = p.stall.lasts >= stalledFor
	was = was || slices.ContainsFunc(h.site.roles(facts.Present),
		func(r cluster.RoleIP) bool { return r.Role == h.site.ActiveMasterRole })
	site := h.site
	site.MayWrite = p.candidate
	plan := Plan(site, order, facts, m, p.lapsed)
	if p.unasked {
		// Who has the writer's address may be the writer at work: the monitor's order will say, or an epoch.
		adopted := h.site.writer(h.site.roles(facts.Present)) && !p.dismissed
		plan = slices.DeleteFunc(plan, func(a Action) bool {
			goes := a.Kind == Remove && a.Address.Role == h.site.ActiveMasterRole && p.dismissed
			return (a.Kind != Deny || adopted) && !goes
		})
	}
	if writer && facts.Writable == wire.Yes && len(plan) == 0 {
		m.Opened = true // it was the writer at work already: it counts as opened by this agent
	}
	p.hangs, p.refused = facts.Writable == wire.Unsure || facts.Stalled, facts.Refused
	if len(plan) > 0 {
		var failed []problem
		m, failed = h.apply(ctx, p, plan, was, m)
		problems = append(problems, failed...)
		if after := context.WithoutCancel(ctx); facts.Writable == wire.Unsure {
			refused := err
			if err = h.look(after, facts.Present, &facts); facts.Refused { // a server that hangs is not asked twice
				err = errors.Join(refused, err)
			}
		} else {
			facts, _, err = h.recognise(after, pass{before: facts.Present, inherited: p.inherited}, &m)
			facts.Stalled = p.stall.lasts >= stalledFor
		}
	}
	if writer && m.Opened {
		m.holding = p.holding
	}
	denied := slices.ContainsFunc(plan, func(a Action) bool { return a.Kind == Deny })
	facts.Late = denied && ctx.Err() == nil && facts.Writable == wire.Yes && p.left() <= 0
	var why string
	if facts, m, why = h.shut(ctx, site, writer, p.stall, facts, m); why != "" {
		problems = append(problems, problem{text: why})
	}
	if !p.unasked {
		h.hold(order.Roles, facts.Present)
	}
	if err != nil {
		problems = append(problems, problem{text: "Couldn't observe this host: " + err.Error()})
	}
	for _, r := range h.site.unknown(order.Roles) {
		problems = append(problems, problem{text: fmt.Sprintf("Role %s is not in the configuration of this host", r)})
	}
	if was && !writer && facts.Writable == wire.No {
		m.endClients = true
	}
	return outcome{memory: m, facts: facts, problems: problems, interrupted: ctx.Err() != nil}
}

func ips(roles []cluster.RoleIP) []netip.Addr {
	list := make([]netip.Addr, len(roles))
	for i, r := range roles {
		list[i] = r.IP
	}
	return list
}

// finish takes over what a round achieved, answers the orders that wait for it, and starts another round if one is
// needed.
func (o *owner) finish(ctx context.Context, out outcome) {
	ended := o.round.order
	o.round = nil
	if out.interrupted {
		o.memory = out.memory
		o.start(ctx)
		return
	}
	o.complain(ctx, out.problems)
	if out.memory.endClients {
		out.memory.endClients = false
		o.endClients(ctx)
	}
	o.note(out.memory.notes)
	out.memory.notes = nil
	o.memory, o.problems, o.facts, o.observed = out.memory, out.problems, out.facts, time.Now()
	o.present = o.agent.site.roles(out.facts.Present)
	if o.order == nil {
		return
	}
	if !sameOrder(ended, o.want()) {
		o.start(ctx) // the orders that wait are answered after a round that has tried the newest one
		return
	}
	o.settled = true
	o.answer()
	if o.again {
		o.start(ctx)
	}
}

// classicMove is how long a move of an address takes at most under an original monitor: it tells the new holder first,
// and the old one within its next rounds, of 3 s each.
const classicMove = 10 * time.Second

// complain logs problems that are new as FATAL. An original monitor tells the new holder of an address before the old
// one, so that a conflict over the address is ordinary at first: for classicMove it is only logged as information.
func (o *owner) complain(ctx context.Context, problems []problem) {
	deferred := map[string]time.Time{}
	for _, p := range problems {
		since, waits := o.deferred[p.text]
		moving := o.order != nil && !o.order.Extended && p.conflict
		switch {
		case moving && !waits && !slices.Contains(o.problems, p):
			o.agent.log.Info(p.text)
			deferred[p.text] = time.Now()
		case waits && moving && time.Since(since) < classicMove:
			deferred[p.text] = since
		case waits, !slices.Contains(o.problems, p):
			o.agent.log.Log(ctx, levelFatal, p.text)
		}
	}
	o.deferred = deferred
}

// noteTime is how long a note stays in the answers. A monitor repeats its order each second, so that at least one
// answer that arrives has the note.
const noteTime = 10 * time.Second

// note keeps, for the next answers, what people should know though nothing has failed. It drops notes that are old.
func (o *owner) note(texts []string) {
	o.notes = slices.DeleteFunc(o.notes, func(n note) bool { return time.Since(n.made) >= noteTime })
	for _, text := range texts {
		o.notes = append(o.notes, note{text, time.Now()})
	}
}

type note struct {
	text string
	made time.Time
}
