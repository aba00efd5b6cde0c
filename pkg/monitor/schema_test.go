package monitor

import (
	"context"
	"strings"
	"testing"
	"time"

	"mysql-mmm/docs/api/apitest"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/history"
)

// TestJSONIsAsDescribed: what mmm_control prints with --json fits docs/api/schema, whatever state hosts are in.
func TestJSONIsAsDescribed(t *testing.T) {
	run(t, func(m *Monitor, a *agents) {
		say := func(line string) string { return m.Handle(context.Background(), line) }
		all := func(when string) {
			t.Helper()
			for line, schema := range map[string]string{"show": "show", "mode": "mode", "checks": "checks",
				"checks db1 ping": "checks", "history": "history", "history 1": "history", "explain db1": "explain",
				"explain db2": "explain", "explain db3": "explain"} {
				apitest.Check(t, "schema/"+schema+".json", line+" --json, "+when, []byte(say(line+" --json")))
			}
		}
		all("all is well")
		for _, line := range []string{"move_role writer db2", "set_offline db1", "set_manual", "set_passive",
			"set_ip 10.0.0.100 db2"} {
			say(line)
			all("after " + line)
		}
		say("set_active")
		a.set(a.down, "db3", true)
		say("set_online db1")
		time.Sleep(10 * time.Second)
		all("after an agent has gone")
	})
}

// TestExplanationsAreDescribed: each field that an explanation can have.
func TestExplanationsAreDescribed(t *testing.T) {
	at := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	x := explained{Explanation: cluster.Explanation{Host: "db1", State: cluster.AwaitingRecovery, Age: 1.5,
		Why: []string{"why"}, Needs: []cluster.Need{{What: "what", Met: true}, {What: "more"}}, Or: "or",
		Roles: []string{"role"}},
		Change: &history.Record{ID: 3, At: at, Kind: history.State, Level: "INFO", Host: "db2", Topic: "protected",
			Role: "writer(10.0.0.100)", From: "ONLINE", To: "HARD_OFFLINE", Text: "t", Cause: "c",
			Evidence: []string{"ping: no"}, Planned: true, Seconds: 0.31},
		Checks: []CheckLine{{Host: "db1", Check: "ping", Good: true, LastChange: at, Message: "OK", Failing: true}}}
	apitest.Full(t, x)
	apitest.Check(t, "schema/explain.json", "an explanation", []byte(document(x)))
	x.Explanation = cluster.Explanation{Host: "db1", State: cluster.Online, Why: []string{}, Needs: []cluster.Need{},
		Roles: []string{}}
	x.Change = nil
	text := document(x)
	apitest.Check(t, "schema/explain.json", "a short one", []byte(text))
	if strings.Contains(text, "null") {
		t.Errorf("a list is null: %s", text)
	}
}
