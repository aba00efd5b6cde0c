package alert

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mysql-mmm/pkg/event"
)

// mailServer is a small mail server (RFC 5321), which serves one connection after the other.
type mailServer struct {
	listener net.Listener
	config   *tls.Config
	fromTLS  bool
	auth     string // the ways to log in that the server offers; "": none
	startTLS bool
	careless bool   // the server offers a login on an unprotected connection too
	verdict  string // the answer to a login; "": a success
	refuse   string // the command that is answered with 550
	hang     string // the command that is not answered

	mu    sync.Mutex
	heard []string // commands
	text  string   // of the last mail
}

// startMailServer uses the certificate of httptest, which is for 127.0.0.1 among others.
func startMailServer(t *testing.T, s *mailServer) (m Mail) {
	t.Helper()
	tlsServer := httptest.NewTLSServer(nil)
	t.Cleanup(tlsServer.Close)
	s.config = &tls.Config{Certificates: tlsServer.TLS.Certificates}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { s.listener.Close(); <-done })
	go func() {
		defer close(done)
		var dialogues sync.WaitGroup
		defer dialogues.Wait()
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			dialogues.Go(func() { s.dialogue(conn) })
		}
	}()
	return Mail{Server: s.listener.Addr().String(), From: "mmm@example.com",
		To: []string{"dba@example.com", "boss@example.com"}, User: "mmm", Password: "qhdks-123",
		Config: tlsServer.Client().Transport.(*http.Transport).TLSClientConfig}
}

func (s *mailServer) dialogue(conn net.Conn) {
	defer func() { conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if s.fromTLS {
		conn = tls.Server(conn, s.config)
	}
	in := bufio.NewReader(conn)
	say := func(text string) { _, _ = io.WriteString(conn, text+"\r\n") }
	say("220 here")
	protected := s.fromTLS
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		word, rest, _ := strings.Cut(line, " ")
		s.note(line, protected)
		switch {
		case word == s.hang:
			_, _ = io.Copy(io.Discard, conn)
			return
		case word == s.refuse:
			say("550 no, and you said " + rest)
		case word == "EHLO":
			say("250-here")
			if s.startTLS && !protected {
				say("250-STARTTLS")
			}
			if s.auth != "" && (protected || s.careless) {
				say("250-AUTH " + s.auth)
			}
			say("250 8BITMIME")
		case word == "STARTTLS":
			say("220 go")
			conn = tls.Server(conn, s.config)
			in, protected = bufio.NewReader(conn), true
		case word == "AUTH" && strings.HasPrefix(rest, "LOGIN"):
			for _, question := range []string{"Username:", "Password:"} {
				say("334 " + base64.StdEncoding.EncodeToString([]byte(question)))
				answer, _ := in.ReadString('\n')
				text, _ := base64.StdEncoding.DecodeString(strings.TrimSpace(answer))
				s.note(string(text), protected)
			}
			say(cmp.Or(s.verdict, "235 welcome"))
		case word == "AUTH":
			text, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(rest, "PLAIN "))
			s.note(strings.ReplaceAll(string(text), "\x00", "/"), protected)
			say(cmp.Or(s.verdict, "235 welcome"))
		case word == "DATA":
			say("354 go")
			var text strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				text.WriteString(line)
			}
			s.mu.Lock()
			s.text = text.String()
			s.mu.Unlock()
			say("250 queued")
		case word == "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *mailServer) note(line string, protected bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if protected {
		line = "tls " + line
	}
	s.heard = append(s.heard, line)
}

