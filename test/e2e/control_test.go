package e2e

import (
	"encoding/json"
	"strings"
	"testing"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/test/lab"
)

// step is one command of mmm_control, what it must print, and its exit status. Where want ends with … only the
// beginning is compared.
type step struct {
	words  string
	want   string
	status int
}

// steps runs commands one after the other, and compares what they print.
func (b *bench) steps(steps []step) {
	b.Helper()
	for _, s := range steps {
		out, status := b.control(s.words)
		prefix, isPrefix := strings.CutSuffix(s.want, "…")
		if status != s.status || isPrefix && !strings.HasPrefix(out, prefix) || !isPrefix && out != s.want+"\n" {
			b.Errorf("mmm_control %s: exit %d, want %d; prints\n%q\nwant\n%q", s.words, status, s.status, out, s.want)
		}
	}
}

// TestControl: the commands of mmm_control with their errors, on a real cluster.
func TestControl(t *testing.T) {
	b := start(t, lab.Options{})
	b.steps([]step{
		{"ping", "OK: Pinged successfully!", 0},
		{"mode", "ACTIVE", 0},
		{"help", cluster.Help, 0},
		{"bogus", cluster.Invalid("bogus"), 2},
		{"show extra", cluster.Invalid("show extra"), 2},
		{"checks a b c", cluster.Invalid("checks a b c"), 2},
		{"checks bogus", "ERROR: Unknown host name 'bogus'!", 2},
		{"checks bogus bogus", "ERROR: Unknown check 'bogus'!", 2},
		{"checks db1 ping", "db1  ping  [last change: …", 0},
		{"set_online bogus", "ERROR: Unknown host name 'bogus'!", 2},
		{"set_online db1", "OK: This host is already ONLINE. Skipping command.", 0},
		{"set_offline bogus", "ERROR: Unknown host name 'bogus'!", 2},
		{"move_role bogus db1", "ERROR: Unknown role name 'bogus'!", 2},
		{"move_role writer bogus", "ERROR: Unknown host name 'bogus'!", 2},
		{"move_role writer db3", "ERROR: Host 'db3' can't handle role 'writer'. Only following hosts could: db1, db2",
			2},
		{"move_role writer db1", "OK: Role is on 'db1' already. Skipping command.", 0},
		{"move_role --force writer db2", "ERROR: Can't force move of role to host with state ONLINE.", 2},
		{"move_role --force reader db2", "ERROR: move_role --forced may be used for the active master role only!", 2},
		{"move_role --bogus writer db2", cluster.Invalid("move_role --bogus writer db2"), 2},
		{"set_ip 10.77.0.100 db2", "ERROR: This command is only allowed in passive mode", 2},
		{"set_active", "OK: Already in active mode.", 0},
		{"set_offline db3",
			"OK: State of 'db3' changed to ADMIN_OFFLINE. Now you can wait some time and check all roles!", 0},
		{"set_offline db3", "OK: This host is already ADMIN_OFFLINE. Skipping command.", 0},
		{"move_role writer db3", "ERROR: Can't move role to host with state ADMIN_OFFLINE.", 2},
	})
	b.state("db3", "ADMIN_OFFLINE")
	b.must(lab.Wait(b.ctx, "replication of db3 to stop", func() (bool, string) {
		r, err := b.Node("db3").Server.Replica(b.ctx)
		return err == nil && r["Slave_SQL_Running"] == "No", r["Slave_SQL_Running"]
	}))
	b.steps([]step{{"set_online db3",
		"OK: State of 'db3' changed to ONLINE. Now you can wait some time and check its new roles!", 0}})
	b.must(b.WaitWhole(b.ctx))
	b.follows("db3", "db1")

	checks, _ := b.control("checks")
	lines := strings.Split(strings.TrimRight(checks, "\n"), "\n")
	if len(lines) != 12 || !strings.HasPrefix(lines[0], "db1  ping         [last change: ") ||
		!strings.HasPrefix(lines[11], "db3  rep_backlog  [last change: ") {
		t.Errorf("checks:\n%s", checks)
	}
	var view cluster.View
	doc, _ := b.control("show --json")
	if err := json.Unmarshal([]byte(doc), &view); err != nil || len(view.Hosts) != 3 || len(view.Roles) != 4 {
		t.Errorf("show --json: %v\n%s", err, doc)
	}

	b.must(b.Node("db2").Agent.Kill())
	b.until("the agent of db2 to be missed", func(show string) bool {
		return strings.HasPrefix(show, "# Warning: agent on host db2 is not reachable\n")
	})
	b.steps([]step{
		{"set_offline db2", "ERROR: Can't reach agent daemon on 'db2'! Can't switch its state!", 2},
		{"move_role writer db2", "ERROR: Can't reach agent daemon on 'db2'! Can't move roles there!", 2},
	})
	b.must(b.Node("db2").Agent.Start())
	b.must(b.WaitWhole(b.ctx))
	b.modes()
}

