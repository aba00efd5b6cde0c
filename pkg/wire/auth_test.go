package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// guarded runs an agent's port that has a secret and answers what it was asked.
func guarded(t *testing.T, secret string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	s := &Server{Terminator: "\n", Secret: []byte(secret), Handler: func(_ context.Context, line string) (string, bool) { return "OK: " + line + "|UP:1.00", false }}
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestSecret(t *testing.T) {
	addr := guarded(t, "a secret of some length")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	const order = "SET_STATUS|1|db1|ONLINE|writer(10.0.0.1)|db1|epoch=7"
	ask := func(secret string) (string, error) { return Dialer{Secret: []byte(secret)}.Ask(ctx, addr, order) }
	if got, err := ask("a secret of some length"); err != nil || got != "OK: "+order+"|UP:1.00" {
		t.Errorf("with the secret: %q, %v", got, err)
	}
	for _, wrong := range []string{"another secret, as long", ""} {
		if got, err := ask(wrong); err != nil || !strings.HasPrefix(got, notAuthenticated) {
			t.Errorf("with the secret %q: %q, %v", wrong, got, err)
		}
	}
	if got, err := (Dialer{}).Ask(ctx, addr, "PING|1|db1"); err != nil || got != "OK: PING|1|db1|UP:1.00" {
		t.Errorf("PING: %q, %v", got, err)
	}
	if _, err := (Dialer{Secret: []byte("x")}).Ask(ctx, guarded(t, ""), order); !errors.Is(err, ErrForged) {
		t.Errorf("an agent without a secret is believed: %v", err)
	}
}

// TestForgedOrder (S22): an order that was recorded, altered, or sent again is refused.
func TestForgedOrder(t *testing.T) {
	const secret = "a secret of some length"
	addr := guarded(t, secret)
	type talk struct {
		net.Conn
		in *bufio.Reader
	}
	open := func() talk {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return talk{c, bufio.NewReader(c)}
	}
	say := func(c talk, line string) string {
		fmt.Fprintf(c, "%s\n", line)
		answer, err := c.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	hello := func(c talk) string {
		_, nonce, _ := strings.Cut(say(c, "HELLO|1|db1"), "nonce=")
		nonce, _, _ = strings.Cut(nonce, "|")
		return nonce + "|" // and none of ours
	}
	const order = "SET_STATUS|1|db1|ONLINE|writer(10.0.0.1)|db1|epoch=7"
	first := open()
	nonce := hello(first)
	signed := order + "|mac=" + sign([]byte(secret), nonce, "q", order)
	if got := say(first, strings.Replace(signed, "epoch=7", "epoch=8", 1)); !strings.HasPrefix(got, notAuthenticated) {
		t.Errorf("altered: %s", got)
	}
	if got := say(first, signed); !strings.HasPrefix(got, "OK: ") {
		t.Errorf("the true one: %s", got)
	}
	if got := say(first, signed); !strings.HasPrefix(got, notAuthenticated) {
		t.Errorf("again: %s", got)
	}
	second := open()
	hello(second)
	if got := say(second, signed); !strings.HasPrefix(got, notAuthenticated) {
		t.Errorf("on another connection: %s", got)
	}
}
