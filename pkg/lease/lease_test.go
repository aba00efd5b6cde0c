package lease

import (
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
)

const (
	three = cluster.Lease(3 * time.Second)
	boot  = "boot"
)

// db1 is what the agent of host db1 knows that started at start, without a record of an epoch.
func db1(start time.Duration) *Holder {
	return New("db1", boot, []string{"db1", "db2"}, Saved{}, three, start)
}

// granted is an epoch that makes db1 the writer, in the holding that began with epoch 5.
func granted(number uint64) cluster.Epoch {
	return cluster.Epoch{Number: number, Holder: "db1", Since: 5}
}

func stamp(at time.Duration) cluster.Stamp { return cluster.Stamp{Boot: boot, At: at} }

const now = time.Hour

func TestOrder(t *testing.T) {
	for _, c := range []struct {
		name  string
		start time.Duration
		known cluster.Epoch
		epoch cluster.Epoch
		echo  cluster.Stamp
		taken bool // before
		ok    bool
		holds bool
	}{
		{name: "appointed", epoch: granted(5), echo: stamp(now - time.Second), ok: true, holds: true},
		{name: "no echo", epoch: granted(5), ok: true},
		{name: "echo of another boot", epoch: granted(5), echo: cluster.Stamp{Boot: "other", At: now}, ok: true},
		{name: "echo that is yet to come", epoch: granted(5), echo: stamp(now + time.Hour), ok: true},
		{name: "echo too old", epoch: granted(5), echo: stamp(now - 3*time.Second), ok: true},
		{name: "right after the start", start: now - 4*time.Second, epoch: granted(5), echo: stamp(now), ok: true},
		{name: "right after a restart, taken before", start: now - 4*time.Second, known: granted(5), epoch: granted(5),
			taken: true, echo: stamp(now), ok: true, holds: true},
		{name: "lower epoch", known: granted(6), epoch: granted(5), echo: stamp(now)},
		{name: "same epoch, other content", known: granted(5), epoch: cluster.Epoch{Number: 5, Holder: "db2", Since: 5},
			echo: stamp(now)},
		{name: "leaving", known: granted(5), taken: true, epoch: cluster.Epoch{Number: 6, Holder: "db1", Since: 5,
			Leaving: true}, echo: stamp(now), ok: true},
		{name: "appointed again, others in between", start: now - 4*time.Second, known: granted(5), taken: true,
			epoch: cluster.Epoch{Number: 9, Holder: "db1", Since: 9}, echo: stamp(now), ok: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tn := db1(c.start)
			tn.Saved = Saved{Epoch: c.known, Taken: map[bool]string{true: boot}[c.taken], Lease: three}
			if ok := tn.Order(now, c.epoch, three, c.echo, false); ok != c.ok {
				t.Errorf("accepted: %v", ok)
			}
			if holds := tn.Holds(now); holds != c.holds {
				t.Errorf("holds: %v", holds)
			}
		})
	}
}

// TestPromiseBinds: a host that has promised does not take the role before the writer's lease is over on every clock,
// unless the epoch says that this writer is gone.
func TestPromiseBinds(t *testing.T) {
	for gone, waits := range map[string]bool{"": true, "db3": true, "db2": false} {
		tn := db1(0)
		other := cluster.Epoch{Number: 4, Holder: "db2", Since: 4}
		if !tn.Promise(now, Question{From: "db2", Epoch: other, Live: true, Lease: three}) {
			t.Fatal("no promise to the writer")
		}
		e := granted(5)
		e.Gone = gone
		tn.Order(now, e, three, stamp(now), false)
		if holds := tn.Holds(now); holds == waits {
			t.Errorf("gone %q: holds %v at once", gone, holds)
		}
		later := now + three.Over()
		tn.Order(later, e, three, stamp(later), false)
		if !tn.Holds(later) {
			t.Errorf("gone %q: does not hold after %v", gone, three.Over())
		}
	}
}

func TestNoPromise(t *testing.T) {
	tn := db1(0)
	tn.Order(now, granted(5), three, stamp(now), false)
	if tn.Promise(now, Question{From: "db2", Epoch: cluster.Epoch{Number: 9, Holder: "db2", Since: 9}, Live: true,
		Lease: three}) {
		t.Error("the holder of a live lease promises")
	}
	tn = db1(0)
	tn.Order(now, cluster.Epoch{Number: 6, Holder: "db2", Since: 4, Leaving: true}, three, stamp(now), false)
	if tn.Promise(now, Question{From: "db2", Epoch: cluster.Epoch{Number: 4, Holder: "db2", Since: 4}, Live: true,
		Lease: three}) {
		t.Error("a promise to a host that is to leave")
	}
}

// TestForgotten: an agent that has lost its record promises nobody anything before a lease that its host may have held
// is over. An agent that has a record promises at once, and so does one that the monitor has told the epoch since.
func TestForgotten(t *testing.T) {
	other := cluster.Epoch{Number: 4, Holder: "db2", Since: 4}
	q := Question{From: "db2", Epoch: other, Live: true, Lease: three}
	for name, c := range map[string]struct {
		saved Saved
		told  bool
		after time.Duration
		want  bool
	}{
		"at the start":           {Saved{}, false, 0, false},
		"just before it is over": {Saved{}, false, three.Over() - 1, false},
		"when it is over":        {Saved{}, false, three.Over(), true},
		"with a record":          {Saved{Epoch: other, Lease: three}, false, 0, true},
		"told by the monitor":    {Saved{}, true, 0, true},
	} {
		tn := New("db1", boot, nil, c.saved, three, now)
		if c.told {
			tn.Order(now, other, three, stamp(now), false)
		}
		if got := tn.Promise(now+c.after, q); got != c.want {
			t.Errorf("%s: promised %v, want %v", name, got, c.want)
		}
	}
}

// TestLivesByPromises: without the monitor a writer goes on for as long as the other candidate promises. A lease that
// has ended is revived only by a promise for the epoch that the writer asked in.
func TestLivesByPromises(t *testing.T) {
	tn := db1(0)
	tn.Order(now, granted(5), three, stamp(now), false)
	if _, _, asks := tn.Asks(now + 500*time.Millisecond); asks {
		t.Error("it asks while its lease is long")
	}
	at := now + 1500*time.Millisecond
	q, _, asks := tn.Asks(at)
	if !asks {
		t.Fatal("it does not ask")
	}
	tn.Promised(at, "db2", q)
	if !tn.Holds(at+2900*time.Millisecond) || tn.Holds(at+3*time.Second) {
		t.Error("the lease does not count from the question")
	}
	lapsed := at + 4*time.Second
	q, _, asks = tn.Asks(lapsed)
	if !asks || q.Live {
		t.Fatal("it does not ask after its lease has lapsed")
	}
	old := q
	old.Epoch.Number = 4
	tn.Promised(lapsed, "db2", old)
	if tn.Holds(lapsed) {
		t.Error("revived by a promise for another epoch")
	}
	foreign := q
	foreign.Boot = "before"
	tn.Promised(lapsed, "db2", foreign)
	if tn.Holds(lapsed) {
		t.Error("revived by a promise from before the boot")
	}
	q.Asked++
	tn.Promised(lapsed, "db2", q)
	if !tn.Holds(lapsed) {
		t.Error("not revived by a promise")
	}
	tn.Lapse("after a standstill")
	if tn.Order(lapsed, granted(5), three, stamp(lapsed), false); tn.Holds(lapsed) {
		t.Error("a stamp from before a standstill counts")
	}
}
