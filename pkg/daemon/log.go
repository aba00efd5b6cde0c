package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
)

// LevelFatal is the classic FATAL: not the end of the program, but what somebody should be woken up for.
const LevelFatal = slog.Level(12)

// Fatal logs msg at LevelFatal.
func Fatal(log *slog.Logger, msg string, args ...any) {
	log.Log(context.Background(), LevelFatal, msg, args...)
}

// Handler writes the classic log lines, local time: "2012/10/15 05:07:36 FATAL text key=value". A text of several lines
// is written as it is.
type Handler struct {
	out   *output
	level slog.Leveler
	attrs []byte // of the logger, as they are written
	group string // prefix of keys
}

// output is shared by all loggers that come from one.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler writes records of at least level to w, each with one call of Write.
func NewHandler(w io.Writer, level slog.Leveler) *Handler {
	return &Handler{out: &output{w: w}, level: level}
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// Handle implements slog.Handler.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	var line bytes.Buffer
	line.WriteString(r.Time.Local().Format("2006/01/02 15:04:05"))
	name := levelName(r.Level)
	line.WriteString(strings.Repeat(" ", 6-len(name)) + name + " ")
	line.WriteString(strings.TrimSuffix(r.Message, "\n"))
	line.Write(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&line, h.group, a)
		return true
	})
	line.WriteByte('\n')
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	_, err := h.out.w.Write(line.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	line := bytes.NewBuffer(bytes.Clone(h.attrs))
	for _, a := range attrs {
		writeAttr(line, h.group, a)
	}
	with := *h
	with.attrs = line.Bytes()
	return &with
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.group += name + "."
	return &with
}

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
	default:
		return "DEBUG"
	}
}

func writeAttr(line *bytes.Buffer, group string, a slog.Attr) {
	v := a.Value.Resolve()
	if v.Kind() == slog.KindGroup {
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, member := range v.Group() {
			writeAttr(line, group, member)
		}
		return
	}
	if a.Equal(slog.Attr{}) {
		return
	}
	text := v.String()
	if text == "" || strings.ContainsFunc(text, func(r rune) bool {
		return r <= ' ' || r == '=' || r == '"' ||
			!strconv.IsPrint(r)
	}) {
		text = strconv.Quote(text)
	}
	line.WriteString(" " + group + a.Key + "=" + text)
}
