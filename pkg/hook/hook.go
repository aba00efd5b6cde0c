// Package hook runs people's programs on events. Only Approve, which asks whether a planned move may be made, waits for
// them. A program that fails or is missing is a line in the log, and one that hangs is killed when its time is over.
package hook

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/event"
)

const (
	together   = 4    // programs that run at once
	queueLimit = 100  // events that wait for one hook; then the oldest is left out
	inboxLimit = 1000 // events that wait to be handed to the hooks
	farewell   = time.Second
	dirTimeout = 10 * time.Second // of programs in the folder
	maxAnswer  = 500              // bytes of a hook's output that an operator is told
)

// Hook is a program and the events that it is run on.
type Hook struct {
	Name     string
	Path     string // absolute
	Events   []event.Name
	Timeout  time.Duration // above 0
	MayAbort bool          // Approve asks this hook
}

// Runner runs hooks. Run is to be called once.
type Runner struct {
	hooks  []Hook
	folder *folder // nil: none
	log    *slog.Logger
	inbox  chan event.Event
	lost   atomic.Int64  // events that the inbox had no place for
	asking chan struct{} // one slot: one Approve at a time
}

// New makes a Runner and starts nothing. dir is a folder whose programs are run on every event, in the order of their
// names; "": none.
func New(hooks []Hook, dir string, log *slog.Logger) *Runner {
	r := &Runner{hooks: hooks, log: log, inbox: make(chan event.Event, inboxLimit), asking: make(chan struct{}, 1)}
	if dir != "" {
		r.folder = &folder{path: dir, log: log, said: map[string]string{}}
	}
	return r
}

// String names the task.
func (r *Runner) String() string { return "hooks" }

// Hear takes in an event. It never waits.
func (r *Runner) Hear(e event.Event) {
	select {
	case r.inbox <- e:
	default:
		r.lost.Add(1)
	}
}

// Approve asks the hooks that may abort a planned move, one after the other, and tells the other hooks of the move. It
// returns the first objection, as a sentence, or "" where there is none. An exit status other than 0 is an objection,
// and so is anything that keeps a hook from exiting by itself. Approve waits for as long as the hooks may run, and for
// a call that came before it.
func (r *Runner) Approve(ctx context.Context, e event.Event) (objection string) {
	r.Hear(e)
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return "The monitor is ending"
	}
	for _, h := range r.hooks {
		if !h.MayAbort {
			continue
		}
		said, err := run(ctx, h, e)
		if err == nil {
			continue
		}
		r.log.Warn(fmt.Sprintf("Hook '%s' (%s) stops what was planned: %v", h.Name, h.Path, err), "planned", e.Text,
			"output", strings.TrimSpace(said))
		why := lastLine(said)
		if _, answered := errors.AsType[exitStatus](err); !answered || why == "" {
			why = err.Error()
		}
		return fmt.Sprintf("Hook '%s' says no: %s", h.Name, why)
	}
	return ""
}

// lastLine is the last line of a text that is not empty, without characters that a terminal would obey.
func lastLine(text string) string {
	text = strings.TrimSpace(text)
	text = text[strings.LastIndexByte(text, '\n')+1:]
	text = strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text[:min(len(text), maxAnswer)])
	return strings.TrimSpace(text)
}

// Run runs hooks until ctx ends. Hooks that wait or run then have a second left. Run returns when all programs have
// ended. It never fails.
func (r *Runner) Run(ctx context.Context) error {
	work, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	var group errgroup.Group
	d := dispatcher{runner: r, work: work, group: &group, slots: make(chan struct{}, together), lines: map[string]*line{}}
	for ctx.Err() == nil {
		select {
		case e := <-r.inbox:
			d.dispatch(e)
		case <-ctx.Done():
		}
	}
	for len(r.inbox) > 0 {
		d.dispatch(<-r.inbox)
	}
	d.close()
	defer time.AfterFunc(farewell, end).Stop()
	return group.Wait()
}

// dispatcher hands events to the lines of the hooks. It belongs to Run.
type dispatcher struct {
	runner *Runner
	work   context.Context
	group  *errgroup.Group
	slots  chan struct{}
	lines  map[string]*line // by "hook NAME", or "file NAME" for a program of the folder
}

func (d *dispatcher) dispatch(e event.Event) {
	if n := d.runner.lost.Swap(0); n > 0 {
		d.runner.log.Error(fmt.Sprintf("%d events came too fast to run hooks on them", n))
	}
	for _, h := range d.runner.hooks {
		if e.Selected(h.Events) && !(h.MayAbort && e.Name == event.BeforePlannedMove) {
			d.line("hook "+h.Name, h).push(e)
		}
	}
	if d.runner.folder == nil {
		return
	}
	present := map[string]bool{}
	for _, h := range d.runner.folder.hooks() {
		key := "file " + h.Name
		present[key] = true
		d.line(key, h).push(e)
	}
	for key, l := range d.lines {
		if strings.HasPrefix(key, "file ") && !present[key] {
			close(l.queue)
			delete(d.lines, key)
		}
	}
}

func (d *dispatcher) line(key string, h Hook) *line {
	l := d.lines[key]
	if l == nil {
		l = &line{hook: h, log: d.runner.log, queue: make(chan event.Event, queueLimit)}
		d.lines[key] = l
		d.group.Go(func() error { l.run(d.work, d.slots); return nil })
	}
	return l
}

func (d *dispatcher) close() {
	for _, l := range d.lines {
		close(l.queue)
	}
}

// line is the events that wait for one hook, which gets them one by one.
type line struct {
	hook   Hook
	log    *slog.Logger
	queue  chan event.Event // only the dispatcher sends
	behind bool             // that events were left out has been logged, since the queue was last empty
}

func (l *line) push(e event.Event) {
	if len(l.queue) == 0 {
		l.behind = false
	}
	for {
		select {
		case l.queue <- e:
			return
		default:
		}
		select {
		case <-l.queue:
			if !l.behind {
				l.behind = true
				l.log.Error(fmt.Sprintf("Hook '%s' (%s) can't keep up: %d events wait for it, the oldest are left out. Make it quicker, or give it fewer events", l.hook.Name, l.hook.Path, queueLimit))
			}
		default:
		}
	}
}

// run runs the hook until the queue is closed and empty, or work ends.
func (l *line) run(work context.Context, slots chan struct{}) {
	untold := 0
	for e := range l.queue {
		select {
		case slots <- struct{}{}:
		case <-work.Done():
		}
		if work.Err() != nil {
			untold++
			continue // the slot is not given back: no hook runs any more
		}
		began := time.Now()
		said, err := run(work, l.hook, e)
		<-slots
		switch said = strings.TrimSpace(said); {
		case err == nil:
			l.log.Debug(fmt.Sprintf("Hook '%s' ran on %s", l.hook.Name, e.Name), "seconds", time.Since(began).Seconds())
		case said == "":
			l.log.Error(fmt.Sprintf("Hook '%s' (%s) failed on %s: %v", l.hook.Name, l.hook.Path, e.Name, err))
		default:
			l.log.Error(fmt.Sprintf("Hook '%s' (%s) failed on %s: %v", l.hook.Name, l.hook.Path, e.Name, err), "output",
				said)
		}
	}
	if untold > 0 {
		l.log.Error(fmt.Sprintf("Hook '%s' (%s) was not run on the last %d events: the monitor ended", l.hook.Name,
			l.hook.Path, untold))
	}
}
