package mysqlctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestGrantedLater: the GRANT that an error names takes effect without a restart of anything.
func TestGrantedLater(t *testing.T) { each(t, testGrantedLater) }

func testGrantedLater(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	cfg := account(i, "later", "SHUTDOWN")
	c, s := NewConn(cfg), New(cfg)
	defer c.Close()
	defer s.Close()
	ctx := within(t, time.Minute)
	if _, err := c.Replica(ctx); !IsMissingPrivilege(err) {
		t.Errorf("without the right: %v", err)
	}
	if err := s.AllowWrites(ctx); !IsMissingPrivilege(err) {
		t.Errorf("without the right: %v", err)
	}
	i.Exec("GRANT "+i.Kind.MonitorRights()+" ON *.* TO later@'%'", "GRANT "+i.Kind.AgentRights()+" ON *.* TO later@'%'")
	if _, err := c.Replica(ctx); !errors.Is(err, ErrNotReplica) {
		t.Errorf("with it: %v", err)
	}
	if err := s.AllowWrites(ctx); err != nil {
		t.Errorf("with it: %v", err)
	}
}

func TestWaitBroken(t *testing.T) { each(t, testWaitBroken) }

func testWaitBroken(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	c := NewConn(account(i, "monitor", i.Kind.MonitorRights()))
	defer c.Close()
	ctx := within(t, time.Minute)

	if err := c.WaitBroken(ctx); err != nil {
		t.Errorf("without a connection: %v", err)
	}
	fatal(t, c.Ping(ctx))

	// An intact connection outlives a wait that is given up, and many of them.
	id := i.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER='monitor'")
	for range 20 {
		if err := c.WaitBroken(within(t, 10*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("at the deadline: %v", err)
		}
		fatal(t, c.Ping(ctx))
		if _, err := c.Replica(ctx); !errors.Is(err, ErrNotReplica) {
			t.Fatal(err)
		}
	}
	if now := i.Query("SELECT ID FROM information_schema.PROCESSLIST WHERE USER='monitor'"); now != id {
		t.Errorf("connection %s has become %s", id, now)
	}

	broken := func(how string, act func(), atMost time.Duration) {
		t.Helper()
		seen := make(chan time.Time, 1)
		go func() {
			if err := c.WaitBroken(ctx); err != nil {
				t.Errorf("%s: %v", how, err)
			}
			seen <- time.Now()
		}()
		eventually(t, "it waits", func() bool { return blockedIn("(*Conn).WaitBroken") })
		start := time.Now()
		act()

		if took := (<-seen).Sub(start); took > atMost {
			t.Errorf("%s was seen after %v", how, took)
		}
	}
	broken("KILL", func() { i.Exec("KILL " + id) }, 500*time.Millisecond)
	fatal(t, c.Ping(ctx))
	broken("kill -9", func() { i.Signal(syscall.SIGKILL) }, 500*time.Millisecond)
	i.Kill()
	var refused *ConnectError
	if err := c.Ping(ctx); !errors.As(err, &refused) || refused.Addr != i.Addr || refused.User != "monitor" ||
		err.Error() != "connect to "+i.Addr+" as monitor: connection refused" {
		t.Errorf("a dead server: %v", err)
	}
	i.Restart()
	fatal(t, c.Ping(ctx))
	i.Stop()
	i.Restart()
	fatal(t, c.Ping(ctx)) // the kept connection is broken: Ping connects anew, and succeeds
}

// blockedIn tells whether some goroutine waits for the network in the function.
func blockedIn(function string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(g, "[IO wait") && strings.Contains(g, function) {
			return true
		}
	}
	return false
}

// TestFewConnections: with Brief no connection stays open after a question, where it would count as a client's.
func TestFewConnections(t *testing.T) { each(t, testFewConnections) }

func testFewConnections(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	cfg := account(i, "monitor", i.Kind.MonitorRights())
	ctx := within(t, time.Minute)
	clients := func(want string) {
		t.Helper()
		n := ""
		for ctx.Err() == nil {
			if n = i.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='monitor'"); n == want {
				return
			}
		}
		t.Fatalf("%s connections, want %s", n, want)
	}
	brief := false
	cfg.Brief = func() bool { return brief }
	c := NewConn(cfg)
	defer c.Close()
	fatal(t, c.Ping(ctx))
	clients("1")
	brief = true
	fatal(t, c.Ping(ctx))
	clients("0")
	if err := c.WaitBroken(within(t, 10*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a connection that is to be kept: %v", err)
	}
	fatal(t, c.Ping(ctx))
	clients("0")

	s := New(cfg)
	defer s.Close()
	fatal(t, s.Ping(ctx))
	s.CloseIdle(time.Hour)
	clients("1")
	s.CloseIdle(0)
	clients("0")
	fatal(t, s.Ping(ctx))
}

