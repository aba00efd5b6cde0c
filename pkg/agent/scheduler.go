package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// Events is the local server's event scheduler: what writes there without a client.
type Events interface {
	Inside(ctx context.Context) (writable, scheduler bool, err error)
	SetEventScheduler(ctx context.Context, on bool) error
}

// schedulerTimeout bounds a change, which waits for the scheduler's thread to end.
const schedulerTimeout = 5 * time.Second

// Scheduler hands the event scheduler over with the writer role ("event_scheduler"): on where writes are allowed, off
// where they are denied. It goes by what it finds once a second, so that a server that was restarted is seen to as
// well, and at once when the agent has opened or closed the server. Nothing of a role change waits for it.
type Scheduler struct {
	Gate
	events   Events
	mayWrite bool
	log      *slog.Logger
	changed  chan struct{} // one slot
	problem  string        // as logged last; of Run alone
}

// NewScheduler makes a Scheduler, which takes the place of the gate that it is given. Where the host may not be the
// writer no events run.
func NewScheduler(gate Gate, events Events, mayWrite bool, log *slog.Logger) *Scheduler {
	return &Scheduler{Gate: gate, events: events, mayWrite: mayWrite, log: log, changed: make(chan struct{}, 1)}
}

// String names the task.
func (s *Scheduler) String() string { return "event scheduler" }

// DenyWrites is the gate's.
func (s *Scheduler) DenyWrites(ctx context.Context, d mysqlctl.Deny) error {
	defer s.poke()
	return s.Gate.DenyWrites(ctx, d)
}

// AllowWrites is the gate's.
func (s *Scheduler) AllowWrites(ctx context.Context) error {
	defer s.poke()
	return s.Gate.AllowWrites(ctx)
}

func (s *Scheduler) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run keeps the scheduler as it is to be until ctx ends. It stays so then.
func (s *Scheduler) Run(ctx context.Context) error {
	ticker := time.NewTicker(mendPeriod)
	defer ticker.Stop()
	for {
		s.mend(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case <-s.changed:
		}
	}
}

// mend looks and sets. A server that can't be asked is left alone: it is closed, or found, by others.
func (s *Scheduler) mend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, schedulerTimeout)
	defer cancel()
	writable, on, err := s.events.Inside(ctx)
	if err != nil {
		return
	}
	want := writable && s.mayWrite
	if on == want {
		s.problem = ""
		return
	}
	words := map[bool]string{true: "on", false: "off"}
	if err := s.events.SetEventScheduler(ctx, want); err != nil {
		text := fmt.Sprintf("Couldn't turn the event scheduler %s: %v", words[want], err)
		if text != s.problem && ctx.Err() == nil {
			s.problem = text
			s.log.Log(ctx, levelFatal, text)
		}
		return
	}
	s.log.Info(fmt.Sprintf("Turned the event scheduler %s", words[want]))
}
