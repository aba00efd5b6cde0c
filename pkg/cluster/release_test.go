package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestStaleAnswer: an answer to an older order says nothing about an address that a newer order takes away: it may have
// been given while the host was still to have the address.
func TestStaleAnswer(t *testing.T) {
	w := newWorld(lab())
	w.do("after 11s")
	old := w.s.Seq
	w.verdicts["db1"] = Verdicts{Ping: true}
	w.step(Input{})
	// an answer without addresses, as from before the host was given any
	answer := Answer{Host: "db1", Seq: old, Reached: true, OK: true, Extended: true}
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

// TestSilentAgent: the addresses of readers on a host whose agent is silent have gone by themselves after a lease.
// Other hosts are given them then, and not before. A host with an original agent keeps them: there no address goes by
// itself.
func TestSilentAgent(t *testing.T) {
	for _, classic := range []bool{false, true} {
		topology := lab()
		topology.Lease, topology.AutoSetOnline = Lease(3*time.Second), time.Second
		good, found := map[string]Verdicts{}, map[string]Found{}
		for _, h := range topology.Hosts {
			good[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
			found[h.Name] = Found{Agent: &StoredHost{State: Unknown}, System: &SystemFound{}}
		}
		now := time.Hour
		s, _ := Start(topology, Active, Durable{}, found, good, now)
		run := func(d time.Duration, silent string) {
			for end := now + d; now < end; now += 100 * time.Millisecond {
				var answers []Answer
				for _, o := range Orders(topology, s) {
					a := Answer{Host: o.Host, Seq: s.Seq, Text: "connection refused"}
					if o.Host != silent {
						a = Answer{Host: o.Host, Seq: s.Seq, Reached: true, OK: true, Extended: !classic ||
							o.Host != "db3", Uptime: 1000, Have: o.Roles, Epoch: s.Epoch}
						if a.Extended {
							a.Stamp = Stamp{Boot: o.Host, At: now}
						}
						a.Writable = len(o.Roles) > 0 && s.ActiveMaster(topology) == o.Host
					}
					answers = append(answers, a)
				}
				s, _ = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: good, Answers: answers})
			}
		}
		run(20*time.Second, "")
		had := s.RolesOf("db3")
		if len(had) != 1 {
			t.Fatalf("db3 has %v\n%s", had, Show(topology, s))
		}
		run(topology.Lease.Over()-200*time.Millisecond, "db3")
		if len(s.RolesOf("db3")) != 1 {
			t.Errorf("taken before it is over\n%s", Show(topology, s))
		}
		run(400*time.Millisecond, "db3")
		if left := len(s.RolesOf("db3")); left != map[bool]int{false: 0, true: 1}[classic] ||
			s.Hosts["db3"].State != Online {
			t.Errorf("classic %v: it has %d\n%s", classic, left, Show(topology, s))
		}
		holders := map[string]int{}
		for _, a := range s.Addresses {
			holders[a.Holder]++
		}
		if holders[""] > 0 {
			t.Errorf("somewhere is nobody\n%s", Show(topology, s))
		}
		run(time.Second, "")
		if len(s.RolesOf("db3")) != 1 {
			t.Errorf("back, and without its share\n%s", Show(topology, s))
		}
		run(time.Second, "db3")
		if len(s.RolesOf("db3")) != 1 {
			t.Errorf("silent once more, and taken for the silence before\n%s", Show(topology, s))
		}
	}
}

// TestWhoAnswersIsNotKilled: with a lease, a writer that is to give the role up, and whose agent answers, is waited for
// until its lease is over, whether its agent is at work on that or says that it can't. A writer whose agent is silent
// is killed.
func TestWhoAnswersIsNotKilled(t *testing.T) {
	for how, kills := range map[string]int{"busy": 0, "fails": 0, "silent": 1} {
		topology := lab()
		topology.Lease, topology.AutoSetOnline = Lease(3*time.Second), time.Second
		good, found := map[string]Verdicts{}, map[string]Found{}
		for _, h := range topology.Hosts {
			good[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
			found[h.Name] = Found{Agent: &StoredHost{State: Unknown}, System: &SystemFound{}}
		}
		now := time.Hour
		s, _ := Start(topology, Active, Durable{}, found, good, now)
		killed, said := 0, 0
		run := func(d time.Duration, how string) {
			for end := now + d; now < end; now += 100 * time.Millisecond {
				var answers []Answer
				for _, o := range Orders(topology, s) {
					a := Answer{Host: o.Host, Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 1000,
						Have: o.Roles, Epoch: s.Epoch,
						Stamp: Stamp{Boot: o.Host, At: now}, Writable: s.ActiveMaster(topology) == o.Host}
					if o.Host == "db1" && how != "" {
						a.OK, a.Busy, a.Reached, a.Writable, a.Have = false, how == "busy", how != "silent", true,
							s.RolesOf("db1")
						if how == "fails" {
							a.Problems = []string{"Couldn't deny writes: deadline exceeded"}
						}
					}
					answers = append(answers, a)
				}
				var out Output
				s, out = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: good, Answers: answers})
				killed += len(out.Kills)
				for _, e := range out.Events {
					if strings.Contains(e.Text, "its lease is waited for") {
						said++
					}
				}
			}
		}
		run(20*time.Second, "")
		if w := s.ActiveMaster(topology); w != "db1" {
			t.Fatalf("the writer is %q", w)
		}
		s, _ = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: good,
			Command: &Command{Words: []string{"set_offline", "db1"}, AgentUp: map[string]bool{"db1": true}}})
		run(topology.Lease.Over()-200*time.Millisecond, how)
		if w := s.ActiveMaster(topology); w != "" {
			t.Errorf("%s: the writer is %q before the lease is over", how, w)
		}
		run(time.Second, how)
		if w := s.ActiveMaster(topology); w != "db2" || killed != kills ||
			said != map[bool]int{true: 1}[how == "fails"] {
			t.Errorf("%s: the writer is %q, %d times killed, want %d, said %d times\n%s", how, w, killed, kills, said,
				Show(topology, s))
		}
	}
}

