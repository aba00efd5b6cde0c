package durable

import (
	"context"
	"time"
)

// ReadTimeout is how long a file is waited for: a disk that hangs must not keep a program from its work.
const ReadTimeout = 2 * time.Second

// Within runs what reads from a disk, and waits no longer than ReadTimeout for it; then it is an error that wraps
// context.DeadlineExceeded, and read goes on by itself.
func Within(ctx context.Context, read func() error) error {
	ctx, cancel := context.WithTimeout(ctx, ReadTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- read() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
