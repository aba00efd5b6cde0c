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
	// Reload reads the configuration again and returns when the new one counts. Where it returns an error, the old
	// configuration still counts. The error is ErrUnchanged, or says what is wrong, line by line.
	Reload(ctx context.Context) error
	Ping(ctx context.Context) // as Notifier.Ping
}

// Generation is a program with one state of its configuration.
type Generation struct {
	Tasks []Task
	Ping  func(ctx context.Context) // nil: the generation counts as alive as long as it runs
	Log   LogStyle                  // of the process's log while this generation runs; not used for the first one

	// Next reads the configuration again and makes the next generation. This generation goes on meanwhile, and ends
	// before the next one runs. nil: there is never a next one.
	Next func(ctx context.Context) (Generation, error)
}

// Generations is a Service: it runs a generation, and on each reload the next one. A generation begins when all tasks
// of the last generation have ended, so that two never do what only one may do.
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

// Ping asks the generation that runs at the moment.
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

// Run returns when the running generation ends by itself, or when ctx ends.
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

// serve runs one generation until it ends by itself, or until a reload gives the next one. Then the caller of Reload
// waits for an answer in the channel.
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

// prepare makes the next generation while now goes on.
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
