package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotReplica says that replication is not set up on the server.
	ErrNotReplica = errors.New("replication is not set up")
	// ErrNotReplicating says that replication is set up, but does not run as it must for what was asked.
	ErrNotReplicating = errors.New("replication does not run")
	// ErrLimit says that the server would refuse a value because it is too long or too large.
	ErrLimit = errors.New("past a limit of the server")
	// ErrNoBinlog says that the server writes no binary log.
	ErrNoBinlog = errors.New("the server writes no binary log")
)

// ConnectError says that no connection could be opened: it was refused, timed out, the login failed, or something other
// than a database server answered.
type ConnectError struct {
	Addr string // ip:port
	User string
	Err  error  // the cause, in the words of the system or the server
	Mend string // what lets the user in again, where that is known

	Greeted bool // the server had sent something before the attempt failed
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connect to %s as %s: %s", e.Addr, e.User, e.Cause())
}

// Cause returns the error without the address and the user, and with the remedy.
func (e *ConnectError) Cause() string {
	if e.Mend == "" {
		return e.Err.Error()
	}
	return e.Err.Error() + mends + e.Mend
}

const mends = "; this mends it: "

// CutMend parts the text of an error from the remedy that it ends with. mend is "" where the text has no remedy.
func CutMend(text string) (what, mend string) {
	what, mend, _ = strings.Cut(text, mends)
	return what, mend
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Numbers of server errors ("Server Error Message Reference" of the MySQL manual, "MariaDB Error Codes").
const (
	errTooManyConnections     = 1040
	errDBAccessDenied         = 1044
	errAccessDenied           = 1045
	errUnknownDatabase        = 1049
	errShutdown               = 1053 // Server shutdown in progress
	errUnknownColumn          = 1054
	errSyntax                 = 1064
	errNoSuchThread           = 1094
	errKillDenied             = 1095
	errUnknownTable           = 1109 // MariaDB: no such table in information_schema
	errHostBlocked            = 1129 // because of many connection errors
	errHostDenied             = 1130 // Host 'x' is not allowed to connect
	errTableAccessDenied      = 1142
	errParse                  = 1149
	errColumnAccessDenied     = 1143
	errNoSuchTable            = 1146
	errAborted                = 1152
	errUnknownVariable        = 1193
	errNotConfigured          = 1200 // The server is not configured as slave
	errConnectionsOfUser      = 1203 // max_user_connections
	errReadingEvents          = 1220 // Error when executing command SHOW BINLOG EVENTS: Could not find target log
	errLimitOfAccount         = 1226 // User has exceeded the 'max_...' resource
	errSpecificAccess         = 1227
	errClientTooOld           = 1251 // Client does not support authentication protocol
	errInterrupted            = 1317
	errTooLong                = 1470 // String 'x' is too long for y
	errPluginMissing          = 1524 // Plugin 'x' is not loaded
	errNotAllowed             = 1525 // Incorrect x value: 'y'
	errNoConnectionName       = 1617 // MariaDB: There is no master connection 'x'
	errAccessDeniedNoPassword = 1698
	errMustChangePassword     = 1820
	errPasswordExpired        = 1862
	errKilled                 = 1927 // MariaDB: Connection was killed
	errStatementTime          = 1969 // MariaDB: max_statement_time exceeded
	errPluginOfClient         = 2059 // of clients: Authentication plugin 'x' cannot be loaded
	errExecutionTime          = 3024 // MySQL: maximum statement execution time exceeded
	errNoChannel              = 3074 // MySQL: Replica channel 'x' does not exist
	errAccountLocked          = 3118 // MySQL
	// Connections using insecure transport are prohibited while --require_secure_transport=ON
	errSecureTransport      = 3159
	errSessionKilled        = 3169 // MySQL
	errBlockedForDays       = 3955 // MySQL: too many failed logins in a row
	errIdleForLong          = 4031 // MySQL: disconnected because of inactivity
	errBlockedUser          = 4150 // MariaDB: max_password_errors
	errAccountLockedMariaDB = 4151
)

// IsMissingPrivilege tells that the user lacks a privilege for what was asked. The text of such an error from this
// package ends with the GRANT that mends it.
func IsMissingPrivilege(err error) bool { return SignOf(err) == Powerless }

// IsMissingTable tells that the table, or its database, does not exist.
func IsMissingTable(err error) bool { return isServerError(err, errUnknownDatabase, errNoSuchTable) }

// IsTimeout tells that the call was given up because its time was over.
func IsTimeout(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
}

func isServerError(err error, numbers ...uint16) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && slices.Contains(numbers, e.Number)
}

// brief shortens an error of the network to its cause: of "dial tcp 10.0.0.1:3306: connect: connection refused" the
// address is said already.
func brief(err error) error {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, mysql.ErrInvalidConn):
		return errLost
	}
	return err
}

var errLost = errors.New("the server closed the connection")
