// Package lease is the agent's half of the rules that keep two hosts from being the writer at once (docs/design.md,
// "Never two writers"; R1 to R5 in the comments are its rules). It decides only: time and messages come in, and what
// has to be saved, asked or answered goes out. The monitor's half is in package cluster.
package lease

import (
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Saved is what outlives the agent. It is on disk before the agent acts on it or answers with it (R2).
type Saved struct {
	Epoch cluster.Epoch
	Taken string        // boot in which it has held the role in the present holding; "": it has not
	Lease cluster.Lease // as last ordered: how long a promise of the past may have been for

	// Released: the newest order was of a monitor that knows no epochs. Who has the role since then has it without one.
	Released bool
}

// Holder is what one agent knows of the writer role: what was decided, until when it may hold it itself, and what it
// has promised to others. All times are of this host's monotonic clock. It has one owner.
type Holder struct {
	Saved   Saved
	self    string
	machine string   // id of the machine's boot
	boot    string   // the same, or another one since a pause of the machine: what stamps are of
	file    []string // hosts that may be the writer by this host's own file: for epochs without terms
	novice  bool     // it has never heard of an epoch before this start, or others have decided since

	until      time.Duration // the lease ends; it may be over
	started    time.Duration
	atStart    cluster.Lease // longest lease that it may have promised before
	promised   time.Duration // when it last promised; its start where it has not since
	promisedTo string        // whom; "" since the start
	bound      time.Duration // the leases that it has promised since its start are over
	vouched    map[string]vouch
}

// vouch is the newest promise of another candidate.
type vouch struct {
	asked time.Duration
	epoch uint64
}

// New is what an agent knows that starts now with what it saved before. It counts as having promised at this
// moment, since it can't know what it promised a moment ago (R5). candidates are those of its own file, longest the
// longest lease that it knows of. What it had taken in another boot it has no more: whoever switched the machine off
// counts on that.
func New(self, boot string, candidates []string, saved Saved, longest cluster.Lease, now time.Duration) *Holder {
	if saved.Taken != boot {
		saved.Taken = ""
	}
	return &Holder{Saved: saved, self: self, machine: boot, boot: boot, file: candidates,
		novice: saved.Epoch.Number == 0 || saved.Released, started: now, promised: now,
		atStart: max(saved.Lease, saved.Epoch.Terms.Longest, longest), vouched: map[string]vouch{}}
}

// terms are those of the epoch; where it has none, what this host's own file and the last order say.
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

// Lease is what the present epoch gives its holder; 0: it holds for ever.
func (h *Holder) Lease() cluster.Lease { return h.terms().Lease }

// taken: this host has held the role in the present holding and boot.
func (h *Holder) taken() bool { return h.Saved.Taken != "" }

// endless: it holds the role without a lease.
func (h *Holder) endless() bool { return h.taken() && h.Lease() == 0 }

// Holds says whether the host may have the writer's address and be open for writes at the moment.
func (h *Holder) Holds(now time.Duration) bool {
	return h.taken() && h.Wants() && (h.endless() || h.until > now)
}

// Forever is what is left of a holding without a lease.
const Forever = time.Duration(1<<63 - 1)

// Left is how much of the lease is left: 0 where Holds is false, Forever where it never ends.
func (h *Holder) Left(now time.Duration) time.Duration {
	switch {
	case !h.Holds(now):
		return 0
	case h.endless():
		return Forever
	}
	return h.until - now
}

// Until is when its lease ends or has ended, also that of a host which is to leave: the time that it has for it.
func (h *Holder) Until() time.Duration { return h.until }

// Wants says whether the role is this host's but for a lease or a wait: it is on the way to it, or has lost it for
// want of anybody who vouches.
func (h *Holder) Wants() bool { return h.Saved.Epoch.Grants(h.self) }

// Order takes in an order: its epoch, the lease that it gives where the epoch has no terms, and the stamp that it
// echoes. It is false for an order that is older than what the host knows, of which nothing may be done (R2).
//
// here says whether the writer's address is on this machine. A host that has it, and has never heard of an epoch, was
// made the writer by a monitor that knows none: it goes on.
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
	// R1: an echo of another boot gives nothing. One that is ahead of this clock comes from before the machine was
	// set back.
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

// Release takes in an order of a monitor that knows no epochs, or has none: what was decided before it began is no
// more.
func (h *Holder) Release() {
	h.Saved.Taken, h.until = "", 0
	h.Saved.Released, h.novice = h.Saved.Epoch.Number > 0, true
	clear(h.vouched)
}

// free says whether nobody else can hold a lease that this host has helped to (R5).
func (h *Holder) free(now time.Duration) bool {
	return h.promisedTo != "" && h.Saved.Epoch.Gone == h.promisedTo || now >= h.Waits()
}

// Waits is when an appointed host may take the role at the earliest, should nothing else be heard. A promise counts
// for what it was for; what was promised before this host's start, for the longest lease that the epoch knows of.
func (h *Holder) Waits() time.Duration {
	return max(h.bound, h.started+max(h.atStart, h.terms().Longest).Over())
}

// adopt moves to another epoch.
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
		h.until = 0 // the holding for ever has ended: the echo of this order gives a lease, or nothing does
	}
	if now := h.terms(); !h.taken() || before.Candidates != now.Candidates || before.Lease != now.Lease {
		clear(h.vouched) // what was answered under other terms counts no more
	}
}

// Question is what a writer asks the other candidates: whether they go on vouching for it (PEER_STATUS).
type Question struct {
	From  string
	Boot  string        // of the asker: what was asked in another boot gives nothing
	Asked time.Duration // on the asker's clock
	Epoch cluster.Epoch
	Live  bool // its lease has not run out
	Lease cluster.Lease
}

// Asks is the question to put to the other candidates now, if there is one (R3). A host that is the only candidate
// vouches for itself.
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

// Promise answers a question (R4). A promise holds this host back from the role until the asker's lease is over for
// certain.
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

// forgetful: it knew of no epoch at its start, and what it may have held until then, and forgotten, may not be over
// yet.
func (h *Holder) forgetful(now time.Duration, q Question) bool {
	return h.novice && now < h.started+max(h.atStart, h.terms().Longest, q.Epoch.Terms.Longest, q.Lease).Over()
}

// Promised takes in that another candidate has promised what was asked in q (R3).
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

// PromiseAge is to whom the host last promised and how long ago; "" where it has not since its start.
func (h *Holder) PromiseAge(now time.Duration) (to string, age time.Duration) {
	return h.promisedTo, now - h.promised
}

// Lapse ends a lease that its host has reason not to trust any more: the machine stood still and its clock with it.
// What was stamped before counts as of another boot.
func (h *Holder) Lapse(boot string) {
	h.until, h.boot = 0, boot
	clear(h.vouched)
}
