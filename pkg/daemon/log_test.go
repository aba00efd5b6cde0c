package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestHandler(t *testing.T) {
	at := time.Date(2012, 10, 15, 5, 7, 36, 999, time.Local)
	tests := []struct {
		level slog.Level
		msg   string
		attrs []slog.Attr
		want  string
	}{
		{slog.LevelDebug, "text", nil, "2012/10/15 05:07:36 DEBUG text\n"},
		{slog.LevelInfo, "text", nil, "2012/10/15 05:07:36  INFO text\n"},
		{slog.LevelWarn, "text", nil, "2012/10/15 05:07:36  WARN text\n"},
		{slog.LevelError, "text", nil, "2012/10/15 05:07:36 ERROR text\n"},
		{LevelFatal, "text", nil, "2012/10/15 05:07:36 FATAL text\n"},
		{slog.LevelError + 1, "text", nil, "2012/10/15 05:07:36 ERROR text\n"},
		{slog.LevelInfo, "Startup status:\n\nRoles:\n    Role\n", nil,
			"2012/10/15 05:07:36  INFO Startup status:\n\nRoles:\n    Role\n"},
		{
			slog.LevelInfo, "text",
			[]slog.Attr{slog.String("host", "db1"), slog.Any("cause", errors.New("a b")),
				slog.Duration("after", time.Second), slog.String("s", ""), {}},
			`2012/10/15 05:07:36  INFO text host=db1 cause="a b" after=1s s=""` + "\n",
		},
		{slog.LevelInfo, "text", []slog.Attr{slog.String("s", "a\nb=\"")},
			`2012/10/15 05:07:36  INFO text s="a\nb=\""` + "\n"},
		{slog.LevelInfo, "text", []slog.Attr{slog.Group("g", slog.Int("n", 1), slog.Group("h", slog.Int("m", 2)))},
			"2012/10/15 05:07:36  INFO text g.n=1 g.h.m=2\n"},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		r := slog.NewRecord(at, tt.level, tt.msg, 0)
		r.AddAttrs(tt.attrs...)
		if err := NewHandler(&out, slog.LevelDebug).Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if out.String() != tt.want {
			t.Errorf("got  %q\nwant %q", out.String(), tt.want)
		}
	}
}

