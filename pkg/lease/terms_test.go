package lease

import (
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
)

const (
	ever   = cluster.Lease(0)
	thirty = cluster.Lease(30 * time.Second)
)

// with is an epoch that makes db1 the writer under terms.
func with(number uint64, candidates string, l, longest cluster.Lease) cluster.Epoch {
	e := granted(number)
	e.Terms = cluster.Terms{Candidates: candidates, Lease: l, Longest: longest}
	return e
}

// TestTermsOfTheEpoch: which hosts the writer asks, and how long its lease is, is what the epoch says, whatever its own
// configuration says.
func TestTermsOfTheEpoch(t *testing.T) {
	tn := db1(0) // its file names db2 alone, with three seconds
	tn.Order(now, with(5, "db1,db2,db3", thirty, thirty), three, stamp(now), false)
	if left := tn.Left(now); left != 30*time.Second {
		t.Errorf("a lease of %v, want the epoch's", left)
	}
	at := now + 20*time.Second
	q, whom, ok := tn.Asks(at)
	if !ok || len(whom) != 2 || q.Lease != thirty {
		t.Fatalf("asks %v for %v", whom, q.Lease)
	}
	tn.Promised(at, "db2", q)
	if tn.Left(at) != 10*time.Second {
		t.Error("prolonged by one of two")
	}
	tn.Promised(at, "db3", q)
	if tn.Left(at) != 30*time.Second {
		t.Error("not prolonged by all that the epoch names")
	}
}

// TestOtherTerms: promises that were asked for under other terms count no more, and other terms don't end the holding.
func TestOtherTerms(t *testing.T) {
	tn := db1(0)
	tn.Order(now, with(5, "db1,db2", three, three), 0, stamp(now), false)
	at := now + 1500*time.Millisecond
	q, _, _ := tn.Asks(at)
	tn.Order(at, with(6, "db1,db2,db3", three, three), 0, stamp(now), false)
	if !tn.Holds(at) {
		t.Fatal("other candidates end the holding")
	}
	tn.Promised(at, "db2", q)
	tn.Promised(at, "db3", q)
	if left := tn.Left(at); left != 1500*time.Millisecond {
		t.Errorf("an answer that was asked for under other terms gives %v", left)
	}
}

// TestForever: a holding without a lease never runs out. It comes from a live lease or from a stamp of this boot, and
// ends with the first order that has a lease.
func TestForever(t *testing.T) {
	tn := db1(0)
	tn.Order(now, with(5, "db1,db2", three, three), 0, stamp(now), false)
	tn.Order(now, with(6, "db1,db2", ever, three), 0, cluster.Stamp{}, false)
	later := now + 1000*time.Hour
	if !tn.Holds(later) || tn.Left(later) != Forever {
		t.Fatal("a live lease does not become a holding for ever")
	}
	if _, _, asks := tn.Asks(later); asks {
		t.Error("it asks others, though nothing runs out")
	}
	tn.Order(later, with(7, "db1,db2", three, three), 0, cluster.Stamp{}, false)
	if tn.Holds(later) {
		t.Error("an order with a lease and no echo leaves it the role")
	}
	tn.Order(later, with(7, "db1,db2", three, three), 0, stamp(later), false)
	if tn.Left(later) != 3*time.Second {
		t.Error("an order with a lease and an echo does not give it")
	}

	lapsed := db1(0)
	lapsed.Order(now, with(5, "db1,db2", three, three), 0, stamp(now), false)
	lapsed.Order(later, with(6, "db1,db2", ever, three), 0, cluster.Stamp{Boot: "another", At: later}, false)
	if lapsed.Holds(later) {
		t.Error("a lease that was over becomes a holding for ever by an order for another boot")
	}
	lapsed.Order(later, with(6, "db1,db2", ever, three), 0, stamp(later), false)
	if !lapsed.Holds(later) {
		t.Error("an order without a lease and with an echo does not give the role")
	}
}

