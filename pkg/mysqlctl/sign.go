package mysqlctl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/go-sql-driver/mysql"
)

// Sign is what the error of a question says of the server that was asked.
type Sign uint8

// The signs. All verdicts on errors of servers are taken from SignOf: a server that answers with an error is no less
// alive than one that answers with rows, whatever the error.
const (
	// Silent: no answer of a database server came back: no connection, nothing in time, or something else than the
	// protocol.
	Silent    Sign = iota
	Refused        // nobody listens on the port
	Denied         // the server does not let the account in, or lets it do nothing, until a person mends that
	Full           // the server has no connection left
	Powerless      // the account lacks a privilege for what was asked
	// Passing: the server can't answer now, as it shuts down or has ended the connection or the question. Nobody has to
	// mend anything.
	Passing
	Odd // the server answers with another error
)

// Alive tells that the server has answered.
func (s Sign) Alive() bool { return s > Refused }

// SignOf judges the error of a question to a server.
func SignOf(err error) Sign {
	if said, ok := errors.AsType[*mysql.MySQLError](err); ok {
		return signOf(said.Number)
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Refused
	case clientMend(err) != "":
		return Denied
	}
	return Silent
}

func signOf(number uint16) Sign {
	switch number {
	case errTooManyConnections:
		return Full
	case errDBAccessDenied, errKillDenied, errTableAccessDenied, errColumnAccessDenied, errSpecificAccess:
		return Powerless
	case errShutdown, errAborted, errInterrupted, errStatementTime, errKilled, errExecutionTime, errSessionKilled,
		errIdleForLong:
		return Passing
	}
	if mendOf(number) != "" {
		return Denied
	}
	return Odd
}

// mendOf returns what lets an account in again that the server has refused with this error number; "" where the number
// is about something else. ACCOUNT and PASSWORD stand for the account and for the variable with its password.
func mendOf(number uint16) string {
	switch number {
	case errAccessDenied, errAccessDeniedNoPassword:
		return "make PASSWORD the account's, or ALTER USER ACCOUNT IDENTIFIED BY '…'"
	case errHostDenied:
		return "CREATE USER ACCOUNT IDENTIFIED BY '…', for the address that it comes from, with the privileges of the others"
	case errHostBlocked:
		return "FLUSH HOSTS, on MySQL TRUNCATE TABLE performance_schema.host_cache; then see what breaks connections off"
	case errLimitOfAccount:
		return "ALTER USER ACCOUNT WITH MAX_QUERIES_PER_HOUR 0 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 0"
	case errConnectionsOfUser:
		return "raise max_user_connections, or end connections of ACCOUNT that nobody needs"
	case errMustChangePassword, errPasswordExpired:
		return "ALTER USER ACCOUNT IDENTIFIED BY '…' PASSWORD EXPIRE NEVER, with the password that PASSWORD has"
	case errAccountLocked, errAccountLockedMariaDB:
		return "ALTER USER ACCOUNT ACCOUNT_UNLOCK"
	case errBlockedForDays:
		return "ALTER USER ACCOUNT ACCOUNT_UNLOCK; make PASSWORD the account's"
	case errBlockedUser:
		return "FLUSH PRIVILEGES; make PASSWORD the account's"
	case errClientTooOld, errPluginMissing, errPluginOfClient:
		return "ALTER USER ACCOUNT with a way to log in that client and server have, such as mysql_native_password or caching_sha2_password"
	case errSecureTransport:
		return "mysql_ssl_mode required"
	}
	return ""
}

// clientMend returns the remedy for a login that the driver gave up after the server's greeting, because it can't log
// in or encrypt as the server demands; "" for other errors.
func clientMend(err error) string {
	_, authority := errors.AsType[x509.UnknownAuthorityError](err)
	_, invalid := errors.AsType[x509.CertificateInvalidError](err)
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	said, _ := errors.AsType[*net.OpError](err)
	handshake := said != nil && said.Op == "remote error" // so crypto/tls names an alert of the other side
	switch {
	case errors.Is(err, mysql.ErrNoTLS):
		return "give the server a certificate (ssl_cert, ssl_key), or mysql_ssl_mode preferred"
	case authority, invalid, unverified:
		return "correct mysql_ca_file, or give the server a certificate of that authority"
	case handshake, err != nil && strings.Contains(" "+err.Error(), " tls: "):
		return "make the TLS of the server fit (tls_version, ssl_cipher, require_x509), or correct mysql_ssl_mode"
	case errors.Is(err, mysql.ErrUnknownPlugin), errors.Is(err, mysql.ErrCleartextPassword),
		errors.Is(err, mysql.ErrNativePassword),
		errors.Is(err, mysql.ErrOldPassword):
		return mendOf(errPluginOfClient)
	}
	return ""
}

// IsWrongAccount tells that the server, as far as it says, has no account of this name with this password for this
// client's address.
func IsWrongAccount(err error) bool {
	return isServerError(err, errAccessDenied, errAccessDeniedNoPassword, errHostDenied)
}

// Mend returns what a person has to do so that the server lets the account in again; "" where the error is about
// something else, or names its remedy itself. password is the name of the variable that has the account's password.
func Mend(err error, account, password string) string {
	mend := clientMend(err)
	if said, ok := errors.AsType[*mysql.MySQLError](err); ok {
		mend = mendOf(said.Number)
	}
	return strings.NewReplacer("ACCOUNT_UNLOCK", "ACCOUNT UNLOCK", "ACCOUNT", account,
		"PASSWORD EXPIRE", "PASSWORD EXPIRE", "PASSWORD", password).Replace(mend)
}

// ReadError returns the error of a server ("Error 1045 (28000): …") that is in the text of an error from another
// program. Where the text has none it returns an error with the text, of which SignOf says Silent.
func ReadError(text string) error {
	_, said, _ := strings.Cut(text, "Error ")
	head, message, found := strings.Cut(said, ": ")
	digits, _, _ := strings.Cut(head, " (")
	number, err := strconv.ParseUint(digits, 10, 16)
	if !found || err != nil {
		return errors.New(text)
	}
	return &mysql.MySQLError{Number: uint16(number), Message: message}
}
