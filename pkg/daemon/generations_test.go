package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// line is a sequence of generations.
type line struct {
	running atomic.Int32
	order   strings.Builder // what happens, in order; needs no lock, as one generation runs at a time
}

func (l *line) generation(name string, next func(context.Context) (Generation, error)) Generation {
	return Generation{Next: next, Tasks: []Task{task{name, func(ctx context.Context) error {
		if l.running.Add(1) > 1 {
			return errors.New("two at once")
		}
		l.order.WriteString(name + " ")
		<-ctx.Done()
		time.Sleep(time.Hour) // slow to end
		l.order.WriteString("-" + name + " ")
		l.running.Add(-1)
		return nil
	}}}}
}

func TestGenerations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l line
		var pinged []string
		wrong, tries := errors.New("f:1: wrong\nf:2: wrong too"), 0
		c := l.generation("c", nil)
		c.Ping = func(context.Context) { pinged = append(pinged, "c") }
		b := l.generation("b", func(context.Context) (Generation, error) {
			switch tries++; tries {
			case 1:
				return Generation{}, wrong
			case 2:
				return Generation{}, ErrUnchanged
			}
			return c, nil
		})
		a := l.generation("a", func(context.Context) (Generation, error) { return b, nil })
		a.Ping = func(context.Context) { pinged = append(pinged, "a") }
		g := NewGenerations("x", a, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- g.Run(ctx) }()
		g.Ping(ctx)
		for i, want := range []error{nil, wrong, ErrUnchanged, nil, ErrUnchanged} { // c has no Next
			if err := g.Reload(ctx); !errors.Is(err, want) {
				t.Errorf("reload %d: %v", i+1, err)
			}
			g.Ping(ctx)
		}
		cancel()
		if err := g.Reload(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("reload at the end: %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := l.order.String(); got != "a -a b -b c -c " {
			t.Errorf("order: %s", got)
		}
		if got := strings.Join(pinged, " "); got != "a c c" {
			t.Errorf("pinged: %s", got)
		}
	})
}

// service is a Service of which only Reload is used.
type service struct{ reload func() error }

func (service) Run(context.Context) error      { return nil }
func (service) String() string                 { return "service" }
func (service) Ping(context.Context)           {}
func (s service) Reload(context.Context) error { return s.reload() }

// The result of a reload is in the log, line by line.
func TestReloadIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []error{nil, errors.New("f:1: wrong\nf:2: wrong too"), ErrUnchanged}
		var out bytes.Buffer
		r := reloader{asked: make(chan struct{}, 1), log: slog.New(NewHandler(&out, slog.LevelInfo)),
			service: service{func() error {
				err := answers[0]
				answers = answers[1:]
				return err
			}}}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		for range len(answers) {
			r.asked <- struct{}{}
			synctest.Wait()
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var got strings.Builder
		for l := range strings.Lines(out.String()) {
			got.WriteString(l[len("2026/11/30 12:00:00 "):])
		}
		if want := `ERROR Not reloaded, the old configuration still counts: f:1: wrong
ERROR Not reloaded, the old configuration still counts: f:2: wrong too
 INFO Nothing to do: the configuration has not changed
`; got.String() != want {
			t.Errorf("log:\n%s", got.String())
		}
	})
}

