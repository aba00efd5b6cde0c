package cluster

import (
	"testing"
	"time"
)

// TestNetworkBack: a monitor that was cut off for longer than a lease does not know who has vouched for the writer in
// that time. Its network is back before it hears the writer's agent again: the writer keeps the role, unless its agent
// stays silent.
func TestNetworkBack(t *testing.T) {
	for name, c := range map[string]struct {
		heard  time.Duration // after the network is back
		writer string        // in the end
	}{
		"it answers a second later": {time.Second, "db2"},
		"it is gone":                {time.Hour, "db1"},
	} {
		t.Run(name, func(t *testing.T) {
			const cut, back, end = 30 * time.Second, 60 * time.Second, 2 * time.Minute
			top := lab()
			top.Lease = Lease(3 * time.Second)
			epoch := Epoch{Number: 4, Holder: "db2", Since: 4, Terms: top.terms()}
			saved := Durable{Hosts: map[string]StoredHost{}, Writer: "db2", Epoch: epoch,
				Successors: epoch.Terms.Candidates}
			found := map[string]Found{}
			for _, h := range top.Hosts {
				saved.Hosts[h.Name] = StoredHost{State: Online}
				found[h.Name] = Found{Stored: &StoredHost{State: Online}}
			}
			good := Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
			dead := Verdicts{RepThreads: true, RepBacklog: true}
			verdicts := map[string]Verdicts{"db1": good, "db2": good, "db3": good}
			s, _ := Start(top, Active, saved, found, verdicts, 0)
			for now := time.Duration(0); now < end; now += 250 * time.Millisecond {
				away := now >= cut && now < back
				in := Input{Now: now, NetworkUp: !away, Verdicts: map[string]Verdicts{"db1": good, "db2": good,
					"db3": good}}
				for _, host := range []string{"db1", "db2"} {
					ans := Answer{Host: host, Seq: s.Seq, Reached: true, OK: true, Extended: true, Uptime: 9000,
						Epoch: s.Epoch,
						Stamp: Stamp{Boot: "b", At: now}, Writable: host == s.ActiveMaster(top)}
					if away || host == "db2" && now >= cut && now < back+c.heard {
						ans = Answer{Host: host, Seq: s.Seq, Text: "no route to host"}
					}
					in.Answers = append(in.Answers, ans)
				}
				if now >= cut && now < back+c.heard {
					in.Verdicts["db2"] = dead
				}
				s, _ = mustStep(top, s, in)
				if holder := s.ActiveMaster(top); now < back+time.Second && holder != "db2" {
					t.Fatalf("after %v the writer is %q", now, holder)
				}
			}
			if holder := s.ActiveMaster(top); holder != c.writer {
				t.Errorf("the writer is %q, want %q", holder, c.writer)
			}
		})
	}
}
