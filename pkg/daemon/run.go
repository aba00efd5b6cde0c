package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"golang.org/x/sync/errgroup"
)

// Task is a part of a program that runs until its context ends. Run may return nil earlier, when the task has nothing
// more to do. It returns only after everything that it started has ended. String names the task in errors and logs.
type Task interface {
	Run(ctx context.Context) error
	String() string
}

// Run runs all tasks until they have returned. The end of ctx, or the first error, ends the context of all tasks. The
// first error is returned, with the name of its task; later errors are logged. A task that ends because ctx has ended
// has not failed. A panic in a task ends the process.
func Run(ctx context.Context, log *slog.Logger, tasks ...Task) error {
	group, all := errgroup.WithContext(ctx)
	for _, t := range tasks {
		group.Go(func() error {
			err := t.Run(all)
			if err == nil || ended(ctx, err) {
				return nil
			}
			err = fmt.Errorf("%s: %w", t, err)
			if all.Err() != nil && !ended(all, err) {
				log.Warn("Also failed while ending", "task", t, "cause", err)
			}
			return err
		})
	}
	return group.Wait()
}

// ended tells whether err says no more than that ctx ended.
func ended(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, ctx.Err())
}
