package alert

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
	"time"
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

// TLS is when the connection becomes a protected one.
type TLS int

// The ways to protect it.
const (
	StartTLS TLS = iota // before anything that matters; a server that does not offer it gets nothing
	FromTLS             // from the first byte
	NoTLS
)

// String is the server.
func (m Mail) String() string { return "mail server " + m.Server }

// Send delivers a message to the server. What the server refuses for good wraps ErrRefused.
func (m Mail) Send(ctx context.Context, msg Message) error {
	host, _, err := net.SplitHostPort(m.Server)
	if err != nil {
		return fmt.Errorf("%w: %w", err, ErrRefused)
	}
	var dialer net.Dialer
	line, err := dialer.DialContext(ctx, "tcp", m.Server)
	if err != nil {
		return err
	}
	defer line.Close()
	defer context.AfterFunc(ctx, func() { _ = line.SetDeadline(time.Unix(1, 0)) })() // net/smtp knows no contexts
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
	return m.deliver(c, msg)
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
	var auth smtp.Auth = smtp.PlainAuth("", m.User, m.Password, host)
	if words := strings.Fields(strings.ToUpper(kinds)); !slices.Contains(words, "PLAIN") &&
		slices.Contains(words, "LOGIN") {
		auth = &loginAuth{user: m.User, password: m.Password}
	}
	if err := c.Auth(auth); err != nil {
		// What a server says to a login may repeat it.
		if said, ok := errors.AsType[*textproto.Error](err); ok {
			return fmt.Errorf("log in as %s: the server says %d: %w", m.User, said.Code, ErrRefused)
		}
		return fmt.Errorf("log in as %s: %w", m.User, err)
	}
	return nil
}

func (m Mail) deliver(c *smtp.Client, msg Message) error {
	if err := c.Mail(m.From); err != nil {
		return refused("send from "+m.From, err)
	}
	for _, to := range m.To {
		if err := c.Rcpt(to); err != nil {
			return refused("send to "+to, err)
		}
	}
	w, err := c.Data()
	if err != nil {
		return refused("send the text", err)
	}
	text, err := m.compose(msg, time.Now())
	if err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("send the text: %w", err)
	}
	if err := w.Close(); err != nil {
		return refused("send the text", err)
	}
	_ = c.Quit() // it has the message
	return nil
}

// refused tells errors for good (RFC 5321 section 4.2.1) from others.
func refused(what string, err error) error {
	if said, ok := errors.AsType[*textproto.Error](err); ok && said.Code >= 500 {
		return fmt.Errorf("%s: %w: %w", what, err, ErrRefused)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// compose makes the mail (RFC 5322, RFC 2045; Auto-Submitted: RFC 3834).
func (m Mail) compose(msg Message, now time.Time) ([]byte, error) {
	var id [12]byte
	_, _ = rand.Read(id[:]) // never fails
	var b bytes.Buffer
	for _, h := range [][2]string{
		{"From", m.From},
		{"To", strings.Join(m.To, ",\r\n ")},
		{"Subject", mime.QEncoding.Encode("utf-8", shorten(msg.Subject()))},
		{"Date", now.Format(time.RFC1123Z)},
		{"Message-ID", "<" + hex.EncodeToString(id[:]) + "@" + hostname() + ">"},
		{"Auto-Submitted", "auto-generated"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", h[0], h[1])
	}
	b.WriteString("\r\n")
	body := quotedprintable.NewWriter(&b)
	if _, err := body.Write([]byte(strings.ToValidUTF8(msg.Text(), "?"))); err != nil {
		return nil, fmt.Errorf("encode the text: %w", err)
	}
	if err := body.Close(); err != nil {
		return nil, fmt.Errorf("encode the text: %w", err)
	}
	return b.Bytes(), nil
}

// shorten keeps a header's line within what RFC 5322 allows.
func shorten(subject string) string {
	const limit = 200
	if runes := []rune(strings.ToValidUTF8(subject, "?")); len(runes) > limit {
		return string(runes[:limit]) + "..."
	}
	return subject
}

// loginAuth is AUTH LOGIN, for servers that have nothing else: two questions, two answers.
type loginAuth struct {
	user, password string
	answered       int
}

func (a *loginAuth) Start(server *smtp.ServerInfo) (string, []byte, error) {
	if !server.TLS {
		return "", nil, errors.New("the connection is not protected")
	}
	return "LOGIN", nil, nil
}

func (a *loginAuth) Next(_ []byte, more bool) ([]byte, error) {
	a.answered++
	switch {
	case !more:
		return nil, nil
	case a.answered == 1:
		return []byte(a.user), nil
	case a.answered == 2:
		return []byte(a.password), nil
	}
	return nil, errors.New("the server asks for more than name and password")
}
