package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// script plays an agent. Each of the functions serves one connection, in their order; further connections are refused.
// connections tells how many there have been.
func script(t *testing.T, plays ...func(c net.Conn, in *bufio.Reader)) (addr string, connections func() int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int32
	var playing sync.WaitGroup
	playing.Go(func() {
		defer l.Close()
		for _, play := range plays {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			playing.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				play(c, bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		playing.Wait()
	})
	return l.Addr().String(), func() int { return int(count.Load()) }
}

const (
	extended = "OK: Done|v=1|seq=7|UP:1.00"
	original = "OK: Status applied successfully!|UP:1.00"
)

// answers answers n lines, then ends the connection.
func answers(n int, answer string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, in *bufio.Reader) {
		for range n {
			if _, err := in.ReadString('\n'); err != nil {
				return
			}
			_, _ = io.WriteString(c, answer+"\n")
		}
	}
}

// then waits, when play is over, for the client to end the connection.
func then(play func(net.Conn, *bufio.Reader)) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, in *bufio.Reader) {
		play(c, in)
		_, _ = io.Copy(io.Discard, in)
	}
}

func pool(t *testing.T, d Dialer) *Pool {
	p := &Pool{Dialer: d}
	t.Cleanup(p.Close)
	return p
}

func wantAnswer(t *testing.T, p *Pool, addr, want string) {
	t.Helper()
	if got, err := p.Ask(within(t), addr, "x"); err != nil || got != want {
		t.Fatalf("%q, %v", got, err)
	}
}

func TestPoolKeepsItsConnection(t *testing.T) {
	addr, connections := script(t, then(answers(100, extended)))
	other, otherConnections := script(t, then(answers(100, extended)))
	p := pool(t, Dialer{})
	for range 10 {
		wantAnswer(t, p, addr, extended)
		wantAnswer(t, p, other, extended)
	}
	if connections() != 1 || otherConnections() != 1 {
		t.Errorf("%d and %d connections for ten questions each", connections(), otherConnections())
	}
}

// An original agent serves one connection at a time: no connection to it is kept.
func TestPoolKeepsNoneToAnOriginal(t *testing.T) {
	addr, connections := script(t, then(answers(2, original)), then(answers(2, original)), then(answers(1, extended)))
	p := pool(t, Dialer{})
	for n := range 2 {
		wantAnswer(t, p, addr, original)
		if connections() != n+1 {
			t.Errorf("%d connections for %d questions", connections(), n+1)
		}
	}
	wantAnswer(t, p, addr, extended)
}

// In whatever way a kept connection fails, the question is asked on a new one soon.
func TestPoolAsksAnew(t *testing.T) {
	hear := func(in *bufio.Reader) { _, _ = in.ReadString('\n') }
	for name, second := range map[string]func(c net.Conn, in *bufio.Reader){
		"closed":      func(net.Conn, *bufio.Reader) {},
		"reset":       func(c net.Conn, _ *bufio.Reader) { _ = c.(*net.TCPConn).SetLinger(0) },
		"no answer":   func(_ net.Conn, in *bufio.Reader) { hear(in) },
		"half of one": func(c net.Conn, in *bufio.Reader) { hear(in); _, _ = io.WriteString(c, "OK") },
		"silent":      then(func(_ net.Conn, in *bufio.Reader) { hear(in) }),
		"too long":    then(answers(1, strings.Repeat("x", MaxAnswer+1))),
	} {
		t.Run(name, func(t *testing.T) {
			addr, connections := script(t, func(c net.Conn, in *bufio.Reader) {
				answers(1, extended)(c, in)
				second(c, in)
			}, answers(1, extended))
			p := pool(t, Dialer{})
			wantAnswer(t, p, addr, extended)
			began := time.Now()
			wantAnswer(t, p, addr, extended)
			if took := time.Since(began); connections() != 2 || took > keptPatience+time.Second {
				t.Errorf("%d connections, %v", connections(), took)
			}
		})
	}
}

// On a new connection the agent may take until ctx ends; the question is not asked on another one.
func TestPoolAsksOnceOnANewConnection(t *testing.T) {
	slow := func(c net.Conn, in *bufio.Reader) {
		_, _ = in.ReadString('\n')
		<-time.After(2 * keptPatience) // the agent is slow
		_, _ = io.WriteString(c, extended+"\n")
	}
	addr, connections := script(t, then(slow), answers(0, ""))
	p := pool(t, Dialer{})
	wantAnswer(t, p, addr, extended)
	// The connection to a slow agent is not kept: the next question would be asked twice.
	if got, err := p.Ask(within(t), addr, "x"); !errors.Is(err, io.ErrUnexpectedEOF) &&
		!errors.Is(err, syscall.ECONNRESET) || connections() != 2 {
		t.Errorf("%q, %v after %d connections", got, err, connections())
	}
	if _, err := p.Ask(within(t), addr, "x"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("an agent that is gone: %v", err)
	}
}

func TestPoolKeepsToItsContext(t *testing.T) {
	addr, connections := script(t, then(answers(1, extended)))
	p := pool(t, Dialer{})
	wantAnswer(t, p, addr, extended)
	ctx, cancel := context.WithTimeout(t.Context(), keptPatience/4)
	defer cancel()
	got, err := p.Ask(ctx, addr, "x")
	if _, unasked := errors.AsType[*ConnectError](err); unasked || !errors.Is(err, context.DeadlineExceeded) ||
		connections() != 1 {
		t.Errorf("%q, %v after %d connections", got, err, connections())
	}
	if _, err := p.Ask(context.Background(), addr, "x"); err == nil {
		t.Error("without a deadline: no error")
	}
}

// A line behind the answer would be taken for the answer to the next question.
func TestPoolDropsAConnectionThatSaysTooMuch(t *testing.T) {
	addr, connections := script(t, then(answers(1, extended+"\nOK: more|v=1|UP:1.00")), answers(1, extended))
	p := pool(t, Dialer{})
	wantAnswer(t, p, addr, extended)
	wantAnswer(t, p, addr, extended)
	if connections() != 2 {
		t.Errorf("%d connections", connections())
	}
}

// Questions to one agent at the same time don't wait for each other, and each gets its own answer.
func TestPoolAtOnce(t *testing.T) {
	s := agentLike()
	s.Secret = []byte(testSecret)
	s.Handler = func(_ context.Context, line string) (string, bool) { return line + "|v=1|UP:1.00", false }
	addr := start(t, s, nil)
	p := pool(t, Dialer{Secret: []byte(testSecret)})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for range 50 {
				line := fmt.Sprintf("question %d", i)
				if got, err := p.Ask(within(t), addr, line); err != nil || got != line+"|v=1|UP:1.00" {
					t.Errorf("%s: %q, %v", line, got, err)
				}
			}
		})
	}
	all.Wait()
}

// A question that got no answer in time is not delivered later, when the network is back.
func TestAbandonedQuestionIsTakenBack(t *testing.T) {
	told := make(chan error, 1)
	addr, _ := script(t, func(c net.Conn, in *bufio.Reader) {
		_, _ = in.ReadString('\n')
		_, err := in.ReadByte()
		told <- err
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Dialer{}).Ask(ctx, addr, "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if err := <-told; !errors.Is(err, syscall.ECONNRESET) { // not an ordinary end, before which everything is delivered
		t.Errorf("the agent sees %v", err)
	}
}
