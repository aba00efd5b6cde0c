package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"
)

// Mail sends messages through a mail server (RFC 5321; STARTTLS: RFC 3207; AUTH: RFC 4954).
type Mail struct {
	Server   string // HOST:PORT
	TLS      TLS
	User     string // "": no login
	Password string
	From     string
	To       []string
	Config   *tls.Config // nil: the system's authorities, the server's name; its ServerName is set here
}

// TLS is how the connection to a mail server is protected.
type TLS int

// The ways to protect the connection.
const (
	StartTLS TLS = iota // before anything that matters; a server that does not offer it gets nothing
	FromTLS             // from the first byte
	NoTLS
)

// String is the server.
func (m Mail) String() string { return "mail server " + m.Server }

// Send delivers a message to the server. What the server refuses for good wraps ErrRefused.
//
// The client of package mail, which would take the same steps, is not used. Its errors don't say whether a server
// offers no STARTTLS or no login, where another attempt would be in vain, and it replaces the deadline of ctx by its
// own.
func (m Mail) Send(ctx context.Context, msg Message) error {
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	mailMsg, err := m.compose(msg)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	var dialer net.Dialer
	line, err := dialer.DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	defer line.Close()
	defer context.AfterFunc(ctx, func() { _ = line.SetDeadline(time.Unix(1, 0)) })() // package smtp knows no contexts
	conn := line
	config := m.Config.Clone()
	if config == nil {
		config = &tls.Config{}
	}
	config.ServerName, config.MinVersion = host, tls.VersionTLS12
	if m.TLS == FromTLS {
		conn = tls.Client(conn, config)
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return fmt.Errorf("greet: %w", err)
	}
	if err := m.prepare(c, host, config); err != nil {
		return err
	}
	return m.deliver(c, mailMsg)
}

// prepare greets the server, protects the connection and logs in.
func (m Mail) prepare(c *smtp.Client, host string, config *tls.Config) error {
	if err := c.Hello(hostname()); err != nil {
		return refused("greet", err)
	}
	if m.TLS == StartTLS {
		if offered, _ := c.Extension("STARTTLS"); !offered {
			return fmt.Errorf("the server offers no STARTTLS: %w", ErrRefused)
		}
		if err := c.StartTLS(config); err != nil {
			return fmt.Errorf("protect the connection: %w", err)
		}
	}
	if m.User == "" {
		return nil
	}
	offered, kinds := c.Extension("AUTH")
	if !offered {
		return fmt.Errorf("the server offers no login: %w", ErrRefused)
	}
	// Package smtp itself would log in without protection where the server is on this machine.
	if _, protected := c.TLSConnectionState(); !protected {
		return fmt.Errorf("log in as %s: the connection is not protected: %w", m.User, ErrRefused)
	}
	auth := smtp.PlainAuth("", m.User, m.Password, host, false)
	if words := strings.Fields(strings.ToUpper(kinds)); !slices.Contains(words, "PLAIN") &&
		slices.Contains(words, "LOGIN") {
		auth = smtp.LoginAuth(m.User, m.Password, host, false)
	}
	if err := c.Auth(auth); err != nil {
		return fmt.Errorf("log in as %s: %w", m.User, discreet(err))
	}
	return nil
}

// discreet gives the error of a login without the words of the server, which may repeat the password.
func discreet(err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok {
		return fmt.Errorf("the server says %d: %w", said.Code, ErrRefused)
	}
	if _, ok := errors.AsType[net.Error](err); ok || errors.Is(err, io.EOF) {
		return err
	}
	return errors.New("the server's answer makes no sense")
}

// deliver hands the mail over.
func (m Mail) deliver(c *smtp.Client, mailMsg *mail.Msg) error {
	if err := c.Mail("<" + m.From + ">"); err != nil {
		return refused("send from "+m.From, err)
	}
	for _, to := range m.To {
		if err := c.Rcpt("<" + to + ">"); err != nil {
			return refused("send to "+to, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return refused("send the text", err)
	}
	if _, err := mailMsg.WriteTo(w); err != nil {
		return fmt.Errorf("send the text: %w", err)
	}
	if err := w.Close(); err != nil {
		return refused("send the text", err)
	}
	_ = c.Quit() // the server has the message: an error here changes nothing
	return nil
}

// refused wraps ErrRefused where the server's answer is a permanent error (RFC 5321, section 4.2.1).
func refused(what string, err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code >= 500 {
		return fmt.Errorf("%s: %w: %w", what, err, ErrRefused)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// compose makes the mail (RFC 5322, RFC 2045; Auto-Submitted: RFC 3834). Package mail adds Date, Message-ID and
// MIME-Version when it is sent.
func (m Mail) compose(msg Message) (*mail.Msg, error) {
	mailMsg := mail.NewMsg(mail.WithNoDefaultUserAgent())
	if err := mailMsg.From(m.From); err != nil {
		return nil, err
	}
	if err := mailMsg.To(m.To...); err != nil {
		return nil, err
	}
	mailMsg.Subject(shorten(msg.Subject()))
	mailMsg.SetGenHeader("Auto-Submitted", "auto-generated")
	mailMsg.SetBodyString(mail.TypeTextPlain, strings.ToValidUTF8(msg.Text(), "?"))
	return mailMsg, nil
}

// shorten keeps a header's line within what RFC 5322 allows.
func shorten(subject string) string {
	const limit = 200
	if runes := []rune(strings.ToValidUTF8(subject, "?")); len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return subject
}
