package agent

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// Events is the local server's event scheduler, which writes without a client. WritableAndScheduler returns whether the
// server takes writes, and whether the scheduler is on.
type Events interface {
	WritableAndScheduler(ctx context.Context) (writable, scheduler bool, err error)
	SetEventScheduler(ctx context.Context, on bool) error
}

// schedulerTimeout bounds one look and change: turning the scheduler off waits for the end of its thread.
const schedulerTimeout = 5 * time.Second

// Scheduler hands the event scheduler over with the writer role ("event_scheduler"): on where writes are allowed, off
// where they are denied. It looks at the server once a second, so that a server that was restarted is put right too,
// and at once when the agent has opened or closed the server. No role change waits for it.
type Scheduler struct {
	gate     Gate
	events   Events
	mayWrite bool
	log      *slog.Logger
	changed  chan struct{} // one slot
	problem  string        // as logged last; only Run uses it
}

// NewScheduler makes a Scheduler, to be used in place of gate. On a host that may not be the writer it keeps the event
// scheduler off.
func NewScheduler(gate Gate, events Events, mayWrite bool, log *slog.Logger) *Scheduler {
	return &Scheduler{gate: gate, events: events, mayWrite: mayWrite, log: log, changed: make(chan struct{}, 1)}
}

// String names the task.
func (s *Scheduler) String() string { return "event scheduler" }

// DenyWrites calls the gate's, and has Run look at the scheduler at once.
func (s *Scheduler) DenyWrites(ctx context.Context, d mysqlctl.Deny) error {
	defer s.poke()
	return s.gate.DenyWrites(ctx, d)
}

// AllowWrites calls the gate's, and has Run look at the scheduler at once.
func (s *Scheduler) AllowWrites(ctx context.Context) error {
	defer s.poke()
	return s.gate.AllowWrites(ctx)
}

// Writable is the gate's.
func (s *Scheduler) Writable(ctx context.Context) (bool, error) { return s.gate.Writable(ctx) }

// EndClients is the gate's.
func (s *Scheduler) EndClients(ctx context.Context, grace time.Duration) (int, error) {
	return s.gate.EndClients(ctx, grace)
}

func (s *Scheduler) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Run keeps the scheduler on or off until ctx ends, and leaves it as it is then.
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

// mend looks at the scheduler and sets it. A server that can't be asked is left alone: rounds see to it.
func (s *Scheduler) mend(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, schedulerTimeout)
	defer cancel()
	writable, on, err := s.events.WritableAndScheduler(ctx)
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
