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

// Tenure is what one agent knows of the writer role: what was decided, until when it may hold it itself, and what it
// has promised to others. All times are of this host's monotonic clock. It has one owner.
type Tenure struct {
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

// New is the tenure of an agent that starts now with what it saved before. It counts as having promised at this
// moment, since it can't know what it promised a moment ago (R5). candidates are those of its own file, longest the
// longest lease that it knows of. What it had taken in another boot it has no more: whoever switched the machine off
// counts on that.
func New(self, boot string, candidates []string, saved Saved, longest cluster.Lease, now time.Duration) *Tenure {
	if saved.Taken != boot {
		saved.Taken = ""
	}
	return &Tenure{Saved: saved, self: self, machine: boot, boot: boot, file: candidates,
		novice: saved.Epoch.Number == 0 || saved.Released, started: now, promised: now,
		atStart: max(saved.Lease, saved.Epoch.Terms.Longest, longest), vouched: map[string]vouch{}}
}

// terms are those of the epoch; where it has none, what this host's own file and the last order say.
func (t *Tenure) terms() cluster.Terms {
	if t.Saved.Epoch.Terms != (cluster.Terms{}) {
		return t.Saved.Epoch.Terms
	}
	return cluster.Terms{Candidates: cluster.JoinHosts(t.file), Lease: t.Saved.Lease, Longest: t.Saved.Lease}
}

// others are the hosts that have to vouch for this one.
func (t *Tenure) others() []string {
	return slices.DeleteFunc(cluster.SplitHosts(t.terms().Candidates), func(h string) bool { return h == t.self })
}

// Lease is what the present epoch gives its holder; 0: it holds for ever.
func (t *Tenure) Lease() cluster.Lease { return t.terms().Lease }

// taken: this host has held the role in the present holding and boot.
func (t *Tenure) taken() bool { return t.Saved.Taken != "" }

// endless: it holds the role without a lease.
func (t *Tenure) endless() bool { return t.taken() && t.Lease() == 0 }

// Holds says whether the host may have the writer's address and be open for writes at the moment.
func (t *Tenure) Holds(now time.Duration) bool {
	return t.taken() && t.Wants() && (t.endless() || t.until > now)
}

// Forever is what is left of a holding without a lease.
const Forever = time.Duration(1<<63 - 1)

// Left is how much of the lease is left: 0 where Holds is false, Forever where it never ends.
func (t *Tenure) Left(now time.Duration) time.Duration {
	switch {
	case !t.Holds(now):
		return 0
	case t.endless():
		return Forever
	}
	return t.until - now
}

// Until is when its lease ends or has ended, also that of a host which is to leave: the time that it has for it.
func (t *Tenure) Until() time.Duration { return t.until }

// Wants says whether the role is this host's but for a lease or a wait: it is on the way to it, or has lost it for
// want of anybody who vouches.
func (t *Tenure) Wants() bool { return t.Saved.Epoch.Grants(t.self) }

// Order takes in an order: its epoch, the lease that it gives where the epoch has no terms, and the stamp that it
// echoes. It is false for an order that is older than what the host knows, of which nothing may be done (R2).
//
// here says whether the writer's address is on this machine. A host that has it, and has never heard of an epoch, was
// made the writer by a monitor that knows none: it goes on.
func (t *Tenure) Order(now time.Duration, e cluster.Epoch, l cluster.Lease, echo cluster.Stamp, here bool) bool {
	if e.Number < t.Saved.Epoch.Number || e.Contradicts(t.Saved.Epoch) {
		return false
	}
	t.adopt(now, e)
	t.Saved.Released = false
	if e.Terms == (cluster.Terms{}) {
		t.Saved.Lease = l
	} else {
		t.Saved.Lease = e.Terms.Lease
	}
	if t.novice && here && t.Wants() && t.Lease() == 0 {
		t.Saved.Taken = t.machine
	}
	t.novice = t.novice && t.Wants() && !t.taken()
	// R1: an echo of another boot gives nothing. One that is ahead of this clock comes from before the machine was
	// set back.
	if echo.Boot != t.boot || echo.At > now || !t.Wants() {
		return true
	}
	end := echo.At + time.Duration(t.Lease())
	if t.Lease() > 0 && end <= now {
		return true
	}
	if !t.taken() && t.free(now) {
		t.Saved.Taken = t.machine
	}
	if t.taken() && t.Lease() > 0 {
		t.until = max(t.until, end)
	}
	return true
}

// Release takes in an order of a monitor that knows no epochs, or has none: what was decided before it began is no
// more.
func (t *Tenure) Release() {
	t.Saved.Taken, t.until = "", 0
	t.Saved.Released, t.novice = t.Saved.Epoch.Number > 0, true
	clear(t.vouched)
}

// free says whether nobody else can hold a lease that this host has helped to (R5).
func (t *Tenure) free(now time.Duration) bool {
	return t.promisedTo != "" && t.Saved.Epoch.Gone == t.promisedTo || now >= t.Waits()
}

// Waits is when an appointed host may take the role at the earliest, should nothing else be heard. A promise counts
// for what it was for; what was promised before this host's start, for the longest lease that the epoch knows of.
func (t *Tenure) Waits() time.Duration {
	return max(t.bound, t.started+max(t.atStart, t.terms().Longest).Over())
}

// adopt moves to another epoch.
func (t *Tenure) adopt(now time.Duration, e cluster.Epoch) {
	was := t.Saved.Epoch
	if e.Number < was.Number || e.Number == was.Number && was.Terms != (cluster.Terms{}) {
		return
	}
	held := t.Holds(now)
	before := t.terms()
	if e.Holder != was.Holder || e.Since != was.Since || e.Leaving {
		t.Saved.Taken = ""
	}
	t.Saved.Epoch = e
	if terms := t.terms(); e.Number > was.Number && terms.Lease == 0 && !held {
		t.Saved.Taken = "" // a lease that is over does not become a holding for ever
	} else if before.Lease == 0 && terms.Lease > 0 {
		t.until = 0 // the holding for ever has ended: the echo of this order gives a lease, or nothing does
	}
	if now := t.terms(); !t.taken() || before.Candidates != now.Candidates || before.Lease != now.Lease {
		clear(t.vouched) // what was answered under other terms counts no more
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
func (t *Tenure) Asks(now time.Duration) (q Question, whom []string, ok bool) {
	l := t.Lease()
	if !t.taken() || !t.Wants() || l == 0 || t.until-now >= time.Duration(l)*2/3 {
		return Question{}, nil, false
	}
	if whom = t.others(); len(whom) == 0 {
		t.until = now + time.Duration(l)
		return Question{}, nil, false
	}
	return Question{From: t.self, Boot: t.boot, Asked: now, Epoch: t.Saved.Epoch, Live: t.until > now, Lease: l}, whom,
		true
}

// Promise answers a question (R4). A promise holds this host back from the role until the asker's lease is over for
// certain.
func (t *Tenure) Promise(now time.Duration, q Question) bool {
	if t.Holds(now) || t.forgetful(now, q) {
		return false
	}
	if t.Saved.Epoch.Number > q.Epoch.Number && !(t.Saved.Epoch.Grants(q.From) && q.Live) {
		return false
	}
	t.adopt(now, q.Epoch)
	if !t.Saved.Epoch.Grants(q.From) {
		return false
	}
	t.promised, t.promisedTo = now, q.From
	t.bound = max(t.bound, now+q.Lease.Over())
	return true
}

// forgetful: it knew of no epoch at its start, and what it may have held until then, and forgotten, may not be over
// yet.
func (t *Tenure) forgetful(now time.Duration, q Question) bool {
	return t.novice && now < t.started+max(t.atStart, t.terms().Longest, q.Epoch.Terms.Longest, q.Lease).Over()
}

// Promised takes in that another candidate has promised what was asked in q (R3).
func (t *Tenure) Promised(now time.Duration, by string, q Question) {
	terms := t.terms()
	if !t.taken() || !t.Wants() || q.Epoch.Since != t.Saved.Epoch.Since || q.Boot != t.boot || q.Lease != terms.Lease ||
		q.Epoch.Terms.Candidates != t.Saved.Epoch.Terms.Candidates {
		return
	}
	if v := t.vouched[by]; q.Asked >= v.asked {
		t.vouched[by] = vouch{asked: q.Asked, epoch: q.Epoch.Number}
	}
	asked := q.Asked
	for _, o := range t.others() {
		v, ok := t.vouched[o]
		if !ok || t.until <= now && v.epoch != t.Saved.Epoch.Number {
			return
		}
		asked = min(asked, v.asked)
	}
	t.until = max(t.until, asked+time.Duration(q.Lease))
}

// PromiseAge is to whom the host last promised and how long ago; "" where it has not since its start.
func (t *Tenure) PromiseAge(now time.Duration) (to string, age time.Duration) {
	return t.promisedTo, now - t.promised
}

// Lapse ends a lease that its host has reason not to trust any more: the machine stood still and its clock with it.
// What was stamped before counts as of another boot.
func (t *Tenure) Lapse(boot string) {
	t.until, t.boot = 0, boot
	clear(t.vouched)
}
