package daemon

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sync/errgroup"
)

// Task is something that runs until its context ends, and returns only when all that it started has ended.
type Task interface {
	Run(ctx context.Context) error
	String() string
}

// Run runs all tasks until a signal asks for the end (SIGTERM, SIGINT, SIGQUIT), ctx ends or a task fails. SIGHUP calls reopen.
func Run(ctx context.Context, log *slog.Logger, reopen func() error, tasks ...Task) error {
	group, ctx := errgroup.WithContext(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	defer signal.Stop(signals)
	group.Go(func() error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case s := <-signals:
				if s != syscall.SIGHUP {
					log.Info("Signal received: " + s.String())
					cancel()
					return nil
				}
				if err := reopen(); err != nil {
					log.Error("Couldn't reopen the log: " + err.Error())
				}
			}
		}
	})
	for _, t := range tasks {
		group.Go(func() error {
			err := t.Run(ctx)
			if err != nil {
				log.Log(ctx, LevelFatal, t.String()+" failed: "+err.Error())
			}
			return err
		})
	}
	return group.Wait()
}
