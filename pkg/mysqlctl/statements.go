package mysqlctl

import (
	"database/sql/driver"
	"slices"
	"strings"
	"time"
)

// statement is SQL, with what is needed for an error about it. The driver puts in the values (args) and quotes them as
// the connection's sql_mode demands; no text of a user is ever pasted into sql.
type statement struct {
	what   string // verb phrase for errors
	sql    string
	args   []driver.Value
	need   need
	on     string // the object on which the privilege is needed; "" is *.*
	secret string // a password among args, which the server's error may quote
}

// words replaces SLAVE and MASTER by the dialect's words for them.
func (f flavour) words(sql string) string {
	if f.dialect != mysqlNew {
		return sql
	}
	return strings.NewReplacer("SLAVE", "REPLICA", "MASTER", "SOURCE").Replace(sql)
}

// onChannel puts the channel where the dialect wants it: MariaDB names the connection after the verb and its object,
// MySQL at the end.
func (f flavour) onChannel(head, tail string, args []driver.Value, channel string) (string, []driver.Value) {
	switch {
	case channel == "":
		return head + tail, args
	case f.dialect == mariaDB:
		return head + " ?" + tail, append([]driver.Value{channel}, args...)
	}
	return head + tail + " FOR CHANNEL ?", append(args, channel)
}

func (f flavour) showReplica(channel string) statement {
	sql, args := f.onChannel(f.words("SHOW SLAVE"), " STATUS", nil, channel)
	return statement{what: "read the state of replication", sql: sql, args: args, need: seeReplica}
}

// showHeartbeat asks for the heartbeat period: MariaDB shows it with all connections, MySQL (from 5.7 on) in a table.
func (f flavour) showHeartbeat() statement {
	st := statement{what: "read the heartbeat of replication", sql: "SHOW ALL SLAVES STATUS", need: seeReplica}
	if f.dialect != mariaDB {
		st.sql, st.need,
			st.on = "SELECT CHANNEL_NAME, HEARTBEAT_INTERVAL FROM performance_schema.replication_connection_configuration", readTable,
			"performance_schema.replication_connection_configuration"
	}
	return st
}

func (f flavour) stopReplica(channel string) statement {
	sql, args := f.onChannel(f.words("STOP SLAVE"), "", nil, channel)
	return statement{what: "stop replication", sql: sql, args: args, need: runReplica}
}

func (f flavour) stopReceiving(channel string) statement {
	sql, args := f.onChannel(f.words("STOP SLAVE"), " IO_THREAD", nil, channel)
	return statement{what: "stop receiving", sql: sql, args: args, need: runReplica}
}

// restartExecuting is two statements.
func (f flavour) restartExecuting(channel string) statement {
	stop, args := f.onChannel(f.words("STOP SLAVE"), " SQL_THREAD", nil, channel)
	start, more := f.onChannel(f.words("START SLAVE"), " SQL_THREAD", nil, channel)
	return statement{what: "restart the SQL thread", sql: stop + "; " + start, args: append(args, more...),
		need: runReplica}
}

// toggle is two statements: it turns a variable off and on. name is one of rpl_semi_sync_…_enabled.
func (f flavour) toggle(name string) statement {
	return statement{what: "let commits go on without an acknowledgement", need: setSemiSync,
		sql: "SET GLOBAL " + name + "=OFF; SET GLOBAL " + name + "=ON"}
}

func (f flavour) startReplica(channel string) statement {
	sql, args := f.onChannel(f.words("START SLAVE"), "", nil, channel)
	return statement{what: "start replication", sql: sql, args: args, need: runReplica}
}

// changeSource names the options that have to change; servers keep all others. beat is the heartbeat period that is to
// stay, in seconds; "" leaves it to the server.
func (f flavour) changeSource(channel string, src Source, beat string) statement {
	set := "MASTER_HOST=?, MASTER_PORT=?, MASTER_USER=?, MASTER_PASSWORD=?"
	args := []driver.Value{src.Host, int64(src.Port), src.User, src.Password}
	if !src.GTID {
		set += ", MASTER_LOG_FILE=?, MASTER_LOG_POS=?"
		args = append(args, src.Start.File, src.Start.Offset)
	}
	if beat != "" {
		set += ", MASTER_HEARTBEAT_PERIOD=" + beat // a number; servers take no quoted one
	}
	head := "CHANGE MASTER"
	switch f.dialect {
	case mariaDB:
		set += map[bool]string{true: ", MASTER_USE_GTID=slave_pos", false: ", MASTER_USE_GTID=no"}[src.GTID]
	case mysqlOld:
		set += map[bool]string{true: ", MASTER_AUTO_POSITION=1", false: ", MASTER_AUTO_POSITION=0"}[src.GTID]
		if f.atLeast(8, 0, 4) {
			// Without TLS an account with caching_sha2_password, the default since 8.0.4, can log in only where the
			// replica may ask the source for its public key.
			set += ", GET_MASTER_PUBLIC_KEY=1"
		}
	case mysqlNew:
		head = "CHANGE REPLICATION SOURCE"
		set += map[bool]string{true: ", SOURCE_AUTO_POSITION=1", false: ", SOURCE_AUTO_POSITION=0"}[src.GTID]
		set += ", GET_SOURCE_PUBLIC_KEY=1"
	}
	sql, args := f.onChannel(head, " TO "+f.words(set), args, channel)
	return statement{what: "change the replication source", sql: sql, args: args, need: runReplica,
		secret: src.Password}
}

