package monitor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/history"
)

var writerIP = cluster.RoleIP{Role: "writer", IP: netip.MustParseAddr("10.0.0.100")}

func TestTravels(t *testing.T) {
	at := func(holder, next string, confirmed bool) cluster.Address {
		a := cluster.Address{RoleIP: writerIP, Holder: holder, Next: next, Confirmed: confirmed}
		if holder == "" {
			a.Leaving = "somebody"
		}
		return a
	}
	died := cluster.Event{Host: "db1", From: cluster.Online, To: cluster.HardOffline,
		Text: "State of host 'db1' changed"}
	for _, c := range []struct {
		name   string
		states []cluster.Address
		events []cluster.Event // of every step
		want   []string
	}{
		{"nothing", []cluster.Address{at("db1", "", true), at("db1", "", true)}, nil, nil},
		{"as found at the start", []cluster.Address{at("db1", "", false), at("db1", "", true)}, nil, nil},
		{"placed for the first time", []cluster.Address{at("", "", false), at("db1", "", false), at("db1", "", true)},
			nil, []string{"Role 'writer(10.0.0.100)' is on 'db1'||db1|false|1"}},
		{"failover", []cluster.Address{at("db1", "", true), at("", "", false), at("db2", "", false),
			at("db2", "", true)}, []cluster.Event{{Text: "other"}, died, {Text: "detail", Detail: true}},
			[]string{"Role 'writer(10.0.0.100)' is leaving 'db1'|db1||false|0|State of host 'db1' changed",
				"Role 'writer(10.0.0.100)' is on 'db2', 2.00 seconds after it began to leave 'db1'|db1|db2|false|2"}},
		{"planned", []cluster.Address{at("db1", "", true), at("", "db2", false), at("db2", "", true)},
			[]cluster.Event{{Text: "Admin moved", Host: "db2"}},
			[]string{"Role 'writer(10.0.0.100)' is leaving 'db1' for 'db2'|db1|db2|true|0|Admin moved",
				"Role 'writer(10.0.0.100)' is on 'db2', 1.00 seconds after it began to leave 'db1'|db1|db2|true|1"}},
		{"planned and back", []cluster.Address{at("db1", "", true), at("", "db2", false), at("db2", "", false),
			at("", "db1", false), at("db1", "", true)}, nil,
			[]string{"Role 'writer(10.0.0.100)' is leaving 'db1' for 'db2'|db1|db2|true|0",
				"Role 'writer(10.0.0.100)' is leaving 'db2' for 'db1'|db2|db1|true|0",
				"Role 'writer(10.0.0.100)' is on 'db1' again, after 3.00 seconds|db1|db1|true|3"}},
		{"its agent forgets it for a while", []cluster.Address{at("db1", "", true), at("db1", "", false),
			at("db1", "", true)}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			underway := map[cluster.RoleIP]transit{}
			var got []string
			for i := 1; i < len(c.states); i++ {
				for _, r := range transitRecords(underway, c.states[i-1:i], c.states[i:i+1], c.events,
					time.Duration(i)*time.Second) {
					text := fmt.Sprintf("%s|%s|%s|%v|%.0f", r.Text, r.From, r.To, r.Planned, r.Seconds)
					if r.Cause != "" {
						text += "|" + r.Cause
					}
					got = append(got, text)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
			if len(underway) > 0 {
				t.Errorf("still under way: %v", underway)
			}
		})
	}
}

func TestEventRecords(t *testing.T) {
	evidence := func(host string) []string { return []string{"mysql: ERROR on " + host} }
	got := eventRecords([]cluster.Event{
		{Level: cluster.Fatal, Host: "db1", From: cluster.Online, To: cluster.HardOffline, Text: "down"},
		{Level: cluster.Info, Host: "db1", Text: "    Removed", Detail: true},
		{Level: cluster.Fatal, Host: "db2", From: cluster.AwaitingRecovery, To: cluster.Online, Text: "up"},
		{Level: cluster.Warn, Text: "warned"},
	}, evidence)
	want := []history.Record{
		{Kind: history.State, Level: "FATAL", Host: "db1", From: "ONLINE", To: "HARD_OFFLINE", Text: "down",
			Evidence: []string{"mysql: ERROR on db1"}},
		{Kind: history.State, Level: "FATAL", Host: "db2", From: "AWAITING_RECOVERY", To: "ONLINE", Text: "up"},
		{Kind: history.Note, Level: "WARN", Text: "warned"},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%+v", got)
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
