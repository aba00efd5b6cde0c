package wire

import (
	"bufio"
	"context"
	"net"
	"testing"
	"time"
)

// No client is refused while one service takes a port over from another.
func TestPortIsTakenOver(t *testing.T) {
	first, err := OpenPort("127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	serve := func(p *Port, answer string) (stop func()) {
		s := &Server{Terminator: "\n", Handler: func(context.Context, string) (string, bool) { return answer, false }}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Serve(ctx, p.Listener(nil)) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("%s: %v", answer, err)
			}
		}
	}
	addr := first.tcp.Addr().String()
	connect := func() *bufio.ReadWriter {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if err := c.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		return bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c))
	}
	ask := func(c *bufio.ReadWriter) string {
		t.Helper()
		if _, err := c.WriteString("x\n"); err != nil {
			t.Fatal(err)
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		answer, err := c.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	stop := serve(first, "one")
	if got := ask(connect()); got != "one\n" {
		t.Errorf("got %q", got)
	}
	second, err := OpenPort(first.addr, first)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	between := connect()
	stop = serve(second, "two")
	if got := ask(between); got != "two\n" {
		t.Errorf("got %q", got)
	}
	if got := ask(connect()); got != "two\n" {
		t.Errorf("got %q", got)
	}
	other, err := OpenPort("127.0.0.1:0", &Port{addr: "127.0.0.2:0", tcp: second.tcp})
	if err != nil || other.tcp.Addr().String() == addr {
		t.Errorf("another address: %v, %v", other, err)
	}
	other.Close()
	stop()
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("somebody still listens")
	}
}
