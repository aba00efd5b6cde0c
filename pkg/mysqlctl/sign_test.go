package mysqlctl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// TestSignOf: every error that a server answers with is a sign that it is alive.
func TestSignOf(t *testing.T) {
	of := map[uint16]Sign{
		1040: Full,
		1044: Powerless, 1095: Powerless, 1142: Powerless, 1143: Powerless, 1227: Powerless,
		1045: Denied, 1129: Denied, 1130: Denied, 1203: Denied, 1226: Denied, 1251: Denied, 1524: Denied, 1698: Denied,
		1820: Denied, 1862: Denied,
		2059: Denied, 3118: Denied, 3159: Denied, 3955: Denied, 4150: Denied, 4151: Denied,
		1053: Passing, 1152: Passing, 1317: Passing, 1927: Passing, 1969: Passing, 3024: Passing, 3169: Passing,
		4031: Passing,
		1021: Odd, 1041: Odd, 1064: Odd, 1105: Odd, 1205: Odd, 1290: Odd, 1792: Odd, 1836: Odd, 3032: Odd,
	}
	for number := range uint16(5000) {
		want, named := of[number]
		if !named {
			want = Odd
		}
		said := &mysql.MySQLError{Number: number, Message: "x"}
		for name, err := range map[string]error{
			"query": fmt.Errorf("ping on 10.0.0.1: %w", said), "login": &ConnectError{Err: said},
			"read": ReadError("as mmm: " + said.Error() + "; and so on"),
		} {
			if name == "read" && number < 1000 {
				continue // no server has such numbers
			}
			if got := SignOf(err); got != want || !got.Alive() {
				t.Errorf("%s, error %d: %d, want %d", name, number, got, want)
			}
		}
	}
	for name, c := range map[string]struct {
		err  error
		want Sign
	}{
		"refused port":    {&ConnectError{Err: brief(fmt.Errorf("dial: %w", syscall.ECONNREFUSED))}, Refused},
		"no route":        {&ConnectError{Err: syscall.EHOSTUNREACH}, Silent},
		"reset":           {syscall.ECONNRESET, Silent},
		"time is over":    {&ConnectError{Err: context.DeadlineExceeded}, Silent},
		"hung up":         {errLost, Silent},
		"no server":       {fmt.Errorf("%w: x", errNonsense), Silent},
		"half a packet":   {mysql.ErrMalformPkt, Silent},
		"no TLS there":    {&ConnectError{Err: mysql.ErrNoTLS}, Denied},
		"unknown plugin":  {&ConnectError{Err: mysql.ErrUnknownPlugin}, Denied},
		"cleartext":       {mysql.ErrCleartextPassword, Denied},
		"other authority": {fmt.Errorf("tls: %w", x509.UnknownAuthorityError{}), Denied},
		"unverified":      {&tls.CertificateVerificationError{Err: errors.New("x")}, Denied},
		"alert": {&ConnectError{Err: &net.OpError{Op: "remote error",
			Err: errors.New("tls: handshake failure")}}, Denied},
		"no common version":  {&ConnectError{Err: errors.New("tls: no supported versions satisfy MinVersion and MaxVersion")}, Denied},
		"cut in a handshake": {&net.OpError{Op: "read", Err: syscall.ECONNRESET}, Silent},
		"a text":             {ReadError("Error of 1045"), Silent},
		"number out of size": {ReadError("Error 99999 (HY000): x"), Silent},
	} {
		if got := SignOf(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// TestMend: each refusal of an account has a remedy, and the remedy names the account and the variable with its
// password.
func TestMend(t *testing.T) {
	for number := range uint16(5000) {
		err := &mysql.MySQLError{Number: number}
		mend := Mend(err, "'mon'@'%'", "monitor_password")
		if (mend != "") != (SignOf(err) == Denied) {
			t.Errorf("error %d: sign %d, mend %q", number, SignOf(err), mend)
		}
		for _, word := range []string{"ACCOUNT ", "PASSWORD ", "ACCOUNT_", "''"} {
			if left := strings.NewReplacer("ACCOUNT UNLOCK", "", "PASSWORD EXPIRE",
				"").Replace(mend); strings.Contains(left, word) {
				t.Errorf("error %d: %q has %q left", number, mend, word)
			}
		}
	}
	for number, want := range map[uint16]string{
		1045: "make monitor_password the account's, or ALTER USER 'mon'@'%' IDENTIFIED BY '…'",
		4151: "ALTER USER 'mon'@'%' ACCOUNT UNLOCK",
		3159: "mysql_ssl_mode required",
		1820: "ALTER USER 'mon'@'%' IDENTIFIED BY '…' PASSWORD EXPIRE NEVER, with the password that monitor_password has",
	} {
		if got := Mend(&mysql.MySQLError{Number: number}, "'mon'@'%'", "monitor_password"); got != want {
			t.Errorf("error %d: %q, want %q", number, got, want)
		}
	}
	if got := Mend(&ConnectError{Err: mysql.ErrUnknownPlugin}, "'mon'@'%'", "monitor_password"); !strings.HasPrefix(got,
		"ALTER USER 'mon'@'%' with a way") {
		t.Errorf("unknown plugin: %q", got)
	}
}
