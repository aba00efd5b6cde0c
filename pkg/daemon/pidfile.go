package daemon

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// PIDFile is a pid file that this process holds, with a lock, so that of two copies started at once one is refused.
type PIDFile struct {
	file  *os.File
	Stale bool // a predecessor left it behind without a clean end
}

// SecondCopyError says that the program runs already.
type SecondCopyError struct{ Name string }

func (e *SecondCopyError) Error() string { return "Can't run second copy of " + e.Name }

// TakePIDFile writes this process's id, unless a living process holds the file (monitor manual, "Process").
func TakePIDFile(path, name string) (*PIDFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("take pid file: %w", err)
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, fmt.Errorf("take pid file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, &SecondCopyError{name}
	}
	text, err := io.ReadAll(io.LimitReader(f, 64))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("read pid file: %w", err)
	}
	p := &PIDFile{file: f, Stale: len(text) > 0}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && runs(pid, name) {
		f.Close()
		return nil, &SecondCopyError{name} // an original, which takes no lock
	}
	if err := errors.Join(f.Truncate(0), writeAt(f, fmt.Sprintf("%d\n", os.Getpid()))); err != nil {
		f.Close()
		return nil, fmt.Errorf("write pid file: %w", err)
	}
	return p, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// runs says whether the process lives and is a copy of the program: ids are used again after a reboot.
func runs(pid int, name string) bool {
	if pid <= 0 || pid == os.Getpid() {
		return false
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(line), name)
}

// Release removes the file, at a clean end.
func (p *PIDFile) Release() {
	os.Remove(p.file.Name())
	p.file.Close()
}
