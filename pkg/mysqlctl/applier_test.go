package mysqlctl

import (
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestApplierAtWork: what threads of replication do is told from their states, in the words of both servers.
func TestApplierAtWork(t *testing.T) {
	for name, c := range map[string]struct {
		command string
		states  []string
		want    Applier
	}{
		"nothing to do, MySQL": {"Query", []string{"Replica has read all relay log; waiting for more updates",
			"Waiting for an event from Coordinator", "Waiting for source to send event"}, Applier{}},
		"nothing to do, MariaDB": {"Slave_SQL", []string{"Slave has read all relay log; waiting for more updates",
			"Waiting for work from SQL thread", "Waiting for master to send event"}, Applier{}},
		"the source is gone":   {"Connect", []string{"Reconnecting after a failed source event read"}, Applier{}},
		"threads of InnoDB":    {"Daemon", []string{"InnoDB purge coordinator"}, Applier{}},
		"a worker executes":    {"Query", []string{"Waiting for an event from Coordinator", "Executing event"}, Applier{Busy: true}},
		"workers' queues":      {"Query", []string{"Waiting for replica workers to process their queues"}, Applier{Busy: true}},
		"another one is first": {"Slave_worker", []string{"Waiting for prior transaction to commit"}, Applier{Busy: true}},
		"no acknowledgement, MySQL": {"Query", []string{"Waiting for semi-sync ACK from replica",
			"waiting for handler commit"}, Applier{true, true}},
		"no acknowledgement, MariaDB": {"Slave_SQL", []string{"Waiting for semi-sync ACK from slave"}, Applier{true, true}},
	} {
		t.Run(name, func(t *testing.T) {
			rows := []row{{"Id": "3", "User": "app", "Command": "Query", "State": "Waiting for semi-sync ACK from replica"}}
			for _, state := range c.states {
				rows = append(rows, row{"Id": "8", "User": "system user", "Command": c.command, "State": state})
			}
			if got := applier(rows); got != c.want {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

// TestReleaseCommitsOfAWriter: on a server that takes writes no commit is let go, as a client's could be among them.
func TestReleaseCommitsOfAWriter(t *testing.T) { each(t, testReleaseCommitsOfAWriter) }

func testReleaseCommitsOfAWriter(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	ctx := within(t, time.Minute)
	s := New(account(i, "agent", i.Kind.AgentRights()))
	defer s.Close()
	if err := s.ReleaseCommits(ctx); err == nil || !strings.Contains(err.Error(), "it takes writes") {
		t.Errorf("on a server that is open: %v", err)
	}
	fatal(t, s.DenyWrites(ctx, Deny{}))
	if err := s.ReleaseCommits(ctx); err != nil {
		t.Errorf("on a server that is closed: %v", err)
	}
}