// waitExecuted waits in the server, for whole seconds and at least 1: 0 would be for ever.
func (f flavour) waitExecuted(channel string, p Position, limit time.Duration) statement {
	marks := "?, ?, ?"
	args := []driver.Value{p.File, p.Offset, max(1, int64(limit/time.Second))}
	if channel != "" {
		marks += ", ?"
		args = append(args, channel)
	}
	return statement{what: "wait for " + p.String(), sql: f.words("SELECT MASTER_POS_WAIT(" + marks + ") AS events"),
		args: args}
}

// waitGTIDs waits in the server, for whole seconds; the answer is 0 when the whole set has been executed.
func (f flavour) waitGTIDs(set string, limit time.Duration) statement {
	return statement{what: "wait for GTIDs", sql: "SELECT WAIT_FOR_EXECUTED_GTID_SET(?, ?) AS missing",
		args: []driver.Value{set, max(1, int64(limit/time.Second))}}
}

// subtractGTIDs asks which GTIDs of a set the server has not executed. MariaDB has no function for that: there it asks
// for the GTIDs that the server has.
func (f flavour) subtractGTIDs(set string) statement {
	if f.dialect == mariaDB {
		return f.showVariables("gtid_binlog_state", "gtid_slave_pos")
	}
	return statement{what: "compare GTIDs", sql: "SELECT GTID_SUBTRACT(?, @@GLOBAL.gtid_executed) AS missing",
		args: []driver.Value{set}}
}

func (f flavour) showPosition() statement {
	sql := "SHOW MASTER STATUS"
	if f.dialect == mysqlNew {
		sql = "SHOW BINARY LOG STATUS"
	}
	return statement{what: "read the binary log position", sql: sql, need: seePosition}
}

func (f flavour) showLogs() statement {
	return statement{what: "list the binary logs", sql: "SHOW BINARY LOGS", need: seePosition}
}

// showEvents reads limit events of the server's own log, from a place where an event begins.
func (f flavour) showEvents(from Position, limit int) statement {
	return statement{what: "read the binary log", sql: "SHOW BINLOG EVENTS IN ? FROM ? LIMIT ?",
		args: []driver.Value{from.File, from.Offset, int64(limit)}, need: seeEvents}
}

// denyWrites sets read_only, on MySQL by super_read_only, which binds administrators as well.
func (f flavour) denyWrites() statement {
	if f.dialect == mariaDB {
		return f.denyOrdinaryWrites()
	}
	return statement{what: "deny writes", sql: "SET GLOBAL super_read_only=1", need: setReadOnly}
}

// denyOrdinaryWrites is for servers without super_read_only: MariaDB, MySQL before 5.7.8.
func (f flavour) denyOrdinaryWrites() statement {
	return statement{what: "deny writes", sql: "SET GLOBAL read_only=1", need: setReadOnly}
}

// allowWrites clears read_only; where there is a super_read_only, the server clears that with it.
func (f flavour) allowWrites() statement {
	return statement{what: "allow writes", sql: "SET GLOBAL read_only=0", need: setReadOnly}
}

// showVariables may name variables that the server does not know: they are missing in the answer.
func (f flavour) showVariables(names ...string) statement {
	args := make([]driver.Value, len(names))
	for i, n := range names {
		args[i] = n
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return statement{what: "read variables", sql: "SHOW GLOBAL VARIABLES WHERE Variable_name IN (" + marks + ")",
		args: args}
}

// showRunning asks how long the server has run, and for the state of its semi-synchronous replication, if it has any.
func (f flavour) showRunning() statement {
	return statement{what: "read the state of semi-synchronous replication",
		sql: "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'Rpl_semi_sync%' OR Variable_name = 'Uptime'"}
}

func (f flavour) showProcesses() statement {
	return statement{what: "list connections", sql: "SHOW PROCESSLIST", need: seeProcesses}
}

// showFileWrites may name counters that the server does not know: they are missing in the answer.
func (f flavour) showFileWrites() statement {
	names := slices.Concat(writesUnderWay, writesMade)
	args := make([]driver.Value, len(names))
	for i, n := range names {
		args[i] = n
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return statement{what: "read InnoDB's counters of writes", args: args,
		sql: "SHOW GLOBAL STATUS WHERE Variable_name IN (" + marks + ")"}
}

func (f flavour) kill(id uint64) statement {
	return statement{what: "kill a connection", sql: "KILL ?", args: []driver.Value{id}, need: killOthers}
}

func (f flavour) ping() statement { return statement{what: "ping", sql: "SELECT 1"} }

// proveProcess fails for want of a privilege where the user lacks PROCESS. Its other answers and errors mean nothing.
func (f flavour) proveProcess() statement {
	return statement{what: "list connections", sql: "SELECT 1 FROM information_schema.INNODB_CMP", need: seeProcesses}
}
