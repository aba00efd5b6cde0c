package wire

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

func TestDialer(t *testing.T) {
	addr := start(t, agentLike(), nil)
	d := Dialer{ConnectTimeout: time.Second}
	got, err := d.Ask(within(t), addr, "PING|1|db1")
	if err != nil || got != `OK: "PING|1|db1"` {
		t.Errorf("Ask: %q, %v", got, err)
	}
	got, err = d.Control(within(t), start(t, monitorLike(t), nil), "ping")
	if err != nil || got != "OK: Pinged successfully!" {
		t.Errorf("Control: %q, %v", got, err)
	}
	if _, err := d.Ask(context.Background(), addr, "x"); err == nil {
		t.Error("Ask without a deadline: no error")
	}
	for _, line := range []string{"a\nb", strings.Repeat("x", MaxLine+1)} {
		if _, err := d.Ask(within(t), addr, line); err == nil {
			t.Errorf("Ask with %d bytes: no error", len(line))
		}
		if _, err := d.Control(within(t), addr, line); err == nil {
			t.Errorf("Control with %d bytes: no error", len(line))
		}
	}
}

func TestDialerRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	_, err = Dialer{}.Ask(within(t), l.Addr().String(), "x")
	if _, ok := errors.AsType[*ConnectError](err); !ok {
		t.Errorf("got %v, want a ConnectError", err)
	}
}

// raw answers one connection with text, then keeps it open or ends it.
func raw(t *testing.T, text string, end bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = bufio.NewReader(c).ReadString('\n')
		_, _ = io.WriteString(c, text)
		if !end {
			_, _ = io.Copy(io.Discard, c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return l.Addr().String()
}

func TestAskRefusesBrokenAnswers(t *testing.T) {
	longest := strings.Repeat("x", MaxAnswer)
	if got, err := (Dialer{}).Ask(within(t), raw(t, longest+"\n", false), "x"); err != nil || got != longest {
		t.Errorf("longest answer: %d bytes, %v", len(got), err)
	}
	for _, text := range []string{longest + "x\n", strings.Repeat("x", 1<<20), "OK: Pinged!|UP:1.00", ""} {
		got, err := Dialer{}.Ask(within(t), raw(t, text, true), "x")
		if _, connect := errors.AsType[*ConnectError](err); err == nil || connect || got != "" {
			t.Errorf("answer of %d bytes: %q, %v", len(text), got, err)
		}
	}
}

func TestDialerKeepsToItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Dialer{}).Ask(ctx, raw(t, "half", false), "x"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ask: %v", err)
	}
	answer, err := Dialer{}.Control(ctx, raw(t, "half", false), "x")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Control: %q, %v", answer, err)
	}
	ctx, cancel = context.WithTimeout(context.Background(), patience)
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	answer, err = Dialer{}.Control(ctx, raw(t, "half", false), "x")
	if !errors.Is(err, context.Canceled) || answer != "half" || time.Since(began) > patience/2 {
		t.Errorf("Control, cancelled: %q, %v after %v", answer, err, time.Since(began))
	}
}
