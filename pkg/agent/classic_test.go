package agent

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// back is the server of a former writer that answers again, open or closed, with the transactions in its log.
type back struct {
	returned
	open bool
	list []mysqlctl.Transaction
}

func (b back) Writable(context.Context) (bool, error) { return b.open, nil }
func (b back) Transactions(context.Context, mysqlctl.Position, mysqlctl.Position, int) ([]mysqlctl.Transaction, error) {
	return b.list, nil
}

// TestOriginalMonitor: under a monitor that knows nothing of embargoes an agent itself audits the log of the former
// writer from which it has taken over, and replicates from it again where the former writer has no transactions of its
// own.
func TestOriginalMonitor(t *testing.T) {
	const found = "FATAL Host 'db1' was the writer, and it has 1 transaction that nobody else has: "
	own := []mysqlctl.Transaction{{At: at(120), ServerID: 1}}
	replicated := []mysqlctl.Transaction{{At: at(120), ServerID: 2}}
	for name, c := range map[string]struct {
		peer   replication.Remote
		io     string
		source string
		did    string
		lifted bool
		logs   string
	}{
		"it is not back": {peer: deadRemote{}, io: "No"},
		"it is open":     {peer: back{returned{end: at(150)}, true, nil}, io: "No"},
		"it has nothing of its own": {peer: back{returned{end: at(150)}, false, replicated}, io: "No",
			did: "start replication", lifted: true, logs: "looked at"},
		"it has something":   {peer: back{returned{end: at(150)}, false, own}, io: "No", logs: found},
		"it was set up anew": {peer: back{returned{end: at(50)}, false, nil}, io: "No", logs: "new binary log"},
		"somebody has started it": {peer: back{returned{end: at(150)}, false, own}, io: "Yes", lifted: true,
			logs: "was started"},
		"this host follows another": {peer: back{returned{end: at(150)}, false, own}, io: "Yes", source: "10.0.0.2",
			lifted: true},
	} {
		t.Run(name, func(t *testing.T) {
			runNoted(t, false, "db1|"+at(100).String()+"\n",
				func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
					s.set(func() {
						s.peer, s.replica.IORunning, s.replica.Received, s.replica.Executed,
							s.replica.SourceID = c.peer,
							c.io, at(100), at(100), 1
						if c.source != "" {
							s.replica.SourceHost = c.source
						}
					})
					for range 3 {
						if answer := say(cluster.Order{State: cluster.Online, Roles: []cluster.RoleIP{reader1},
							Master: "db2"}); !answer.OK() {
							t.Errorf("answer %v", answer)
						}
						time.Sleep(3 * time.Second)
						synctest.Wait()
					}
					if did := strings.TrimPrefix(strings.TrimPrefix(s.history(), "add 10.0.0.101"),
						", "); did != c.did {
						t.Errorf("it did %q, want %q", did, c.did)
					}
					if lifted := a.replication.State().Embargo.Host == ""; lifted != c.lifted {
						t.Errorf("lifted %v", lifted)
					}
					want := strings.TrimPrefix(c.logs, "FATAL ")
					if n := strings.Count(s.said.String(), want); want != "" && n != 1 {
						t.Errorf("%d times %q in:\n%s", n, want, s.said.String())
					}
				})
		})
	}
}

