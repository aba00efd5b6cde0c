// Package lease is the agent's half of the rules that keep two hosts from being the writer at once (docs/design.md,
// "Never two writers"; R1 to R5 in the comments are rules of that table). It only decides: time and messages come in,
// and what has to be saved, asked or answered goes out. The monitor's half is in package cluster.
package lease

import (
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Saved is what outlives the agent. The agent has it on its disk before it acts on it or answers with it (R2).
type Saved struct {
	Epoch cluster.Epoch
	Taken string        // boot in which this host has held the role in the present holding; "": it has not held it
	Lease cluster.Lease // as last ordered: what this host promised before a restart may have been for as long

	// Released: the newest order had no epoch, as the monitor knows none, or gives this host no say in who is the
	// writer. A host that has the role by such an order has it without an epoch.
	Released bool
}

// Holder is what one agent knows of the writer role: what was decided, until when this host may hold the role, and what
// it has promised to others. All times are of this host's monotonic clock. One goroutine owns a Holder.
type Holder struct {
	Saved   Saved
	self    string
	machine string   // id of the machine's boot
	boot    string   // id that stamps carry: machine, or another one once the machine has stood still (Lapse)
	file    []string // candidates by this host's own configuration: they count where an epoch has no terms

	// novice: what this host holds does not come from an epoch. It started without a record of one, or the newest order
	// had none (Release). That ends with an epoch that does not make it the writer, or when it takes the role.
	novice bool

	until      time.Duration // when the lease ends, or has ended
	started    time.Duration // when the agent started
	atStart    cluster.Lease // longest lease that this host may have promised to anybody before its start
	promised   time.Duration // when it last promised; its start where it has promised nobody since
	promisedTo string        // host that it last promised to; "" where it has promised nobody since its start
	bound      time.Duration // when all leases that it has promised since its start are over on every clock
	vouched    map[string]vouch
}

// vouch is the newest promise that another candidate gave to this host.
type vouch struct {
	asked time.Duration // when this host asked for it
	epoch uint64        // number of the epoch in which it asked
}

// New makes the Holder of an agent that starts now. boot is the id of the machine's boot, candidates are the hosts that
// may be the writer by the agent's own configuration, saved is what the agent had saved before, and longest is the
// lease of its configuration. The start counts as a promise, since the agent can't know what it promised a moment
// before (R5). What this host had taken in another boot it does not hold any more: whoever switched the machine off
// relies on that.
func New(self, boot string, candidates []string, saved Saved, longest cluster.Lease, now time.Duration) *Holder {
	if saved.Taken != boot {
		saved.Taken = ""
	}
	return &Holder{Saved: saved, self: self, machine: boot, boot: boot, file: candidates,
		novice: saved.Epoch.Number == 0 || saved.Released, started: now, promised: now,
		atStart: max(saved.Lease, saved.Epoch.Terms.Longest, longest), vouched: map[string]vouch{}}
}

// terms are those of the epoch; where it has none, those of this host's own configuration and of the last order.
func (h *Holder) terms() cluster.Terms {
	if h.Saved.Epoch.Terms != (cluster.Terms{}) {
		return h.Saved.Epoch.Terms
	}
	return cluster.Terms{Candidates: cluster.JoinHosts(h.file), Lease: h.Saved.Lease, Longest: h.Saved.Lease}
}

// others are the hosts that have to vouch for this one.
func (h *Holder) others() []string {
	return slices.DeleteFunc(cluster.SplitHosts(h.terms().Candidates), func(name string) bool { return name == h.self })
}

// Lease is what the present epoch gives its holder; 0: the holder has the role without a lease, for ever.
func (h *Holder) Lease() cluster.Lease { return h.terms().Lease }

// taken: this host has held the role in the present holding, and since the machine's boot.
func (h *Holder) taken() bool { return h.Saved.Taken != "" }

// endless: this host holds the role without a lease.
func (h *Holder) endless() bool { return h.taken() && h.Lease() == 0 }

// Holds says whether the host may have the writer's address and be open for writes at the moment.
func (h *Holder) Holds(now time.Duration) bool {
	return h.taken() && h.Wants() && (h.endless() || h.until > now)
}

// Forever is what Left returns for a holding without a lease.
const Forever = time.Duration(1<<63 - 1)

// Left is how much of the lease is left: 0 where Holds is false, Forever where the host holds the role without a lease.
func (h *Holder) Left(now time.Duration) time.Duration {
	switch {
	case !h.Holds(now):
		return 0
	case h.endless():
		return Forever
	}
	return h.until - now
}

// Until is when the host's lease ends or has ended. A host that is to give the role up has until then to do so.
func (h *Holder) Until() time.Duration { return h.until }

// Wants says whether the newest epoch makes this host the writer, whether or not it holds the role at the moment: it
// may still have to wait before it takes the role, or its lease may have ended because nobody vouched for it.
func (h *Holder) Wants() bool { return h.Saved.Epoch.Grants(h.self) }

// Order takes in an order: its epoch, the lease that it gives where the epoch has no terms, and the stamp that it
// echoes. It returns false for an order of an epoch that is older than the one this host knows, or that contradicts it:
// nothing of such an order may be done (R2).
//
// here says whether the writer's address is on this machine. A host that has the address and no record of an epoch was
// made the writer by a monitor that knows no epochs: where the epoch gives it the role without a lease, it goes on.
func (h *Holder) Order(now time.Duration, e cluster.Epoch, l cluster.Lease, echo cluster.Stamp, here bool) bool {
	if e.Number < h.Saved.Epoch.Number || e.Contradicts(h.Saved.Epoch) {
		return false
	}
	h.adopt(now, e)
	h.Saved.Released = false
	if e.Terms == (cluster.Terms{}) {
		h.Saved.Lease = l
	} else {
		h.Saved.Lease = e.Terms.Lease
	}
	if h.novice && here && h.Wants() && h.Lease() == 0 {
		h.Saved.Taken = h.machine
	}
	h.novice = h.novice && h.Wants() && !h.taken()
	// R1: an echo of another boot gives nothing, nor does one that is ahead of this clock: it was stamped before the
	// machine was put back to an older state.
	if echo.Boot != h.boot || echo.At > now || !h.Wants() {
		return true
	}
	end := echo.At + time.Duration(h.Lease())
	if h.Lease() > 0 && end <= now {
		return true
	}
	if !h.taken() && h.free(now) {
		h.Saved.Taken = h.machine
	}
	if h.taken() && h.Lease() > 0 {
		h.until = max(h.until, end)
	}
	return true
}

// Release takes in an order without an epoch: its monitor knows no epochs, or gives this host no say in who is the
// writer. What earlier epochs gave to this host ends.
func (h *Holder) Release() {
	h.Saved.Taken, h.until = "", 0
	h.Saved.Released, h.novice = h.Saved.Epoch.Number > 0, true
	clear(h.vouched)
}

// free says whether nobody can still hold the role by a promise of this host (R5).
func (h *Holder) free(now time.Duration) bool {
	return h.promisedTo != "" && h.Saved.Epoch.Gone == h.promisedTo || now >= h.AppointableAt()
}

// AppointableAt is when this host may take the role at the earliest, once it is appointed, unless an epoch says that
// the host which it promised to is gone. A promise since this host's start counts for the lease in the question; what
// it may have promised before its start counts for the longest lease that it knows of.
func (h *Holder) AppointableAt() time.Duration {
	return max(h.bound, h.started+max(h.atStart, h.terms().Longest).Over())
}

// adopt makes e the newest epoch that this host knows, unless it knows e or a later one. Where it knows e without
// terms, e with terms takes the place of that.
func (h *Holder) adopt(now time.Duration, e cluster.Epoch) {
	was := h.Saved.Epoch
	if e.Number < was.Number || e.Number == was.Number && was.Terms != (cluster.Terms{}) {
		return
	}
	held := h.Holds(now)
	before := h.terms()
	if e.Holder != was.Holder || e.Since != was.Since || e.Leaving {
		h.Saved.Taken = ""
	}
	h.Saved.Epoch = e
	if terms := h.terms(); e.Number > was.Number && terms.Lease == 0 && !held {
		h.Saved.Taken = "" // a lease that is over does not become a holding for ever
	} else if before.Lease == 0 && terms.Lease > 0 {
		h.until = 0 // the holding without a lease has ended: the echo of the order gives a lease, or the role is lost
	}
	if now := h.terms(); !h.taken() || before.Candidates != now.Candidates || before.Lease != now.Lease {
		clear(h.vouched) // promises given under other terms count no more
	}
}

// Question is what a writer asks the other candidates: whether they go on vouching for it (PEER_STATUS,
// docs/protocol.md).
type Question struct {
	From  string        // the asker
	Boot  string        // the asker's boot: a promise that was asked for in another boot gives nothing
	Asked time.Duration // on the asker's clock
	Epoch cluster.Epoch // newest that the asker knows
	Live  bool          // the asker's lease has not run out
	Lease cluster.Lease // that a promise prolongs
}

// Asks returns the question that this host has to ask the hosts in whom now; ok is false where it has nothing to ask
// (R3). A host that is the only candidate vouches for itself.
func (h *Holder) Asks(now time.Duration) (q Question, whom []string, ok bool) {
	l := h.Lease()
	if !h.taken() || !h.Wants() || l == 0 || h.until-now >= time.Duration(l)*2/3 {
		return Question{}, nil, false
	}
	if whom = h.others(); len(whom) == 0 {
		h.until = now + time.Duration(l)
		return Question{}, nil, false
	}
	return Question{From: h.self, Boot: h.boot, Asked: now, Epoch: h.Saved.Epoch, Live: h.until > now, Lease: l}, whom,
		true
}

// Promise answers a question: true is a promise (R4). It keeps this host from taking the role until the asker's lease
// is over on every clock.
func (h *Holder) Promise(now time.Duration, q Question) bool {
	if h.Holds(now) || h.forgetful(now, q) {
		return false
	}
	if h.Saved.Epoch.Number > q.Epoch.Number && !(h.Saved.Epoch.Grants(q.From) && q.Live) {
		return false
	}
	h.adopt(now, q.Epoch)
	if !h.Saved.Epoch.Grants(q.From) {
		return false
	}
	h.promised, h.promisedTo = now, q.From
	h.bound = max(h.bound, now+q.Lease.Over())
	return true
}

// forgetful: this host has no record of an epoch, and a lease that it may have held before its start, and forgotten,
// may not be over yet.
func (h *Holder) forgetful(now time.Duration, q Question) bool {
	return h.novice && now < h.started+max(h.atStart, h.terms().Longest, q.Epoch.Terms.Longest, q.Lease).Over()
}

// Promised takes in that the candidate by has promised what this host asked in q (R3).
func (h *Holder) Promised(now time.Duration, by string, q Question) {
	terms := h.terms()
	if !h.taken() || !h.Wants() || q.Epoch.Since != h.Saved.Epoch.Since || q.Boot != h.boot || q.Lease != terms.Lease ||
		q.Epoch.Terms.Candidates != h.Saved.Epoch.Terms.Candidates {
		return
	}
	if v := h.vouched[by]; q.Asked >= v.asked {
		h.vouched[by] = vouch{asked: q.Asked, epoch: q.Epoch.Number}
	}
	asked := q.Asked
	for _, o := range h.others() {
		v, ok := h.vouched[o]
		if !ok || h.until <= now && v.epoch != h.Saved.Epoch.Number {
			return
		}
		asked = min(asked, v.asked)
	}
	h.until = max(h.until, asked+time.Duration(q.Lease))
}

// PromiseAge is the host that this one last promised to, and how long ago that was; "" where it has promised nobody
// since its start.
func (h *Holder) PromiseAge(now time.Duration) (to string, age time.Duration) {
	return h.promisedTo, now - h.promised
}

// Lapse ends the lease of a host whose machine stood still, and its clock with it: the lease may be over on the clocks
// of others. boot is the id that stamps carry from now on; stamps from before count as those of another boot.
func (h *Holder) Lapse(boot string) {
	h.until, h.boot = 0, boot
	clear(h.vouched)
}
