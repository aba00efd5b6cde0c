package agent

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/wire"
)

// Leasing is what an agent needs to hold the writer role on a lease (docs/design.md, "Never two writers").
type Leasing struct {
	StatePath string
	Lease     cluster.Lease // of the configuration: what promises before the first start may have been for
	Others    []string      // the other hosts that may be the writer
	Everybody []string      // all other hosts
	Clock     Clock
	Ask       func(ctx context.Context, host, line string) (string, error) // the agent of another host
	Reach     func(ctx context.Context, host string) error                 // whether the server of another host answers
}

// Clock is the machine's monotonic clock, which goes on when an agent is restarted.
type Clock interface {
	Boot() string
	Now() time.Duration
	// Jumped says how far the wall clock has run ahead of the monotonic one since it was last asked: time in which the machine stood still.
	Jumped() time.Duration
}

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

// tenant is the owner's side of the lease.
type tenant struct {
	Leasing
	disk     Disk
	tenure   *lease.Tenure
	saved    lease.Saved // what is on disk
	asking   map[string]bool
	visiting bool          // asking whether anybody is there
	contact  time.Duration // when the monitor or another agent was last heard
	pauses   int           // how often this machine was found to have stood still
	answered chan vouch
	ends     atomic.Pointer[ends]
}

func newTenant(l Leasing, disk Disk, self string) (*tenant, error) {
	saved, err := loadState(disk, l.StatePath)
	if err != nil {
		return nil, err
	}
	start := saved
	start.Lease = max(saved.Lease, l.Lease)
	now := l.Clock.Now()
	return &tenant{
		Leasing: l, disk: disk, tenure: lease.New(self, l.Clock.Boot(), l.Others, start, now), saved: saved,
		asking: map[string]bool{}, contact: now, answered: make(chan vouch),
	}, nil
}

// goOn is the tenant of an agent that follows in the same process: its lease is what it was.
func (t *tenant) goOn(l Leasing, disk Disk) *tenant {
	return &tenant{
		Leasing: l, disk: disk, tenure: t.tenure, saved: t.saved, contact: t.contact, pauses: t.pauses,
		asking: map[string]bool{}, answered: make(chan vouch),
	}
}

// commit saves what has changed. Until that has succeeded the role is not taken and the newer epoch is not answered with.
func (t *tenant) commit() error {
	if t.tenure.Saved == t.saved {
		return nil
	}
	if err := saveState(t.disk, t.StatePath, t.tenure.Saved); err != nil {
		return fmt.Errorf("save the epoch: %w", err)
	}
	t.saved = t.tenure.Saved
	return nil
}

// holds: the lease is live and all that it rests on is on disk.
func (t *tenant) holds(now time.Duration) bool {
	return t.tenure.Holds(now) && t.saved == t.tenure.Saved
}

// order takes in an order. It returns why nothing may be done about it, or "".
func (t *tenant) order(o wire.Order) (refused string) {
	now := t.Clock.Now()
	t.checkClock()
	if !t.tenure.Order(now, o.Epoch, o.Lease, o.Echo) {
		return fmt.Sprintf("Order of epoch %d refused: this host knows epoch %d", o.Epoch.Number, t.tenure.Epoch.Number)
	}
	t.contact = now
	if err := t.commit(); err != nil {
		return "Couldn't " + err.Error()
	}
	return ""
}

// checkClock ends the lease of a machine that stood still: its monotonic clock did too, and the other machines' did not.
func (t *tenant) checkClock() {
	if l := t.tenure.Lease; l > 0 && t.Clock.Jumped() > time.Duration(l)/3 {
		t.pauses++
		t.tenure.Lapse(t.boot())
	}
}

// boot names the time in which stamps can be compared.
func (t *tenant) boot() string {
	if t.pauses == 0 {
		return t.Clock.Boot()
	}
	return fmt.Sprintf("%s+%d", t.Clock.Boot(), t.pauses)
}

// lawful is the order with those roles left out that the host may not have now: the writer's without a live lease, others
// when nobody has been heard for a lease.
func lawful(site Site, o wire.Order, holds, alone bool) wire.Order {
	if o.Lease == 0 {
		return o
	}
	o.Roles = slices.DeleteFunc(slices.Clone(o.Roles), func(r cluster.RoleIP) bool {
		if r.Role == site.ActiveMasterRole {
			return !holds
		}
		return alone
	})
	return o
}

// alone: neither the monitor nor another agent has been heard for a lease.
func (t *tenant) alone(now time.Duration) bool {
	return now-t.contact >= time.Duration(t.tenure.Lease)
}

// ends is until when the writer's and the other addresses may stay, on this machine's clock.
type ends struct{ writer, other time.Duration }

// publish makes known to those who work on the host how long their time is now.
func (t *tenant) publish() {
	now := t.Clock.Now()
	t.ends.Store(&ends{writer: now + t.tenure.Left(now), other: t.contact + time.Duration(t.tenure.Lease)})
}

// lifetime says how long the kernel may keep an address from the moment of asking; below 0 when its time is over. It may be asked from any goroutine.
func (t *tenant) lifetime(site Site) func(cluster.RoleIP) time.Duration {
	t.publish()
	return func(r cluster.RoleIP) time.Duration {
		until := t.ends.Load()
		end := until.other
		if r.Role == site.ActiveMasterRole {
			end = until.writer
		}
		if left := end - t.Clock.Now(); left != 0 {
			return left
		}
		return -1 // 0 would be for ever
	}
}

// promise answers another candidate.
func (t *tenant) promise(q wire.Question) vouchReply {
	now := t.Clock.Now()
	ok := t.tenure.Promise(now, lease.Question{From: q.From, Epoch: q.Epoch, Live: q.Live, Lease: q.Lease})
	if ok {
		t.contact = now
		ok = t.commit() == nil
	}
	return vouchReply{promised: ok, epoch: t.saved.Epoch}
}

// question is what to ask whom now: the candidates, when the lease runs low.
func (t *tenant) question() (lease.Question, []string) {
	q, ok := t.tenure.Asks(t.Clock.Now())
	if !ok {
		return q, nil
	}
	var whom []string
	for _, o := range t.Others {
		if !t.asking[o] {
			t.asking[o] = true
			whom = append(whom, o)
		}
	}
	return q, whom
}

// take takes in the answer to a question.
func (t *tenant) take(v vouch) {
	delete(t.asking, v.by)
	if v.by == "" {
		t.visiting = false
	}
	if !v.promised {
		return
	}
	now := t.Clock.Now()
	t.contact = now
	if v.by == "" {
		return
	}
	t.tenure.Promised(now, v.by, v.question)
}

// fill puts into a report what the lease rests on.
func (t *tenant) fill(r *wire.Report) {
	now := t.Clock.Now()
	r.Epoch = t.saved.Epoch
	r.Stamp = cluster.Stamp{Boot: t.boot(), At: now}
	r.PromisedTo, r.PromiseAge = t.tenure.PromiseAge(now)
}

// ask puts a question to another candidate.
func (l Leasing) ask(ctx context.Context, host string, q lease.Question) bool {
	ctx, cancel := context.WithTimeout(ctx, max(time.Duration(q.Lease)/3, 100*time.Millisecond))
	defer cancel()
	line, err := l.Ask(ctx, host, wire.Question{From: q.From, Epoch: q.Epoch, Live: q.Live, Lease: q.Lease}.Request(host).String())
	if err != nil {
		return false
	}
	a, err := wire.ParseAnswer(line)
	return err == nil && a.Text == wire.PromisedText
}
