package agent

import (
	"context"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

const levelFatal = slog.Level(12) // as in pkg/daemon

// mendPeriod is how often the agent compares its host with the last order by itself.
const mendPeriod = time.Second

// Watcher tells when addresses of the interface change.
type Watcher interface {
	Watch(ctx context.Context, changed chan<- struct{}) error
}

// ReplicaStatus is what the local server says of its own replication.
type ReplicaStatus interface {
	Replica(ctx context.Context) (mysqlctl.Replica, error)
}

// Disk keeps the small files that outlive an agent (package durable).
type Disk interface {
	ReadFile(path string) ([]byte, error)
	Replace(path string, content []byte) error
}

// Config is what an Agent is made of.
type Config struct {
	Site      Site
	Endpoints endpoint.Publisher // where clients of the roles are sent
	Disk      Disk               // nil: this machine's own
	Watch     Watcher
	Announce  Announcer
	Gate      Gate
	// the local server, asked by another account than Gate's; nil: there is no other account
	Spare Asked
	Fence Fence // nil: none
	// nil: an address without a lifetime that is found at the start may stay
	Lifetimes Lifetimes
	Conflict  Conflict // nil: addresses are added without looking for another machine that has them
	// nil: whether the server listens on the writer's address is not looked at
	Listens Listens
	Process Process  // nil: nothing is said about the server's process
	Leasing *Leasing // nil: as an original agent, without leases
	// nil: locks that keep this host from taking over are left alone
	Locks       Locks
	Local       ReplicaStatus
	Replication *replication.Replication // of the same server; its Load and Run are called by the Agent
	// Clients ends the TCP connections of clients to the server's port; nil: they end by themselves.
	Clients   func(ctx context.Context) (int, error)
	Commits   Commits    // nil: whether the server writes is not looked at
	Processes fs.FS      // as /proc; nil: backups are not looked for
	Backups   BackupLock // nil: the server is not asked whether one is made
	Volume    Volume     // of the server's folders
	Peers     replication.Peers
	Blocking  Blocking
	Examiner  *Examiner               // nil: EXAMINE is not known
	Uptime    func() (float64, error) // seconds since the host's boot
	Version   string
	After     *Agent // agent of the former configuration, whose Run returns before this one's begins; nil: none
	Log       *slog.Logger
}

// Agent obeys one monitor on one host.
type Agent struct {
	site        Site
	host        host
	watch       Watcher
	local       ReplicaStatus
	replication *replication.Replication
	peers       replication.Peers
	stalls      *stallWatch
	backups     *backupWatch
	writer      *atomic.Bool // this host is to be the writer, or its port is closed as its server could not be closed
	uptime      func() (float64, error)
	version     string
	log         *slog.Logger
	asked       chan ask
	leasing     *Leasing
	disk        Disk
	holder      atomic.Pointer[leaseHolder] // for other goroutines, which may call its fill; nil: before Run, or no leases
	examiner    *Examiner
	vouches     chan askedToVouch
	after       *Agent
	left        *leaseHolder // set when Run returns: the lease, for the agent that follows in this process
	status      atomic.Pointer[Status]
}

// New makes an Agent and starts nothing.
func New(c Config) *Agent {
	if c.Disk == nil {
		c.Disk = durable.Disk{}
	}
	writer := &atomic.Bool{}
	return &Agent{
		site: c.Site,
		host: host{site: c.Site, publisher: c.Endpoints, announce: c.Announce, gate: c.Gate, spare: newSpare(c.Spare),
			blocking: c.Blocking, log: c.Log,
			monitor: &atomic.Pointer[netip.Addr]{}, clients: c.Clients, fence: c.Fence,
			lasting: c.Lifetimes, conflict: c.Conflict, listens: c.Listens, process: c.Process, locks: c.Locks,
			peers: c.Peers, catchUp: c.Replication.CatchUp},
		replication: c.Replication,
		peers:       c.Peers,
		watch:       c.Watch,
		local:       c.Local,
		stalls:      newStallWatch(c.Commits, c.Volume, writer),
		writer:      writer,
		backups:     newBackupWatch(c.Processes, c.Backups),
		uptime:      c.Uptime,
		version:     c.Version,
		log:         c.Log,
		asked:       make(chan ask),
		leasing:     c.Leasing,
		disk:        c.Disk,
		examiner:    c.Examiner,
		vouches:     make(chan askedToVouch),
		after:       c.After,
	}
}

// ask hands the owner a new order, or, where order is nil, asks what the last order was.
type ask struct {
	order *cluster.Order
	reply chan reply // one slot
}

// reply is the owner's answer to an ask.
type reply struct {
	order    cluster.Order // the last order; State is UNKNOWN where there was none
	report   wire.Report
	followed <-chan struct{} // closed once the replication follows the order, or the attempt has failed
}

// Run obeys orders until ctx ends. It leaves the host as it is then: addresses stay for their lifetimes, and the server
// stays open or closed.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	changed := make(chan struct{}, 1)
	a.host.welcomeAll(ctx)
	group.Go(func() error { return a.watch.Watch(ctx, changed) })
	group.Go(func() error { return a.replication.Run(ctx) })
	group.Go(func() error { return a.stalls.Run(ctx) })
	group.Go(func() error { return a.backups.Run(ctx) })
	group.Go(func() error { return a.own(ctx, group, changed) })
	group.Go(func() error { a.host.prepare(ctx); return nil })
	err := group.Wait()
	a.replication.Wait()
	a.host.commands.Wait()
	return err
}

