package mysqlctl

import (
	"maps"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestRepointKeeps: Repoint changes none of the options that an operator has set for replication. The heartbeat period
// is one that servers would compute anew, and that on MySQL only an account with a privilege can read.
func TestRepointKeeps(t *testing.T) { each(t, testRepointKeeps) }

func testRepointKeeps(t *testing.T, kind string) {
	source, onSource := server(t, mysqltest.Options{Server: kind, ServerID: 1})
	replica, s := server(t, mysqltest.Options{Server: kind, ServerID: 2})
	ctx := within(t, time.Minute)
	replica.Follow(source)
	set := "MASTER_HEARTBEAT_PERIOD=7.5, MASTER_CONNECT_RETRY=17, MASTER_DELAY=3, IGNORE_SERVER_IDS=(77), "
	if replica.Kind.MySQL {
		replica.Exec("GRANT SELECT ON performance_schema.replication_connection_configuration TO agent@'%'",
			"CREATE USER applier@'%' IDENTIFIED BY 'a'", "GRANT ALL ON *.* TO applier@'%'",
			"GRANT REPLICATION_APPLIER ON *.* TO applier@'%'")
		set += "MASTER_RETRY_COUNT=4711, MASTER_BIND='127.0.0.1', MASTER_SSL=1, MASTER_TLS_VERSION='TLSv1.2,TLSv1.3', SOURCE_COMPRESSION_ALGORITHMS='zlib,uncompressed', SOURCE_ZSTD_COMPRESSION_LEVEL=5, " +
			"PRIVILEGE_CHECKS_USER=applier@'%', REQUIRE_ROW_FORMAT=1, REQUIRE_TABLE_PRIMARY_KEY_CHECK=ON"
	} else {
		set += "MASTER_SSL=0, MASTER_SSL_CIPHER='AES128-SHA', DO_DOMAIN_IDS=(), IGNORE_DOMAIN_IDS=(5), MASTER_USE_GTID=slave_pos"
	}
	replica.Exec("STOP SLAVE", "CHANGE MASTER TO "+set)
	config := func() row {
		all := row{}
		read := []string{"SHOW ALL SLAVES STATUS"}
		if replica.Kind.MySQL {
			read = []string{"SHOW REPLICA STATUS",
				"SELECT * FROM performance_schema.replication_connection_configuration",
				"SELECT * FROM performance_schema.replication_applier_configuration"}
		}
		root := New(Config{Addr: replica.Addr, User: "root"})
		defer root.Close()
		for _, sql := range read {
			rows, err := root.ask(ctx, func(flavour) statement { return statement{what: "look", sql: sql} })
			fatal(t, err)
			maps.Copy(all, rows[0])
		}
		// These differ: they name the source, or go on with time.
		for _, name := range []string{"Master_Host", "Source_Host", "HOST", "Master_User", "Source_User", "USER",
			"Master_Log_File", "Read_Master_Log_Pos", "Read_Source_Log_Pos",
			"Exec_Master_Log_Pos", "Exec_Source_Log_Pos", "Relay_Log_File", "Relay_Log_Pos", "Relay_Log_Space",
			"Source_UUID", "Master_Server_Id", "Source_Server_Id", "Slave_IO_State",
			"Replica_IO_State", "Slave_SQL_State", "Slave_SQL_Running_State", "Replica_SQL_Running_State",
			"Slave_IO_Running", "Slave_SQL_Running", "Replica_IO_Running", "Replica_SQL_Running",
			"Seconds_Behind_Master", "Seconds_Behind_Source", "Slave_received_heartbeats", "SQL_Remaining_Delay",
			"Slave_DDL_Groups", "Slave_Transactional_Groups", "Retried_transactions",
			"Replicate_Do_Domain_Ids", "Master_last_event_time", "Slave_last_event_time", "Master_Slave_time_diff",
			"Max_relay_log_size", "Executed_log_entries", "Gtid_Slave_Pos", "Gtid_IO_Pos", "LAST_HEARTBEAT_TIMESTAMP",
			"Last_IO_Error", "Last_IO_Errno", "Last_IO_Error_Timestamp"} {
			delete(all, name)
		}
		return all
	}
	before := config()
	end, err := onSource.Position(ctx)
	fatal(t, err)
	fatal(t, s.Repoint(ctx, Source{Host: "localhost", Port: source.Port, User: "repl", Password: "repl-secret",
		Start: end, GTID: !replica.Kind.MySQL}))
	after := config()
	for name, value := range before {
		if after[name] != value {
			t.Errorf("%s was %q, and is %q", name, value, after[name])
		}
	}
	if got := after["Slave_heartbeat_period"] + after["HEARTBEAT_INTERVAL"]; got != "7.5" && got != "7.500" {
		t.Errorf("the heartbeat is %s", got)
	}
	if replica.Kind.MySQL { // without the privilege to read the heartbeat period, Repoint works all the same
		replica.Exec("REVOKE SELECT ON performance_schema.replication_connection_configuration FROM agent@'%'")
		fatal(t, s.Repoint(ctx, Source{Host: "127.0.0.1", Port: source.Port, User: "repl", Password: "repl-secret",
			Start: end, GTID: !replica.Kind.MySQL}))
	}
}
