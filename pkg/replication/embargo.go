package replication

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// embargo remembers from which former writer this host replicates nothing more until the monitor trusts that one's log:
// what the former writer has beyond the place up to which this host has executed its log is not replicated unseen.
// While this host is taking over, the embargo has no position yet. It outlives the agent, in a file of one line,
// HOST|POSITION. It is safe for concurrent use.
type embargo struct {
	path    string // "": no file is kept
	disk    Disk
	known   func(host string) bool
	writing chan struct{} // one slot, which is held while the file is written

	mu  sync.Mutex // guards now, and is never held while the disk is waited for
	now cluster.Embargo
}

func newEmbargo(path string, disk Disk, known func(host string) bool) *embargo {
	return &embargo{path: path, disk: disk, known: known, writing: make(chan struct{}, 1)}
}

// load reads what the agent that ran before this one noted.
func (e *embargo) load() error {
	if e.path == "" {
		return nil
	}
	text, err := e.disk.ReadFile(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if len(text) == 0 {
		return nil
	}
	line, whole := strings.CutSuffix(string(text), "\n")
	host, at, ok := strings.Cut(line, "|")
	if !ok || !whole {
		return fmt.Errorf("read %s: want HOST|POSITION; remove the file if replication runs as it should", e.path)
	}
	if !e.known(host) {
		return fmt.Errorf("read %s: host '%s' is not in the configuration; remove the file if replication runs as it should", e.path, host)
	}
	if _, err := mysqlctl.ParsePosition(at); err != nil && at != "" {
		return fmt.Errorf("read %s: %w; remove the file if replication runs as it should", e.path, err)
	}
	e.note(cluster.Embargo{Host: host, At: at})
	return nil
}

func (e *embargo) note(to cluster.Embargo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now = to
}

func (e *embargo) get() cluster.Embargo {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// set replaces the embargo; the zero Embargo lifts it. When set returns without an error it is on disk.
func (e *embargo) set(to cluster.Embargo) error {
	if e.path == "" {
		e.note(to)
		return nil
	}
	e.writing <- struct{}{}
	defer func() { <-e.writing }()
	e.note(to)
	text := ""
	if to.Host != "" {
		text = to.Host + "|" + to.At + "\n"
	}
	return e.disk.Replace(e.path, []byte(text))
}
