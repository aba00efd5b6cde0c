package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// screen prints the story. Colours only on a terminal, and not where NO_COLOR is set (no-color.org).
type screen struct {
	out    io.Writer
	begin  time.Time
	colour bool
}

// The colours, as SGR parameters (ECMA-48, 8.3.117).
const (
	bold  = "1"
	faint = "2"
	cyan  = "36"
	red   = "31"
)

const margin = "           "

func newScreen(f *os.File) *screen {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return &screen{out: f, begin: time.Now(), colour: err == nil && os.Getenv("NO_COLOR") == ""}
}

func (s *screen) paint(code, text string) string {
	if !s.colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

// elapsed is the time since the beginning, as wide as the margin.
func (s *screen) elapsed() string {
	return s.paint(faint, fmt.Sprintf("[%6.2f s] ", time.Since(s.begin).Seconds()))
}

// head prints the head of a part of the story.
func (s *screen) head(text string) {
	fmt.Fprintf(s.out, "\n%s%s\n", s.elapsed(), s.paint(bold, text))
}

// say prints an explanation.
func (s *screen) say(format string, args ...any) {
	fmt.Fprintf(s.out, "%s%s\n", margin, fmt.Sprintf(format, args...))
}

// news prints what a daemon has just logged, or what happens to the client.
func (s *screen) news(who, text string) {
	code := cyan
	if strings.HasPrefix(text, "ERROR") || strings.HasPrefix(text, "FATAL") || strings.HasPrefix(text, "writes fail") {
		code = red
	}
	fmt.Fprintf(s.out, "%s%s %s\n", s.elapsed(), s.paint(code, fmt.Sprintf("%-6s", who)), text)
}

// quote shows a command and what it printed, as it is.
func (s *screen) quote(command, text string) {
	s.say("%s", s.paint(cyan, "$ "+command))
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		s.say("%s", strings.TrimRight(line, "\n"))
	}
}

// table prints rows of two columns under their heads, the second one aligned to the right.
func (s *screen) table(left, right string, rows [][]string) {
	const width = 50
	s.say("%s", s.paint(bold, fmt.Sprintf("%-*s%10s", width, left, right)))
	for _, r := range rows {
		s.say("%-*s%10s", width, r[0], r[1])
	}
	fmt.Fprintln(s.out)
}
