package cluster

import (
	"testing"
	"time"
)

// TestCondemnedStaysSo: a host whose port refuses, and whose agent says that the server's process is gone, is condemned
// at once, within trap_period. It does not count as alive again because its agent is busy, or no longer says that the
// process is gone.
func TestCondemnedStaysSo(t *testing.T) {
	top := lab()
	top.FastFailover = true
	found := map[string]Found{}
	saved := Durable{Hosts: map[string]StoredHost{}, Writer: "db1"}
	good := Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
	refused := good
	refused.Refused = true
	for _, h := range top.Hosts {
		saved.Hosts[h.Name] = StoredHost{State: Online}
		found[h.Name] = Found{Stored: &StoredHost{State: Online}}
	}
	verdicts := map[string]Verdicts{"db1": good, "db2": good, "db3": good}
	s, _ := Start(top, Active, saved, found, verdicts, 0)
	for i, c := range []struct {
		verdict    Verdicts
		gone, busy bool
		want       HostState
	}{
		{good, false, false, Online},
		{refused, false, false, Online},
		{refused, true, false, HardOffline},
		{refused, false, true, HardOffline},
		{refused, false, false, HardOffline},
		{good, false, false, Online},
	} {
		now := time.Duration(i+1) * 250 * time.Millisecond
		in := Input{Now: now, NetworkUp: true, Verdicts: map[string]Verdicts{"db1": c.verdict, "db2": good,
			"db3": good}}
		in.Answers = []Answer{{Host: "db1", Seq: s.Seq, Reached: true, OK: !c.busy, Busy: c.busy,
			Extended: true, Uptime: 9000, ServerGone: c.gone}}
		s, _ = mustStep(top, s, in)
		if got := s.Hosts["db1"].State; got != c.want {
			t.Errorf("step %d: db1 is %v, want %v", i, got, c.want)
		}
	}
}
