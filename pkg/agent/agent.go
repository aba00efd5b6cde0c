package agent

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

const levelFatal = slog.Level(12) // as in pkg/daemon

// mendPeriod is how often the host is compared with its order without anybody asking.
const mendPeriod = time.Second

// Watcher tells when addresses of the interface change.
type Watcher interface {
	Watch(ctx context.Context, changed chan<- struct{}) error
}

// Config is what an Agent is made of.
type Config struct {
	Site     Site
	Address  Addresses
	Watch    Watcher
	Announce Announcer
	Gate     Gate
	Local    Following
	Peers    Peers
	Sources  func(host string) (Source, bool) // how this host replicates from another
	Blocking Blocking
	Uptime   func() (float64, error) // seconds since the host's boot
	Version  string
	Log      *slog.Logger
}

// Agent obeys one monitor on one host.
type Agent struct {
	site     Site
	host     host
	watch    Watcher
	local    Following
	follower *follower
	uptime   func() (float64, error)
	version  string
	log      *slog.Logger
	asked    chan ask
}

// New makes an Agent and starts nothing.
func New(c Config) *Agent {
	return &Agent{
		site: c.Site,
		host: host{site: c.Site, addrs: c.Address, announce: c.Announce, gate: c.Gate, blocking: c.Blocking, log: c.Log,
			catchUp: catchUp{self: c.Site.Host, local: c.Local, peers: c.Peers, log: c.Log}},
		watch:    c.Watch,
		local:    c.Local,
		follower: newFollower(c.Site, c.Local, c.Peers, c.Sources, c.Log),
		uptime:   c.Uptime,
		version:  c.Version,
		log:      c.Log,
		asked:    make(chan ask),
	}
}

// ask is a question to the owner: a new order, or with a nil order what the last one was.
type ask struct {
	order *wire.Order
	reply chan reply // one slot
}

// reply is what came of an order.
type reply struct {
	order    wire.Order // the last order; State is UNKNOWN where there was none
	report   wire.Report
	followed <-chan struct{} // closed once the replication has been brought into line, or that has failed
}

// Run owns what the agent knows until ctx ends. What is on the host stays as it is then.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	changed := make(chan struct{}, 1)
	group.Go(func() error { return a.watch.Watch(ctx, changed) })
	group.Go(func() error { return a.follower.Run(ctx) })
	group.Go(func() error { return a.own(ctx, group, changed) })
	return group.Wait()
}

// String names the task.
func (a *Agent) String() string { return "agent of " + a.site.Host }

// owner is the state of the one goroutine that decides.
type owner struct {
	*Agent
	group    *errgroup.Group
	order    *wire.Order // nil: nothing was ordered since the start, and what is found stays
	memory   Memory
	present  []cluster.RoleIP // as last observed
	problems []string
	round    *round
	again    bool // something has changed since the round began
	waiting  []ask
	ending   context.CancelFunc // stops the ending of client connections
}

// round is one pass of observe, plan, apply, observe.
type round struct {
	order  wire.Order
	cancel context.CancelFunc
	done   chan outcome
}

type outcome struct {
	memory      Memory
	facts       Facts
	problems    []string
	interrupted bool // by an order that wants something else
}

func (a *Agent) own(ctx context.Context, group *errgroup.Group, changed <-chan struct{}) error {
	o := &owner{Agent: a, group: group, ending: func() {}}
	defer func() { o.ending() }()
	if present, err := a.host.present(ctx); err == nil {
		o.present = a.site.roles(present)
		if len(o.present) > 0 {
			a.log.Info("Found roles on the interface: " + cluster.FormatRoleIPs(o.present, ", "))
		}
	}
	ticker := time.NewTicker(mendPeriod)
	defer ticker.Stop()
	for {
		var done <-chan outcome
		if o.round != nil {
			done = o.round.done
		}
		select {
		case <-ctx.Done():
			if o.round != nil {
				o.round.cancel()
				<-o.round.done
			}
			return nil
		case q := <-a.asked:
			o.take(ctx, q)
		case <-ticker.C:
			o.start(ctx)
		case <-changed:
			o.start(ctx)
		case out := <-done:
			o.finish(ctx, out)
		}
	}
}

// take answers a question, or starts to carry out an order.
func (o *owner) take(ctx context.Context, q ask) {
	if q.order == nil {
		last := wire.Order{State: cluster.Unknown}
		if o.order != nil {
			last = *o.order
		}
		q.reply <- reply{order: last}
		return
	}
	o.logChange(*q.order)
	same := o.order != nil && sameOrder(*o.order, *q.order)
	o.order = q.order
	o.waiting = append(o.waiting, q)
	if o.round != nil && !same {
		o.round.cancel()
		o.again = true
	}
	if o.round == nil || same {
		o.start(ctx)
	}
}

