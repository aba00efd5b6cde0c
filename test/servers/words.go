package servers

import (
	"cmp"
	"strings"
)

// The least rights on *.* of MMM's accounts (GRANT in the MariaDB manual; "Privileges Provided by MySQL" in MySQL's).
const (
	mariaDBAgent   = "PROCESS, CONNECTION ADMIN, READ_ONLY ADMIN, BINLOG MONITOR, SLAVE MONITOR, REPLICATION SLAVE ADMIN"
	mariaDBMonitor = "BINLOG MONITOR, SLAVE MONITOR"
	mysqlAgent     = "PROCESS, CONNECTION_ADMIN, SYSTEM_USER, SYSTEM_VARIABLES_ADMIN, REPLICATION CLIENT, REPLICATION SLAVE, REPLICATION_SLAVE_ADMIN"
	mysqlMonitor   = "REPLICATION CLIENT"
)

// AgentRights are the privileges on *.* that an agent needs at least.
func (k Kind) AgentRights() string {
	if k.MySQL {
		return mysqlAgent
	}
	return mariaDBAgent
}

// MonitorRights are the privileges on *.* that the monitor needs at least.
func (k Kind) MonitorRights() string {
	if k.MySQL {
		return mysqlMonitor
	}
	return mariaDBMonitor
}

// SQL translates a statement from MariaDB's words into those of the server.
func (k Kind) SQL(s string) string {
	if !k.MySQL {
		return s
	}
	return strings.NewReplacer(
		"REPLICATION SLAVE", "REPLICATION SLAVE", // the privileges have kept their names
		"REPLICATION_SLAVE_ADMIN", "REPLICATION_SLAVE_ADMIN",
		"CHANGE MASTER", "CHANGE REPLICATION SOURCE",
		"SHOW MASTER STATUS", "SHOW BINARY LOG STATUS",
		"STOP ALL SLAVES", "STOP REPLICA",
		"SLAVE", "REPLICA",
		"MASTER_", "SOURCE_",
	).Replace(s)
}

// Column returns MariaDB's name for a column of SHOW REPLICA STATUS, or for a variable: "Source_Host" is "Master_Host".
func (k Kind) Column(name string) string {
	if !k.MySQL {
		return name
	}
	return strings.NewReplacer("Source", "Master", "Replica_", "Slave_").Replace(name)
}

// Source says where a server is to replicate from.
type Source struct {
	Host           string
	Port           int
	User, Password string
	GTID           bool   // by GTID; else from File and Offset on
	File, Offset   string // both empty: the start of the first log
	Channel        string // MariaDB: connection; "": the default one
}

// Follow returns the statements that make a server replicate, where its replication does not run. The server then tries
// to connect every second.
func (k Kind) Follow(s Source) []string {
	quote := func(t string) string { return "'" + strings.NewReplacer(`'`, `''`, `\`, `\\`).Replace(t) + "'" }
	head, start, tail := "CHANGE MASTER", "START SLAVE", ""
	switch {
	case s.Channel == "":
	case k.MySQL:
		tail = " FOR CHANNEL " + quote(s.Channel)
	default:
		head, start = head+" "+quote(s.Channel), start+" "+quote(s.Channel)
	}
	change := head + " TO MASTER_HOST=" + quote(s.Host) + ", MASTER_PORT=" + itoa(s.Port) + ", MASTER_USER=" +
		quote(s.User) +
		", MASTER_PASSWORD=" + quote(s.Password) + ", MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1"
	if !s.GTID {
		change += ", MASTER_LOG_FILE=" + quote(cmp.Or(s.File, "bin.000001")) + ", MASTER_LOG_POS=" +
			cmp.Or(s.Offset, "4")
	}
	switch {
	case k.MySQL && s.GTID:
		change += ", MASTER_AUTO_POSITION=1"
	case k.MySQL:
		change += ", MASTER_AUTO_POSITION=0"
	case s.GTID:
		change += ", MASTER_USE_GTID=slave_pos"
	default:
		change += ", MASTER_USE_GTID=no"
	}
	if k.MySQL {
		// MySQL's default since 8.4 is to give up after ten attempts. 0 is no limit for attempts to connect, but with
		// it replication ends, without an error, when a source twice in a row accepts the connection and then says
		// nothing. The public key is needed to send the password over a line without TLS.
		change += ", MASTER_RETRY_COUNT=86400, GET_MASTER_PUBLIC_KEY=1"
	}
	return []string{k.SQL(change + tail), k.SQL(start + tail)}
}
