package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/wire"
)

// Leasing is what an agent needs to hold the writer role on a lease (docs/design.md, "Never two writers").
type Leasing struct {
	StatePath  string
	Lease      cluster.Lease // writer_lease; a promise from before the start counts as one of this length at least
	Candidates []string      // hosts that may be the writer by the configuration, this one too where it may
	Everybody  []string      // all other hosts of the configuration
	Clock      Clock
	// Ask sends a line to the agent of another host and returns its answer.
	Ask func(ctx context.Context, host, line string) (string, error)
	// Reach is an error where the server of another host does not greet who connects.
	Reach func(ctx context.Context, host string) error
}

// Clock is the machine's monotonic clock, which goes on when an agent is restarted. It is safe for concurrent use.
type Clock interface {
	Boot() string       // id of the boot from which Now counts
	Now() time.Duration // since the boot
	// Jumped says how far the wall clock has run ahead of the monotonic one since it was last asked: time in which the
	// machine stood still.
	Jumped() time.Duration
}

// leased says whether nobody may have the writer's address without a lease. Either this host's own file or the epoch is
// enough to say so: the two may differ for a while.
func (l *leaseHolder) leased() bool { return l.leasing.Lease > 0 || l.lease.Lease() > 0 }

// vouch is how a question to other agents ended.
type vouch struct {
	by       string // candidate that was asked to promise; "": all were asked for a sign of life (askForContact)
	question lease.Question
	promised bool // the candidate has promised; for askForContact: somebody has answered
}

// askedToVouch is the question of a writer, on its way to the owner.
type askedToVouch struct {
	question wire.Question
	reply    chan vouchReply // one slot
}

type vouchReply struct {
	promised bool
	epoch    cluster.Epoch
}

// leaseHolder is the owner's side of the lease.
type leaseHolder struct {
	leasing  Leasing
	self     string
	lease    *lease.Holder
	saved    lease.Saved // what is on disk
	unread   bool        // the state file could not be read at the start
	record   *record
	log      *slog.Logger
	failed   string // why the state can't be written, as logged last; "": it can
	unsaid   []unsaid
	asking   map[string]bool // candidates that have a question and have not answered it
	visiting bool            // the other agents are being asked for a sign of life (askForContact)
	contact  time.Duration   // when the monitor or another agent was last heard
	pauses   int             // how often this machine was found to have stood still
	answered chan vouch
	known    atomic.Pointer[known]
}

// unsaid is a promise whose asker may hear of it once the epoch of that number is on disk.
type unsaid struct {
	number uint64
	reply  chan vouchReply
}

// newLeaseHolder makes the lease holder of an agent that starts. A state that can't be read counts as none: the start
// counts as a promise, and the monitor finds out that this host does not know its epoch.
func newLeaseHolder(ctx context.Context, l Leasing, disk Disk, self string, log *slog.Logger) *leaseHolder {
	saved, err := readState(ctx, disk, l)
	if err != nil {
		log.Log(ctx, levelFatal, fmt.Sprintf("Couldn't %v: going on as after a first start", err))
	}
	now := l.Clock.Now()
	holder := &leaseHolder{
		leasing: l, self: self, lease: lease.New(self, l.Clock.Boot(), l.Candidates, saved, l.Lease, now),
		saved: saved, unread: err != nil,
		record: newRecord(disk, l.StatePath), log: log, asking: map[string]bool{}, contact: now,
		answered: make(chan vouch),
	}
	holder.publish()
	return holder
}

func readState(ctx context.Context, disk Disk, l Leasing) (lease.Saved, error) {
	found := make(chan lease.Saved, 1)
	if err := durable.Within(ctx, func() error {
		saved, err := loadState(disk, l.StatePath, l.Clock.Boot())
		found <- saved
		return err
	}); errors.Is(err, context.DeadlineExceeded) {
		return lease.Saved{}, fmt.Errorf("read %s within %v: %w", l.StatePath, durable.ReadTimeout, err)
	} else if err != nil {
		return lease.Saved{}, err
	}
	return <-found, nil
}

// goOn makes the lease holder of the agent that follows this one's in the same process. Its lease goes on unchanged.
func (l *leaseHolder) goOn(leasing Leasing, disk Disk) *leaseHolder {
	next := &leaseHolder{
		leasing: leasing, self: l.self, lease: l.lease, saved: l.saved, unread: l.unread, log: l.log,
		record:  newRecord(disk, leasing.StatePath),
		contact: l.contact, pauses: l.pauses, asking: map[string]bool{}, answered: make(chan vouch),
	}
	next.publish()
	return next
}

