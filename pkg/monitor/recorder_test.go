package monitor

import (
	"context"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
)

// TestTold: which events of the brain programs are told of, in which words, and how the history keeps them. It has each
// fact that there is.
func TestTold(t *testing.T) {
	writer := cluster.RoleIP{Role: "writer", IP: netip.MustParseAddr("10.0.0.100")}
	reader := cluster.RoleIP{Role: "reader", IP: netip.MustParseAddr("fd00::1")}
	arrived := func(role cluster.RoleIP, from, to string, planned bool, took time.Duration) cluster.Event {
		return cluster.Event{Host: to, Fact: cluster.RoleArrived{Role: role, From: from, To: to, Planned: planned,
			Took: took}}
	}
	without := facts(t)
	for _, c := range []struct {
		name  string
		event cluster.Event
		want  *event.Event // nil: nobody is told
		kept  history.Record
	}{
		{"a line", cluster.Event{Level: cluster.Warn, Host: "db1", Text: " x\n"},
			&event.Event{Name: event.Note, Level: "WARN", Host: "db1", Text: "x"},
			history.Record{Kind: history.Note, Level: "WARN", Host: "db1", Text: "x"}},
		{"a detail", cluster.Event{Text: "    Removed", Fact: cluster.Detail{}}, nil, history.Record{}},
		{"a state", cluster.Event{Level: cluster.Fatal, Host: "db1", Text: "down",
			Fact: cluster.StateChanged{From: cluster.Online, To: cluster.HardOffline}},
			&event.Event{Name: event.State, Level: "FATAL", Host: "db1", From: "ONLINE", To: "HARD_OFFLINE", Text: "down",
				Evidence: []string{"mysql: ERROR on db1"}},
			history.Record{Kind: history.State, Level: "FATAL", Host: "db1", From: "ONLINE", To: "HARD_OFFLINE",
				Text: "down", Evidence: []string{"mysql: ERROR on db1"}}},
		{"a good state", cluster.Event{Level: cluster.Fatal, Host: "db1", Text: "up",
			Fact: cluster.StateChanged{From: cluster.AwaitingRecovery, To: cluster.Online}},
			&event.Event{Name: event.State, Level: "FATAL", Host: "db1", From: "AWAITING_RECOVERY", To: "ONLINE",
				Text: "up"},
			history.Record{Kind: history.State, Level: "FATAL", Host: "db1", From: "AWAITING_RECOVERY", To: "ONLINE",
				Text: "up"}},
		{"a conflict", cluster.Event{Level: cluster.Error, Text: "twice", Fact: cluster.Conflict{}},
			&event.Event{Name: event.Conflict, Level: "ERROR", Text: "twice"},
			history.Record{Kind: history.Note, Topic: "conflict", Level: "ERROR", Text: "twice"}},
		{"no lease", cluster.Event{Level: cluster.Warn, Host: "db1", Text: "classic", Fact: cluster.NoLease{}},
			&event.Event{Name: event.Unprotected, Level: "WARN", Host: "db1", Text: "classic"},
			history.Record{Kind: history.Note, Topic: "unprotected", Level: "WARN", Host: "db1", Text: "classic"}},
		{"unprotected", cluster.Event{Text: "alone", Fact: cluster.NoSuccessor{}},
			&event.Event{Name: event.Unprotected, Level: "INFO", Text: "alone"},
			history.Record{Kind: history.Note, Topic: "unprotected", Level: "INFO", Text: "alone"}},
		{"protected", cluster.Event{Text: "not alone", Fact: cluster.Successor{}},
			&event.Event{Name: event.Protected, Level: "INFO", Text: "not alone"},
			history.Record{Kind: history.Note, Topic: "protected", Level: "INFO", Text: "not alone"}},
		{"leaving", cluster.Event{Host: "db1", Fact: cluster.RoleLeaving{Role: writer, From: "db1"}},
			&event.Event{Name: event.Role, Level: "INFO", Host: "db1", Role: "writer", IP: "10.0.0.100", From: "db1",
				Text: "Role 'writer(10.0.0.100)' is leaving 'db1'"},
			history.Record{Kind: history.Role, Level: "INFO", Host: "db1", Role: "writer(10.0.0.100)", From: "db1",
				Text: "Role 'writer(10.0.0.100)' is leaving 'db1'"}},
		{"leaving for a host", cluster.Event{Host: "db1",
			Fact: cluster.RoleLeaving{Role: reader, From: "db1", To: "db2", Planned: true}},
			&event.Event{Name: event.Role, Level: "INFO", Host: "db1", Role: "reader", IP: "fd00::1", From: "db1",
				To: "db2", Planned: true, Text: "Role 'reader(fd00::1)' is leaving 'db1' for 'db2'"},
			history.Record{Kind: history.Role, Level: "INFO", Host: "db1", Role: "reader(fd00::1)", From: "db1",
				To: "db2", Planned: true, Text: "Role 'reader(fd00::1)' is leaving 'db1' for 'db2'"}},
		{"given", cluster.Event{Host: "db2", Fact: cluster.RoleGiven{Role: writer, From: "db1", To: "db2"}},
			&event.Event{Name: event.BeforePromotion, Level: "INFO", Host: "db2", Role: "writer", IP: "10.0.0.100",
				From: "db1", To: "db2", Text: "Role 'writer(10.0.0.100)' is given to 'db2'"}, history.Record{}},
		{"another role given", cluster.Event{Host: "db2", Fact: cluster.RoleGiven{Role: reader, To: "db2"}}, nil,
			history.Record{}},
		{"the first", arrived(writer, "", "db1", false, time.Second),
			&event.Event{Name: event.AfterPromotion, Level: "INFO", Host: "db1", Role: "writer", IP: "10.0.0.100",
				To: "db1", Seconds: 1, Text: "Role 'writer(10.0.0.100)' is on 'db1'"},
			history.Record{Kind: history.Role, Level: "INFO", Host: "db1", Role: "writer(10.0.0.100)", To: "db1",
				Seconds: 1, Text: "Role 'writer(10.0.0.100)' is on 'db1'"}},
		{"arrived", arrived(reader, "db1", "db2", true, 2*time.Second),
			&event.Event{Name: event.Role, Level: "INFO", Host: "db2", Role: "reader", IP: "fd00::1", From: "db1",
				To: "db2", Planned: true, Seconds: 2,
				Text: "Role 'reader(fd00::1)' is on 'db2', 2.00 seconds after it began to leave 'db1'"},
			history.Record{Kind: history.Role, Level: "INFO", Host: "db2", Role: "reader(fd00::1)", From: "db1",
				To: "db2", Planned: true, Seconds: 2,
				Text: "Role 'reader(fd00::1)' is on 'db2', 2.00 seconds after it began to leave 'db1'"}},
		{"back", arrived(writer, "db1", "db1", true, 3*time.Second),
			&event.Event{Name: event.AfterPromotion, Level: "INFO", Host: "db1", Role: "writer", IP: "10.0.0.100",
				From: "db1", To: "db1", Planned: true, Seconds: 3,
				Text: "Role 'writer(10.0.0.100)' is on 'db1' again, after 3.00 seconds"},
			history.Record{Kind: history.Role, Level: "INFO", Host: "db1", Role: "writer(10.0.0.100)", From: "db1",
				To: "db1", Planned: true, Seconds: 3,
				Text: "Role 'writer(10.0.0.100)' is on 'db1' again, after 3.00 seconds"}},
	} {
		if c.event.Fact != nil {
			delete(without, reflect.TypeOf(c.event.Fact).Name())
		}
		t.Run(c.name, func(t *testing.T) {
			got, ok := told(c.event, "writer", func(host string) []string { return []string{"mysql: ERROR on " + host} })
			if ok != (c.want != nil) || ok && !reflect.DeepEqual(got, *c.want) {
				t.Errorf("%v %+v, want %+v", ok, got, c.want)
			}
			if c.kept.Kind == "" {
				return
			}
			if got := recordOf(got); !reflect.DeepEqual(got, c.kept) {
				t.Errorf("kept %+v, want %+v", got, c.kept)
			}
		})
	}
	for name := range without {
		t.Errorf("nobody says how programs are told of cluster.%s", name)
	}
}

