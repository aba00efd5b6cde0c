package cluster

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestMonitorOfOneMachine: a monitor that knows nothing, while one of the two masters is off, makes the other one the
// writer. It does so without an operator, and not before the lease of any other host that may have been the writer is
// over (docs/two-nodes.md).
func TestMonitorOfOneMachine(t *testing.T) {
	topology := lab()
	topology.Lease, topology.AutoSetOnline = Lease(6*time.Second), 0
	now := time.Hour
	good := map[string]Verdicts{"db2": {Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}}
	epoch := Epoch{Number: 5, Holder: "db2", Since: 5}
	found := map[string]Found{"db2": {Agent: &StoredHost{State: Online}, System: &SystemFound{}, Epoch: epoch}}
	s, _ := Start(topology, Active, Durable{}, found, good, now)
	for end := now + time.Minute; now < end && s.ActiveMaster(topology) == ""; now += 100 * time.Millisecond {
		s, _ = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: good, Answers: []Answer{
			{Host: "db1", Seq: s.Seq, Text: "no route to host"},
			{Host: "db2", Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 1000, Epoch: s.Epoch,
				Stamp: Stamp{Boot: "b", At: now}},
		}})
	}
	waited := now - time.Hour
	if w := s.ActiveMaster(topology); w != "db2" || waited < topology.Lease.Over() || waited > topology.Lease.Over()+
		time.Second {
		t.Errorf("the writer is %q after %v, want db2 after %v\n%s", w, waited, topology.Lease.Over(),
			Show(topology, s))
	}
	if s.Epoch.Number <= epoch.Number {
		t.Errorf("epoch %s, which is not above that of the monitor before", s.Epoch)
	}
}

// TestNothingIsKnown: a monitor has no state, and only hosts answer that know of no decision either: their states and
// the monitor's may have been lost together. A host that does not answer may then be the writer under an earlier lease,
// longer than the one that is configured now, and is waited for. Once every host has said that it is not the writer,
// nobody is.
func TestNothingIsKnown(t *testing.T) {
	for name, c := range map[string]struct {
		lease Lease
		heard time.Duration // when db1 answers too; 0: never
		want  time.Duration
	}{
		"nobody else answers":           {Lease(time.Second), 0, Lease(time.Minute).Over()},
		"a longer lease":                {Lease(2 * time.Minute), 0, Lease(2 * time.Minute).Over()},
		"the other one answers":         {Lease(time.Second), 20 * time.Second, 20 * time.Second},
		"no leases, as in MMM 2.2":      {0, 0, 0},
		"the other one answers at once": {Lease(time.Second), 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			topology := lab()
			topology.Lease, topology.AutoSetOnline = c.lease, time.Millisecond
			now := time.Hour
			good := map[string]Verdicts{"db2": {Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}}
			ignorant := Found{Agent: &StoredHost{State: Unknown}, System: &SystemFound{}}
			found := map[string]Found{"db2": ignorant}
			if c.heard == 1 {
				found["db1"] = ignorant
			}
			s, out := Start(topology, Active, Durable{}, found, good, now)
			began, said := now, fmt.Sprint(out.Events)
			for ; now < began+5*time.Minute && s.ActiveMaster(topology) == ""; now += 100 * time.Millisecond {
				answers := []Answer{{Host: "db2", Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 1000,
					Epoch: s.Epoch, Stamp: Stamp{Boot: "b", At: now}}}
				if c.heard > 0 && now >= began+c.heard {
					answers = append(answers, Answer{Host: "db1", Seq: s.Seq, Reached: true, OK: true, Extended: true,
						Uptime: 1000, Stamp: Stamp{Boot: "b", At: now}})
				}
				s, _ = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: good, Answers: answers})
				if why, none := s.Exposed(topology); c.want > now-began+time.Second && now > began &&
					(!none || !strings.Contains(why, "and 'db1' does not answer")) {
					t.Fatalf("after %v: %q", now-began, why)
				}
			}
			if waited := now - began; s.ActiveMaster(topology) != "db2" || waited < c.want || waited > c.want+time.Second {
				t.Errorf("the writer is %q after %v, want db2 after %v\n%s", s.ActiveMaster(topology), waited, c.want,
					Show(topology, s))
			}
			if told := strings.Contains(said, "no earlier decision"); told != (c.want > 0) {
				t.Errorf("it said %s", said)
			}
		})
	}
}

// TestLostStateAndSilentHosts: a monitor that has lost its state hears one host of three. That host may become the
// writer after a lease only if the writer, whoever that is, has to ask it. By the epoch that this host knows it may not
// be among those who are asked: its secret and the monitor's are new, say, and the two other hosts vouch for each other
// with the old one.
func TestLostStateAndSilentHosts(t *testing.T) {
	topology := lab()
	topology.Lease, topology.AutoSetOnline = Lease(2*time.Second), time.Second
	topology.Hosts[2].Master = true
	topology.Roles[1].Hosts = []string{"db1", "db2", "db3"}
	well := Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
	for name, c := range map[string]struct {
		known  string // candidates by the epoch that db1 knows
		back   string // host that answers after ten minutes; "": nobody
		writer string // before anybody is back
		after  bool   // somebody is the writer in the end
	}{
		"it is asked":                              {known: "db1,db2,db3", writer: "db1", after: true},
		"it knows of no terms":                     {writer: "db1", after: true},
		"it is not asked":                          {known: "db2,db3"},
		"it is not asked, one who is comes back":   {known: "db2,db3", back: "db3", after: true},
		"it is not asked, nor is one who is known": {known: "db8,db9"},
		"it is not asked, and others are unknown":  {known: "db8,db9", back: "db3"},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Hour
			epoch := Epoch{Number: 4, Since: 4, Terms: Terms{Candidates: c.known, Lease: topology.Lease,
				Longest: topology.Lease}}
			if c.known == "" {
				epoch.Terms = Terms{}
			}
			verdicts := map[string]Verdicts{"db1": well, "db2": well, "db3": well}
			found := map[string]Found{"db1": {Agent: &StoredHost{State: Online}, System: &SystemFound{}, Epoch: epoch}}
			s, _ := Start(topology, Active, Durable{}, found, verdicts, now)
			answer := func(host string) Answer {
				return Answer{Host: host, Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 1000,
					Epoch: s.Epoch,
					Stamp: Stamp{Boot: host, At: now}}
			}
			run := func(back string) {
				for end := now + 10*time.Minute; now < end &&
					s.ActiveMaster(topology) == ""; now += 100 * time.Millisecond {
					answers := []Answer{answer("db1")}
					for _, host := range []string{"db2", "db3"} {
						if host == back {
							answers = append(answers, answer(host))
						} else {
							answers = append(answers, Answer{Host: host, Seq: s.Seq,
								Text: "an answer without a valid signature"})
						}
					}
					s, _ = mustStep(topology, s, Input{Now: now, NetworkUp: true, Verdicts: verdicts, Answers: answers})
				}
			}
			run("")
			if w := s.ActiveMaster(topology); w != c.writer {
				t.Errorf("the writer is %q, want %q", w, c.writer)
			}
			if why, none := s.Exposed(topology); none != (c.writer == "") || none &&
				!strings.Contains(why, "could say that nobody has it") {
				t.Errorf("it says %q", why)
			}
			run(c.back)
			if w := s.ActiveMaster(topology); (w != "") != c.after {
				t.Errorf("in the end the writer is %q", w)
			}
		})
	}
}
