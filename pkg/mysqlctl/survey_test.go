package mysqlctl

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestReadSurvey: answers of servers of each dialect to SHOW VARIABLES and SHOW STATUS, as far as Survey asks for them.
func TestReadSurvey(t *testing.T) {
	for name, c := range map[string]struct {
		variables, status string
		want              Survey
	}{
		"MariaDB 10.11": {"version=10.11.14-MariaDB-log version_comment=Debian server_id=1 log_bin=ON log_slave_updates=ON gtid_strict_mode=ON auto_increment_increment=2 " +
			"auto_increment_offset=1 rpl_semi_sync_master_enabled=ON",
			"Rpl_semi_sync_master_status=ON Rpl_semi_sync_master_clients=2 Uptime=77",
			Survey{Settings: Settings{"10.11.14-MariaDB-log", "MariaDB", true, 1, true, true, "ON", 2, 1, ""},
				SemiSync: SemiSync{true, true, 2, false}, Uptime: 77 * time.Second}},
		"MySQL 5.7 without the plugin": {"version=5.7.44 server_id=4294967295 log_bin=OFF log_slave_updates=OFF gtid_mode=OFF_PERMISSIVE auto_increment_increment=1 auto_increment_offset=1", "",
			Survey{Settings: Settings{"5.7.44", "MySQL (SLAVE)", false, 4294967295, false, false, "OFF_PERMISSIVE", 1,
				1, ""}}},
		"MySQL 8.0 with the old plugin": {"version=8.0.39 server_id=2 log_bin=ON log_slave_updates=ON log_replica_updates=ON gtid_mode=ON auto_increment_increment=2 auto_increment_offset=2 " +
			"rpl_semi_sync_master_enabled=ON", "Rpl_semi_sync_master_status=OFF Rpl_semi_sync_master_clients=1",
			Survey{Settings: Settings{"8.0.39", "MySQL (SLAVE)", false, 2, true, true, "ON", 2, 2, ""},
				SemiSync: SemiSync{true, false, 1, false}}},
		"MySQL 8.4": {"version=8.4.3 server_uuid=3e11fa47 server_id=2 log_bin=ON log_replica_updates=ON gtid_mode=ON auto_increment_increment=2 auto_increment_offset=2 rpl_semi_sync_source_enabled=ON",
			"Rpl_semi_sync_source_status=ON Rpl_semi_sync_source_clients=0 Rpl_semi_sync_replica_status=ON",
			Survey{Settings: Settings{"8.4.3", "MySQL (REPLICA)", false, 2, true, true, "ON", 2, 2, "3e11fa47"},
				SemiSync: SemiSync{true, true, 0, true}}},
	} {
		got, err := readSurvey(assigned(c.variables), assigned(c.status))
		fatal(t, err)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := readSurvey(row{"version": "8.4.3"}, nil); err == nil {
		t.Error("a server without a server_id is surveyed")
	}
}

func assigned(text string) row {
	r := make(row)
	for _, word := range strings.Fields(text) {
		name, value, _ := strings.Cut(word, "=")
		r[name] = value
	}
	return r
}

func TestSurvey(t *testing.T) { each(t, testSurvey) }

func testSurvey(t *testing.T, kind string) {
	auto := []string{"--auto-increment-increment=2", "--auto-increment-offset=2"}
	source := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 7, SemiSync: true, Args: auto})
	replica := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 8, SemiSync: true})
	ctx := within(t, time.Minute)
	var up time.Duration
	survey := func(i *mysqltest.Instance, user string) Survey {
		t.Helper()
		c := NewConn(Config{Addr: i.Addr, User: user, Password: password})
		defer c.Close()
		s, err := c.Survey(ctx)
		fatal(t, err)
		up, s.Uptime = s.Uptime, 0
		return s
	}
	account(source, "monitor", source.Kind.MonitorRights())
	account(source, "nobody", "USAGE")
	for up == 0 && ctx.Err() == nil { // its first second
		survey(source, "nobody")
	}
	if up > 10*time.Minute {
		t.Errorf("it has run for %v", up)
	}

	want := Survey{Settings: Settings{Version: source.Query("SELECT @@version"), Dialect: mariaDB.String(),
		MariaDB: true, ServerID: 7, LogBin: true, LogSlaveUpdates: true,
		GTIDMode: "OFF", AutoIncrementIncrement: 2, AutoIncrementOffset: 2}, SemiSync: SemiSync{Enabled: true}}
	if source.Kind.MySQL {
		want.Settings.Dialect, want.Settings.MariaDB = mysqlNew.String(), false
		want.Settings.UUID = source.Query("SELECT @@server_uuid")
	}
	for _, user := range []string{"monitor", "nobody"} {
		got := survey(source, user)
		got.SemiSync.Waiting = false // servers differ in that before the first replica
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("as %s (-want +got):\n%s", user, diff)
		}
	}

	replica.Exec("DROP DATABASE test")
	replica.Follow(source)
	eventually(t, "the accounts are replicated",
		func() bool { return replica.Query("SELECT user FROM mysql.user WHERE user='nobody'") != "" })
	retries := uint64(0) // MariaDB does not tell
	if source.Kind.MySQL {
		retries = 86400
	}
	if got := survey(replica, "monitor").Replica; got == nil || got.SourceID != 7 || got.SourcePort != source.Port ||
		got.Retries != retries || got.RetryEvery != time.Second {
		t.Errorf("replication: %+v", got)
	}
	if got := survey(replica, "nobody").Replica; got != nil {
		t.Errorf("without a privilege: %+v", got)
	}
	eventually(t, "the replica acknowledges", func() bool {
		source.Exec("CREATE OR REPLACE VIEW test.v AS SELECT 1 AS one") // something to acknowledge
		return survey(source, "monitor").SemiSync == SemiSync{Enabled: true, Waiting: true, Clients: 1}
	})
	replica.Signal(syscall.SIGSTOP)
	source.Exec("CREATE OR REPLACE VIEW test.v AS SELECT 2 AS two")
	if got := survey(source, "monitor").SemiSync; got != (SemiSync{Enabled: true, Clients: 1}) {
		t.Errorf("with a replica that acknowledges nothing: %+v", got)
	}
	replica.Signal(syscall.SIGCONT)
	replica.Exec("STOP SLAVE IO_THREAD")
	eventually(t, "the source notices that the replica is gone", func() bool {
		source.Exec("CREATE OR REPLACE VIEW test.v AS SELECT 3 AS three")
		return survey(source, "monitor").SemiSync.Clients == 0
	})
}

