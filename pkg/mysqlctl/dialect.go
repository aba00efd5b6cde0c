package mysqlctl

import (
	"fmt"
	"strings"
)

// dialect is the words and the syntax that a kind of server understands.
type dialect uint8

const (
	mariaDB  dialect = iota
	mysqlOld         // MASTER, SLAVE: MySQL 5.6 to 8.1
	mysqlNew         // SOURCE, REPLICA, BINARY LOG STATUS: MySQL 8.2 and later; 8.4 knows only these
)

func (d dialect) String() string {
	switch d {
	case mariaDB:
		return "MariaDB"
	case mysqlOld:
		return "MySQL (SLAVE)"
	case mysqlNew:
		return "MySQL (REPLICA)"
	}
	return fmt.Sprintf("dialect(%d)", uint8(d))
}

// flavour is the dialect and the version of a server, by what it says of itself. The words of statements and the names
// of privileges follow from it.
type flavour struct {
	dialect dialect
	version [3]int
}

// detect reads @@version and @@version_comment. MySQL got its new words one by one (8.0.22 REPLICA, 8.0.23 CHANGE
// REPLICATION SOURCE, 8.2.0 BINARY LOG STATUS) and lost the old ones at once (8.4.0); from 8.2 on it has all new ones.
func detect(version, comment string) flavour {
	var f flavour
	// A number that can't be read stays 0, as of an old server. Where its words are wrong (error 1064), session.ask
	// tries others.
	_, _ = fmt.Sscanf(version, "%d.%d.%d", &f.version[0], &f.version[1], &f.version[2])
	switch {
	case strings.Contains(strings.ToLower(version+comment), "mariadb"):
		f.dialect = mariaDB
	case f.atLeast(8, 2, 0):
		f.dialect = mysqlNew
	default:
		f.dialect = mysqlOld
	}
	return f
}

func (f flavour) atLeast(major, minor, patch int) bool {
	for i, want := range [3]int{major, minor, patch} {
		if f.version[i] != want {
			return f.version[i] > want
		}
	}
	return true
}

// others returns the flavours to try where the server does not understand this one: the version that a proxy or a fork
// gives may mislead.
func (f flavour) others() []flavour {
	var list []flavour
	for _, d := range []dialect{mysqlOld, mysqlNew, mariaDB} {
		if d != f.dialect {
			list = append(list, flavour{d, f.version})
		}
	}
	return list
}

// need is what the user has to be allowed for a statement.
type need uint8

const (
	nothing need = iota
	seeReplica
	seePosition
	seeEvents
	runReplica
	setReadOnly
	killOthers
	seeProcesses
	readTable
	setScheduler
	setSemiSync
)

// grant returns the name of the smallest privilege of this server that allows n.
func (f flavour) grant(n need) string {
	fine := f.atLeast(10, 5, 2) // the first MariaDB with parts of SUPER as privileges of their own
	if f.dialect != mariaDB {
		fine = f.atLeast(8, 0, 0) // the first MySQL with dynamic privileges
	}
	maria := f.dialect == mariaDB && fine
	pick := func(onMariaDB, onMySQL, before string) string {
		switch {
		case maria:
			return onMariaDB
		case fine:
			return onMySQL
		}
		return before
	}
	switch n {
	case seeReplica:
		return pick("SLAVE MONITOR", "REPLICATION CLIENT", "REPLICATION CLIENT")
	case seePosition:
		return pick("BINLOG MONITOR", "REPLICATION CLIENT", "REPLICATION CLIENT")
	case seeEvents:
		return pick("BINLOG MONITOR", "REPLICATION SLAVE", "REPLICATION SLAVE")
	case runReplica:
		return pick("REPLICATION SLAVE ADMIN", "REPLICATION_SLAVE_ADMIN", "SUPER")
	case setReadOnly:
		return pick("READ_ONLY ADMIN", "SYSTEM_VARIABLES_ADMIN", "SUPER")
	case killOthers:
		if f.dialect != mariaDB && f.atLeast(8, 0, 16) {
			// An account with ALL has SYSTEM_USER, and only a user with SYSTEM_USER can kill its connections.
			return "CONNECTION_ADMIN, SYSTEM_USER"
		}
		return pick("CONNECTION ADMIN", "CONNECTION_ADMIN", "SUPER")
	case seeProcesses:
		return "PROCESS"
	case readTable:
		return "SELECT"
	case setScheduler:
		return pick("SUPER", "SYSTEM_VARIABLES_ADMIN", "SUPER")
	case setSemiSync:
		return pick("REPLICATION MASTER ADMIN", "SYSTEM_VARIABLES_ADMIN", "SUPER")
	case nothing:
	}
	return ""
}
