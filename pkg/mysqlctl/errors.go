package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// Errors that callers tell apart with errors.Is.
var (
	// ErrNotReplica says that replication is not set up on the server.
	ErrNotReplica = errors.New("replication is not set up")
	// ErrNotReplicating says that replication is set up, but does not run as it must for what was asked.
	ErrNotReplicating = errors.New("replication does not run")
	// ErrNoBinlog says that the server writes no binary log.
	ErrNoBinlog = errors.New("the server writes no binary log")
)

// ConnectError says that no connection could be had: refused, timed out, not let in, or nonsense instead of a greeting.
type ConnectError struct {
	Addr string // ip:port
	User string
	Err  error // the cause, in the words of the system or the server

	Greeted bool // the server had said something before it failed
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("connect to %s as %s: %v", e.Addr, e.User, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// Numbers of server errors ("Server Error Message Reference" of the MySQL manual, "MariaDB Error Codes").
const (
	errTooManyConnections = 1040
	errDBAccessDenied     = 1044
	errUnknownDatabase    = 1049
	errUnknownColumn      = 1054
	errSyntax             = 1064
	errNoSuchThread       = 1094
	errKillDenied         = 1095
	errTableAccessDenied  = 1142
	errColumnAccessDenied = 1143
	errNoSuchTable        = 1146
	errUnknownVariable    = 1193
	errNotConfigured      = 1200 // The server is not configured as slave
	errReadingEvents      = 1220 // Error when executing command SHOW BINLOG EVENTS: Could not find target log
	errSpecificAccess     = 1227
	errNoConnectionName   = 1617 // MariaDB: There is no master connection 'x'
	errNoChannel          = 3074 // MySQL: Replica channel 'x' does not exist
	errSecureTransport    = 3159 // Connections using insecure transport are prohibited while --require_secure_transport=ON
)

// IsTooManyConnections tells that the server lives but has no connection left (error 1040).
func IsTooManyConnections(err error) bool { return isServerError(err, errTooManyConnections) }

// IsMissingPrivilege tells that the user may not do what was asked. The text of such an error names the GRANT that
// mends it.
func IsMissingPrivilege(err error) bool {
	return isServerError(err, errDBAccessDenied, errKillDenied, errTableAccessDenied, errColumnAccessDenied, errSpecificAccess)
}

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

// brief strips what the caller knows already ("dial tcp 10.0.0.1:3306: connect: connection refused").
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
