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
	Lease      cluster.Lease // of the configuration: what promises before the first start may have been for
	Candidates []string      // hosts that may be the writer by the configuration, this one too where it may
	Everybody  []string      // all other hosts
	Clock      Clock
	Ask        func(ctx context.Context, host, line string) (string, error) // the agent of another host
	// whether the server of another host answers
	Reach func(ctx context.Context, host string) error
}

// Clock is the machine's monotonic clock, which goes on when an agent is restarted. It is safe for concurrent use.
type Clock interface {
	Boot() string
	Now() time.Duration
	// Jumped says how far the wall clock has run ahead of the monotonic one since it was last asked: time in which the
	// machine stood still.
	Jumped() time.Duration
}

// leased: by this host's own file or by the epoch nobody has the writer's address without a lease. While the two differ
// either counts.
func (t *leaseHolder) leased() bool { return t.leasing.Lease > 0 || t.lease.Lease() > 0 }

// vouch is a question to another candidate and whether it promised.
type vouch struct {
	by       string
	question lease.Question
	promised bool
}

// askedToVouch is a question of another candidate on its way to the owner.
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
	unread   bool        // what is on disk could not be read at the start
	record   *record
	log      *slog.Logger
	failed   string // why the state can't be written, as logged
	unsaid   []unsaid
	asking   map[string]bool
	visiting bool          // asking whether anybody is there
	contact  time.Duration // when the monitor or another agent was last heard
	pauses   int           // how often this machine was found to have stood still
	answered chan vouch
	known    atomic.Pointer[known]
}

// unsaid is a promise that may be told once the epoch in which it was given is on disk.
type unsaid struct {
	number uint64
	reply  chan vouchReply
}