func TestLoggersFromOne(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(NewHandler(&out, slog.LevelInfo))
	log.Debug("not this")
	child := log.With("a", 1).WithGroup("g").With("b", 2)
	child.Info("one", "c", 3)
	log.With("d", 4).WithGroup("").Info("two", "e", 5)
	Fatal(log, "three", "f", 6)
	var texts []string
	for line := range strings.Lines(out.String()) {
		texts = append(texts, line[len("2012/10/15 05:07:36 "):])
	}
	want := " INFO one a=1 g.b=2 g.c=3\n INFO two d=4 e=5\nFATAL three f=6\n"
	if got := strings.Join(texts, ""); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// keyring has a field that its String does not show, and that a log must not show either.
type keyring struct{ Key string }

func (keyring) String() string { return "a key" }

// TestJSON: one object a line says what the classic line says, whatever characters are in it. No more of a value is
// shown than in the classic line.
func TestJSON(t *testing.T) {
	at := time.Date(2012, 10, 15, 5, 7, 36, 999_999_999, time.FixedZone("", 2*60*60+30*60))
	stamp := `{"time":"` + at.Local().Format("2006-01-02T15:04:05.000Z07:00") + `","level":`
	tests := []struct {
		level slog.Level
		msg   string
		attrs []slog.Attr
		want  string
	}{
		{slog.LevelDebug, "text", nil, `"DEBUG","msg":"text"}`},
		{slog.LevelInfo, "text", nil, `"INFO","msg":"text"}`},
		{slog.LevelWarn, "text", nil, `"WARN","msg":"text"}`},
		{slog.LevelError + 1, "text", nil, `"ERROR","msg":"text"}`},
		{LevelFatal, "text", nil, `"FATAL","msg":"text"}`},
		{slog.LevelInfo, "Startup status:\n\nRoles:\n    <a> \"b\"\n", nil,
			`"INFO","msg":"Startup status:\n\nRoles:\n    <a> \"b\""}`},
		{slog.LevelInfo, "\xff\x1b", nil, `"INFO","msg":"\ufffd\u001b"}`},
		{slog.LevelInfo, "text",
			[]slog.Attr{slog.String("host", "db1"), slog.Any("cause", errors.New("a b")), {},
				slog.Duration("after", time.Second), slog.Int("n", 7), slog.Bool("ok", true), slog.Float64("f", 0.5),
				slog.Any("keys", keyring{"hidden"}),
				slog.Time("at", at), slog.Group("g", slog.Any("level", slog.LevelWarn))},
			`"INFO","msg":"text","host":"db1","cause":"a b","after":"1s","n":7,"ok":true,"f":0.5,"keys":"a key","at":"` +
				at.Local().Format("2006-01-02T15:04:05.000Z07:00") + `","g":{"level":"WARN"}}`},
	}
	for _, tt := range tests {
		var out bytes.Buffer
		r := slog.NewRecord(at, tt.level, tt.msg, 0)
		r.AddAttrs(tt.attrs...)
		h := NewHandler(&out, slog.LevelDebug)
		h.SetStyle(LogStyle{JSON: true, Zone: true})
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if out.String() != stamp+tt.want+"\n" {
			t.Errorf("got  %q\nwant %q", out.String(), stamp+tt.want+"\n")
		}
	}
}

// TestZone: times of classic lines have their zone where that is wanted.
func TestZone(t *testing.T) {
	at := time.Date(2012, 10, 15, 5, 7, 36, 999_999_999, time.UTC)
	var out bytes.Buffer
	h := NewHandler(&out, slog.LevelInfo)
	h.SetStyle(LogStyle{Zone: true})
	r := slog.NewRecord(at, slog.LevelInfo, "text\n", 0)
	r.AddAttrs(slog.String("host", "db1"))
	if err := h.Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	stamp, rest, _ := strings.Cut(out.String(), " ")
	if back, err := time.Parse(time.RFC3339, stamp); err != nil || !back.Equal(at.Truncate(time.Millisecond)) ||
		rest != " INFO text host=db1\n" {
		t.Errorf("%q: %v", out.String(), err)
	}
}

// TestStyleCountsForAll: loggers that were made from another one before its style changed write in the new style, with
// all their attributes.
func TestStyleCountsForAll(t *testing.T) {
	var out bytes.Buffer
	h := NewHandler(&out, slog.LevelInfo)
	child := slog.New(h).With("a", 1).WithGroup("g").With("b", 2)
	h.SetStyle(LogStyle{JSON: true})
	child.Debug("not this")
	child.Info("one", "c", 3)
	h.SetStyle(LogStyle{})
	child.Info("two", "c", 3)
	json, classic, _ := strings.Cut(out.String(), "\n")
	if !strings.HasSuffix(json, `,"level":"INFO","msg":"one","a":1,"g":{"b":2,"c":3}}`) {
		t.Errorf("%q", json)
	}
	if classic[len("2012/10/15 05:07:36 "):] != " INFO two a=1 g.b=2 g.c=3\n" {
		t.Errorf("%q", classic)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, l *LogFile, line string) {
	t.Helper()
	if n, err := l.Write([]byte(line)); n != len(line) || err != nil {
		t.Fatalf("write %q: %d, %v", line, n, err)
	}
}

func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "x.log")
	var mirror bytes.Buffer
	l, err := OpenLog(path, &mirror)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	write(t, l, "one\n")
	second, err := OpenLog(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	write(t, second, "two\n")
	write(t, l, "three\n")
	if got := read(t, path); got != "one\ntwo\nthree\n" {
		t.Errorf("the file has %q", got)
	}
	if got := mirror.String(); got != "one\nthree\n" {
		t.Errorf("the mirror has %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if _, err := OpenLog(path+"/x", nil); err == nil {
		t.Error("a log inside a file: no error")
	}
}

func TestLogFileFollowsRotation(t *testing.T) {
	for name, rotate := range map[string]func(path string) error{
		"renamed": func(path string) error { return os.Rename(path, path+".1") },
		"removed": os.Remove,
		"replaced": func(path string) error {
			if err := os.Rename(path, path+".1"); err != nil {
				return err
			}
			return os.WriteFile(path, nil, 0o640)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.log")
			synctest.Test(t, func(t *testing.T) {
				l, err := OpenLog(path, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
				write(t, l, "one\n")
				if err := rotate(path); err != nil {
					t.Fatal(err)
				}
				time.Sleep(checkInterval - time.Nanosecond)
				write(t, l, "two\n") // goes into the old file: less than checkInterval has passed
				time.Sleep(time.Nanosecond)
				write(t, l, "three\n")
				if got := read(t, path); got != "three\n" {
					t.Errorf("the new file has %q", got)
				}
				if name == "removed" {
					return
				}
				if got := read(t, path+".1"); got != "one\ntwo\n" {
					t.Errorf("the old file has %q", got)
				}
			})
		})
	}
}

func TestLogFileKeepsWhatItHas(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "logs")
	path := filepath.Join(dir, "x.log")
	l, err := OpenLog(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err == nil {
		t.Error("reopened a file in a folder that is gone")
	}
	write(t, l, "one\n")
	if got := read(t, filepath.Join(dir+".away", "x.log")); got != "one\n" {
		t.Errorf("got %q", got)
	}
}

// A full disk loses lines, and nothing else.
func TestLogFileOnAFullDisk(t *testing.T) {
	l, err := OpenLog("/dev/full", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if _, err := l.Write([]byte("lost\n")); err == nil {
		t.Error("/dev/full took a line")
	}
	slog.New(NewHandler(l, slog.LevelInfo)).Info("also lost") // and no more than that
}