// quickDisk is how long the owner waits for a state to be written before it goes on with other work. A disk that works
// takes less.
const quickDisk = 100 * time.Millisecond

// commit has the state written where it has changed, and waits for that for up to quickDisk. Where the disk takes
// longer the owner calls wrote later.
func (l *leaseHolder) commit(ctx context.Context) {
	if l.lease.Saved == l.saved {
		return
	}
	l.record.want(l.lease.Saved)
	quick := time.NewTimer(quickDisk)
	defer quick.Stop()
	for l.lease.Saved != l.saved {
		select {
		case w := <-l.record.written:
			l.wrote(ctx, w)
			if w.err != nil {
				return
			}
		case <-quick.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// wrote takes in how the writing of a state ended, and answers the promises that have waited for it.
func (l *leaseHolder) wrote(ctx context.Context, w written) {
	why := ""
	if w.err != nil {
		why = w.err.Error()
	} else {
		l.saved = w.saved
	}
	if why != l.failed && why != "" {
		l.log.Log(ctx, levelFatal,
			fmt.Sprintf("Couldn't save the epoch: %s. Trying again: until then this host does not take the writer role", why))
	}
	l.failed = why
	waiting := l.unsaid
	l.unsaid = nil
	for _, u := range waiting {
		if l.saved.Epoch.Number >= u.number {
			u.reply <- vouchReply{promised: true, epoch: l.saved.Epoch}
		} else {
			l.unsaid = append(l.unsaid, u)
		}
	}
}

// holds says whether this host may be the writer now: its lease is live, and the holding that the lease belongs to is
// on disk, so that the agent still knows of it after a crash.
func (l *leaseHolder) holds(now time.Duration) bool {
	return l.lease.Holds(now) && l.saved.Taken == l.lease.Saved.Taken &&
		l.saved.Epoch.Since == l.lease.Saved.Epoch.Since &&
		l.saved.Epoch.Grants(l.self)
}

// order takes in an order. It returns why the order must not be carried out, or "". here says whether the writer's
// address is on this machine.
func (l *leaseHolder) order(ctx context.Context, o cluster.Order, here bool) (refused string) {
	now := l.leasing.Clock.Now()
	l.checkClock()
	if o.Epoch.Number == 0 {
		// The order is for a host that is no candidate, or of a monitor that knows no epochs. Holdings by an epoch end.
		l.lease.Release()
		l.commit(ctx)
		l.contact = now
		return ""
	}
	if !l.lease.Order(now, o.Epoch, o.Lease, o.Echo, here) {
		return fmt.Sprintf("Order of epoch %d refused: this host knows epoch %d", o.Epoch.Number,
			l.lease.Saved.Epoch.Number)
	}
	l.contact = now
	l.commit(ctx)
	return ""
}

// checkClock ends the lease where this machine has stood still: its monotonic clock stood still too, while the clocks
// of the other machines went on, so that the lease may be over on those.
func (l *leaseHolder) checkClock() {
	if length := l.lease.Lease(); length > 0 && l.leasing.Clock.Jumped() > time.Duration(length)/3 {
		l.pauses++
		l.lease.Lapse(l.boot())
		l.publish()
	}
}

// boot is the id that this host's stamps carry: that of the machine's boot, and the number of pauses since the
// program's start, as a stamp from before a pause can't be compared with one from after it.
func (l *leaseHolder) boot() string {
	if l.pauses == 0 {
		return l.leasing.Clock.Boot()
	}
	return fmt.Sprintf("%s+%d", l.leasing.Clock.Boot(), l.pauses)
}

// allowedByLease is the order without the roles that the host may not have now: the writer role where holds is false,
// the others where the host has heard neither the monitor nor another agent for the order's lease (alone).
func allowedByLease(site Site, o cluster.Order, holds, alone bool) cluster.Order {
	if o.Lease == 0 && o.Epoch.Number == 0 {
		return o
	}
	o.Roles = slices.DeleteFunc(slices.Clone(o.Roles), func(r cluster.RoleIP) bool {
		if r.Role == site.ActiveMasterRole {
			return !holds
		}
		return alone && o.Lease > 0
	})
	return o
}

// alone says whether neither the monitor nor another agent has been heard for the time limit.
func (l *leaseHolder) alone(now time.Duration, limit cluster.Lease) bool {
	return now-l.contact >= time.Duration(limit)
}

// known is what the owner publishes of the lease for other goroutines: rounds, and answers that are given while the
// owner is busy. Times are of the agent's monotonic clock.
type known struct {
	writer     time.Duration // until when the writer's address may stay; lease.Forever: for ever
	contact    time.Duration // see leaseHolder
	boot       string        // of stamps
	epoch      cluster.Epoch // the newest that is on disk
	live       bool          // the lease was live when this was published
	promisedTo string        // host that was promised to last; "": nobody since the start
	promised   time.Duration // when that was, or the start
}

// publish puts the present state of the lease into known.
func (l *leaseHolder) publish() {
	now := l.leasing.Clock.Now()
	k := known{contact: l.contact, boot: l.boot(), epoch: l.saved.Epoch, live: l.holds(now)}
	if left := l.lease.Left(now); left == lease.Forever {
		k.writer = left
	} else {
		k.writer = now + left
	}
	to, age := l.lease.PromiseAge(now)
	k.promisedTo, k.promised = to, now-age
	l.known.Store(&k)
}

// lifetime is what to tell the kernel of an address: for how long it is to stay; 0: for ever. readers is the lease of
// addresses other than the writer's; 0: none. The error is endpoint.ErrTooShort where too little of the lease is left.
// lifetime may be called from any goroutine.
func (l *leaseHolder) lifetime(site Site, r cluster.RoleIP, readers cluster.Lease) (time.Duration, error) {
	k := l.known.Load()
	now := l.leasing.Clock.Now()
	left := k.contact + time.Duration(readers) - now
	switch {
	case r.Role == site.ActiveMasterRole && k.writer == lease.Forever, r.Role != site.ActiveMasterRole && readers == 0:
		return 0, nil
	case r.Role == site.ActiveMasterRole:
		left = k.writer - now
	}
	if d := cluster.Lifetime(left); d > 0 {
		return d, nil
	}
	return 0, endpoint.ErrTooShort
}

// promise answers a writer that asks this host to vouch for it: at once, or, where its question has brought a newer
// epoch, once that epoch is on disk.
func (l *leaseHolder) promise(ctx context.Context, a askedToVouch) {
	now := l.leasing.Clock.Now()
	q := a.question
	ok := l.lease.Promise(now, lease.Question{From: q.From, Epoch: q.Epoch, Live: q.Live, Lease: q.Lease})
	if !ok {
		a.reply <- vouchReply{epoch: l.saved.Epoch}
		return
	}
	l.contact = now
	l.commit(ctx)
	if n := l.lease.Saved.Epoch.Number; n > l.saved.Epoch.Number {
		l.unsaid = append(l.unsaid, unsaid{number: n, reply: a.reply})
		return
	}
	a.reply <- vouchReply{promised: true, epoch: l.saved.Epoch}
}

// question is what to ask the other candidates now, and which of them: nobody while the lease does not run low, and
// nobody who has not answered the last question yet.
func (l *leaseHolder) question() (lease.Question, []string) {
	q, others, ok := l.lease.Asks(l.leasing.Clock.Now())
	if !ok {
		return q, nil
	}
	var whom []string
	for _, o := range others {
		if !l.asking[o] {
			l.asking[o] = true
			whom = append(whom, o)
		}
	}
	return q, whom
}

// receive takes in how a question to other agents ended.
func (l *leaseHolder) receive(v vouch) {
	delete(l.asking, v.by)
	if v.by == "" {
		l.visiting = false
	}
	if !v.promised {
		return
	}
	now := l.leasing.Clock.Now()
	l.contact = now
	if v.by == "" {
		return
	}
	l.lease.Promised(now, v.by, v.question)
}

// fill puts the epoch, a stamp, the candidates and the last promise into a report. It may be called from any goroutine.
func (l *leaseHolder) fill(r *wire.Report) {
	k := l.known.Load()
	now := l.leasing.Clock.Now()
	r.Epoch, r.Live = k.epoch, k.live && k.writer > now
	r.Stamp = cluster.Stamp{Boot: k.boot, At: now}
	r.Candidates = cluster.JoinHosts(l.leasing.Candidates)
	r.PromisedTo, r.PromiseAge = k.promisedTo, max(now-k.promised, 0)
}

// ask puts a question to another candidate, and says whether it promised.
func (l Leasing) ask(ctx context.Context, host string, q lease.Question) bool {
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(q.Lease)/3, 100*time.Millisecond))
	defer cancel()
	line, err := l.Ask(ctx, host, wire.Question{From: q.From, Epoch: q.Epoch, Live: q.Live,
		Lease: q.Lease}.Request(host).String())
	if err != nil {
		return false
	}
	a, err := wire.ParseAnswer(line)
	return err == nil && a.Text == wire.PromisedText
}
