package daemon

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

// LevelFatal is the classic FATAL: somebody should be woken up. It does not mean that the program ends.
const LevelFatal = slog.Level(12)

// Fatal logs msg at LevelFatal.
func Fatal(log *slog.Logger, msg string, args ...any) {
	log.Log(context.Background(), LevelFatal, msg, args...)
}

// LogStyle is how a log is written. The zero LogStyle is the classic one.
type LogStyle struct {
	JSON bool // an object a line
	Zone bool // a classic line begins with a time that has its zone
}

// rfc3339 is how times are written, in local time, where they have their zone (RFC 3339, with milliseconds).
const rfc3339 = "2006-01-02T15:04:05.000Z07:00"

// Handler writes the classic log lines, in local time: "2012/10/15 05:07:36 FATAL text key=value". A text of several
// lines is written as it is. In the other styles a line begins with a time of RFC 3339, or is a JSON object with time,
// level, msg and the attributes.
type Handler struct {
	out   *output
	level slog.Leveler
	json  slog.Handler // has the same attributes and groups
	attrs []byte       // of the logger, as they are written
	group string       // prefix of keys
}

// output is shared by a Handler and all handlers that were made from it.
type output struct {
	style atomic.Pointer[LogStyle]

	mu sync.Mutex
	w  io.Writer
}

// Write writes one record.
func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(line)
}

var _ slog.Handler = (*Handler)(nil)

// NewHandler writes records of at least level to w, each with one call of Write, in the classic style.
func NewHandler(w io.Writer, level slog.Leveler) *Handler {
	out := &output{w: w}
	out.style.Store(&LogStyle{})
	return &Handler{out: out, level: level,
		json: slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level, ReplaceAttr: jsonAttr})}
}

// SetStyle changes the style of this handler and of all that share its output.
func (h *Handler) SetStyle(style LogStyle) { h.out.style.Store(&style) }

// Enabled implements slog.Handler.
func (h *Handler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level.Level() }

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	style := h.out.style.Load()
	r.Message = strings.TrimSuffix(r.Message, "\n")
	if style.JSON {
		return h.json.Handle(ctx, r)
	}
	var line bytes.Buffer
	layout := "2006/01/02 15:04:05"
	if style.Zone {
		layout = rfc3339
	}
	line.WriteString(r.Time.Local().Format(layout))
	name := levelName(r.Level)
	line.WriteString(strings.Repeat(" ", 6-len(name)) + name + " ")
	line.WriteString(r.Message)
	line.Write(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&line, h.group, a)
		return true
	})
	line.WriteByte('\n')
	_, err := h.out.Write(line.Bytes())
	return err
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	line := bytes.NewBuffer(bytes.Clone(h.attrs))
	for _, a := range attrs {
		writeAttr(line, h.group, a)
	}
	with := *h
	with.attrs, with.json = line.Bytes(), h.json.WithAttrs(attrs)
	return &with
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.group += name + "."
	with.json = h.json.WithGroup(name)
	return &with
}

// jsonAttr makes JSON say what the classic line says: a value that is neither a number nor a bool is the same text. A
// type's own form for encoding/json is not used, as it may show more than the type's String does.
func jsonAttr(groups []string, a slog.Attr) slog.Attr {
	if a.Equal(slog.Attr{}) {
		return a // slog leaves it out
	}
	switch a.Value.Kind() {
	case slog.KindString, slog.KindInt64, slog.KindUint64, slog.KindFloat64, slog.KindBool, slog.KindGroup:
	case slog.KindTime:
		a.Value = slog.StringValue(a.Value.Time().Local().Format(rfc3339))
	default:
		text := a.Value.String()
		if level, ok := a.Value.Any().(slog.Level); ok && len(groups) == 0 && a.Key == slog.LevelKey {
			text = levelName(level)
		}
		a.Value = slog.StringValue(text)
	}
	return a
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