// TestPassOn: a host that was given the role because there was no writer, and that fails to take it, loses it to
// another host that could have it. A host that is at work on it is waited for, and so is a host that reports no
// problem.
func TestPassOn(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(*Answer)
		passes bool
	}{
		"it fails": {func(a *Answer) {
			a.OK, a.Problems = false,
				[]string{"Couldn't catch up with the former writer"}
		}, true},
		"it is at work":  {func(a *Answer) { a.OK, a.Busy, a.Problems = false, true, []string{"Catching up"} }, false},
		"it waits":       {func(*Answer) {}, false},
		"its disk hangs": {func(a *Answer) { a.OK, a.Busy, a.Epoch = false, true, Epoch{} }, true},
	} {
		t.Run(name, func(t *testing.T) {
			top := lab()
			top.Lease, top.WaitForOtherMaster = Lease(30*time.Second), time.Minute
			now := time.Hour
			good := map[string]Verdicts{}
			for _, h := range top.Hosts {
				good[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
			}
			s, _ := Start(top, Active, Durable{Hosts: map[string]StoredHost{"db1": {State: Online},
				"db2": {State: Online}, "db3": {State: Online}}},
				map[string]Found{}, good, now)
			first := ""
			for end := now + time.Minute; now < end; now += 250 * time.Millisecond {
				var answers []Answer
				for _, o := range Orders(top, s) {
					a := Answer{Host: o.Host, Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 1000,
						Epoch: o.Epoch,
						Stamp: Stamp{Boot: "b", At: now}, Candidates: "db1,db2"}
					if o.Host == first {
						c.answer(&a)
					}
					answers = append(answers, a)
				}
				s, _ = mustStep(top, s, Input{Now: now, NetworkUp: true, Verdicts: good, Answers: answers})
				if w := s.ActiveMaster(top); first == "" {
					first = w
				} else if w != "" && w != first {
					first += " then " + w
					break
				}
			}
			if passed := strings.Contains(first, "then"); passed != c.passes {
				t.Errorf("the role was given to %q\n%s", first, Show(top, s))
			}
		})
	}
}

// TestConflictAmongProblems: of an agent's problems only those that are an address conflict are told as one, each when
// it is new.
func TestConflictAmongProblems(t *testing.T) {
	w := newWorld(lab())
	w.do("after 11s")
	const first, second, other = "db9 has 10.77.0.101", "db9 has 10.77.0.102", "the disk is full"
	for _, c := range []struct {
		problems, conflicts []string
		told                string
	}{
		{[]string{first, other}, []string{first}, "conflict, problem"},
		{[]string{other}, nil, ""},
		{[]string{other, first}, []string{first}, "conflict"},
		{[]string{other, first, "another"}, []string{first}, "problem"},
		{[]string{first, second}, []string{first, second}, "conflict"},
	} {
		out := w.step(Input{Answers: []Answer{{Host: "db2", Seq: w.s.Seq, Reached: true, Extended: true,
			Problems: c.problems, Conflicts: c.conflicts}}})
		var told []string
		for _, e := range out.Events {
			what := "problem"
			if _, is := e.Fact.(Conflict); is {
				what = "conflict"
			}
			if strings.HasPrefix(e.Text, "Agent on host 'db2' reports: ") {
				told = append(told, what)
			}
		}
		if got := strings.Join(told, ", "); got != c.told {
			t.Errorf("%v: told %q, want %q", c.problems, got, c.told)
		}
	}
}
