package history

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var epoch = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// run lets f use a book, waits until all its records are in the file at path, and returns what was logged.
func run(t *testing.T, path string, f func(b *Book)) (log string) {
	t.Helper()
	var text bytes.Buffer
	b := Open(path, slog.New(slog.NewTextHandler(&text, nil)))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	f(b)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return text.String()
}

func note(text string) Record { return Record{At: epoch, Kind: Note, Level: "INFO", Text: text} }

func texts(records []Record) string {
	var all []string
	for _, r := range records {
		all = append(all, fmt.Sprintf("%d:%s", r.ID, r.Text))
	}
	return strings.Join(all, " ")
}

// A history goes on where it ended, numbers included.
func TestOverRestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "history")
	run(t, path, func(b *Book) { b.Add(note("a"), note("b")); b.Add(); b.Add(note("c")) })
	log := run(t, path, func(b *Book) {
		b.Add(note("d"))
		if got, want := texts(b.Records()), "1:a 2:b 3:c 4:d"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	})
	if got := texts(Open(path, slog.New(slog.DiscardHandler)).Records()); got != "1:a 2:b 3:c 4:d" || log != "" {
		t.Errorf("in the file: %s; log: %s", got, log)
	}
}

// Half a line, and lines that are no records, are left out; all others are read.
func TestBrokenFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	run(t, path, func(b *Book) { b.Add(note("a")) })
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("rubbish\n{}\n{\"id\":2,\"text\":\"ha"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	log := run(t, path, func(b *Book) { b.Add(note("b")) })
	if !strings.Contains(log, "3 lines are broken") {
		t.Errorf("log: %s", log)
	}
	if got := texts(Open(path, slog.New(slog.DiscardHandler)).Records()); got != "1:a 2:b" {
		t.Error(got)
	}
}

// Neither the file nor the memory grows without end, and what readers were given stays as it was.
func TestBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	long := strings.Repeat("x", 1000)
	log := run(t, path, func(b *Book) {
		b.Add(note("first"))
		early := b.Records()
		for i := range 5 * keep {
			b.Add(note(long))
			if i == keep {
				if n := len(b.Records()); n != keep {
					t.Errorf("%d records are kept", n)
				}
			}
			for i%100 == 0 && len(b.pending) > 0 { // the writer keeps up
				time.Sleep(time.Millisecond)
			}
		}
		if texts(early) != "1:first" {
			t.Errorf("what was given out has changed: %s", texts(early))
		}
	})
	if log != "" {
		t.Error(log)
	}
	for _, p := range []string{path, path + ".1"} {
		st, err := os.Stat(p)
		if err != nil || st.Size() > maxFile || st.Size() == 0 {
			t.Errorf("%s: %v, %v", p, st, err)
		}
	}
	if files, _ := filepath.Glob(path + "*"); len(files) != 2 {
		t.Errorf("files: %v", files)
	}
	b := Open(path, slog.New(slog.DiscardHandler))
	if r := b.Records(); len(r) != keep || r[keep-1].ID != 5*keep+1 {
		t.Errorf("%d records, the newest is %d", len(r), r[len(r)-1].ID)
	}
}

// A disk that can't be written to is logged once, and the history goes on in memory. Add never waits, also where Run is
// not running.
func TestNoDisk(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	log := run(t, filepath.Join(dir, "file", "history"), func(b *Book) {
		for range 10 {
			b.Add(note("a"))
			for len(b.pending) > 0 {
				time.Sleep(time.Millisecond)
			}
		}
		if len(b.Records()) != 10 {
			t.Error("memory has lost some")
		}
	})
	if strings.Count(log, "Can't write the history") != 1 {
		t.Errorf("log: %s", log)
	}
	idle := Open("", slog.New(slog.DiscardHandler))
	for range 3 * keep {
		idle.Add(note("a"))
	}
	if n := len(<-idle.pending); n != keep {
		t.Errorf("%d records wait", n)
	}
}

func TestFormat(t *testing.T) {
	got := Format([]Record{{At: epoch.Local(), Level: "FATAL", Text: "State of host 'db1' changed", Cause: "why",
		Evidence: []string{"mysql: ERROR"}}, {At: epoch, Level: "INFO", Text: "    indented"}})
	at := epoch.Local().Format("2006/01/02 15:04:05.000")
	want := at + "  FATAL  State of host 'db1' changed\n" + strings.Repeat(" ", 32) + "why\n" +
		strings.Repeat(" ", 32) + "mysql: ERROR\n" + at + "  INFO   indented\n"
	if got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