// sameOrder: what has to be done on this host is the same.
func sameOrder(a, b wire.Order) bool {
	return a.State == b.State && slices.Equal(sorted(a.Roles), sorted(b.Roles))
}

func sorted(roles []cluster.RoleIP) []cluster.RoleIP {
	return slices.SortedFunc(slices.Values(roles), cluster.RoleIP.Compare)
}

// logChange writes the lines that people's log watchers know.
func (o *owner) logChange(next wire.Order) {
	had := o.present
	if o.order != nil {
		had = o.order.Roles
	}
	var deleted, added []cluster.RoleIP
	for _, r := range had {
		if !slices.Contains(next.Roles, r) {
			deleted = append(deleted, r)
		}
	}
	for _, r := range next.Roles {
		if !slices.Contains(had, r) {
			added = append(added, r)
		}
	}
	if len(deleted)+len(added) == 0 {
		return
	}
	o.log.Info("We have some new roles added or old rules deleted!")
	if len(deleted) > 0 {
		o.log.Info("Deleted: " + cluster.FormatRoleIPs(deleted, ", "))
	}
	if len(added) > 0 {
		o.log.Info("Added:   " + cluster.FormatRoleIPs(added, ", "))
	}
}

// start begins a round, unless one is under way: then another follows it.
func (o *owner) start(ctx context.Context) {
	if o.order == nil {
		return
	}
	if o.round != nil {
		o.again = o.again || len(o.waiting) > 0
		return
	}
	if o.site.writer(o.order.Roles) {
		o.ending() // the connections of a writer are its own again
	}
	ctx, cancel := context.WithCancel(ctx)
	r := &round{order: *o.order, cancel: cancel, done: make(chan outcome, 1)}
	o.round, o.again = r, false
	memory := o.memory
	o.group.Go(func() error {
		defer cancel()
		r.done <- o.host.pass(ctx, r.order, memory)
		return nil
	})
}

// pass observes, plans, applies and observes again.
func (h *host) pass(ctx context.Context, order wire.Order, m Memory) outcome {
	writer := h.site.writer(order.Roles)
	was := m.Opened
	if !writer {
		m = Memory{}
	}
	facts, err := h.observe(ctx)
	was = was || slices.ContainsFunc(h.site.roles(facts.Present), func(r cluster.RoleIP) bool { return r.Role == h.site.ActiveMasterRole })
	plan := Plan(h.site, order, facts, m)
	if writer && facts.Writable == wire.Yes && len(plan) == 0 {
		m.Opened = true // adopted
	}
	var problems []string
	if len(plan) > 0 {
		m, problems = h.apply(ctx, plan, was, m)
		facts, err = h.observe(context.WithoutCancel(ctx))
	}
	if err != nil {
		problems = append(problems, "Couldn't observe this host: "+err.Error())
	}
	for _, r := range h.site.unknown(order.Roles) {
		problems = append(problems, fmt.Sprintf("Role %s is not in the configuration of this host", r))
	}
	if was && !writer && facts.Writable == wire.No {
		m.endClients = true
	}
	return outcome{memory: m, facts: facts, problems: problems, interrupted: ctx.Err() != nil}
}

// finish takes over what a round achieved, answers those who wait for it, and goes on if there is more to do.
func (o *owner) finish(ctx context.Context, out outcome) {
	ended := o.round.order
	o.round = nil
	if out.interrupted {
		o.memory = out.memory
		o.start(ctx)
		return
	}
	for _, p := range out.problems {
		if !slices.Contains(o.problems, p) {
			o.log.Log(ctx, levelFatal, p)
		}
	}
	if out.memory.endClients {
		out.memory.endClients = false
		o.endClients(ctx)
	}
	o.memory, o.problems = out.memory, out.problems
	o.present = o.site.roles(out.facts.Present)
	if !sameOrder(ended, *o.order) {
		o.start(ctx) // those who wait are answered when what they ordered has been tried
		return
	}
	for _, q := range o.waiting {
		q.reply <- o.replyTo(*q.order, out.facts)
	}
	o.waiting = nil
	if o.again {
		o.start(ctx)
	}
}

func (o *owner) replyTo(order wire.Order, f Facts) reply {
	return reply{
		order: order,
		report: wire.Report{
			Extended: order.Extended,
			Seq:      order.Seq,
			Have:     o.present,
			Writable: f.Writable,
			Switch:   o.memory.Switch,
			Problems: slices.Clone(o.problems),
		},
		followed: o.follower.want(order),
	}
}

// endClients ends connections in the background: the role is gone already, nobody waits for it.
func (o *owner) endClients(ctx context.Context) {
	o.ending()
	ctx, cancel := context.WithCancel(ctx)
	o.ending = cancel
	o.group.Go(func() error {
		defer cancel()
		o.host.endClients(ctx)
		return nil
	})
}