// TestLookAcross: where the former writer's agent is an original one, which can't audit its log, the agent under the
// embargo audits that log and tells the monitor. Replication goes on when the monitor says so.
func TestLookAcross(t *testing.T) {
	own := []mysqlctl.Transaction{{At: at(120), ServerID: 1}}
	clean := cluster.Across{Host: "db1", Audit: cluster.Audit{At: at(100).String(), Done: true}}
	for name, c := range map[string]struct {
		peer    replication.Remote
		asked   string // order's Across
		found   cluster.Across
		finding string
		problem string
	}{
		"it is not back": {peer: deadRemote{}, asked: "db1@" + at(100).String()},
		"it is open": {peer: back{returned{end: at(150)}, true, nil}, asked: "db1@" + at(100).String(),
			problem: "read_only=1"},
		"nobody has asked":        {peer: back{returned{end: at(150)}, false, nil}},
		"another place was asked": {peer: back{returned{end: at(150)}, false, nil}, asked: "db1@" + at(90).String()},
		"it has nothing of its own": {peer: back{returned{end: at(150)}, false, nil}, asked: "db1@" + at(100).String(),
			found: clean},
		"it has something": {peer: back{returned{end: at(150)}, false, own}, asked: "db1@" + at(100).String(),
			found: clean, finding: "1 transaction"},
	} {
		t.Run(name, func(t *testing.T) {
			runNoted(t, false, "db1|"+at(100).String()+"\n",
				func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
					s.set(func() {
						s.peer, s.replica.IORunning, s.replica.Received, s.replica.Executed,
							s.replica.SourceID = c.peer,
							"No", at(100), at(100), 1
					})
					o := order()
					o.Across = c.asked
					say(o)
					synctest.Wait()
					answer := say(o)
					r := wire.ParseReport(answer)
					if !strings.Contains(r.Across.Audit.Finding, c.finding) ||
						(r.Across.Audit.Finding == "") != (c.finding == "") {
						t.Errorf("it found %q", r.Across.Audit.Finding)
					}
					r.Across.Audit.Finding, r.Across.Audit.Beyond = "", 0
					if r.Across != c.found {
						t.Errorf("it tells %+v, want %+v", r.Across, c.found)
					}
					if !strings.Contains(answer.Text, c.problem) || c.problem == "" && !answer.OK() {
						t.Errorf("answer %v", answer)
					}
					if strings.Contains(s.history(), "start replication") || a.replication.State().Embargo.Host == "" {
						t.Errorf("it did %s before the monitor trusted that host", s.history())
					}
				})
		})
	}
}

// TestClassicMove: an original monitor that moves an address tells the new holder first, which then finds the address
// on the old one. That is logged as FATAL only where it lasts. Under a monitor of ours, which tells the old holder
// first, it is FATAL at once.
func TestClassicMove(t *testing.T) {
	const said = "Couldn't add reader(10.0.0.101): the machine 02:00 has 10.0.0.101: address conflict"
	for name, c := range map[string]struct {
		lasts    time.Duration
		extended bool
		conflict bool
		fatal    int
	}{
		"a move":         {4 * time.Second, false, true, 0},
		"it lasts":       {30 * time.Second, false, true, 1},
		"one of our own": {4 * time.Second, true, true, 1},
		"only its words": {4 * time.Second, false, false, 1}, // the server's own text has them, say
	} {
		synctest.Test(t, func(t *testing.T) {
			var log strings.Builder
			o := &owner{agent: &Agent{log: slog.New(slog.NewTextHandler(&log, nil))},
				order: &cluster.Order{Extended: c.extended}}
			for began := time.Now(); time.Since(began) < c.lasts; time.Sleep(time.Second) {
				o.complain(t.Context(), []problem{{said, c.conflict}})
				o.problems = []problem{{said, c.conflict}}
			}
			o.complain(t.Context(), nil)
			if n := strings.Count(log.String(), "level=ERROR+4"); n != c.fatal {
				t.Errorf("%s: %d times FATAL:\n%s", name, n, log.String())
			}
		})
	}
}

// TestClassicMonitor: an order without extras gets an answer without extras, to the letter.
func TestClassicMonitor(t *testing.T) {
	run(t, false, func(_ *sim, _ func(cluster.Order) wire.Answer, a *Agent) {
		for line, want := range map[string]string{
			"SET_STATUS|1|db2|ONLINE|reader(10.0.0.101)|db1": "OK: Status applied successfully!|UP:77.50",
			"PING|2|db2|":             "OK: Pinged!|UP:77.50",
			"PING":                    "ERROR: Invalid command 'PING'!|UP:77.50",
			"PING|1|db1":              "ERROR: Invalid hostname in command (db1)! My name is 'db2'|UP:77.50",
			"BOGUS|1|db2":             "ERROR: Invalid command 'BOGUS'!|UP:77.50",
			"":                        "ERROR: Invalid command ''!|UP:77.50",
			"GET_AGENT_VERSION|1|db2": "1.0|UP:77.50",
		} {
			if got := a.Handle(context.Background(), line); got != want {
				t.Errorf("%s: %s, want %s", line, got, want)
			}
		}
		if got, want := a.Handle(context.Background(), "GET_SYSTEM_STATUS|1|db2"),
			"OK: Returning status!||reader(10.0.0.101)|10.0.0.1|UP:77.50"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := a.Handle(context.Background(), "CLEAR_BAD_ROLES|1|db2"),
			"OK: Removed 0 roles|UP:77.50"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
