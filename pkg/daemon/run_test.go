package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// task makes a Task of a function.
type task struct {
	name string
	run  func(context.Context) error
}

func (t task) Run(ctx context.Context) error { return t.run(ctx) }
func (t task) String() string                { return t.name }

func TestRun(t *testing.T) {
	broken := errors.New("broken")
	wait := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	done := func(context.Context) error { return nil }
	fail := func(context.Context) error { return broken }
	failLate := func(ctx context.Context) error { <-ctx.Done(); return errors.New("late") }
	tests := []struct {
		name   string
		tasks  []Task
		cancel bool
		want   string // error
		logged string
	}{
		{name: "none"},
		{name: "all done", tasks: []Task{task{"a", done}, task{"b", done}}},
		{name: "told to end", tasks: []Task{task{"a", wait}, task{"b", done}}, cancel: true},
		{name: "one fails", tasks: []Task{task{"a", wait}, task{"b", fail}, task{"c", done}}, want: "b: broken"},
		{name: "another follows", tasks: []Task{task{"a", failLate}, task{"b", fail}}, want: "b: broken",
			logged: "late"},
		{name: "fails while ending", tasks: []Task{task{"a", failLate}}, cancel: true, want: "a: late", logged: "late"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.cancel {
				cancel()
			}
			var out bytes.Buffer
			err := Run(ctx, slog.New(NewHandler(&out, slog.LevelDebug)), tt.tasks...)
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if !strings.Contains(out.String(), tt.logged) || (tt.logged == "" && out.Len() > 0) {
				t.Errorf("logged %q, want %q", out.String(), tt.logged)
			}
		})
	}
}

func TestRunReturnsAfterItsTasks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slowDone := false
		slow := task{"slow", func(ctx context.Context) error {
			<-ctx.Done()
			time.Sleep(time.Hour)
			slowDone = true
			return nil
		}}
		fail := task{"fail", func(context.Context) error { return errors.New("x") }}
		if err := Run(t.Context(), slog.New(slog.DiscardHandler), slow, fail); err == nil || !slowDone {
			t.Errorf("%v, slow task done: %v", err, slowDone)
		}
	})
}

// manager is a service manager's socket.
func manager(t *testing.T, name string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func receive(t *testing.T, c *net.UnixConn) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 1000)
	n, err := c.Read(text)
	if err != nil {
		t.Fatal(err)
	}
	return string(text[:n])
}

func TestNotifier(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "s"), "@mmm-test-" + strconv.Itoa(os.Getpid())} {
		c := manager(t, name)
		t.Setenv("NOTIFY_SOCKET", name)
		n := NewNotifier()
		for want, send := range map[string]func() error{
			"READY=1":               func() error { return n.Send("READY=1") },
			"READY=1\nSTATUS=Well":  func() error { return n.Ready("Well") },
			"READY=1\nSTATUS=aä...": func() error { return n.Ready("a\xff" + "ä" + strings.Repeat("\xff", 5000)) },
		} {
			if err := send(); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, c); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if err := n.Run(t.Context()); err != nil { // no watchdog: returns
			t.Error(err)
		}
	}
	if err := (Notifier{}).Send("READY=1"); err != nil {
		t.Errorf("without a manager: %v", err)
	}
	if err := (Notifier{socket: filepath.Join(t.TempDir(), "none")}).Send("READY=1"); err == nil {
		t.Error("a socket that is not there: no error")
	}
}

func TestWatchdog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	c := manager(t, name)
	notifier := func(usec, pid string) Notifier {
		t.Setenv("NOTIFY_SOCKET", name)
		t.Setenv("WATCHDOG_USEC", usec)
		t.Setenv("WATCHDOG_PID", pid)
		n := NewNotifier()
		for _, key := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
			if value, set := os.LookupEnv(key); set {
				t.Errorf("children would find %s=%s", key, value)
			}
		}
		return n
	}
	own := strconv.Itoa(os.Getpid())
	n := notifier("3000", own)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	for range 3 {
		if got := receive(t, c); got != "WATCHDOG=1" {
			t.Errorf("got %q", got)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
	}{
		{"3000", own, 3 * time.Millisecond},
		{"3000", "", 3 * time.Millisecond},
		{"3000", "1", 0}, // meant for another process
		{"", own, 0},
		{"0", own, 0},
		{"-3000", own, 0},
		{"soon", own, 0},
		{"3000", "me", 0},
	} {
		if got := notifier(c.usec, c.pid).watchdog; got != c.want {
			t.Errorf("WATCHDOG_USEC=%s WATCHDOG_PID=%s: %v, want %v", c.usec, c.pid, got, c.want)
		}
	}
}

// Without an answer to Ping no sign of life is sent.
func TestWatchdogOfWhatHangs(t *testing.T) {
	name := filepath.Join(t.TempDir(), "s")
	c := manager(t, name)
	asked := make(chan struct{})
	n := Notifier{socket: name, watchdog: 3 * time.Millisecond, Ping: func(ctx context.Context) {
		asked <- struct{}{}
		<-ctx.Done()
	}}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	<-asked
	<-asked // Ping is called again: what the first call led to has been sent
	if err := c.SetReadDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 100)); err == nil {
		t.Errorf("no answer, and a sign of life of %d bytes", n)
	}
	cancel()
	for {
		select {
		case <-asked:
			continue
		case <-ended:
		}
		break
	}
	n.Ping = func(context.Context) {}
	if !n.alive(t.Context(), patience) {
		t.Error("answered, and not alive")
	}
}

func TestUptime(t *testing.T) {
	first, err := Uptime()
	if err != nil || first <= 0 {
		t.Fatalf("%v, %v", first, err)
	}
	if second, err := Uptime(); err != nil || second < first || second > first+60 {
		t.Errorf("%v after %v, %v", second, first, err)
	}
	if got, err := parseUptime("81034.52 1234.5\n"); got != 81034.52 || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseUptime(""); err == nil {
		t.Error("no uptime: no error")
	}
}
