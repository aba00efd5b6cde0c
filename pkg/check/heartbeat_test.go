package check

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestLag: each step reads the table of one host, one second of the monitor's clock after the step before unless the
// step says how many. Beats are SERVER_ID:SECOND.
func TestLag(t *testing.T) {
	type step struct {
		after int
		host  string
		beats string
		want  string
	}
	for name, steps := range map[string][]step{
		"in time": {{1, "db1", "1:100", "0s"}, {1, "db2", "1:101", "0s"}, {1, "db1", "1:102", "0s"},
			{1, "db2", "1:102", "0s"}},
		"behind": {{1, "db1", "1:100", "0s"}, {1, "db3", "1:30", "1m10s"}, {1, "db1", "1:102", "0s"},
			{1, "db3", "1:31", "1m11s"}},
		"caught up, and the newest seen there first": {{1, "db1", "1:100", "0s"}, {1, "db3", "1:90", "10s"},
			{1, "db3", "1:102", "0s"}, {1, "db1", "1:103", "0s"}},
		"the writer has moved": {{1, "db1", "1:100 2:50", "0s"}, {1, "db2", "1:100 2:50", "0s"},
			{1, "db2", "1:100 2:102", "0s"}, {1, "db1", "1:100 2:102", "0s"},
			{1, "db3", "1:100 2:60", "42s"}, {1, "db3", "1:100",
				"percona.heartbeat has no row of server_id 2, whose beats are the newest"}},
		"nobody writes": {{1, "db1", "1:100", "0s"}, {9, "db1", "1:109", "0s"}, {30, "db1", "1:109", "0s"},
			{1, "db1", "1:109", "no new heartbeat in percona.heartbeat on any host for 31 seconds"},
			{1, "db3", "1:79", "30s"},
			{1, "db3", "1:80", "no new heartbeat in percona.heartbeat on any host for 33 seconds"},
			{1, "db1", "1:143", "0s"}},
		"nobody ever wrote": {{1, "db1", "1:100", "0s"}, {31, "db1", "1:100",
			"no new heartbeat in percona.heartbeat on any host for 31 seconds"}},
		"an empty table": {{1, "db1", "", "percona.heartbeat is empty"}},
		"clock set back": {{1, "db1", "1:4000", "0s"}, {1, "db3", "1:4001", "0s"}, {1, "db1", "1:402", "0s"},
			{1, "db3", "1:402", "0s"}, {1, "db1", "1:404", "0s"}, {1, "db3", "1:403", "1s"}},
		"clock set forward": {{1, "db1", "1:100", "0s"}, {1, "db1", "1:3701", "0s"}, {1, "db3", "1:3702", "0s"}},
		"one host is a copy": {{1, "db1", "1:100", "0s"}, {1, "db1", "1:101", "0s"}, {1, "db3", "1:101 9:5000", "0s"},
			{1, "db1", "1:103", "0s"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := &Heartbeat{Table: "percona.heartbeat", Stale: 30 * time.Second}
			readers := map[string]*beatReader{}
			now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			for i, s := range steps {
				now = now.Add(time.Duration(s.after) * time.Second)
				if readers[s.host] == nil {
					readers[s.host] = newBeatReader(h)
				}
				lag, err := readers[s.host].lag(beats(t, s.beats), now)
				got := lag.String()
				if err != nil {
					got = err.Error()
				}
				if got != s.want {
					t.Errorf("step %d: %s, want %s", i+1, got, s.want)
				}
			}
		})
	}
}

func beats(t *testing.T, text string) (list []mysqlctl.Beat) {
	t.Helper()
	for _, word := range strings.Fields(text) {
		var id, second int
		if _, err := fmt.Sscanf(word, "%d:%d", &id, &second); err != nil {
			t.Fatal(err)
		}
		list = append(list, mysqlctl.Beat{ServerID: uint32(id), At: time.Unix(int64(second), 0)})
	}
	return list
}

// TestBacklogByHeartbeat: the probes of two real servers share one Heartbeat.
func TestBacklogByHeartbeat(t *testing.T) {
	source := mysqltest.Start(t, mysqltest.Options{ServerID: 1, Args: []string{"--replicate-ignore-db=test"}})
	replica := mysqltest.Start(t, mysqltest.Options{ServerID: 2})
	replica.Exec("DROP DATABASE test")
	source.Exec("CREATE TABLE test.heartbeat (ts VARCHAR(26) NOT NULL, server_id INT UNSIGNED NOT NULL PRIMARY KEY)")
	account(source, "monitor", "SLAVE MONITOR, SELECT")
	account(source, "nobody", "SLAVE MONITOR")
	source.Follow(replica) // else the probe of source would only say that it replicates from nobody
	replica.Follow(source)
	eventually(t, "the accounts are replicated",
		func() bool { return replica.Query("SELECT user FROM mysql.user WHERE user='nobody'") != "" })
	h := &Heartbeat{Table: "test.heartbeat", Stale: time.Minute}
	on := func(i *mysqltest.Instance, user string, h *Heartbeat) Probe {
		p := NewRepBacklog(mysqlctl.NewConn(mysqlctl.Config{Addr: i.Addr, User: user, Password: password}), user,
			time.Minute, h)
		t.Cleanup(p.Close)
		return p
	}
	here, there := on(source, "monitor", h), on(replica, "monitor", h)
	ask := func(p Probe) Result { return probe(t, p, 5*time.Second) }
	beat := func(ts string) { source.Exec("REPLACE INTO test.heartbeat VALUES ('" + ts + "', @@server_id)") }

	expect(t, "an empty table", ask(here), Unknown, "UNKNOWN: Backlog is not known: test.heartbeat is empty")
	beat("2031-01-01T00:00:00.000000") // the real time does not matter
	expect(t, "the source", ask(here), OK, "OK: Backlog is null")
	eventually(t, "the replica has the beat", func() bool { return ask(there).Message == "OK: Backlog is null" })
	replica.Exec("STOP SLAVE SQL_THREAD")
	beat("2031-01-01T00:01:00.500000")
	expect(t, "the source", ask(here), OK, "OK: Backlog is null")
	expect(t, "the replica stands still", ask(there), Error, "ERROR: Backlog is too big: 60 seconds, max_backlog is 60")
	replica.Exec("START SLAVE SQL_THREAD")
	eventually(t, "the replica has the beat", func() bool { return ask(there).Message == "OK: Backlog is null" })

	expect(t, "no privilege", ask(on(source, "nobody", h)), Unknown,
		"UNKNOWN: Backlog is not known: *GRANT SELECT ON `test`.`heartbeat` TO 'nobody'@'%'")
	expect(t, "no table", ask(on(source, "monitor", &Heartbeat{Table: "test.missing", Stale: time.Minute})), Unknown,
		"UNKNOWN: heartbeat_table test.missing does not exist: *")
}
