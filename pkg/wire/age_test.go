package wire

import (
	"math/rand/v2"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
)

// TestAnyAge: each side can read what the other one writes, also for clocks and promises that are years old.
func TestAnyAge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const years = 50 * 365 * 24 * time.Hour
	age := func() time.Duration {
		if rng.IntN(2) == 0 {
			return time.Duration(rng.Int64N(int64(3 * 24 * time.Hour))).Truncate(time.Millisecond)
		}
		return time.Duration(rng.Int64N(int64(years))).Truncate(time.Millisecond)
	}
	lease := func() cluster.Lease { return cluster.Lease(time.Duration(rng.Int64N(60_001)) * time.Millisecond) }
	for range 2000 {
		e := cluster.Epoch{Number: rng.Uint64(), Holder: "db1", Since: rng.Uint64(), Leaving: rng.IntN(2) == 0}
		if rng.IntN(4) > 0 {
			l := lease()
			e.Terms = cluster.Terms{Candidates: "db1,db2", Lease: l, Longest: max(l, lease())}
		}
		stamp := cluster.Stamp{Boot: "boot", At: age()}
		r := Report{Extended: true, Seq: rng.Uint64(), Writable: No, Epoch: e, Stamp: stamp, Live: rng.IntN(2) == 0,
			Candidates: "db1,db2",
			PromisedTo: "db2", PromiseAge: age()}
		a, err := ParseAnswer(Answer{Text: "OK", Fields: r.Fields(), Uptime: age().Seconds()}.String())
		if err != nil {
			t.Fatal(err)
		}
		if r.PromiseAge > oldestPromise {
			r.PromisedTo, r.PromiseAge = "", 0 // a promise that old is not reported
		}
		got := ParseReport(a)
		if len(got.Problems) > 0 || got.Epoch != r.Epoch || got.Stamp != r.Stamp || got.Live != r.Live ||
			got.PromisedTo != r.PromisedTo ||
			got.PromiseAge != r.PromiseAge || got.Seq != r.Seq {
			t.Fatalf("said  %+v\nheard %+v", r, got)
		}

		o := cluster.Order{State: cluster.Online, Extended: true, Seq: 3, Lease: lease(), Epoch: e, Echo: stamp}
		request, err := ParseRequest(OrderRequest("db1", o).String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseOrder(request); err != nil || got.Epoch != o.Epoch || got.Echo != o.Echo ||
			got.Lease != o.Lease {
			t.Fatalf("ordered %+v\nheard   %+v (%v)", o, got, err)
		}

		q := Question{From: "db1", Epoch: e, Live: true, Lease: max(e.Terms.Lease,
			1000*cluster.Lease(time.Millisecond))}
		request, err = ParseRequest(q.Request("db2").String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseQuestion(request); err != nil || got != q {
			t.Fatalf("asked %+v\nheard %+v (%v)", q, got, err)
		}

		s := AgentStatus{State: cluster.Online, Epoch: e, Stamp: stamp, Live: true}
		a, err = ParseAnswer(Answer{Text: "OK", Fields: s.Fields(), Uptime: 1}.String())
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseAgentStatus(a); err != nil || got.Epoch != e || got.Stamp != stamp || !got.Live {
			t.Fatalf("said  %+v\nheard %+v (%v)", s, got, err)
		}
	}
}

// TestOlderVersions: lines of agents and monitors of older versions, which have no terms, can still be read.
func TestOlderVersions(t *testing.T) {
	request,
		err := ParseRequest("SET_STATUS|1|db1|ONLINE|writer(10.0.0.1)|db1|v=1|seq=4|lease=3000|epoch=5,db1,5,0,|echo=b,77")
	if err != nil {
		t.Fatal(err)
	}
	o, err := ParseOrder(request)
	if err != nil || o.Lease != cluster.Lease(3*time.Second) ||
		o.Epoch != (cluster.Epoch{Number: 5, Holder: "db1", Since: 5}) || o.Echo.At != 77 {
		t.Errorf("order %+v (%v)", o, err)
	}
	r := ParseReport(Answer{Text: "OK", Fields: []string{"v=1", "seq=4", "have=", "writable=0", "epoch=5,db1,5,0,",
		"stamp=b,77", "promised=db2", "age=5"}})
	if len(r.Problems) > 0 || r.Epoch.Number != 5 || r.Stamp.At != 77 || r.Candidates != "" ||
		r.PromiseAge != 5*time.Millisecond {
		t.Errorf("report %+v", r)
	}
}