// TestForeverAfterPromise: a host that has promised does not take the role without a lease before the lease that it
// promised is over.
func TestForeverAfterPromise(t *testing.T) {
	tn := db1(0)
	tn.Promise(now, Question{From: "db2", Epoch: cluster.Epoch{Number: 4, Holder: "db2", Since: 4}, Live: true,
		Lease: thirty})
	e := with(5, "db1,db2", ever, thirty)
	tn.Order(now+time.Second, e, 0, stamp(now+time.Second), false)
	if tn.Holds(now + time.Second) {
		t.Error("it breaks its promise")
	}
	later := now + thirty.Over()
	tn.Order(later, e, 0, stamp(later), false)
	if !tn.Holds(later) {
		t.Error("it waits longer than it promised")
	}
}

// TestStartWaitsForTheLongest: an agent that starts does not know for which lease its last promise was, so it waits for
// the longest.
func TestStartWaitsForTheLongest(t *testing.T) {
	tn := db1(now)
	e := with(5, "db1,db2", three, thirty)
	at := now + three.Over()
	tn.Order(at, e, 0, stamp(at), false)
	if tn.Holds(at) {
		t.Error("it counts the present lease alone")
	}
	at = now + thirty.Over()
	tn.Order(at, e, 0, stamp(at), false)
	if !tn.Holds(at) {
		t.Error("it waits for longer than the longest lease")
	}
}

// TestAlone: the only candidate vouches for itself.
func TestAlone(t *testing.T) {
	tn := db1(0)
	tn.Order(now, with(5, "db1", three, three), 0, stamp(now), false)
	at := now + 2*time.Second
	if _, _, asks := tn.Asks(at); asks || tn.Left(at) != 3*time.Second {
		t.Errorf("asks %v, left %v", asks, tn.Left(at))
	}
}

// TestAnotherBoot: a role that was taken before the machine was switched off is not held after the next boot.
func TestAnotherBoot(t *testing.T) {
	saved := Saved{Epoch: with(5, "db1,db2", ever, three), Taken: boot, Lease: three}
	if tn := New("db1", boot, nil, saved, 0, now); !tn.Holds(now) {
		t.Error("a restart of the agent ends a holding for ever")
	}
	if tn := New("db1", "another", nil, saved, 0, now); tn.Holds(now) {
		t.Error("a boot does not end it")
	}
}

// TestAdoption: a host that has the writer's address from a monitor that knows no epochs stays the writer when the
// first epoch says so. A host that has known an epoch before is given the role as the rules say.
func TestAdoption(t *testing.T) {
	e := with(1, "db1,db2", ever, 0)
	if tn := db1(now); !tn.Order(now, e, 0, cluster.Stamp{}, true) || !tn.Holds(now) {
		t.Error("it does not go on")
	}
	tn := db1(now)
	if tn.Order(now, e, 0, cluster.Stamp{}, false); tn.Holds(now) {
		t.Error("it has the role without the address")
	}
	known := New("db1", boot, nil, Saved{Epoch: cluster.Epoch{Number: 1, Holder: "db2", Since: 1}}, three, now)
	if known.Order(now, with(5, "db1,db2", ever, 0), 0, cluster.Stamp{}, true); known.Holds(now) {
		t.Error("a host that knew another writer takes a leftover address for the role")
	}
}

// TestRelease: an order without an epoch ends what was held by an epoch. A host that has the writer's address after
// that has it from a monitor without epochs, also after a restart of the agent.
func TestRelease(t *testing.T) {
	tn := db1(0)
	tn.Order(now, with(5, "db1,db2", three, three), 0, stamp(now), false)
	tn.Release()
	if _, _, asks := tn.Asks(now + 2*time.Second); asks || tn.Holds(now) {
		t.Error("it goes on by an epoch")
	}
	later := now + 2*time.Second
	for name, next := range map[string]*Holder{"the same agent": tn,
		"the next agent": New("db1", boot, nil, tn.Saved, three, now)} {
		if next.Order(later, with(9, "db1,db2", ever, 0), 0, cluster.Stamp{}, true); !next.Holds(later) {
			t.Errorf("%s does not go on", name)
		}
		if next.Saved.Released {
			t.Errorf("%s has not noted that epochs count again", name)
		}
	}
}