// String names the task.
func (a *Agent) String() string { return "agent of " + a.site.Host }

// owner is the state of the one goroutine that decides.
type owner struct {
	agent      *Agent
	group      *errgroup.Group
	order      *cluster.Order // the last one; nil: nothing was ordered since the start, and what is found stays
	memory     Memory
	present    []cluster.RoleIP // as last observed
	problems   []problem
	notes      []note
	deferred   map[string]time.Time // conflicts that are logged as information so far, and since when there are
	round      *round               // the one that runs; nil: none
	again      bool                 // another round is to follow it
	waiting    []ask                // orders that are not answered yet
	settled    bool                 // a round has tried to carry out the newest order
	ending     context.CancelFunc   // stops the ending of client connections
	holder     *leaseHolder         // nil: this agent holds no leases
	toldKernel time.Duration        // whole seconds that were left of the writer's lease when the kernel was last told
	facts      Facts                // as last observed
	wasLapsed  bool                 // lapsed, as keepLease last found it: a lapse is logged once
	observed   time.Time            // when facts were observed
	heard      time.Time            // when the newest order came
	lapses     int                  // how often the lease has run out while this host held the role
}

func (a *Agent) own(ctx context.Context, group *errgroup.Group, changed <-chan struct{}) error {
	o := &owner{agent: a, group: group, ending: func() {}}
	defer func() { o.ending() }()
	renewals, answered, recorded := newRenewals(a.leasing), (chan vouch)(nil), (chan written)(nil)
	defer renewals.Stop()
	if a.leasing != nil {
		if before := a.after; before != nil && before.left != nil {
			o.holder = before.left.goOn(*a.leasing, a.disk)
		} else {
			o.holder = newLeaseHolder(ctx, *a.leasing, a.disk, a.site.Host, a.log)
		}
		answered, recorded = o.holder.answered, o.holder.record.written
		group.Go(func() error { return o.holder.record.Run(ctx) })
		a.holder.Store(o.holder)
		a.after = nil
		defer func() { a.left = o.holder }()
		o.holder.commit(ctx)
	}
	a.replication.Load(ctx)
	present, err := a.host.present(ctx)
	o.facts.Unseen = err != nil
	if err == nil {
		o.present = a.site.roles(present)
		o.memory.mine, o.memory.looked = o.agent.site.own(present, o.inherited()), true
		if len(o.present) > 0 {
			a.log.Info("Found roles on the interface: " + cluster.FormatRoleIPs(o.present, ", "))
		}
	}
	o.start(ctx) // a server that was left open without the writer's address is closed at once
	ticker := time.NewTicker(mendPeriod)
	defer ticker.Stop()
	for {
		if o.holder != nil {
			o.holder.publish()
		}
		o.publishStatus()
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
			o.handle(ctx, q)
		case <-ticker.C:
			o.start(ctx)
		case <-changed:
			o.start(ctx)
		case <-renewals.C:
			o.keepLease(ctx)
		case q := <-a.vouches:
			if o.holder == nil {
				q.reply <- vouchReply{}
				continue
			}
			o.holder.promise(ctx, q)
			o.start(ctx)
		case w := <-recorded:
			o.holder.wrote(ctx, w)
			o.settled = false
			o.renew(ctx)
			o.interrupt(ctx)
		case v := <-answered:
			o.holder.receive(v)
			o.renew(ctx)
		case out := <-done:
			o.finish(ctx, out)
		}
	}
}

