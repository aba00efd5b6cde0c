package mysqlctl

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// session is one connection, logged in. It uses the driver itself and not database/sql, which hides two things: the
// server's number of each connection (so that it can be killed, or spared) and the socket.
type session struct {
	conn    driverConn
	socket  net.Conn
	id      uint64
	addr    string
	account string // 'user'@'host' as the server matched it, for GRANT; "" before the login has succeeded
	mend    func(error) string
	flavour flavour

	// powerless says that a privilege was missing. When it is granted, that counts only from the next login ("When
	// Privilege Changes Take Effect" in the MySQL manual), so this connection is not kept.
	powerless bool

	idle time.Time // since when nobody uses it; set by the Server that keeps it
}

type driverConn interface {
	driver.Conn
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// connect logs in within the ConnectTimeout and asks the server for its version and the number of the connection.
func connect(ctx context.Context, cfg Config) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, cfg.ConnectTimeout)
	defer cancel()
	greeted := false
	s, err := logIn(ctx, cfg, &greeted)
	if err != nil {
		if ctx.Err() != nil && !IsTimeout(err) {
			err = ctx.Err() // the driver may blame the socket that it closed itself when the time was over
		}
		err = brief(err)
		return nil, &ConnectError{Addr: cfg.Addr, User: cfg.User, Err: err, Mend: cfg.mend(err), Greeted: greeted}
	}
	return s, nil
}

func logIn(ctx context.Context, cfg Config, greeted *bool) (*session, error) {
	s := &session{addr: cfg.Addr, mend: cfg.mend}
	d := mysql.NewConfig()
	d.Net, d.Addr, d.User, d.Passwd = "tcp", cfg.Addr, cfg.User, cfg.Password
	d.InterpolateParams = true
	d.MultiStatements = cfg.several
	d.Logger = &mysql.NopLogger{} // every failure is returned
	d.WriteTimeout = cfg.Timeout  // reading is bounded by contexts
	d.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		socket, err := new(net.Dialer).DialContext(ctx, network, addr)
		s.socket = socket
		if tcp, ok := socket.(*net.TCPConn); ok {
			return listener{tcp, greeted}, err
		}
		return socket, err
	}
	if err := cfg.Encryption.apply(d); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(d)
	if err != nil {
		return nil, err
	}
	var conn driver.Conn
	err = shielded(func() error { conn, err = connector.Connect(ctx); return err })
	if err != nil {
		if s.socket != nil {
			_ = s.socket.Close() // after a panic in the driver the socket is still open
		}
		return nil, err
	}
	s.conn = conn.(driverConn)
	rows, err := s.query(ctx, statement{what: "ask for the version",
		sql: "SELECT CONNECTION_ID() AS id, CURRENT_USER() AS account, @@version AS version, @@version_comment AS comment"})
	if err == nil && len(rows) != 1 {
		err = errNonsense
	}
	if err != nil {
		s.close()
		return nil, err
	}
	s.flavour = detect(rows[0]["version"], rows[0]["comment"])
	user, host, _ := cutLast(rows[0]["account"], "@")
	s.account = "'" + user + "'@'" + host + "'"
	s.id, err = strconv.ParseUint(rows[0]["id"], 10, 64)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("read connection id: %w", err)
	}
	return s, nil
}

// listener notes that the server has sent something.
type listener struct {
	// Embedded: the driver uses a listener as its connection, with all that a TCPConn can do.
	*net.TCPConn
	heard *bool
}

func (l listener) Read(p []byte) (int, error) {
	n, err := l.TCPConn.Read(p)
	*l.heard = *l.heard || n > 0
	return n, err
}

// alive tells whether the idle connection can be used; it sends nothing.
func (s *session) alive(ctx context.Context) bool {
	return s.conn.IsValid() && s.conn.ResetSession(ctx) == nil
}

func (s *session) close() { _ = s.conn.Close() } // there is nobody to tell that a goodbye did not arrive

// row maps column names to values; a column that is NULL is not in it.
type row map[string]string

// any returns the value of the first of these columns that the row has. A statement in new words may answer with old
// column names, as on MariaDB.
func (r row) any(names ...string) (value string, ok bool) {
	for _, n := range names {
		if v, ok := r[n]; ok {
			return v, true
		}
	}
	return "", false
}

// known returns the first of the names that the row has; "" where it has none of them.
func (r row) known(names ...string) string {
	for _, n := range names {
		if _, ok := r[n]; ok {
			return n
		}
	}
	return ""
}

// ask runs a statement in the words of the server's dialect; where the server does not understand them (error 1064), in
// those of the other dialects.
func (s *session) ask(ctx context.Context, build func(flavour) statement) ([]row, error) {
	rows, err := s.query(ctx, build(s.flavour))
	if !isServerError(err, errSyntax) {
		return rows, err
	}
	for _, f := range s.flavour.others() {
		again, againErr := s.query(ctx, build(f))
		if !isServerError(againErr, errSyntax) {
			s.flavour = f
			return again, againErr
		}
	}
	return nil, err
}

