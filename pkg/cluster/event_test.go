package cluster

import (
	"fmt"
	"slices"
	"testing"
)

// TestJourneys: what programs are told of the writer's address, from its first holder on.
func TestJourneys(t *testing.T) {
	for _, c := range []struct {
		name string
		do   []string
		want []string
	}{
		{"nothing", []string{"after 5s"}, nil},
		{"failover", []string{"agent db2 busy", "check db1 mysql bad", "after 3s", "agent db2 up", "after 1s"},
			[]string{"db1: leaving db1 for ", "db2: given to db2, had by db1", "db2: arrived on db2 from db1 after 3s"}},
		{"planned", []string{"move_role writer db2"},
			[]string{"db1: leaving db1 for db2, planned", "db2: given to db2, had by db1, planned",
				"db2: arrived on db2 from db1 after 0s, planned"}},
		{"planned, and back", []string{"agent db2 stuck", "move_role writer db2", "after 11s"},
			[]string{"db1: leaving db1 for db2, planned", "db2: given to db2, had by db1, planned",
				"db2: leaving db2 for db1, planned", "db1: given to db1, had by db2, planned",
				"db1: arrived on db1 from db1 after 10s, planned"}},
		{"planned, and not given up", []string{"agent db1 stuck", "move_role writer db2"},
			[]string{"db1: leaving db1 for db2, planned", "db1: given to db1, had by db1, planned",
				"db1: arrived on db1 from db1 after 0s, planned"}},
		{"its agent is away, and has it still", []string{"agent db1 down", "after 2s", "agent db1 up", "after 1s"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(lab())
			w.do("after 11s")
			first := []string{"db1: given to db1, had by ", "db1: arrived on db1 from  after 0s"}
			if got := w.journeys(); !slices.Equal(got, first) {
				t.Errorf("at the start %q, want %q", got, first)
			}
			for _, line := range c.do {
				w.do(line)
			}
			if got := w.journeys(); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// journeys are the facts about the writer's address since the last call.
func (w *world) journeys() []string {
	var told []string
	for _, e := range w.events {
		var role RoleIP
		var text string
		var planned bool
		switch f := e.Fact.(type) {
		case RoleLeaving:
			role, text, planned = f.Role, fmt.Sprintf("leaving %s for %s", f.From, f.To), f.Planned
		case RoleGiven:
			role, text, planned = f.Role, fmt.Sprintf("given to %s, had by %s", f.To, f.From), f.Planned
		case RoleArrived:
			role, text, planned = f.Role, fmt.Sprintf("arrived on %s from %s after %v", f.To, f.From, f.Took), f.Planned
		}
		if role.Role != "writer" {
			continue
		}
		if planned {
			text += ", planned"
		}
		told = append(told, e.Host+": "+text)
	}
	w.events = nil
	return told
}
