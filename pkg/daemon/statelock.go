package daemon

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// LockState keeps a second monitor away from the state file at path, whatever its pid file is called: two that decide
// on one state would give the same epoch two contents. It locks PATH.lock (flock(2)), whose folder it makes where it is
// missing, because the state file itself is replaced again and again. The lock is held until the process ends: no
// sooner is it certain that nothing more is saved.
func LockState(path string) error {
	path += ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder of status file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open lock of status file: %w", err)
	}
	defer f.Close()
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another monitor works on this status file: it has locked %s", path)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	// This descriptor shares the lock, is closed by nobody, not by the collection of garbage either, and is not
	// inherited by the programs that we start.
	if _, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return fmt.Errorf("keep %s locked: %w", path, err)
	}
	return nil
}
