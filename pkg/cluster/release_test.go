package cluster

import "testing"

// TestStaleAnswer: an answer to an older order says nothing of an address that a newer one takes away: it may have been on its way
// while the host was still to have the address.
func TestStaleAnswer(t *testing.T) {
	w := newWorld(lab())
	w.do("after 11s")
	old := w.s.Seq
	w.verdicts["db1"] = Verdicts{Ping: true}
	w.step(Input{})
	answer := Answer{Host: "db1", Seq: old, Reached: true, OK: true, Extended: true} // has nothing, as before it was given anything
	w.step(Input{Answers: []Answer{answer}})
	if m := w.s.ActiveMaster(w.t); m != "" {
		t.Fatalf("the writer role went to %s on the strength of a stale answer", m)
	}
	answer.Seq = w.s.Seq
	w.step(Input{Answers: []Answer{answer}})
	if m := w.s.ActiveMaster(w.t); m != "db2" {
		t.Fatalf("the writer role is on %q, want db2", m)
	}
}
