package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests; a test that passes never waits that long.
const patience = 20 * time.Second

// start serves on a loopback port until the test ends and returns the address.
func start(t *testing.T, s *Server, conf *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve does not return")
		}
	})
	return addr
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// dial opens a connection that ends with the test.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return c
}

func send(t *testing.T, c net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func readLine(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	line, err := in.ReadString('\n')
	if err != nil {
		t.Fatalf("after %q: %v", line, err)
	}
	return line
}

// expectEnd waits until the server has ended the connection; what the server still sends must be want.
func expectEnd(t *testing.T, c io.Reader, want string) {
	t.Helper()
	rest, err := io.ReadAll(c)
	if string(rest) != want || err != nil {
		t.Fatalf("got %q, %v; want %q and the end", rest, err, want)
	}
}

// agentLike answers every line with itself.
func agentLike() *Server {
	return &Server{
		Terminator: "\n",
		Handler: func(_ context.Context, line string) (string, bool) {
			return fmt.Sprintf("OK: %q", line), false
		},
		Refuse: func(why string) string { return "ERROR: " + why },
	}
}

func TestAgentConnectionCarriesManyRequests(t *testing.T) {
	c := dial(t, start(t, agentLike(), nil))
	in := bufio.NewReader(c)
	longest := strings.Repeat("x", MaxLine)
	tests := []struct{ name, sent, want string }{
		{"line", "PING|1|db1\n", `OK: "PING|1|db1"` + "\n"},
		{"blank line", "\n", `OK: ""` + "\n"},
		{"carriage return", "a\r\n", `OK: "a\r"` + "\n"},
		{"two at once", "a\nb\n", `OK: "a"` + "\n" + `OK: "b"` + "\n"},
		{"rubbish", "\x00\xff\x16\x03\x01\n", `OK: "\x00\xff\x16\x03\x01"` + "\n"},
		{"longest line", longest + "\n", `OK: "` + longest + `"` + "\n"},
		{"one too long", longest + "x\nafter\n", "ERROR: Line too long\n" + `OK: "after"` + "\n"},
		{"far too long", strings.Repeat("y", 50*MaxLine) + "\nafter\n", "ERROR: Line too long\n" + `OK: "after"` +
			"\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			send(t, c, tt.sent)
			for want := range strings.Lines(tt.want) {
				if got := readLine(t, in); got != want {
					t.Fatalf("got %q, want %q", got, want)
				}
			}
		})
	}
}

func TestEndlessLineIsAnsweredBeforeItsEnd(t *testing.T) {
	s := agentLike()
	s.FirstLineTimeout = 200 * time.Millisecond
	c := dial(t, start(t, s, nil))
	send(t, c, strings.Repeat("x", MaxLine+1))
	in := bufio.NewReader(c)
	if got := readLine(t, in); got != "ERROR: Line too long\n" {
		t.Fatalf("got %q", got)
	}
	expectEnd(t, in, "")
}

// A line that a broken connection has cut short could look like an order to give up all roles.
func TestHalfALineIsNoRequest(t *testing.T) {
	handled := make(chan string, 10)
	s := &Server{Handler: func(_ context.Context, line string) (string, bool) {
		handled <- line
		return "", false
	}}
	c := dial(t, start(t, s, nil))
	send(t, c, "whole\nSET_STATUS|1|db1|ONLINE")
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	expectEnd(t, c, "")
	if got := <-handled; got != "whole" {
		t.Errorf("handled %q", got)
	}
	select {
	case got := <-handled:
		t.Errorf("handled half a line, %q", got)
	default:
	}
}

func TestSilentConnectionsEnd(t *testing.T) {
	for _, sent := range []string{"", "half a line"} {
		s := agentLike()
		s.FirstLineTimeout = 50 * time.Millisecond
		c := dial(t, start(t, s, nil))
		send(t, c, sent)
		expectEnd(t, c, "")
	}
	s := agentLike()
	s.FirstLineTimeout, s.IdleTimeout = 2*patience, 50*time.Millisecond
	c := dial(t, start(t, s, nil))
	send(t, c, "a\nhalf")
	expectEnd(t, c, `OK: "a"`+"\n")
}

// monitorLike stands in for a monitor, with its recorded answers.
func monitorLike(t *testing.T) *Server {
	var help string
	for _, e := range recorded(t, "control_direct.txt") {
		if _, after, ok := strings.Cut(e.answered, "\n\n"); ok {
			help = after
		}
	}
	answers := map[string]string{
		"ping":            "OK: Pinged successfully!",
		"mode":            "ACTIVE",
		"set_online  db1": "OK: This host is already ONLINE. Skipping command.",
	}
	return &Server{Handler: func(_ context.Context, line string) (string, bool) {
		if line == "quit" {
			return "", true
		}
		if a, ok := answers[strings.TrimRight(line, " \r")]; ok {
			return a, false
		}
		return "Invalid command '" + line + "'\n\n" + help, false
	}}
}

func TestRecordedControlConnections(t *testing.T) {
	addr := start(t, monitorLike(t), nil)
	for _, e := range recorded(t, "control_direct.txt") {
		c := dial(t, addr)
		send(t, c, e.sent)
		if e.ended {
			expectEnd(t, c, e.answered)
			continue
		}
		got := make([]byte, len(e.answered))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != e.answered {
			t.Errorf("%q: got %q, %v", e.sent, got, err)
		}
		// Still open: another command is answered.
		send(t, c, "mode\nquit\n")
		expectEnd(t, c, "ACTIVE")
	}
}

func TestTextAfterQuitIsIgnored(t *testing.T) {
	addr := start(t, monitorLike(t), nil)
	for range 20 { // several times, as a reset, with which the answer is lost, would come only now and then
		c := dial(t, addr)
		send(t, c, "ping\nquit\nmode\n"+strings.Repeat("rubbish\n", 10000))
		expectEnd(t, c, "OK: Pinged successfully!")
	}
}

func TestServeEndsWithRunningRequests(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	s := &Server{Terminator: "\n", Handler: func(ctx context.Context, _ string) (string, bool) {
		close(entered)
		<-ctx.Done()
		<-release
		return "ended", false
	}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	idle, busy := dial(t, l.Addr().String()), dial(t, l.Addr().String())
	send(t, busy, "x\n")
	<-entered
	cancel()
	expectEnd(t, idle, "")
	select {
	case err := <-ended:
		t.Fatalf("Serve returned, %v, with a handler running", err)
	default:
	}
	close(release)
	expectEnd(t, busy, "ended\n")
	if err := <-ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestServeReportsAForeignClose(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := agentLike().Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