// handle answers a question, or starts to carry out an order.
func (o *owner) handle(ctx context.Context, q ask) {
	if q.order == nil {
		last := cluster.Order{State: cluster.Unknown}
		if o.order != nil {
			last = *o.order
		}
		r := reply{order: last}
		if o.holder != nil {
			o.holder.fill(&r.report)
		}
		q.reply <- r
		return
	}
	if o.holder != nil {
		if why := o.holder.order(ctx, *q.order, o.agent.site.writer(o.present)); why != "" {
			q.reply <- o.refusal(*q.order, why)
			o.interrupt(ctx)
			return
		}
	}
	o.logChange(*q.order)
	known := o.repeats(*q.order)
	o.order, o.heard = q.order, time.Now()
	o.renew(ctx)
	if known && o.asOrdered() {
		q.reply <- o.replyTo(*q.order, o.facts)
		return
	}
	o.waiting, o.settled = append(o.waiting, q), false
	o.interrupt(ctx)
}

// repeats says whether next differs from the last order by its echo alone, and that one has been carried out.
func (o *owner) repeats(next cluster.Order) bool {
	if o.order == nil || !next.Extended || !o.settled || o.round != nil || len(o.waiting) > 0 {
		return false
	}
	return o.order.Extended && o.order.Seq == next.Seq && o.order.Equal(next)
}

// asOrdered says whether a look at the host within the last mendPeriod has found it as the last order wants it, so that
// an order that is repeated needs no new look. What may have changed since is known without one: the kernel reports
// changes of addresses (Watcher), and the end of the server's process is checked here.
func (o *owner) asOrdered() bool {
	if o.holder != nil && o.holder.saved != o.holder.lease.Saved {
		return false
	}
	want, f := o.want(), o.facts
	open := wire.No
	if o.agent.site.writer(want.Roles) {
		open = wire.Yes
	}
	return len(o.problems) == 0 && time.Since(o.observed) < mendPeriod && sameOrder(want, *o.order) &&
		f.Writable == open && !f.Unseen && !f.Down && !f.Gone && !f.Stalled && !f.Fenced && !f.Refused &&
		o.memory.Port != PortClosed && slices.Equal(sorted(o.present), sorted(want.Roles)) &&
		(o.agent.host.process == nil || !o.agent.host.process.Gone())
}

// interrupt starts a round for what this host is to be now. A round that works on something else is cancelled first.
func (o *owner) interrupt(ctx context.Context) {
	if o.round != nil && o.order != nil && !sameOrder(o.round.order, o.want()) {
		o.round.cancel()
		o.again = true
		return
	}
	o.start(ctx)
}

// sameOrder says whether a round that works on a does what b asks of this host too, so that it may go on. It may not
// where b is new in telling the writer to open by force (Forced) or to ask nothing of the former writer's server (Cut),
// or where Lacks has changed: the round may be waiting for what need not be waited for any more, or not waiting for
// what has to be. That Forced or Cut ends interrupts nothing.
func sameOrder(a, b cluster.Order) bool {
	return (a.Forced || !b.Forced) && a.Lacks == b.Lacks && (a.Cut || !b.Cut) && a.State == b.State &&
		slices.Equal(sorted(a.Roles), sorted(b.Roles))
}

