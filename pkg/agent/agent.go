package agent

import (
	"context"
	"io/fs"
	"log/slog"
	"net/netip"
	"reflect"
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

// mendPeriod is how often the host is compared with its order without anybody asking.
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
	// by another account than Gate; nil: there is none
	Spare Asked
	Fence Fence // nil: none
	// nil: addresses that are found at the start may stay
	Lifetimes Lifetimes
	Conflict  Conflict // nil: addresses are added without looking
	// where something listens on the server's port; nil: nobody looks
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
	After     *Agent // the one that this one takes over from, whose Run has returned before ours begins; nil: none
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
	writer      *atomic.Bool // this host is to be the writer, or was it, and its server can't be closed yet
	uptime      func() (float64, error)
	version     string
	log         *slog.Logger
	asked       chan ask
	leasing     *Leasing
	disk        Disk
	holder      atomic.Pointer[leaseHolder] // while it runs: what may be said of the lease without the owner
	examiner    *Examiner
	vouches     chan askedToVouch
	after       *Agent
	left        *leaseHolder // when Run has returned: the lease, for who follows
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

// ask is a question to the owner: a new order, or with a nil order what the last one was.
type ask struct {
	order *cluster.Order
	reply chan reply // one slot
}

// reply is what came of an order.
type reply struct {
	order    cluster.Order // the last order; State is UNKNOWN where there was none
	report   wire.Report
	followed <-chan struct{} // closed once the replication has been brought into line, or that has failed
}

// Run owns what the agent knows until ctx ends. What is on the host stays as it is then.
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
	order      *cluster.Order // nil: nothing was ordered since the start, and what is found stays
	memory     Memory
	present    []cluster.RoleIP // as last observed
	problems   []string
	notes      []note
	hushed     map[string]time.Time // problems that are not complained of yet, and since when
	round      *round
	again      bool // something has changed since the round began
	waiting    []ask
	settled    bool               // what the newest order wants has been tried
	ending     context.CancelFunc // stops the ending of client connections
	holder     *leaseHolder       // nil: this agent holds no leases
	toldKernel time.Duration      // whole seconds that were left of the writer's lease when the kernel was last told
	facts      Facts              // as last observed
	unnerved   bool               // the lease has lapsed while the role is this host's: said once
	observed   time.Time          // when facts were
	heard      time.Time          // when the newest order came
	lapses     int                // how often the lease has run out while it held the role
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
	if known && o.calm() {
		q.reply <- o.replyTo(*q.order, o.facts)
		return
	}
	o.waiting, o.settled = append(o.waiting, q), false
	o.interrupt(ctx)
}

// repeats: the order is the last one once more, which has been carried out.
func (o *owner) repeats(next cluster.Order) bool {
	if o.order == nil || !next.Extended || !o.settled || o.round != nil || len(o.waiting) > 0 {
		return false
	}
	last := *o.order
	last.Echo = next.Echo
	return reflect.DeepEqual(last, next)
}

// calm: nothing is wrong with this host, as it was found within mendPeriod, so that an order that is repeated is not
// worth another look: what changes on the interface is told by the kernel, and the end of the server's process is seen
// here.
func (o *owner) calm() bool {
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

// interrupt sees to it that what this host is to be now is what is being worked on.
func (o *owner) interrupt(ctx context.Context) {
	if o.round != nil && o.order != nil && !sameOrder(o.round.order, o.want()) {
		o.round.cancel()
		o.again = true
		return
	}
	o.start(ctx)
}

// sameOrder: what has to be done on this host is the same. One that is to open by force does not go on catching up, nor
// one whose source turns out not to be waited for.
func sameOrder(a, b cluster.Order) bool {
	return (a.Forced || !b.Forced) && a.Lacks == b.Lacks && (a.Cut || !b.Cut) && a.State == b.State &&
		slices.Equal(sorted(a.Roles), sorted(b.Roles))
}

// inherited: the writer's address, where it is found first, may be of an agent before this one. That took the role
// under a lease only with a record of it on disk: where there is a record, and not of that, the address is somebody
// else's. Under a monitor that knows no leases it took the role without.
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

// answer answers those whose order has been carried out, once the epoch that it brought is on disk.
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
		wish.Left = "" // a server that is not closed may yet commit what would have to be found
	}
	return reply{order: order, report: o.report(order, f), followed: o.agent.replication.Follow(wish)}
}

// have are the addresses that can't be ruled out.
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
		Problems:   slices.Clone(o.problems),
		Conflict:   o.memory.conflict,
		Embargo:    follows.Embargo,
		Audit:      follows.Audit,
		Across:     follows.Across,
		Astray:     follows.Astray,
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

// refusal answers an order that nothing may be done about.
func (o *owner) refusal(order cluster.Order, why string) reply {
	r := o.report(order, o.facts)
	r.Problems = append(r.Problems, why)
	done := make(chan struct{})
	close(done)
	return reply{order: order, report: r, followed: done}
}

// endClients ends connections in the background: the role is gone already, nobody waits for it.
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