func (s *session) query(ctx context.Context, st statement) ([]row, error) {
	var rows []row
	err := shielded(func() (err error) { rows, err = s.rawQuery(ctx, st); return err })
	if err == nil {
		return rows, nil
	}
	if errors.Is(err, errNonsense) {
		s.close()
	}
	if st.secret != "" {
		err = withhold(err, st.secret)
	}
	if IsMissingPrivilege(err) && st.need != nothing {
		if st.need != killOthers && st.need != seeProcesses {
			s.powerless = true // with those two, connections are ended: there is no time for a new login
		}
		return nil, fmt.Errorf("%s on %s: %w"+mends+"GRANT %s ON %s TO %s",
			st.what, s.addr, err, s.flavour.grant(st.need), cmp.Or(st.on, "*.*"), s.account)
	}
	if mend := s.mend(err); mend != "" && s.account != "" { // of a login that fails, ConnectError names the remedy
		return nil, fmt.Errorf("%s on %s: %w"+mends+"%s", st.what, s.addr, err, mend)
	}
	return nil, fmt.Errorf("%s on %s: %w", st.what, s.addr, brief(err))
}

func (s *session) rawQuery(ctx context.Context, st statement) (_ []row, err error) {
	args := make([]driver.NamedValue, len(st.args))
	for i, a := range st.args {
		args[i] = driver.NamedValue{Ordinal: i + 1, Value: a}
	}
	result, err := s.conn.QueryContext(ctx, st.sql, args)
	if err != nil {
		return nil, err
	}
	defer func() { err = cmp.Or(err, result.Close()) }()
	columns := result.Columns()
	if len(columns) == 0 {
		return nil, nil
	}
	var rows []row
	values := make([]driver.Value, len(columns))
	for {
		switch err := result.Next(values); err {
		case nil:
		case io.EOF:
			return rows, nil
		default:
			return nil, err
		}
		r := make(row, len(columns))
		for i, v := range values {
			switch v := v.(type) {
			case nil:
			case []byte:
				r[columns[i]] = string(v)
			default:
				r[columns[i]] = fmt.Sprint(v)
			}
		}
		rows = append(rows, r)
	}
}

var errNonsense = errors.New("the server does not speak the MySQL protocol")

// shielded calls the driver and turns a panic into an error. The driver trusts the lengths that a server sends, and
// panics where they are wrong: another service that listens on the port must not end the program. A panic while logging
// in leaves one goroutine of the driver behind.
func shielded(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errNonsense, p)
		}
	}()
	return call()
}

// withhold replaces the text of an error that quotes the statement, such as 1064 (near '…'), or that has a part of the
// secret in it. From a text that quotes a value that is too long (1470) it takes the value. All other texts say what is
// wrong, and are shown.
func withhold(err error, secret string) error {
	said, ok := errors.AsType[*mysql.MySQLError](err)
	if !ok {
		return err // of the driver or the context, which don't quote the statement
	}
	shown := *said
	switch said.Number {
	case errSpecificAccess, errTableAccessDenied, errInterrupted, errKilled,
		1198, // stop the slave first
		1201, // could not initialize master info
		1290, // the server runs with an option that forbids it
		1776, // MASTER_LOG_FILE can't be set with MASTER_AUTO_POSITION
		1777, // MASTER_AUTO_POSITION needs gtid_mode
		3021, // stop the I/O thread first
		3056: // the password is too long
		return &shown // sentences of the server that never quote the statement
	case errTooLong: // String '…' is too long for MASTER_USER (should be no longer than 128)
		if at := strings.LastIndex(said.Message, "' is too long for "); at >= 0 {
			shown.Message = "String '(withheld)" + said.Message[at:]
			return &shown
		}
	case errSyntax, errParse, errNotAllowed:
	default:
		if !quotes(said.Message, secret) {
			return &shown
		}
	}
	shown.Message = "text withheld, as it may quote the statement, which holds a password"
	return &shown
}

// secretPart is how many bytes of a secret in a row are too many to show.
const secretPart = 6

// quotes tells that the text has a part of the secret in it, also where the server has cut the secret off or escaped a
// character of it. A sentence that happens to have the same letters is withheld for nothing.
func quotes(text, secret string) bool {
	if len(secret) <= secretPart {
		return secret != "" && strings.Contains(text, secret)
	}
	for i := range len(secret) - secretPart + 1 {
		if strings.Contains(text, secret[i:i+secretPart]) {
			return true
		}
	}
	return false
}

// lost tells that the server ended the connection, so that the answer is not known, or interrupted the question. Both
// are asked again on a new connection: a server's error does not always say which of the two it means.
func lost(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, errLost) || SignOf(err) == Passing
}

func isOn(value string) bool { return value == "1" || strings.EqualFold(value, "ON") }
