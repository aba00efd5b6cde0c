package cluster

import (
	"strings"
	"testing"
	"time"
)

// TestPowerCut: after a power cut the last writer is waited for, also by a monitor that starts before any agent
// answers.
func TestPowerCut(t *testing.T) {
	for name, c := range map[string]struct {
		found  float64       // uptime of db1 when the monitor starts; 0: its agent does not answer yet
		later  float64       // and when it answers
		after  time.Duration // so long after the start
		writer string        // half a minute after that
	}{
		"it has just booted, and is there":   {3, 3, 0, "db2"},
		"it has just booted, and comes soon": {0, 3, time.Second, "db2"},
		"it comes after the lease":           {0, 30, 20 * time.Second, "db2"},
		"it was not switched off":            {9000, 9000, 0, "db1"},
		"nor this one, which comes later":    {0, 9000, time.Second, "db1"},
	} {
		t.Run(name, func(t *testing.T) {
			top := lab()
			top.Lease, top.WaitForOtherMaster = Lease(3*time.Second), time.Minute
			epoch := Epoch{Number: 4, Holder: "db2", Since: 4, Terms: top.terms()}
			saved := Durable{Hosts: map[string]StoredHost{}, Writer: "db2", Epoch: epoch,
				Successors: epoch.Terms.Candidates}
			verdicts, found := map[string]Verdicts{}, map[string]Found{}
			for _, h := range top.Hosts {
				saved.Hosts[h.Name] = StoredHost{State: Online}
				verdicts[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
				found[h.Name] = Found{Stored: &StoredHost{State: Online}}
			}
			dead := Verdicts{RepThreads: true, RepBacklog: true}
			verdicts["db2"] = dead
			if c.found > 0 {
				found["db1"] = Found{Stored: &StoredHost{State: Online}, Agent: &StoredHost{State: Unknown},
					Uptime: c.found, Epoch: epoch}
			}
			s, out := Start(top, Active, saved, found, verdicts, 0)
			said := out.Events
			for now := time.Duration(0); now < c.after+30*time.Second; now += 250 * time.Millisecond {
				in := Input{Now: now, NetworkUp: true, Verdicts: verdicts}
				in.Answers = []Answer{{Host: "db2", Seq: s.Seq, Text: "no route to host"}}
				if now >= c.after {
					in.Answers = append(in.Answers, Answer{Host: "db1", Seq: s.Seq, Reached: true, OK: true,
						Extended: true,
						Uptime:   c.later + (now - c.after).Seconds(), Epoch: s.Epoch,
						Stamp: Stamp{Boot: "b", At: now}})
				}
				s, out = mustStep(top, s, in)
				said = append(said, out.Events...)
			}
			var text strings.Builder
			for _, e := range said {
				if e.Text != "" {
					text.WriteString(e.Text + "\n")
				}
			}
			var holder string
			for _, a := range s.Addresses {
				if a.Role == top.ActiveMasterRole {
					holder = a.Holder
				}
			}
			if holder != c.writer || strings.Contains(text.String(), "have just booted") != (c.writer == "db2") {
				t.Errorf("the writer is %q, want %q\n%s", holder, c.writer, &text)
			}
		})
	}
}
