package durable

import (
	"context"
	"time"
)

// ReadTimeout is how long Within waits: a disk that hangs must not keep a program from its work.
const ReadTimeout = 2 * time.Second

// Within calls read, which reads from a disk, and returns its error. It waits for ReadTimeout at most, or until ctx
// ends: then it returns the context's error (context.DeadlineExceeded after ReadTimeout), and read goes on in a
// goroutine of its own, as a read from a disk that hangs can't be ended.
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
