package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/event"
)

func fatal(text string) event.Event {
	return event.Event{Name: event.State, Level: "FATAL", Cluster: "c1", Host: "db1", At: time.Now(), Text: text}
}

func TestDigest(t *testing.T) {
	start := time.Unix(1700000000, 0)
	at := func(s float64) time.Time { return start.Add(time.Duration(s * float64(time.Second))) }
	d := digest{interval: time.Minute}
	due := func(want float64, any bool) {
		t.Helper()
		got, some := d.due()
		if some != any || any && !got.Equal(at(want)) {
			t.Fatalf("due %v (%v), want %v (%v)", got.Sub(start), some, want, any)
		}
	}
	said := func(m Message, more int, want ...string) {
		t.Helper()
		var got []string
		for _, e := range m.Events {
			got = append(got, e.Text)
		}
		if !slices.Equal(got, want) || m.More != more {
			t.Fatalf("%q and %d, want %q and %d", got, m.More, want, more)
		}
	}
	due(0, false)
	d.add(fatal("a"), at(10))
	due(11, true)
	d.add(fatal("b"), at(10.5))
	due(11, true)
	said(d.flush(at(11)), 0, "a", "b")
	due(0, false)
	d.add(fatal("c"), at(12))
	due(71, true) // a minute after the last
	for range maxEvents + 4 {
		d.add(fatal("d"), at(13))
	}
	m := d.flush(at(71))
	if len(m.Events) != maxEvents || m.More != 5 || m.Events[0].Text != "c" {
		t.Fatalf("%d events and %d", len(m.Events), m.More)
	}
	// A message that could not be sent waits for a new event, and goes with it.
	d.back(m)
	due(0, false)
	d.add(fatal("e"), at(300))
	due(301, true) // a second after the new event: the last message was more than a minute ago
	if m = d.flush(at(301)); len(m.Events) != maxEvents || m.More != 6 {
		t.Fatalf("%d events and %d", len(m.Events), m.More)
	}
	d.add(fatal("f"), at(302))
	d.back(Message{Events: []event.Event{fatal("old")}})
	due(361, true) // a new event had come while the message was tried
	said(d.flush(at(361)), 0, "old", "f")
}

// post is a Way whose result the test decides. It notes what is sent.
type post struct {
	mu   sync.Mutex
	sent []string
	send func(ctx context.Context) error
}

func (p *post) String() string { return "post" }
func (p *post) Send(ctx context.Context, m Message) error {
	err := p.send(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = append(p.sent, fmt.Sprintf("%s: %d+%d %v", time.Now().UTC().Format("05.0"), len(m.Events), m.More,
		err == nil))
	return err
}

func (p *post) has(t *testing.T, want ...string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.sent, want) {
		t.Errorf("sent %q, want %q", p.sent, want)
	}
	p.sent = nil
}

// sender runs f with a Sender in virtual time, which begins at second 0.
func sender(t *testing.T, f func(s *Sender, p *post, log *bytes.Buffer, stop func())) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{send: func(context.Context) error { return nil }}
		var log bytes.Buffer
		s := New("x", []event.Name{event.Fatal}, time.Minute, p, slog.New(slog.NewTextHandler(&log, nil)))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		stop := sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		f(s, p, &log, stop)
		stop()
	})
}

func TestSender(t *testing.T) {
	t.Run("few messages", func(t *testing.T) {
		sender(t, func(s *Sender, p *post, _ *bytes.Buffer, _ func()) {
			for i := range 90 {
				s.Hear(fatal(fmt.Sprint(i)))
				s.Hear(event.Event{Name: event.Note, Level: "INFO"})
				time.Sleep(1100 * time.Millisecond)
			}
			time.Sleep(time.Minute)
			p.has(t, "01.0: 1+0 true", "01.0: 20+35 true", "01.0: 20+14 true") // a minute apart
		})
	})
	t.Run("three attempts", func(t *testing.T) {
		sender(t, func(s *Sender, p *post, log *bytes.Buffer, _ func()) {
			p.send = func(context.Context) error { return errors.New("no route") }
			s.Hear(fatal("a"))
			time.Sleep(time.Hour)
			synctest.Wait()
			p.has(t, "01.0: 1+0 false", "03.0: 1+0 false", "11.0: 1+0 false")
			if text := log.String(); strings.Count(text, "\n") != 1 ||
				!strings.Contains(text,
					"Alert 'x' can't be sent to post: no route. Its events go with the next message") {
				t.Error(text)
			}
			p.send = func(context.Context) error { return nil }
			s.Hear(fatal("b"))
			time.Sleep(time.Minute)
			p.has(t, "01.0: 2+0 true") // the event that could not be sent before is in it too
		})
	})
	t.Run("refused", func(t *testing.T) {
		sender(t, func(s *Sender, p *post, _ *bytes.Buffer, _ func()) {
			p.send = func(context.Context) error { return fmt.Errorf("no such user: %w", ErrRefused) }
			s.Hear(fatal("a"))
			time.Sleep(time.Hour)
			synctest.Wait()
			p.has(t, "01.0: 1+0 false")
			p.send = func(context.Context) error { return nil }
		})
	})
	t.Run("hangs", func(t *testing.T) {
		sender(t, func(s *Sender, p *post, log *bytes.Buffer, stop func()) {
			p.send = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s.Hear(fatal("a"))
			time.Sleep(2 * time.Second)
			began := time.Now()
			for range 1000 {
				s.Hear(fatal("b"))
			}
			if time.Since(began) > 0 {
				t.Error("Hear waits")
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if text := log.String(); !strings.Contains(text, "no answer within 10s") {
				t.Error(text)
			}
			began = time.Now()
			stop()
			if d := time.Since(began); d > farewell {
				t.Errorf("the end took %v", d)
			}
			if text := log.String(); !strings.Contains(text,
				"Alert 'x' with 1001 events can't be sent to post while the monitor ends: no answer within 1s") {
				t.Error(text)
			}
		})
	})
	t.Run("the end", func(t *testing.T) {
		sender(t, func(s *Sender, p *post, _ *bytes.Buffer, stop func()) {
			time.Sleep(5 * time.Second)
			s.Hear(fatal("a"))
			stop()
			p.has(t, "05.0: 1+0 true")
		})
	})
}

func TestTexts(t *testing.T) {
	e := fatal("State of host 'db1' changed\n")
	e.At, e.Cause, e.Evidence = time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), "because", []string{"mysql: gone"}
	m := Message{Alert: "x", Events: []event.Event{e, {Level: "INFO", Text: "b", At: e.At}}, More: 2}
	if got, want := m.Subject(), "mysql-mmm c1: FATAL State of host 'db1' changed (and 3 more)"; got != want {
		t.Errorf("%q", got)
	}
	want := "2026/01/02 03:04:05.000  FATAL  State of host 'db1' changed\n                                because\n                                mysql: gone\n" +
		"2026/01/02 03:04:05.000  INFO   b\nAnd 2 more, see 'mmm_control history'.\n\nThis is mmm_mond on " +
		hostname() + ", alert 'x'.\n"
	if got := m.Text(); got != want {
		t.Errorf("%s", got)
	}
}
