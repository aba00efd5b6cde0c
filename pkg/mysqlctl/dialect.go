package mysqlctl

import (
	"fmt"
	"strings"
)

// dialect is a set of words and of syntax.
type dialect uint8

const (
	mariaDB  dialect = iota
	mysqlOld         // MASTER, SLAVE: MySQL 5.6 to 8.1
	mysqlNew         // SOURCE, REPLICA, BINARY LOG STATUS: MySQL 8.2 and later; 8.4 knows nothing else
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

// flavour is what a server calls itself: it decides on words and on names of privileges.
type flavour struct {
	dialect dialect
	version [3]int
}

// detect reads @@version and @@version_comment. MySQL got its new words one by one (8.0.22 REPLICA, 8.0.23 CHANGE
// REPLICATION SOURCE, 8.2.0 BINARY LOG STATUS) and lost the old ones at once (8.4.0); from 8.2 on it has all new ones.
func detect(version, comment string) flavour {
	var f flavour
	// What can't be read stays zero, which is an old server; error 1064 leads to other words from there.
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

// others are the flavours to try where the server does not understand this one: proxies and forks call themselves
// what they like.
func (f flavour) others() []flavour {
	var list []flavour
	for _, d := range []dialect{mysqlOld, mysqlNew, mariaDB} {
		if d != f.dialect {
			list = append(list, flavour{d, f.version})
		}
	}
	return list
}

// need is what a statement needs the user to be allowed.
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
)

// grant names the privilege, the least one the server has for it.
func (f flavour) grant(n need) string {
	fine := f.atLeast(10, 5, 2) // MariaDB split SUPER
	if f.dialect != mariaDB {
		fine = f.atLeast(8, 0, 0) // MySQL got dynamic privileges
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
			return "CONNECTION_ADMIN, SYSTEM_USER" // who has ALL has SYSTEM_USER, and is killed by nobody without
		}
		return pick("CONNECTION ADMIN", "CONNECTION_ADMIN", "SUPER")
	case seeProcesses:
		return "PROCESS"
	case readTable:
		return "SELECT"
	case setScheduler:
		return pick("SUPER", "SYSTEM_VARIABLES_ADMIN", "SUPER")
	case nothing:
	}
	return ""
}