// newLeaseHolder is that of an agent that starts. A state that can't be read is as good as none: the start counts as
// a promise, and the monitor finds out that this host does not know its epoch.
func newLeaseHolder(ctx context.Context, l Leasing, disk Disk, self string, log *slog.Logger) *leaseHolder {
	saved, err := readState(ctx, disk, l)
	if err != nil {
		log.Log(ctx, levelFatal, fmt.Sprintf("Couldn't %v: going on as after a first start", err))
	}
	now := l.Clock.Now()
	t := &leaseHolder{
		leasing: l, self: self, lease: lease.New(self, l.Clock.Boot(), l.Candidates, saved, l.Lease, now),
		saved: saved, unread: err != nil,
		record: newRecord(disk, l.StatePath), log: log, asking: map[string]bool{}, contact: now,
		answered: make(chan vouch),
	}
	t.publish()
	return t
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

// goOn is that of an agent that follows in the same process: its lease is what it was.
func (t *leaseHolder) goOn(l Leasing, disk Disk) *leaseHolder {
	next := &leaseHolder{
		leasing: l, self: t.self, lease: t.lease, saved: t.saved, record: newRecord(disk, l.StatePath), log: t.log,
		contact: t.contact, pauses: t.pauses, asking: map[string]bool{}, answered: make(chan vouch),
	}
	next.publish()
	return next
}

// quickDisk is how long the owner waits for a state to be written before it goes on without: a disk that works takes
// less.
const quickDisk = 100 * time.Millisecond

// commit has written what has changed. It waits for a disk that is quick; else the owner hears of it later.
func (t *leaseHolder) commit(ctx context.Context) {
	if t.lease.Saved == t.saved {
		return
	}
	t.record.want(t.lease.Saved)
	quick := time.NewTimer(quickDisk)
	defer quick.Stop()
	for t.lease.Saved != t.saved {
		select {
		case w := <-t.record.written:
			t.wrote(ctx, w)
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

// wrote takes in how writing ended, and tells what waited for it.
func (t *leaseHolder) wrote(ctx context.Context, w written) {
	why := ""
	if w.err != nil {
		why = w.err.Error()
	} else {
		t.saved = w.saved
	}
	if why != t.failed && why != "" {
		t.log.Log(ctx, levelFatal,
			fmt.Sprintf("Couldn't save the epoch: %s. Trying again: this host takes no role before", why))
	}
	t.failed = why
	waiting := t.unsaid
	t.unsaid = nil
	for _, u := range waiting {
		if t.saved.Epoch.Number >= u.number {
			u.reply <- vouchReply{promised: true, epoch: t.saved.Epoch}
		} else {
			t.unsaid = append(t.unsaid, u)
		}
	}
}

// holds: the lease is live, and it would be after a crash as well: the holding that it belongs to is on disk.
func (t *leaseHolder) holds(now time.Duration) bool {
	return t.lease.Holds(now) && t.saved.Taken == t.lease.Saved.Taken &&
		t.saved.Epoch.Since == t.lease.Saved.Epoch.Since &&
		t.saved.Epoch.Grants(t.self)
}

// order takes in an order. It returns why nothing may be done about it, or "". here: the writer's address is on this
// machine.
func (t *leaseHolder) order(ctx context.Context, o cluster.Order, here bool) (refused string) {
	now := t.leasing.Clock.Now()
	t.checkClock()
	if o.Epoch.Number == 0 {
		// It is for a host that is no candidate, or of a monitor that knows no epochs: nothing is held by one any more.
		t.lease.Release()
		t.commit(ctx)
		t.contact = now
		return ""
	}
	if !t.lease.Order(now, o.Epoch, o.Lease, o.Echo, here) {
		return fmt.Sprintf("Order of epoch %d refused: this host knows epoch %d", o.Epoch.Number,
			t.lease.Saved.Epoch.Number)
	}
	t.contact = now
	t.commit(ctx)
	return ""
}

// checkClock ends the lease of a machine that stood still: its monotonic clock did too, and the other machines' did
// not.
func (t *leaseHolder) checkClock() {
	if l := t.lease.Lease(); l > 0 && t.leasing.Clock.Jumped() > time.Duration(l)/3 {
		t.pauses++
		t.lease.Lapse(t.boot())
		t.publish()
	}
}

// boot names the time in which stamps can be compared.
func (t *leaseHolder) boot() string {
	if t.pauses == 0 {
		return t.leasing.Clock.Boot()
	}
	return fmt.Sprintf("%s+%d", t.leasing.Clock.Boot(), t.pauses)
}

// lawful is the order with those roles left out that the host may not have now: the writer's without a live lease,
// others when nobody has been heard for a lease.
func lawful(site Site, o cluster.Order, holds, alone bool) cluster.Order {
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

// alone: neither the monitor nor another agent has been heard for so long.
func (t *leaseHolder) alone(now time.Duration, l cluster.Lease) bool {
	return now-t.contact >= time.Duration(l)
}

// known is what the owner has made known to those who work on the host or answer while the owner is busy.
type known struct {
	writer     time.Duration // until when the writer's address may stay; lease.Forever: for ever
	contact    time.Duration
	boot       string
	epoch      cluster.Epoch
	live       bool
	promisedTo string
	promised   time.Duration
}

// publish makes known how things are now.
func (t *leaseHolder) publish() {
	now := t.leasing.Clock.Now()
	k := known{contact: t.contact, boot: t.boot(), epoch: t.saved.Epoch, live: t.holds(now)}
	if left := t.lease.Left(now); left == lease.Forever {
		k.writer = left
	} else {
		k.writer = now + left
	}
	to, age := t.lease.PromiseAge(now)
	k.promisedTo, k.promised = to, now-age
	t.known.Store(&k)
}

// lifetime says what to tell the kernel of an address: for how long it is to stay, 0 for ever. It may be asked from any
// goroutine. readers is the lease of addresses other than the writer's; 0: none.
func (t *leaseHolder) lifetime(site Site, r cluster.RoleIP, readers cluster.Lease) (time.Duration, error) {
	k := t.known.Load()
	now := t.leasing.Clock.Now()
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

// promise answers another candidate, at once or when the epoch that it has heard of is on disk.
func (t *leaseHolder) promise(ctx context.Context, a askedToVouch) {
	now := t.leasing.Clock.Now()
	q := a.question
	ok := t.lease.Promise(now, lease.Question{From: q.From, Epoch: q.Epoch, Live: q.Live, Lease: q.Lease})
	if !ok {
		a.reply <- vouchReply{epoch: t.saved.Epoch}
		return
	}
	t.contact = now
	t.commit(ctx)
	if n := t.lease.Saved.Epoch.Number; n > t.saved.Epoch.Number {
		t.unsaid = append(t.unsaid, unsaid{number: n, reply: a.reply})
		return
	}
	a.reply <- vouchReply{promised: true, epoch: t.saved.Epoch}
}

// question is what to ask whom now: the candidates, when the lease runs low.
func (t *leaseHolder) question() (lease.Question, []string) {
	q, others, ok := t.lease.Asks(t.leasing.Clock.Now())
	if !ok {
		return q, nil
	}
	var whom []string
	for _, o := range others {
		if !t.asking[o] {
			t.asking[o] = true
			whom = append(whom, o)
		}
	}
	return q, whom
}

// receive takes in the answer to a question.
func (t *leaseHolder) receive(v vouch) {
	delete(t.asking, v.by)
	if v.by == "" {
		t.visiting = false
	}
	if !v.promised {
		return
	}
	now := t.leasing.Clock.Now()
	t.contact = now
	if v.by == "" {
		return
	}
	t.lease.Promised(now, v.by, v.question)
}

// fill puts into a report what the lease rests on. It may be called from any goroutine: a stamp needs no owner.
func (t *leaseHolder) fill(r *wire.Report) {
	k := t.known.Load()
	now := t.leasing.Clock.Now()
	r.Epoch, r.Live = k.epoch, k.live && k.writer > now
	r.Stamp = cluster.Stamp{Boot: k.boot, At: now}
	r.Candidates = cluster.JoinHosts(t.leasing.Candidates)
	r.PromisedTo, r.PromiseAge = k.promisedTo, max(now-k.promised, 0)
}

// ask puts a question to another candidate.
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
