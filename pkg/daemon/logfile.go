package daemon

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// checkInterval is how often a LogFile looks whether it has been rotated away.
const checkInterval = time.Second

// LogFile appends to a file, and opens it anew when somebody has renamed or removed it. Each Write is one system call,
// so that lines of several processes don't mix. A line that can't be written is lost: a full disk is no reason to stop.
type LogFile struct {
	path   string
	mirror io.Writer // nil: none
	now    func() time.Time

	mu      sync.Mutex
	file    *os.File
	checked time.Time
}

// OpenLog opens the file at path for appending, mode 0640, and makes its folder where it is missing. Everything goes to
// mirror too, unless that is nil.
func OpenLog(path string, mirror io.Writer) (*LogFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &LogFile{path: path, mirror: mirror, now: time.Now}
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// Reopen opens the file by its name again, as is needed after a rotation. Where that fails the old file stays in use.
func (l *LogFile) Reopen() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.reopen()
}

func (l *LogFile) reopen() error {
	l.checked = l.now()
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file = f
	return nil
}

// Write appends p, which should be whole lines.
func (l *LogFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now().Sub(l.checked) >= checkInterval && l.rotated() {
		_ = l.reopen() // where that fails, the old file stays in use
	}
	if l.mirror != nil {
		_, _ = l.mirror.Write(p)
	}
	return l.file.Write(p)
}

// rotated tells whether path is no longer the open file.
func (l *LogFile) rotated() bool {
	l.checked = l.now()
	byName, err := os.Stat(l.path)
	if err != nil {
		return os.IsNotExist(err)
	}
	open, err := l.file.Stat()
	return err != nil || !os.SameFile(byName, open)
}

// Close closes the file.
func (l *LogFile) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}
