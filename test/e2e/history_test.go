package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"mysql-mmm/pkg/history"
	"mysql-mmm/test/lab"
)

// TestHistory: after a failover `history` and `explain` say what happened and why, and `history` does so after a
// restart of the monitor too.
func TestHistory(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	b.must(l.Between(b.Node("db1").Server.Kill))
	b.must(l.WaitServer(b.ctx, 2))
	b.until("db1 to be offline", func(show string) bool {
		return strings.Contains(show, "db1(10.77.0.11) master/HARD_OFFLINE. Roles: \n")
	})
	says := func(words string, texts ...string) {
		t.Helper()
		out, status := b.control(words)
		for _, text := range texts {
			if status != 0 || !strings.Contains(out, text) {
				t.Errorf("mmm_control %s: exit %d, no %q in\n%s", words, status, text, out)
			}
		}
	}
	tells := func() {
		t.Helper()
		says("history", "State of host 'db1' changed from ONLINE to HARD_OFFLINE", "connection refused",
			"Role 'writer(10.77.0.100)' is leaving 'db1'", "Role 'writer(10.77.0.100)' is on 'db2', ")
		out, _ := b.control("history 500 --json")
		var records []history.Record
		if err := json.Unmarshal([]byte(out), &records); err != nil {
			t.Fatal(err)
		}
		arrived, last := 0, uint64(0)
		for _, r := range records {
			if r.ID <= last {
				t.Errorf("record %d after %d", r.ID, last)
			}
			last = r.ID
			if r.Kind == history.Role && r.From == "db1" && r.To == "db2" && r.Host == "db2" &&
				strings.HasPrefix(r.Role, "writer(") {
				arrived++
				if r.Planned || r.Seconds <= 0 || r.Seconds > 30 {
					t.Errorf("the failover: %+v", r)
				}
			}
		}
		if arrived != 1 {
			t.Errorf("%d failovers in\n%s", arrived, out)
		}
	}
	tells()
	says("explain db1", "db1 is HARD_OFFLINE", "connection refused")
	says("explain db2", "db2 is ONLINE", "writer(10.77.0.100) is here")
	b.must(b.Monitor.Kill())
	b.must(b.Monitor.Start())
	b.until("the monitor to be back", func(show string) bool {
		return strings.Contains(show,
			"db2(10.77.0.12) master/ONLINE")
	})
	tells()
	if b.rejoin("db1", l) {
		b.balance(l)
	}
	says("explain db1", "db1 is ONLINE")
}
