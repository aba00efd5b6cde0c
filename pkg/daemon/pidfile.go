package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// PIDFile is held while the program runs. The lock on the file decides which process may run. The process id in the
// file is for init scripts, and for daemons of the original, which don't lock.
type PIDFile struct {
	// Stale says that there was a file and no process of that id: the last process did not end cleanly.
	Stale bool

	file *os.File
	path string
}

// SecondCopyError says that the program runs already.
type SecondCopyError struct {
	Name string
	PID  int // 0 where the file does not say
}

func (e *SecondCopyError) Error() string { return "Can't run second copy of " + e.Name }

// AcquirePID locks the file at path and writes this process's id into it, followed by a newline. Its folder is made
// where it is missing. The error is a *SecondCopyError where another process holds the lock, or is alive under the id
// in the file.
func AcquirePID(path, name string) (*PIDFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make folder of pid file: %w", err)
	}
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, fmt.Errorf("open pid file: %w", err)
		}
		p := &PIDFile{file: f, path: path}
		current, err := p.claim(name)
		if err == nil && current {
			return p, nil
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
}

// claim writes our id. It reports false where the file was removed, by a process that ended, between our opening and
// locking it.
func (p *PIDFile) claim(name string) (current bool, err error) {
	text, err := io.ReadAll(io.LimitReader(p.file, 64))
	if err != nil {
		return false, fmt.Errorf("read pid file: %w", err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text))) // rubbish is nobody's id
	err = syscall.Flock(int(p.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, &SecondCopyError{Name: name, PID: pid}
	}
	if err != nil {
		return false, fmt.Errorf("lock pid file: %w", err)
	}
	if ours, err := p.current(); err != nil || !ours {
		return false, err
	}
	if alive(pid) {
		return false, &SecondCopyError{Name: name, PID: pid}
	}
	p.Stale = len(text) > 0
	if err := p.file.Truncate(0); err != nil {
		return false, fmt.Errorf("write pid file: %w", err)
	}
	if _, err := p.file.WriteAt(fmt.Appendf(nil, "%d\n", os.Getpid()), 0); err != nil {
		return false, fmt.Errorf("write pid file: %w", err)
	}
	return true, nil
}

// current tells whether path still is the file that we have open.
func (p *PIDFile) current() (bool, error) {
	byName, err := os.Stat(p.path)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at pid file: %w", err)
	}
	open, err := p.file.Stat()
	if err != nil {
		return false, fmt.Errorf("look at pid file: %w", err)
	}
	return os.SameFile(byName, open), nil
}

// Release removes the file and lets go of the lock.
func (p *PIDFile) Release() error {
	// First remove, then unlock: a process that gets the lock of a removed file sees that it is removed, and tries
	// again.
	err := os.Remove(p.path)
	if closeErr := p.file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("remove pid file: %w", err)
	}
	return nil
}

// alive tells whether there is another process with this id. Our own id in an old file is a coincidence, which is
// common in containers. A zombie, a process that has ended and that nobody has waited for, is not alive.
func alive(pid int) bool {
	if pid <= 0 || pid == os.Getpid() {
		return false
	}
	if err := syscall.Kill(pid, 0); err != nil && !errors.Is(err, syscall.EPERM) {
		return false
	}
	// The state follows the name, which is in parentheses and may hold anything (proc_pid_stat(5)).
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	name := bytes.LastIndexByte(stat, ')')
	return err != nil || name < 0 || !bytes.HasPrefix(stat[name:], []byte(") Z"))
}
