package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// StateLock keeps a second monitor away from a state file, whatever its pid file is called: two that decide on one state would
// give the same epoch two contents.
type StateLock struct{ file *os.File }

// LockState locks PATH.lock (flock(2)); the lock goes with the process. The folder is made where it is missing.
func LockState(path string) (*StateLock, error) {
	path += ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of status file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("open lock of status file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another monitor works on this status file: it has locked %s", path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return &StateLock{file: f}, nil
}

// Run keeps the lock until ctx ends.
func (l *StateLock) Run(ctx context.Context) error {
	<-ctx.Done()
	return l.file.Close()
}

// String names the task.
func (l *StateLock) String() string { return "lock of the status file" }