func TestServerSurvivesRestart(t *testing.T) { each(t, testServerSurvivesRestart) }

func testServerSurvivesRestart(t *testing.T, kind string) {
	i, s := server(t, mysqltest.Options{Server: kind})
	ctx := within(t, time.Minute)
	fatal(t, s.Ping(ctx))
	i.Kill()
	if err := s.Ping(ctx); err == nil {
		t.Error("a dead server answers")
	}
	i.Restart()
	fatal(t, s.Ping(ctx))
}

func TestTooManyConnections(t *testing.T) { each(t, testTooManyConnections) }

func testTooManyConnections(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind, Args: []string{"--max-connections=10"}})
	cfg := account(i, "monitor", i.Kind.MonitorRights())
	for range 30 {
		c := NewConn(cfg)
		defer c.Close()
		err := c.Ping(within(t, 5*time.Second))
		var refused *ConnectError
		if SignOf(err) == Full && errors.As(err, &refused) {
			return
		}
		fatal(t, err)
	}
	t.Error("ten connections are never too many")
}

func TestWrongPassword(t *testing.T) { each(t, testWrongPassword) }

func testWrongPassword(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	cfg := account(i, "monitor", i.Kind.MonitorRights())
	cfg.Password = "wr0ng"
	err := NewConn(cfg).Ping(within(t, 5*time.Second))
	if err == nil || !strings.Contains(err.Error(), "Access denied") || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("%v", err)
	}
}

// TestBrokenServers: whatever a port does instead of what a database server does, each call ends with an error, in
// time. The greeting is one of a real server, whole or cut off.
func TestBrokenServers(t *testing.T) {
	greeting := greetingOf(t, mysqltest.Start(t, mysqltest.Options{}))
	hold := func(c net.Conn) { _, _ = io.Copy(io.Discard, c) } // until the client goes
	for name, serve := range map[string]func(net.Conn){
		"says nothing":              hold,
		"hangs in the greeting":     func(c net.Conn) { _, _ = c.Write(greeting[:20]); hold(c) },
		"hangs after the greeting":  func(c net.Conn) { _, _ = c.Write(greeting); hold(c) },
		"closes at once":            func(c net.Conn) {},
		"closes in the greeting":    func(c net.Conn) { _, _ = c.Write(greeting[:20]) },
		"closes after the greeting": func(c net.Conn) { _, _ = c.Write(greeting) },
		"speaks SSH": func(c net.Conn) {
			_,
				_ = c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			hold(c)
		},
		"speaks HTTP": func(c net.Conn) {
			_,
				_ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
		},
		"sends zeros":          func(c net.Conn) { _, _ = c.Write(make([]byte, 1000)); hold(c) },
		"greets with nothing":  func(c net.Conn) { _, _ = c.Write([]byte{1, 0, 0, 0, 10}); hold(c) },
		"logs in, then hangs":  func(c net.Conn) { logInFake(c, greeting); hold(c) },
		"logs in, then closes": func(c net.Conn) { logInFake(c, greeting) },
		"logs in, then cuts the answer": func(c net.Conn) {
			logInFake(c, greeting)
			answer(c,
				[]byte{1, 0, 0, 1, 4, 9, 0, 0, 2, 3})
		},
		"logs in, then answers nonsense": func(c net.Conn) {
			logInFake(c, greeting)
			answer(c,
				[]byte("\x03\x00\x00\x01???"))
			hold(c)
		},
		"logs in, then answers with OK": func(c net.Conn) { logInFake(c, greeting); answer(c, okPacket(1)); hold(c) },
		"logs in, then sends a huge size": func(c net.Conn) {
			logInFake(c, greeting)
			answer(c,
				[]byte{255, 255, 255, 1, 1})
			hold(c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			fatal(t, err)
			defer l.Close()
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					go func() {
						defer c.Close()
						serve(c)
					}()
				}
			}()
			cfg := Config{Addr: l.Addr().String(), User: "monitor", Password: password}
			s, c := New(cfg), NewConn(cfg)
			defer s.Close()
			defer c.Close()
			for _, ping := range []func(context.Context) error{s.Ping, c.Ping} {
				start := time.Now()
				err := ping(within(t, 300*time.Millisecond))
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
				var refused *ConnectError
				if !errors.As(err, &refused) {
					t.Errorf("%v, want a ConnectError", err)
				}
				if err != nil && strings.Contains(err.Error(), password) {
					t.Errorf("the password is told: %v", err)
				}
			}
		})
	}
}