// modes tests the modes of the monitor: in manual mode roles stay on a host that fails, in passive mode set_ip works,
// and both end with set_active.
func (b *bench) modes() {
	b.steps([]step{
		{"set_manual", "OK: Switched into manual mode.", 0},
		{"set_manual", "OK: Already in manual mode.", 0},
		{"mode", "MANUAL", 0},
	})
	b.must(b.Node("db3").Server.Kill())
	b.state("db3", "HARD_OFFLINE")
	if show := b.show(); !strings.Contains(show, "slave/HARD_OFFLINE. Roles: reader(") {
		b.Errorf("manual mode took roles away:\n%s", show)
	}
	b.steps([]step{
		{"set_online db3", "ERROR: Host 'db3' is 'HARD_OFFLINE' at the moment. It can't be switched to ONLINE.", 2},
		{"set_offline db3", "ERROR: Host 'db3' is 'HARD_OFFLINE' at the moment. It can't be switched to ADMIN_OFFLINE.",
			2},
	})
	b.must(b.Node("db3").Server.Start(b.ctx))
	b.state("db3", "ONLINE")
	b.steps([]step{
		{"set_passive", "OK: Switched into passive mode.", 0},
		{"move_role writer db2", "ERROR: This command is not allowed in passive mode", 2},
		{"set_ip 10.77.0.1 db2", "ERROR: Unknown ip '10.77.0.1'!", 2},
		{"set_ip 10.77.0.100 db3", "ERROR: Host 'db3' can't handle role 'writer'. Following hosts could: db1, db2", 2},
		{"set_ip 10.77.0.100 db2", "OK: Set role 'writer(10.77.0.100)' to host 'db2'.", 0},
		{"show", "# --- Monitor is in PASSIVE MODE ---\n# Cause: Admin switched to passive mode.\n…", 0},
		{"set_active", "OK: Switched into active mode.", 0},
	})
	b.must(b.WaitWhole(b.ctx))
	if w := b.writer(); w != "db2" {
		b.Errorf("set_ip left the writer on %s", w)
	}
}

// TestFlapping: a host that fails again and again stays in AWAITING_RECOVERY until set_online.
func TestFlapping(t *testing.T) {
	b := start(t, lab.Options{Mon: " flap_count 1\n flap_duration 1h"})
	for range 2 {
		b.must(b.Node("db3").Server.Kill())
		b.state("db3", "HARD_OFFLINE")
		b.must(b.Node("db3").Server.Start(b.ctx))
		b.until("db3 to be back", func(show string) bool {
			return strings.Contains(show, "slave/ONLINE.") || strings.Contains(show, "slave/AWAITING_RECOVERY.")
		})
	}
	b.state("db3", "AWAITING_RECOVERY")
	b.logged(b.Monitor, "FATAL Host db3 is flapping!")
	b.must(lab.Wait(b.ctx, "the replication of db3 to run", func() (bool, string) {
		out, _ := b.control("checks db3 rep_threads")
		return strings.Contains(out, "]  OK"), out
	}))
	b.steps([]step{{"set_online db3",
		"OK: State of 'db3' changed to ONLINE. Now you can wait some time and check its new roles!", 0}})
	b.must(b.WaitWhole(b.ctx))
}
