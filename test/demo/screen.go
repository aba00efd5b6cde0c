package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// screen prints the story. Colours only on a terminal, and not where NO_COLOR is set (no-color.org).
type screen struct {
	out    io.Writer
	begin  time.Time
	colour bool
}

func newScreen(f *os.File) *screen {
	info, err := f.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return &screen{out: f, begin: time.Now(), colour: terminal && os.Getenv("NO_COLOR") == ""}
}

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// head begins a part of the story.
func (s *screen) head(text string) {
	fmt.Fprintf(s.out, "\n%s %s\n", s.paint("2", fmt.Sprintf("[%5.1f s]", time.Since(s.begin).Seconds())), s.paint("1", text))
}

func (s *screen) say(format string, args ...any) {
	fmt.Fprintf(s.out, "          %s\n", fmt.Sprintf(format, args...))
}

// prompt names what is shown next.
func (s *screen) prompt(text string) { fmt.Fprintf(s.out, "          %s\n", s.paint("36", "$ "+text)) }

// quote shows what a program printed.
func (s *screen) quote(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(s.out, "          | %s\n", strings.TrimRight(line, "\n"))
	}
}

// table prints rows under a head, the last column to the right.
func (s *screen) table(head []string, rows [][]string) {
	left, right := len(head[0]), len(head[1])
	for _, r := range rows {
		left, right = max(left, len(r[0])), max(right, len(r[1]))
	}
	s.say("%s", s.paint("1", fmt.Sprintf("%-*s  %*s", left, head[0], right, head[1])))
	for _, r := range rows {
		s.say("%-*s  %*s", left, r[0], right, r[1])
	}
	fmt.Fprintln(s.out)
}
