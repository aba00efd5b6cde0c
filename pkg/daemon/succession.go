package daemon

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync/atomic"
)

// ErrUnchanged is what Service.Reload returns where there is nothing to reload.
var ErrUnchanged = errors.New("the configuration has not changed")

// succession runs a service, and on each reload the one that follows it. A service begins when the tasks of the one
// before are gone, so that what only one may do is never done by two.
type succession struct {
	current atomic.Pointer[Service]
	reload  chan struct{} // one slot
	log     *slog.Logger
	restyle func(LogStyle) // of the log; nil: it stays as it is
}

// Run returns when the service of the time ends by itself, or ctx does.
func (s *succession) Run(ctx context.Context) error {
	for {
		next, err := s.serve(ctx, *s.current.Load())
		if next == nil {
			return err
		}
		s.current.Store(next)
		if s.restyle != nil {
			s.restyle(next.Log)
		}
		s.log.Info("The new configuration counts")
	}
}

// serve runs one service until it ends, or until another is to follow it.
func (s *succession) serve(ctx context.Context, now Service) (*Service, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, s.log, now.Tasks...) }()
	for {
		select {
		case err := <-ended:
			return nil, err
		case <-s.reload:
		}
		next, err := s.prepare(ctx, now)
		if err != nil {
			s.report(err)
			continue
		}
		cancel()
		if err := <-ended; err != nil {
			return nil, err
		}
		return next, nil
	}
}

// prepare makes the service that is to follow while the old one goes on.
func (s *succession) prepare(ctx context.Context, now Service) (*Service, error) {
	if now.Reload == nil {
		return nil, ErrUnchanged
	}
	s.log.Info("Reading the configuration again")
	next, err := now.Reload(ctx)
	if err != nil {
		return nil, err
	}
	return &next, nil
}

func (s *succession) report(err error) {
	if errors.Is(err, ErrUnchanged) {
		s.log.Info("Nothing to do: " + err.Error())
		return
	}
	for line := range strings.SplitSeq(err.Error(), "\n") {
		s.log.Error("Not reloaded, the old configuration still counts: " + line)
	}
}

// ping is the Ping of the service of the time.
func (s *succession) ping(ctx context.Context) {
	if ping := s.current.Load().Ping; ping != nil {
		ping(ctx)
	}
}
