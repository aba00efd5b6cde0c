package cluster

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestDiagram: the diagram of docs/concepts.md has every change of a host's state that the rules can make, and no
// others.
func TestDiagram(t *testing.T) {
	text, err := os.ReadFile("../../docs/concepts.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```mermaid\nstateDiagram-v2\n")
	diagram, _, closed := strings.Cut(rest, "\n```\n")
	if !found || !closed {
		t.Fatal("docs/concepts.md has no diagram of states")
	}
	drawn := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ *(\S+) --> ([A-Z_]+) : \S`).FindAllStringSubmatch(diagram, -1) {
		drawn[m[1]+" --> "+m[2]] = true
	}
	made := transitions()
	made["[*] --> "+string(firstState(Found{}))] = true
	for _, edge := range slices.Sorted(maps.Keys(made)) {
		if !drawn[edge] {
			t.Errorf("docs/concepts.md lacks %s", edge)
		}
	}
	for _, edge := range slices.Sorted(maps.Keys(drawn)) {
		if !made[edge] {
			t.Errorf("docs/concepts.md draws %s, which no rule makes", edge)
		}
	}
	if lines := strings.Count(diagram, "-->"); lines != len(drawn) {
		t.Errorf("%d lines have an arrow, %d of them can be read", lines, len(drawn))
	}
}

// transitions are the changes of state that one step can make of a master and of a slave, whatever their states and
// circumstances are.
func transitions() map[string]bool {
	w := newWorld(lab())
	w.do("after 11s")
	in := Input{Now: w.now + time.Hour, NetworkUp: true}
	hosts := slices.Collect(maps.Keys(w.s.Hosts))
	made := map[string]bool{}
	for _, host := range []string{"db1", "db3"} {
		for s, good := range circumstances(w.s, host) {
			in.Verdicts = map[string]Verdicts{}
			for _, name := range hosts {
				in.Verdicts[name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
			}
			in.Verdicts[host] = good
			for _, line := range []string{"set_online " + host, "set_offline " + host, "move_role --force writer " +
				host, ""} {
				in.Command = nil
				if line != "" {
					in.Command = &Command{Words: strings.Fields(line), AgentUp: map[string]bool{host: true}}
				}
				_, out := Step(w.t, s, in)
				for _, e := range out.Events {
					if c, ok := e.Fact.(StateChanged); ok {
						made[string(c.From)+" --> "+string(c.To)] = true
					}
				}
			}
		}
	}
	return made
}

// circumstances varies what the rules look at: the host's state, checks, history and log, the state of its peer, the
// writer, and the mode.
func circumstances(base State, host string) func(func(State, Verdicts) bool) {
	states := []HostState{Online, AdminOffline, HardOffline, AwaitingRecovery, ReplicationFail, ReplicationDelay}
	audits := []Audit{{}, {At: "bin.000001:100"}, {At: "bin.000001:100", Done: true, Beyond: 1,
		Finding: "it has 1 transaction that nobody else has"}}
	return func(yield func(State, Verdicts) bool) {
		for _, state := range states {
			for _, a := range audits {
				for _, peer := range []HostState{Online, HardOffline} {
					for _, writer := range []string{"", "db1", "db2"} {
						for bits := range 1 << 6 {
							s, on := base.clone(), func(bit int) bool { return bits>>bit&1 == 1 }
							good := Verdicts{Ping: true, MySQL: on(0), RepThreads: on(1), RepBacklog: on(2)}
							h := s.Hosts[host]
							h.State, h.Since, h.Good, h.Audit, h.Flapping = state, base.stepped, good, a, on(3)
							if !on(4) {
								h.OnlineUptime = 0
							}
							s.Hosts[host] = h
							p := s.Hosts["db2"]
							p.State = peer
							s.Hosts["db2"] = p
							if on(5) {
								s.Mode = Manual
							}
							for i := range s.Addresses {
								if s.Addresses[i].Role == "writer" {
									s.Addresses[i].Holder = writer
								}
							}
							if !yield(s, good) {
								return
							}
						}
					}
				}
			}
		}
	}
}