func greetingOf(t *testing.T, i *mysqltest.Instance) []byte {
	c, err := net.Dial("tcp", i.Addr)
	fatal(t, err)
	defer c.Close()
	buf := make([]byte, 4096)
	n, err := c.Read(buf)
	fatal(t, err)
	return buf[:n]
}

func okPacket(sequence byte) []byte { return []byte{7, 0, 0, sequence, 0, 0, 0, 2, 0, 0, 0} }

// logInFake lets the client in whatever it says.
func logInFake(c net.Conn, greeting []byte) {
	_, _ = c.Write(greeting)
	answer(c, okPacket(2))
}

// answer waits for a packet and sends the text.
func answer(c net.Conn, text []byte) {
	_, _ = c.Read(make([]byte, 4096))
	_, _ = c.Write(text)
}

// TestGreeted: Greeted is true for a server that greets and then hangs, and false for one that can't be connected to or
// does not greet.
func TestGreeted(t *testing.T) {
	for name, c := range map[string]struct {
		says string
		want bool
	}{
		"it hangs after its greeting":  {"\x4a\x00\x00\x00\x0a5.5.5-10.11.0-MariaDB\x00", true},
		"it hangs before its greeting": {"", false},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		fatal(t, err)
		go func() {
			for {
				c1, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c1, c.says)
			}
		}()
		conn := NewConn(Config{Addr: l.Addr().String(), User: "monitor", ConnectTimeout: 100 * time.Millisecond,
			Timeout: 100 * time.Millisecond})
		if err := conn.Ping(t.Context()); err == nil {
			t.Errorf("%s: it answers", name)
		}
		if got := conn.Greeted(); got != c.want {
			t.Errorf("%s: greeted is %v", name, got)
		}
		_ = l.Close()
		if err := conn.Ping(t.Context()); err == nil || conn.Greeted() {
			t.Errorf("%s: nobody listens: %v, greeted %v", name, err, conn.Greeted())
		}
	}
}

// TestEndedQuestion: a question that an operator kills, with its connection or without, is asked again: the kill says
// nothing of the server.
func TestEndedQuestion(t *testing.T) { each(t, testEndedQuestion) }

func testEndedQuestion(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	cfg := account(i, "monitor", i.Kind.MonitorRights())
	n := 0
	for _, kill := range []string{"KILL ", "KILL QUERY "} {
		c, s := NewConn(cfg), New(cfg)
		defer c.Close()
		defer s.Close()
		fatal(t, c.Ping(within(t, 5*time.Second)))
		for name, ask := range map[string]func(context.Context, func(flavour) statement) ([]row, error){"Conn": c.ask,
			"Server": s.ask} {
			n++
			mark := fmt.Sprintf("question%d", n) // a killed question may still be listed
			asked := 0
			question := func(flavour) statement {
				if asked++; asked > 1 {
					return statement{what: "ask again", sql: "SELECT 7 AS answer"}
				}
				return statement{what: "ask", sql: "SELECT 7 AS answer FROM (SELECT SLEEP(20)) AS " + mark}
			}
			done := make(chan error, 1)
			go func() {
				rows, err := ask(within(t, 15*time.Second), question)
				if err == nil && (len(rows) != 1 || rows[0]["answer"] != "7") {
					err = fmt.Errorf("answer %v", rows)
				}
				done <- err
			}()
			running := "SELECT ID FROM information_schema.PROCESSLIST WHERE USER='monitor' AND INFO LIKE '%" + mark +
				"'"
			eventually(t, "the question", func() bool { return i.Query(running) != "" })
			i.Exec(kill + i.Query(running))
			if err := <-done; err != nil || asked != 2 {
				t.Errorf("%s, %s: asked %d times, %v", kill, name, asked, err)
			}
		}
	}
}