// inherited says whether the writer's address, where the first look finds it, may have been added by a former agent of
// this host. Under leases an agent writes down that it takes the role before it adds the address. So an address beside
// a record that does not say so is somebody else's. Without a record, and under a monitor that knows no leases
// (Released), the address may be a former agent's.
func (o *owner) inherited() bool {
	if o.holder == nil || !o.holder.leased() {
		return true
	}
	saved := o.holder.lease.Saved
	return saved.Epoch.Number == 0 || saved.Taken != "" || saved.Released
}

func sorted(roles []cluster.RoleIP) []cluster.RoleIP {
	return slices.SortedFunc(slices.Values(roles), cluster.RoleIP.Compare)
}

// logChange writes the lines that people's log watchers know.
func (o *owner) logChange(next cluster.Order) {
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
	o.agent.log.Info("We have some new roles added or old rules deleted!")
	if len(deleted) > 0 {
		o.agent.log.Info("Deleted: " + cluster.FormatRoleIPs(deleted, ", "))
	}
	if len(added) > 0 {
		o.agent.log.Info("Added:   " + cluster.FormatRoleIPs(added, ", "))
	}
}

// answer answers the orders that wait, once a round has tried the newest one and the epoch that it brought is on disk.
func (o *owner) answer() {
	if !o.settled || o.holder != nil && o.holder.saved.Epoch.Number < o.holder.lease.Saved.Epoch.Number {
		return
	}
	for _, q := range o.waiting {
		q.reply <- o.replyTo(*q.order, o.facts)
	}
	o.waiting = nil
}

func (o *owner) replyTo(order cluster.Order, f Facts) reply {
	wish := order
	if f.Writable != wire.No || f.Fenced {
		wish.Left = "" // no audit yet: a server that is not closed for writes may still commit, and its log grow
	}
	return reply{order: order, report: o.report(order, f), followed: o.agent.replication.Follow(wish)}
}

// have are the addresses that this host may have: those that were found, or, where the kernel did not say, all of the
// configuration.
func (o *owner) have() []cluster.RoleIP {
	if o.facts.Unseen {
		return o.agent.site.Addresses
	}
	return o.present
}

func (o *owner) report(order cluster.Order, f Facts) wire.Report {
	follows := o.agent.replication.State()
	r := wire.Report{
		Extended:   order.Extended,
		Seq:        order.Seq,
		Have:       o.have(),
		Writable:   f.Writable,
		Switch:     o.memory.Switch,
		ServerGone: f.Gone,
		Fenced:     f.Fenced,
		Backup:     o.agent.backups.get(),
		Problems:   texts(o.problems),
		Conflicts: texts(slices.DeleteFunc(slices.Clone(o.problems),
			func(p problem) bool { return !p.conflict })),
		Embargo: follows.Embargo,
		Audit:   follows.Audit,
		Across:  follows.Across,
		Astray:  follows.Astray,
	}
	o.note(nil)
	for _, n := range o.notes {
		if order.Extended { // an original monitor takes every answer that is not OK for a failure
			r.Problems = append(r.Problems, n.text)
		}
	}
	if s := o.agent.stalls.get(); s.lasts >= stalledFor {
		r.Stalled, r.Stall = s.lasts, s.why
	}
	if o.holder != nil {
		o.holder.fill(&r)
	}
	return r
}

// refusal answers an order that this host must not carry out, and says why.
func (o *owner) refusal(order cluster.Order, why string) reply {
	r := o.report(order, o.facts)
	r.Problems = append(r.Problems, why)
	done := make(chan struct{})
	close(done)
	return reply{order: order, report: r, followed: done}
}

// endClients ends client connections in the background: the role has been given up already, and nobody waits for this.
func (o *owner) endClients(ctx context.Context) {
	o.ending()
	ctx, cancel := context.WithCancel(ctx)
	o.ending = cancel
	o.group.Go(func() error {
		defer cancel()
		o.agent.host.endClients(ctx)
		return nil
	})
}
