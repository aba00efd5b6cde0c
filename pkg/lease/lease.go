// Package lease is the agent's half of the rules that keep two hosts from being the writer at once (docs/design.md,
// "Never two writers"; R1 to R5 in the comments are its rules). It decides only: time and messages come in, and what has
// to be saved, asked or answered goes out. The monitor's half is in package cluster.
package lease

import (
	"time"

	"mysql-mmm/pkg/cluster"
)

// Saved is what outlives the agent. It is on disk before the agent acts on it or answers with it (R2).
type Saved struct {
	Epoch cluster.Epoch
	Taken bool          // has held the role in the present holding
	Lease cluster.Lease // as last ordered: how long a promise of the past may have been for
}

// Tenure is what one agent knows of the writer role: what was decided, until when it may hold it itself, and what it has
// promised to others. All times are of this host's monotonic clock. It has one owner.
type Tenure struct {
	Saved
	self   string
	boot   string
	others []string // the other hosts that may be the writer

	until      time.Duration // the lease ends; it may be over
	promised   time.Duration // when it last promised, or started
	promisedTo string        // whom; "" since the start
	holdsFor   cluster.Lease // what the promise was for
	vouched    map[string]vouch
}

// vouch is the newest promise of another candidate.
type vouch struct {
	asked time.Duration
	epoch uint64
}

// New is the tenure of an agent that starts now with what it saved before. It counts as having promised at this moment,
// since it can't know what it promised a moment ago (R5).
func New(self, boot string, others []string, saved Saved, now time.Duration) *Tenure {
	return &Tenure{Saved: saved, self: self, boot: boot, others: others, promised: now, holdsFor: saved.Lease, vouched: map[string]vouch{}}
}

// Holds says whether the host may have the writer's address and be open for writes at the moment.
func (t *Tenure) Holds(now time.Duration) bool {
	return t.Taken && t.Epoch.Grants(t.self) && t.until > now
}

// Left is how much of the lease is left: 0 where Holds is false.
func (t *Tenure) Left(now time.Duration) time.Duration {
	if !t.Holds(now) {
		return 0
	}
	return t.until - now
}

// Until is when its lease ends or has ended, also that of a host which is to leave: the time that it has for it.
func (t *Tenure) Until() time.Duration { return t.until }

// Wants says whether the role is this host's but for a lease or a wait: it is on the way to it, or has lost it for want of anybody who vouches.
func (t *Tenure) Wants() bool { return t.Epoch.Grants(t.self) }

// Order takes in an order: its epoch, the lease it gives and the stamp it echoes. It is false for an order that is older
// than what the host knows, of which nothing may be done (R2).
func (t *Tenure) Order(now time.Duration, e cluster.Epoch, l cluster.Lease, echo cluster.Stamp) bool {
	if e.Number < t.Epoch.Number || e.Number == t.Epoch.Number && e != t.Epoch {
		return false
	}
	t.adopt(e)
	t.Lease = l
	end := echo.At + time.Duration(l)
	if echo.Boot != t.boot || end <= now || !e.Grants(t.self) {
		return true // R1: an echo of another boot gives nothing
	}
	if !t.Taken {
		t.Taken = t.free(now)
	}
	if t.Taken {
		t.until = max(t.until, end)
	}
	return true
}

// free says whether nobody else can hold a lease that this host has helped to (R5).
func (t *Tenure) free(now time.Duration) bool {
	return t.promisedTo != "" && t.Epoch.Gone == t.promisedTo || now >= t.Waits()
}

// Waits is when an appointed host may take the role at the earliest, should nothing else be heard.
func (t *Tenure) Waits() time.Duration {
	return t.promised + max(t.Lease, t.holdsFor).Over()
}

// adopt moves to another epoch.
func (t *Tenure) adopt(e cluster.Epoch) {
	if e.Number <= t.Epoch.Number {
		return
	}
	if e.Holder != t.Epoch.Holder || e.Since != t.Epoch.Since || e.Leaving {
		t.Taken = false
		clear(t.vouched)
	}
	t.Epoch = e
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

// Asks is the question to put to the other candidates now, if there is one (R3).
func (t *Tenure) Asks(now time.Duration) (Question, bool) {
	if !t.Taken || !t.Epoch.Grants(t.self) || t.Lease == 0 || t.until-now >= time.Duration(t.Lease)*2/3 {
		return Question{}, false
	}
	return Question{From: t.self, Boot: t.boot, Asked: now, Epoch: t.Epoch, Live: t.until > now, Lease: t.Lease}, true
}

// Promise answers a question (R4). A promise holds this host back from the role until the asker's lease is over for certain.
func (t *Tenure) Promise(now time.Duration, q Question) bool {
	if t.Holds(now) {
		return false
	}
	if t.Epoch.Number > q.Epoch.Number && !(t.Epoch.Grants(q.From) && q.Live) {
		return false
	}
	t.adopt(q.Epoch)
	if !t.Epoch.Grants(q.From) {
		return false
	}
	t.promised, t.promisedTo, t.holdsFor = now, q.From, q.Lease
	return true
}

// Promised takes in that another candidate has promised what was asked in q (R3).
func (t *Tenure) Promised(now time.Duration, by string, q Question) {
	if !t.Taken || !t.Epoch.Grants(t.self) || q.Epoch.Since != t.Epoch.Since || q.Boot != t.boot {
		return
	}
	if v := t.vouched[by]; q.Asked >= v.asked {
		t.vouched[by] = vouch{asked: q.Asked, epoch: q.Epoch.Number}
	}
	asked := q.Asked
	for _, o := range t.others {
		v, ok := t.vouched[o]
		if !ok || t.until <= now && v.epoch != t.Epoch.Number {
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

// Lapse ends a lease that its host has reason not to trust any more: the machine stood still and its clock with it. What
// was stamped before counts as of another boot.
func (t *Tenure) Lapse(boot string) {
	t.until, t.boot = 0, boot
	clear(t.vouched)
}