// facts are the names of the types that are a cluster.Fact.
func facts(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	files, err := filepath.Glob("../cluster/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == "logged" && f.Recv != nil {
				names[f.Recv.List[0].Type.(*ast.Ident).Name] = true
			}
		}
	}
	if !names["StateChanged"] {
		t.Fatalf("the facts are not found: %v", names)
	}
	return names
}

// The cause for the loss of an address is the change of the host's state, or else the last decision of the step.
func TestCause(t *testing.T) {
	died := cluster.Event{Host: "db1", Text: "down",
		Fact: cluster.StateChanged{From: cluster.Online, To: cluster.HardOffline}}
	detail, leaving := cluster.Event{Text: "detail", Fact: cluster.Detail{}}, cluster.Event{Fact: cluster.RoleLeaving{}}
	for _, c := range []struct {
		events []cluster.Event
		want   string
	}{
		{nil, ""},
		{[]cluster.Event{{Text: "other"}, died, {Text: "another"}}, "down"},
		{[]cluster.Event{{Text: "Admin moved", Host: "db2"}, detail, leaving}, "Admin moved"},
	} {
		if got := causeFor("db1", c.events); got != c.want {
			t.Errorf("%+v: %q, want %q", c.events, got, c.want)
		}
	}
}

// A move is in the history and in the explanations, as text and as JSON.
func TestHistoryOfAMove(t *testing.T) {
	run(t, func(m *Monitor, _ *agents) {
		say := func(line string) string { return m.Handle(context.Background(), line) }
		say("move_role writer db2")
		var records []history.Record
		if err := json.Unmarshal([]byte(say("history 3 --json")), &records); err != nil || len(records) != 3 {
			t.Fatalf("%v: %s", err, say("history"))
		}
		if r := records[2]; r.Kind != history.Role || r.From != "db1" || r.To != "db2" || !r.Planned ||
			r.Role != "writer(10.0.0.100)" {
			t.Errorf("%+v", r)
		}
		if r := records[1]; r.Text != "Role 'writer(10.0.0.100)' is leaving 'db1' for 'db2'" ||
			r.Cause != "Admin moved role 'writer' from 'db1' to 'db2'" {
			t.Errorf("%+v", r)
		}
		if text := say("history 1"); strings.Count(text, "\n") != 1 ||
			!strings.Contains(text, "INFO   Role 'writer(10.0.0.100)' is on 'db2', ") {
			t.Error(text)
		}
		say("set_offline db3")
		text := say("explain db3")
		for _, part := range []string{"db3 is ADMIN_OFFLINE", "mmm_control set_online db3", "How it came to be:\n",
			"Admin changed state of 'db3' from ONLINE to ADMIN_OFFLINE", "Its checks now:\n    ping         OK"} {
			if !strings.Contains(text, part) {
				t.Errorf("lacks %q:\n%s", part, text)
			}
		}
		var x explained
		if err := json.Unmarshal([]byte(say("explain db3 --json")), &x); err != nil || x.Change == nil ||
			x.Change.To != "ADMIN_OFFLINE" || len(x.Checks) != 4 || x.Host != "db3" {
			t.Errorf("%v, %+v", err, x)
		}
	})
}