func TestMail(t *testing.T) {
	msg := Message{Alert: "x", Events: []event.Event{fatal("db1 fällt aus\nBcc: all@example.com"), fatal(".")}}
	for name, c := range map[string]struct {
		server *mailServer
		mode   TLS
		user   string
		want   []string
	}{
		"starttls, plain": {&mailServer{startTLS: true, auth: "LOGIN PLAIN"}, StartTLS, "mmm",
			[]string{"STARTTLS", "tls AUTH PLAIN AG1tbQBxaGRrcy0xMjM=", "tls /mmm/qhdks-123",
				"tls MAIL FROM:<mmm@example.com> BODY=8BITMIME"}},
		"starttls, login": {&mailServer{startTLS: true, auth: "LOGIN"}, StartTLS, "mmm",
			[]string{"STARTTLS", "tls AUTH LOGIN", "tls mmm", "tls qhdks-123", "tls RCPT TO:<boss@example.com>"}},
		"from tls": {&mailServer{fromTLS: true, auth: "PLAIN"}, FromTLS, "mmm",
			[]string{"tls /mmm/qhdks-123", "tls RCPT TO:<dba@example.com>", "tls DATA", "tls QUIT"}},
		"none": {&mailServer{}, NoTLS, "", []string{"RCPT TO:<dba@example.com>",
			"RCPT TO:<boss@example.com>", "DATA", "QUIT"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			m := startMailServer(t, s)
			m.TLS, m.User = c.mode, c.user
			if err := m.Send(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, want := range c.want {
				if !slices.Contains(s.heard, want) {
					t.Errorf("did not hear %q but %q", want, s.heard)
				}
			}
			got, err := mail.ReadMessage(strings.NewReader(s.text))
			if err != nil {
				t.Fatal(err)
			}
			subject, err := new(mime.WordDecoder).DecodeHeader(got.Header.Get("Subject"))
			if err != nil || subject != "mysql-mmm c1: FATAL db1 fällt aus Bcc: all@example.com (and 1 more)" {
				t.Errorf("subject %q (%v)", subject, err)
			}
			checkHeader(t, got.Header)
			body, err := io.ReadAll(quotedprintable.NewReader(got.Body))
			if text := strings.ReplaceAll(string(body), "\r\n", "\n"); err != nil || text != msg.Text() {
				t.Errorf("%v:\n%s\nwant\n%s", err, text, msg.Text())
			}
		})
	}
}

// checkHeader wants a header that keeps machines from answering, has no field twice, and does not name the software.
func checkHeader(t *testing.T, h mail.Header) {
	t.Helper()
	from, err := h.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Address != "mmm@example.com" {
		t.Errorf("from %v (%v)", from, err)
	}
	to, err := h.AddressList("To")
	if err != nil || len(to) != 2 || to[0].Address != "dba@example.com" || to[1].Address != "boss@example.com" {
		t.Errorf("to %v (%v)", to, err)
	}
	if at, err := h.Date(); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("of %v (%v)", at, err)
	}
	if id := h.Get("Message-ID"); !regexp.MustCompile(`^<[^<>@ ]{20,}@[^<>@ ]+>$`).MatchString(id) {
		t.Errorf("id %q", id)
	}
	for name, want := range map[string]string{"Auto-Submitted": "auto-generated", "MIME-Version": "1.0",
		"Content-Type": "text/plain; charset=utf-8", "Content-Transfer-Encoding": "quoted-printable"} {
		if got := h.Get(name); !strings.EqualFold(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if len(h) != 9 { // the fields above and the subject: no Bcc, no User-Agent
		t.Errorf("%d headers: %v", len(h), h)
	}
	for name, values := range h {
		if len(values) != 1 {
			t.Errorf("%s: %q", name, values)
		}
	}
}

// No error shows the password, and no server gets the password over an unprotected connection.
func TestMailErrors(t *testing.T) {
	for name, c := range map[string]struct {
		server *mailServer
		change func(m *Mail)
		want   string
		final  bool
	}{
		"no starttls": {&mailServer{auth: "PLAIN"}, nil, "the server offers no STARTTLS", true},
		"no login":    {&mailServer{startTLS: true}, nil, "the server offers no login", true},
		"wrong password": {&mailServer{startTLS: true, auth: "PLAIN", refuse: "AUTH"}, nil,
			"log in as mmm: the server says 550", true},
		"asks for more, by the password": {&mailServer{startTLS: true, auth: "LOGIN",
			verdict: "334 " + base64.StdEncoding.EncodeToString([]byte("what is qhdks-123?"))}, nil,
			"log in as mmm: the server's answer makes no sense", false},
		"talks of the password": {&mailServer{startTLS: true, auth: "PLAIN", verdict: "what is qhdks-123?"}, nil,
			"log in as mmm: the server's answer makes no sense", false},
		"no such address": {&mailServer{startTLS: true, auth: "PLAIN", refuse: "RCPT"}, nil,
			`send to dba@example.com: 550 "no, and you said TO:<dba@example.com>"`, true},
		"unknown issuer": {&mailServer{startTLS: true, auth: "PLAIN"}, func(m *Mail) { m.Config = nil },
			"certificate signed by unknown authority", false},
		"not protected": {&mailServer{fromTLS: false, startTLS: false}, func(m *Mail) { m.TLS = NoTLS },
			"the server offers no login", true},
		"not protected, and asked": {&mailServer{auth: "PLAIN", careless: true}, func(m *Mail) { m.TLS = NoTLS },
			"log in as mmm: the connection is not protected", true},
		"not protected, and asked by LOGIN": {&mailServer{auth: "LOGIN", careless: true},
			func(m *Mail) { m.TLS = NoTLS }, "log in as mmm: the connection is not protected", true},
		"no address": {&mailServer{}, func(m *Mail) { m.To = []string{"boss"} }, "boss", true},
		"hangs":      {&mailServer{startTLS: true, hang: "EHLO"}, nil, "i/o timeout", false},
		"hangs at the login": {&mailServer{startTLS: true, auth: "PLAIN", hang: "AUTH"}, nil,
			"i/o timeout", false},
		"hangs at the text": {&mailServer{startTLS: true, auth: "PLAIN", hang: "DATA"}, nil, "i/o timeout", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.server
			m := startMailServer(t, s)
			if c.change != nil {
				c.change(&m)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if c.server.hang != "" {
				ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
			}
			defer cancel()
			err := m.Send(ctx, Message{Events: []event.Event{fatal("x")}})
			if err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, ErrRefused) != c.final {
				t.Fatalf("%v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "qhdks") || strings.Contains(err.Error(),
				base64.StdEncoding.EncodeToString([]byte("\x00mmm\x00qhdks-123"))) {
				t.Error(err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for _, line := range s.heard {
				if !strings.HasPrefix(line, "tls ") && (strings.Contains(line, "qhdks") || strings.HasPrefix(line, "AUTH")) {
					t.Errorf("unprotected: %q", line)
				}
			}
		})
	}
}
