package bubble

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// story is what happened in a world, for people. Its lines become text only where somebody reads the story.
type story struct {
	begin time.Time
	lines []line
}

type line struct {
	at     time.Duration
	who    string
	format string
	args   []any // nil: format is the text
}

// note adds a line.
func (s *story) note(who, format string, args ...any) {
	s.lines = append(s.lines, line{time.Since(s.begin), who, format, args})
}

// String is the whole story, line by line.
func (s *story) String() string {
	var b strings.Builder
	for _, l := range s.lines {
		text := l.format
		if l.args != nil {
			text = fmt.Sprintf(l.format, l.args...)
		}
		fmt.Fprintf(&b, "%9.3f %-8s %s\n", l.at.Seconds(), l.who, text)
	}
	return b.String()
}

// note adds a line to the story. The world is locked.
func (w *World) note(who, format string, args ...any) { w.story.note(who, format, args...) }

// say is note for callers that have not locked the world.
func (w *World) say(who, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.note(who, format, args...)
}

// logTo is a program's log, which becomes part of the story.
type logTo struct {
	w *World
	p *process
}

func (logTo) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

func (l logTo) Handle(_ context.Context, r slog.Record) error {
	if err := l.p.pass(); err != nil {
		return err
	}
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.note(l.p.name, "%s: %s", r.Level, r.Message)
	l.w.heardOf(r.Message)
	return nil
}

func (l logTo) WithAttrs([]slog.Attr) slog.Handler { return l }
func (l logTo) WithGroup(string) slog.Handler      { return l }
