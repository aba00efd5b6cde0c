package cluster

import (
	"testing"
	"time"
)

// TestMonitorOfOneMachine: a monitor that knows nothing, while one of the two masters is off, makes the other one the writer: not before
// the lease of whoever may have been it is over, and without an operator (docs/two-nodes.md).
func TestMonitorOfOneMachine(t *testing.T) {
	topology := lab()
	topology.Lease, topology.AutoSetOnline = Lease(6*time.Second), 0
	now := time.Hour
	good := map[string]Verdicts{"db2": {Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}}
	epoch := Epoch{Number: 5, Holder: "db2", Since: 5}
	found := map[string]Found{"db2": {Agent: &StoredHost{State: Online}, System: &SystemFound{}, Epoch: epoch}}
	s, _ := Start(topology, Active, Durable{}, found, good, now)
	for end := now + time.Minute; now < end && s.ActiveMaster(topology) == ""; now += 100 * time.Millisecond {
		s, _ = Step(topology, s, Input{Now: now, NetworkUp: true, Verdicts: good, Answers: []Answer{
			{Host: "db1", Seq: s.Seq, Text: "no route to host"},
			{Host: "db2", Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 1000, Epoch: s.Epoch, Stamp: Stamp{Boot: "b", At: now}},
		}})
	}
	waited := now - time.Hour
	if w := s.ActiveMaster(topology); w != "db2" || waited < topology.Lease.Over() || waited > topology.Lease.Over()+time.Second {
		t.Errorf("the writer is %q after %v, want db2 after %v\n%s", w, waited, topology.Lease.Over(), Show(topology, s))
	}
	if s.Epoch.Number <= epoch.Number {
		t.Errorf("epoch %s, which is not above that of the monitor before", s.Epoch)
	}
}
