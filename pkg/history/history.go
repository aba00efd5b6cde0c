// Package history keeps what happened to a cluster: in memory for those who ask, and in a bounded file over restarts.
// It is for people; nothing is decided by it, and a disk that fails or hangs costs only what would have been written to
// it.
package history

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Kind says what a record is about.
type Kind string

// The kinds of records.
const (
	State Kind = "state" // of a host: From, To
	Role  Kind = "role"  // a role's address left From, or has arrived on To
	Check Kind = "check" // the verdict of a check changed
	Note  Kind = "note"  // everything else that the log tells
)

// Record is one thing that happened.
type Record struct {
	ID       uint64    `json:"id"` // rises by one, also over restarts
	At       time.Time `json:"at"`
	Kind     Kind      `json:"kind"`
	Level    string    `json:"level"` // INFO, WARN, ERROR or FATAL, as in the log
	Host     string    `json:"host,omitempty"`
	Topic    string    `json:"topic,omitempty"` // of notes: conflict, unprotected, protected
	Role     string    `json:"role,omitempty"`  // NAME(IP)
	From     string    `json:"from,omitempty"`  // state or host
	To       string    `json:"to,omitempty"`
	Text     string    `json:"text"`
	Cause    string    `json:"cause,omitempty"`
	Evidence []string  `json:"evidence,omitempty"` // what the failing checks said
	Planned  bool      `json:"planned,omitempty"`  // of a role: an operator or a preference moves it
	Seconds  float64   `json:"seconds,omitempty"`  // of a role that has arrived: since it began to leave
}

const (
	keep    = 1000    // records in memory
	maxFile = 1 << 20 // bytes; a file that would become longer becomes PATH.1, in the place of the PATH.1 of before
	maxLine = 1 << 16 // bytes; a record that would need more is not written to the file
)

// Book is the history of one cluster. One goroutine owns it; Run is the only method that another goroutine may call.
type Book struct {
	path    string
	log     *slog.Logger
	records []Record
	pending chan []Record // one slot: the records that Run has yet to write
}

// Open reads the newest records of the history in path and path.1. Lines that can't be read are left out, and that is
// logged: a broken history keeps no program from starting. With an empty path the history is in memory only.
func Open(path string, log *slog.Logger) *Book {
	b := &Book{path: path, log: log, pending: make(chan []Record, 1)}
	if path == "" {
		return b
	}
	for _, p := range []string{path + ".1", path} {
		records, err := read(p)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			log.Warn(fmt.Sprintf("Can't read all of the history in %s", p), "cause", err)
		}
		b.records = append(b.records, records...)
	}
	b.records = slices.Clone(b.Records())
	return b
}

func read(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var records []Record
	lines := bufio.NewScanner(io.LimitReader(f, 2*maxFile))
	lines.Buffer(nil, maxLine)
	broken := 0
	for lines.Scan() {
		var r Record
		if json.Unmarshal(lines.Bytes(), &r) != nil || r.ID == 0 {
			broken++
			continue
		}
		records = append(records, r)
	}
	if err := lines.Err(); err != nil {
		return records, err
	}
	if broken > 0 {
		return records, fmt.Errorf("%d lines are broken", broken)
	}
	return records, nil
}

// Records are the newest thousand records, oldest first. The slice that is returned never changes.
func (b *Book) Records() []Record {
	return slices.Clip(b.records[max(0, len(b.records)-keep):])
}

// Add takes in records and numbers them. It never waits for a disk.
func (b *Book) Add(records ...Record) {
	if len(records) == 0 {
		return
	}
	if len(b.records) >= 2*keep {
		b.records = slices.Clone(b.Records()) // readers keep the old array
	}
	id := uint64(0)
	if n := len(b.records); n > 0 {
		id = b.records[n-1].ID
	}
	first := len(b.records)
	for _, r := range records {
		id++
		r.ID = id
		b.records = append(b.records, r)
	}
	waiting := slices.Clone(b.records[first:])
	select {
	case old := <-b.pending:
		waiting = append(old, waiting...)
		waiting = waiting[max(0, len(waiting)-keep):]
	default:
	}
	b.pending <- waiting
}

// String names the task.
func (b *Book) String() string { return "history" }

// Run writes records to the file until ctx ends, and then those that still wait. It always returns nil.
func (b *Book) Run(ctx context.Context) error {
	failing := false
	write := func(records []Record) {
		err := b.write(records)
		if err != nil && !failing {
			b.log.Warn("Can't write the history; it goes on in memory", "cause", err)
		}
		failing = err != nil
	}
	for {
		select {
		case records := <-b.pending:
			write(records)
		case <-ctx.Done():
			select {
			case records := <-b.pending:
				write(records)
			default:
			}
			return nil
		}
	}
}

func (b *Book) write(records []Record) error {
	if b.path == "" {
		return nil
	}
	var text bytes.Buffer
	for _, r := range records {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode a record: %w", err)
		}
		if len(line) < maxLine {
			text.Write(append(line, '\n'))
		}
	}
	if err := os.MkdirAll(filepath.Dir(b.path), 0o755); err != nil {
		return err
	}
	if st, err := os.Stat(b.path); err == nil && st.Size()+int64(text.Len()) > maxFile {
		if err := os.Rename(b.path, b.path+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	// A crash or a full disk may have left half a line: the next record begins on a line of its own.
	if half, err := ragged(f); err == nil && half {
		text = *bytes.NewBuffer(append([]byte("\n"), text.Bytes()...))
	}
	_, err = f.Write(text.Bytes())
	return errors.Join(err, f.Close())
}

// ragged says whether the file ends without a newline.
func ragged(f *os.File) (bool, error) {
	st, err := f.Stat()
	if err != nil || st.Size() == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], st.Size()-1)
	return last[0] != '\n', err
}

// Format renders records for people, oldest first.
func Format(records []Record) string {
	var b strings.Builder
	for _, r := range records {
		fmt.Fprintf(&b, "%s  %-5s  %s\n", r.At.Local().Format("2006/01/02 15:04:05.000"), r.Level,
			strings.TrimSpace(r.Text))
		for _, why := range append([]string{r.Cause}, r.Evidence...) {
			if why != "" {
				fmt.Fprintf(&b, "%25s       %s\n", "", why)
			}
		}
	}
	return b.String()
}
