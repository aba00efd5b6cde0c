package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Lead makes this process the only one that decides on the status file, until the process ends: no sooner is it certain
// that nothing more is saved. Two that decide on one state would give one epoch two contents. Where another process
// leads, whatever its pid file is called, Lead returns an error that says so.
//
// It locks PATH.lock (flock(2)), whose folder it makes where that is missing: the status file itself can't be locked,
// as each version replaces the one before. A process leads once, not at each reload.
func (f *File) Lead() error {
	path := f.path + ".lock"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("make folder of status file: %w", err)
	}
	lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return fmt.Errorf("open lock of status file: %w", err)
	}
	defer lock.Close()
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		return fmt.Errorf("another monitor works on this status file: it has locked %s", path)
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", path, err)
	}
	// The duplicate shares the lock. Nobody closes it, the garbage collector neither, and the programs that we start
	// don't inherit it.
	if _, err := unix.FcntlInt(lock.Fd(), unix.F_DUPFD_CLOEXEC, 0); err != nil {
		return fmt.Errorf("keep %s locked: %w", path, err)
	}
	return nil
}
