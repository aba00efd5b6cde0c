package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// line is a line of services, each of which reloads into the next.
type line struct {
	running atomic.Int32
	order   strings.Builder // of what happens; its writers follow one another
}

func (l *line) service(name string, next func(context.Context) (Service, error)) Service {
	return Service{Reload: next, Tasks: []Task{task{name, func(ctx context.Context) error {
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

func TestSuccession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l line
		var pinged []string
		tries := 0
		c := l.service("c", nil)
		c.Ping = func(context.Context) { pinged = append(pinged, "c") }
		b := l.service("b", func(context.Context) (Service, error) {
			switch tries++; tries {
			case 1:
				return Service{}, errors.New("f:1: wrong\nf:2: wrong too")
			case 2:
				return Service{}, ErrUnchanged
			}
			return c, nil
		})
		a := l.service("a", func(context.Context) (Service, error) { return b, nil })
		a.Ping = func(context.Context) { pinged = append(pinged, "a") }
		var out bytes.Buffer
		s := &succession{reload: make(chan struct{}, 1), log: slog.New(NewHandler(&out, slog.LevelInfo))}
		s.current.Store(&a)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		s.ping(ctx)
		for range 4 { // to b, wrong, unchanged, to c
			s.reload <- struct{}{}
			time.Sleep(2 * time.Hour)
			s.ping(ctx)
		}
		s.reload <- struct{}{} // c has no Reload
		synctest.Wait()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if got := l.order.String(); got != "a -a b -b c -c " {
			t.Errorf("order: %s", got)
		}
		if got := strings.Join(pinged, " "); got != "a c" {
			t.Errorf("pinged: %s", got)
		}
		for _, want := range []string{"ERROR Not reloaded, the old configuration still counts: f:1: wrong\n",
			": f:2: wrong too\n", "INFO Nothing to do: the configuration has not changed\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q is not in the log:\n%s", want, out.String())
			}
		}
	})
}

// A service that ends badly, by itself or while it is to make room, ends the program: the next one may not run beside
// what is left of it.
func TestSuccessionFails(t *testing.T) {
	broken := errors.New("broken")
	for name, at := range map[string]func(context.Context) error{
		"at once":    func(context.Context) error { return broken },
		"at its end": func(ctx context.Context) error { <-ctx.Done(); return broken },
	} {
		s := &succession{reload: make(chan struct{}, 1), log: slog.New(slog.DiscardHandler)}
		s.current.Store(&Service{Tasks: []Task{task{"x", at}}, Reload: func(context.Context) (Service, error) {
			return Service{Tasks: []Task{task{"y", func(context.Context) error {
				t.Errorf("%s: the next one ran",
					name)
				return nil
			}}}}, nil
		}})
		if name == "at its end" {
			s.reload <- struct{}{}
		}
		if err := s.Run(t.Context()); !errors.Is(err, broken) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The signal reaches the worker through its watcher, and the worker goes on under its id.
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

// TestLogStyleByReload: all lines are in the style of the configuration that counts, from the start on; one that is
// refused changes nothing.
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