func TestReadBeat(t *testing.T) {
	at := time.Date(2026, 11, 21, 8, 38, 25, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"2026-11-21T08:38:25.001230": at.Add(1230 * time.Microsecond), // pt-heartbeat since 2.1
		"2026-11-21 08:38:25.5":      at.Add(500 * time.Millisecond),
		"2026-11-21 08:38:25":        at,
		"2026-11-21T08:38:25":        at,
	} {
		got, err := readBeat(row{"server_id": "4294967295", "ts": text})
		if err != nil || got != (Beat{4294967295, want}) {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, r := range []row{{}, {"server_id": "1"}, {"server_id": "1", "ts": "0000-00-00 00:00:00"},
		{"server_id": "-1", "ts": "2026-11-21 08:38:25"}} {
		if got, err := readBeat(r); err == nil {
			t.Errorf("%v: %v", r, got)
		}
	}
	if got := quoteName("percona.heart`beat"); got != "`percona`.`heart``beat`" {
		t.Error(got)
	}
}

func TestHeartbeats(t *testing.T) { each(t, testHeartbeats) }

func testHeartbeats(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	i.Exec("CREATE TABLE test.text (ts VARCHAR(26) NOT NULL, server_id INT UNSIGNED NOT NULL PRIMARY KEY, file VARCHAR(255), position BIGINT UNSIGNED)",
		"INSERT INTO test.text VALUES ('2026-11-21T08:38:25.001230', 1, 'bin.000001', 4)",
		"CREATE TABLE test.typed (ts DATETIME(6) NOT NULL, server_id INT NOT NULL PRIMARY KEY)",
		"INSERT INTO test.typed VALUES ('2026-11-21 08:38:25.001230', 1)",
		"CREATE TABLE test.other (i INT)")
	read := func(user, table string) (string, error) {
		c := NewConn(Config{Addr: i.Addr, User: user, Password: password})
		defer c.Close()
		beats, err := c.Heartbeats(within(t, 10*time.Second), table)
		return fmt.Sprint(beats), err
	}
	account(i, "monitor", "SELECT")
	account(i, "nobody", "USAGE")
	for _, table := range []string{"test.text", "test.typed"} {
		if got, err := read("monitor", table); err != nil || got != "[{1 2026-11-21 08:38:25.00123 +0000 UTC}]" {
			t.Errorf("%s: %s, %v", table, got, err)
		}
	}
	for _, table := range []string{"test.missing", "missing.heartbeat"} {
		if _, err := read("monitor", table); !IsMissingTable(err) {
			t.Errorf("%s: %v", table, err)
		}
	}
	if _, err := read("monitor", "test.other"); err == nil || IsMissingTable(err) {
		t.Errorf("a table with other columns: %v", err)
	}
	if _, err := read("nobody", "test.text"); !IsMissingPrivilege(err) ||
		!strings.Contains(err.Error(), "GRANT SELECT ON `test`.`text` TO 'nobody'@'%'") {
		t.Errorf("without the privilege: %v", err)
	}
}
