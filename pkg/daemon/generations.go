package daemon

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
)

// ErrUnchanged is what Generation.Next and Service.Reload return where there is nothing to reload.
var ErrUnchanged = errors.New("the configuration has not changed")

// Service is a program that is ready to run.
type Service interface {
	Task
	// Reload reads the configuration again and returns when the new one counts. Where it returns an error, the old one
	// goes on as if nothing had been asked: ErrUnchanged, or what is wrong, line by line.
	Reload(ctx context.Context) error
	Ping(ctx context.Context) // as Notifier.Ping
}

// Generation is a program as one state of its configuration makes it.
type Generation struct {
	Tasks []Task
	Ping  func(ctx context.Context) // nil: it answers as long as it runs
	Log   LogStyle                  // of the process's log while this one runs, where it follows another

	// Next reads the configuration again and makes the generation that is to follow this one, which goes on meanwhile
	// and ends before that one runs. nil: never.
	Next func(ctx context.Context) (Generation, error)
}

// Generations is a Service: it runs a generation, and on each reload the next one. A generation begins when the tasks
// of the one before are gone, so that what only one may do is never done by two.
type Generations struct {
	name    string
	current atomic.Pointer[Generation]
	asked   chan chan<- error
	log     *slog.Logger
}

// NewGenerations starts nothing. The name is for errors and logs.
func NewGenerations(name string, first Generation, log *slog.Logger) *Generations {
	g := &Generations{name: name, asked: make(chan chan<- error), log: log}
	g.current.Store(&first)
	return g
}

func (g *Generations) String() string { return g.name }

// Ping is the Ping of the generation of the time.
func (g *Generations) Ping(ctx context.Context) {
	if ping := g.current.Load().Ping; ping != nil {
		ping(ctx)
	}
}

// Reload waits for Run to have ended the present generation and put the next one in its place.
func (g *Generations) Reload(ctx context.Context) error {
	answer := make(chan error, 1)
	select {
	case g.asked <- answer:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run returns when the generation of the time ends by itself, or ctx does.
func (g *Generations) Run(ctx context.Context) error {
	for {
		next, answer, err := g.serve(ctx, *g.current.Load())
		if next == nil {
			return err
		}
		g.current.Store(next)
		if h, ok := g.log.Handler().(*Handler); ok {
			h.SetStyle(next.Log)
		}
		g.log.Info(nowCounts)
		answer <- nil
	}
}

// serve runs one generation until it ends, or until another is to follow it, for which somebody waits.
func (g *Generations) serve(ctx context.Context, now Generation) (*Generation, chan<- error, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, g.log, now.Tasks...) }()
	for {
		var answer chan<- error
		select {
		case err := <-ended:
			return nil, nil, err
		case answer = <-g.asked:
		}
		next, err := g.prepare(ctx, now)
		if err != nil {
			answer <- err
			continue
		}
		cancel()
		if err := <-ended; err != nil {
			return nil, nil, err
		}
		return next, answer, nil
	}
}

// prepare makes the generation that is to follow while the old one goes on.
func (g *Generations) prepare(ctx context.Context, now Generation) (*Generation, error) {
	if now.Next == nil {
		return nil, ErrUnchanged
	}
	g.log.Info("Reading the configuration again")
	next, err := now.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &next, nil
}
