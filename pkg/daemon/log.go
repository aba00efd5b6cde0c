package daemon

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// LevelFatal is the classic level that people have mail appenders for. It ends nothing.
const LevelFatal = slog.Level(12)

// Handler writes classic lines: `2012/10/15 05:07:36 FATAL text`, the level right-aligned in five characters, local time.
// Attributes follow as key=value. A text of several lines is written as it is.
type Handler struct {
	out   io.Writer // gets each record in one Write
	level slog.Level
	attrs string
}

// NewHandler makes a Handler for records of at least the level.
func NewHandler(out io.Writer, level slog.Level) *Handler { return &Handler{out: out, level: level} }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= h.level }

// Handle implements slog.Handler.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %5s %s%s", r.Time.Format("2006/01/02 15:04:05"), levelName(r.Level), r.Message, h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	b.WriteByte('\n')
	_, err := io.WriteString(h.out, b.String())
	return err
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	for _, a := range attrs {
		next.attrs += fmt.Sprintf(" %s=%v", a.Key, a.Value)
	}
	return &next
}

// WithGroup implements slog.Handler. The classic format has no groups.
func (h *Handler) WithGroup(string) slog.Handler { return h }

func levelName(l slog.Level) string {
	switch {
	case l >= LevelFatal:
		return "FATAL"
	case l >= slog.LevelError:
		return "ERROR"
	case l >= slog.LevelWarn:
		return "WARN"
	case l >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// statPeriod is how often a LogFile looks whether it was rotated away.
const statPeriod = time.Second

// LogFile is a log that may be rotated: it is opened anew on Reopen and when the file of its name is another one. A disk
// that does not take a line loses that line and stops nothing.
type LogFile struct {
	path string
	copy io.Writer // gets every line too; nil: nobody

	mu      sync.Mutex
	file    *os.File
	checked time.Time
}

// OpenLog opens the file for appending; its folder is made where it is missing.
func OpenLog(path string, also io.Writer) (*LogFile, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &LogFile{path: path, copy: also}
	if err := l.Reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// Reopen opens the file of the log's name, which may be a new one.
func (l *LogFile) Reopen() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.file.Close()
	}
	l.file = f
	return nil
}

// Write appends one record. It never fails: a daemon does not end because its log can't be written.
func (l *LogFile) Write(line []byte) (int, error) {
	if l.rotated() {
		_ = l.Reopen()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(line)
	if l.copy != nil {
		_, _ = l.copy.Write(line)
	}
	return len(line), nil
}

func (l *LogFile) rotated() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.checked) < statPeriod {
		return false
	}
	l.checked = time.Now()
	named, err := os.Stat(l.path)
	if err != nil {
		return true
	}
	open, err := l.file.Stat()
	return err != nil || !os.SameFile(named, open)
}
