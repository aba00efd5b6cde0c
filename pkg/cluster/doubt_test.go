package cluster

import (
	"net/netip"
	"testing"
	"time"
)

// While the other hosts are being asked whether they reach a host, that host is neither condemned nor given anything.
func TestDoubtChangesNothing(t *testing.T) {
	topology := Topology{Hosts: []Host{{Name: "db1", IP: netip.MustParseAddr("192.0.2.1"), Master: true, Peer: "db2"}},
		AutoSetOnline: time.Second}
	well := Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
	doubt := Verdicts{RepThreads: true, RepBacklog: true, Mute: true, Asking: true}
	dead := doubt
	dead.Asking = false
	for _, tt := range []struct {
		from     HostState
		verdicts Verdicts
		to       HostState
	}{
		{HardOffline, doubt, HardOffline},
		{HardOffline, well, AwaitingRecovery},
		{AwaitingRecovery, doubt, AwaitingRecovery},
		{AwaitingRecovery, dead, HardOffline},
		{AwaitingRecovery, well, Online},
		{Online, doubt, Online},
		{Online, dead, HardOffline},
	} {
		s := State{Mode: Active, NetworkUp: true, Hosts: map[string]HostInfo{"db1": {State: tt.from, AgentUp: true,
			Since: time.Second}}}
		s, _ = mustStep(topology, s, Input{Now: time.Minute, NetworkUp: true,
			Verdicts: map[string]Verdicts{"db1": tt.verdicts}})
		if got := s.Hosts["db1"].State; got != tt.to {
			t.Errorf("%s with %+v: %s, want %s", tt.from, tt.verdicts, got, tt.to)
		}
	}
}