// A generation that ends with an error, by itself or because of a reload, ends the program: the next one must not run
// beside what is left of it.
func TestGenerationsFail(t *testing.T) {
	broken := errors.New("broken")
	for name, at := range map[string]func(context.Context) error{
		"at once":    func(context.Context) error { return broken },
		"at its end": func(ctx context.Context) error { <-ctx.Done(); return broken },
	} {
		g := NewGenerations("x", Generation{Tasks: []Task{task{"x", at}}, Next: func(context.Context) (Generation, error) {
			return Generation{Tasks: []Task{task{"y", func(context.Context) error {
				t.Errorf("%s: the next one ran", name)
				return nil
			}}}}, nil
		}}, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		reloaded := make(chan struct{})
		go func() {
			defer close(reloaded)
			if name == "at its end" {
				if err := g.Reload(ctx); err == nil {
					t.Errorf("%s: reloaded", name)
				}
			}
		}()
		if err := g.Run(t.Context()); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		<-reloaded
	}
}

// The service manager hears of each reload when it begins, and when it has ended with which result (sd_notify(3), and
// systemd.service(5) on Type=notify-reload).
func TestReloadIsTold(t *testing.T) {
	p := newProbe(t, "reload")
	socket := filepath.Join(t.TempDir(), "notify")
	c := manager(t, socket)
	cmd := p.command(t, "--foreground")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c); got != "READY=1" {
		t.Fatalf("got %q", got)
	}
	for _, reload := range []struct{ behaviour, status string }{
		{"refuse", "Not reloaded, the old configuration still counts: line 1: wrong (the log has more)"},
		{"", "The new configuration counts"},
		{"", "Nothing to do: the configuration has not changed"},
	} {
		p.behave(t, reload.behaviour)
		before := monotonic(t)
		kill(t, cmd.Process.Pid, syscall.SIGHUP)
		begun := receive(t, c)
		now := monotonic(t)
		at, rest, _ := strings.Cut(strings.TrimPrefix(begun, "RELOADING=1\nMONOTONIC_USEC="), "\n")
		usec, err := strconv.ParseInt(at, 10, 64)
		if err != nil || usec < before || usec > now || rest != "STATUS=Reading the configuration again" {
			t.Errorf("%q, between %d and %d us: it begins with %q", reload.behaviour, before, now, begun)
		}
		if got, want := receive(t, c), "READY=1\nSTATUS="+reload.status; got != want {
			t.Errorf("%q: it ends with %q, want %q", reload.behaviour, got, want)
		}
	}
	kill(t, cmd.Process.Pid, syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Errorf("end: %v", err)
	}
	if got := receive(t, c); got != "STOPPING=1" {
		t.Errorf("got %q", got)
	}
}

// monotonic is CLOCK_MONOTONIC in microseconds.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano() / 1000
}

// The watcher passes SIGHUP on to the worker, and a reload happens in the same worker process.
func TestReloadBySignal(t *testing.T) {
	p := newProbe(t, "reload")
	watcher := p.start(t)
	worker := p.worker(t, 1)
	p.behave(t, "reload again")
	kill(t, watcher, syscall.SIGHUP)
	if again := p.worker(t, 2); again != worker {
		t.Errorf("worker %d, and then %d", worker, again)
	}
	p.behave(t, "refuse")
	kill(t, watcher, syscall.SIGHUP)
	eventually(t, "the refusal is logged", func() bool {
		return strings.Contains(read(t, p.log),
			"ERROR Not reloaded, the old configuration still counts: line 2: wrong\n")
	})
	if n := len(p.workers(t)); n != 2 {
		t.Errorf("%d services have run", n)
	}
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
}

// TestLogStyleByReload: all lines are in the style of the configuration that counts, from the start on. A configuration
// that is refused changes nothing.
func TestLogStyleByReload(t *testing.T) {
	p := newProbe(t, "reload json")
	watcher := p.start(t)
	p.worker(t, 1)
	first := read(t, p.log)
	for line := range strings.Lines(first) {
		if !json.Valid([]byte(line)) {
			t.Errorf("no JSON: %s", line)
		}
	}
	p.behave(t, "refuse")
	kill(t, watcher, syscall.SIGHUP)
	eventually(t, "the refusal is logged", func() bool {
		return strings.Contains(read(t, p.log),
			`"level":"ERROR","msg":"Not reloaded, the old configuration still counts: line 2: wrong"}`)
	})
	p.behave(t, "reload zone")
	kill(t, watcher, syscall.SIGHUP)
	p.worker(t, 2)
	log := read(t, p.log)
	counts := regexp.MustCompile(`(?m)^[-0-9]{10}T[:0-9]{8}\.[0-9]{3}(Z|[-+][:0-9]{5})  INFO The new configuration counts$`)
	if !counts.MatchString(log) {
		t.Errorf("the reload is not told in the new style:\n%s", log)
	}
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
}
