// Package alert tells people of events, over HTTP and by mail. Nothing else in the monitor waits for it. Messages of
// an alert are an interval apart at least: what happens between two of them is told in the second one.
package alert

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/event"
)

const (
	inboxLimit = 100 // events that wait while a message is being sent
	attempts   = 3
	sendLimit  = 10 * time.Second // for one attempt
	farewell   = time.Second      // for the last message, when the monitor ends
)

// pauses are between the attempts.
var pauses = [attempts - 1]time.Duration{2 * time.Second, 8 * time.Second}

// Way is how messages are sent. Send may take until ctx ends. An error that wraps ErrRefused would come again with
// another attempt. The texts of String and of errors hold no secrets.
type Way interface {
	Send(ctx context.Context, m Message) error
	String() string
}

// ErrRefused is an error that another attempt would not change.
var ErrRefused = errors.New("refused")

// Sender sends the events of one alert in one way. Run is to be called once.
type Sender struct {
	name     string
	events   []event.Name
	interval time.Duration
	way      Way
	log      *slog.Logger
	inbox    chan event.Event
	lost     atomic.Int64 // events that the inbox had no place for
}

// New makes a Sender and starts nothing. Messages are at least interval apart.
func New(name string, events []event.Name, interval time.Duration, way Way, log *slog.Logger) *Sender {
	return &Sender{name: name, events: events, interval: interval, way: way, log: log,
		inbox: make(chan event.Event, inboxLimit)}
}

// String names the task.
func (s *Sender) String() string { return fmt.Sprintf("alert %s to %s", s.name, s.way) }

// Hear takes in an event. It never waits.
func (s *Sender) Hear(e event.Event) {
	if !e.Selected(s.events) {
		return
	}
	select {
	case s.inbox <- e:
	default:
		s.lost.Add(1)
	}
}

// Run sends until ctx ends. Events that are still to be told then go into a last message, which may take a second. Run
// never fails.
func (s *Sender) Run(ctx context.Context) error {
	d := digest{interval: s.interval}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		d.more += int(s.lost.Swap(0))
		var due <-chan time.Time
		if at, any := d.due(); any {
			timer.Reset(time.Until(at))
			due = timer.C
		}
		select {
		case e := <-s.inbox:
			d.add(e, time.Now())
		case <-due:
			s.deliver(ctx, &d)
		case <-ctx.Done():
			s.leave(&d)
			return nil
		}
	}
}

// deliver sends the message that is due. Events that can't be sent go with the next message.
func (s *Sender) deliver(ctx context.Context, d *digest) {
	m := d.flush(time.Now())
	m.Alert = s.name
	err := s.try(ctx, m)
	if err == nil || ctx.Err() != nil {
		if err != nil {
			d.back(m)
		}
		return
	}
	d.back(m)
	s.log.Error(fmt.Sprintf("Alert '%s' can't be sent to %s: %v. Its events go with the next message", s.name,
		s.way, err))
}

func (s *Sender) try(ctx context.Context, m Message) error {
	for i := 0; ; i++ {
		err := s.send(ctx, m, sendLimit)
		if err == nil || errors.Is(err, ErrRefused) || i == len(pauses) {
			return err
		}
		select {
		case <-time.After(pauses[i]):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (s *Sender) send(ctx context.Context, m Message, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := s.way.Send(ctx, m)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", limit)
	}
	return err
}

// leave sends the last message, with the events that have not been told yet.
func (s *Sender) leave(d *digest) {
	for len(s.inbox) > 0 {
		d.add(<-s.inbox, time.Now())
	}
	if len(d.events) == 0 {
		return
	}
	m := d.flush(time.Now())
	m.Alert = s.name
	if err := s.send(context.Background(), m, farewell); err != nil {
		s.log.Error(fmt.Sprintf("Alert '%s' with %d events can't be sent to %s while the monitor ends: %v", s.name,
			len(m.Events)+m.More, s.way, err))
	}
}
