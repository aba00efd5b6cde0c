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
// HOST|POSITION; both are empty where there is none. It is safe for concurrent use.
type embargo struct {
	path    string // "": no file is kept
	disk    Disk
	known   func(host string) bool
	writing chan struct{} // one slot, which is held while the file is written

	mu     sync.Mutex // guards what follows, and is never held while the disk is waited for
	now    cluster.Embargo
	unread bool // the file could not be read, and nothing was set since: there may have been an embargo
}

func newEmbargo(path string, disk Disk, known func(host string) bool) *embargo {
	return &embargo{path: path, disk: disk, known: known, writing: make(chan struct{}, 1)}
}

// load reads what the agent that ran before this one noted. What can't be understood is kept beside the file, as
// PATH.unreadable.
func (e *embargo) load() error {
	if e.path == "" {
		return nil
	}
	text, err := e.disk.ReadFile(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		e.note(cluster.Embargo{}, true)
		return err
	}
	if len(text) == 0 { // by a version that noted that there is none, or since a crash of the machine
		e.note(cluster.Embargo{}, true)
		return nil
	}
	found, err := e.parse(string(text))
	e.note(found, err != nil)
	if err == nil {
		return nil
	}
	err = fmt.Errorf("read %s: %w; remove the file if replication runs as it should", e.path, err)
	if keep := e.disk.Replace(e.path+".unreadable", text); keep != nil {
		err = errors.Join(err, fmt.Errorf("keep what it has: %w", keep))
	}
	return err
}

func (e *embargo) parse(text string) (cluster.Embargo, error) {
	line, whole := strings.CutSuffix(text, "\n")
	host, at, ok := strings.Cut(line, "|")
	if !ok || !whole {
		return cluster.Embargo{}, errors.New("want HOST|POSITION")
	}
	if host == "" && at == "" {
		return cluster.Embargo{}, nil
	}
	if !e.known(host) {
		return cluster.Embargo{}, fmt.Errorf("host '%s' is not in the configuration", host)
	}
	if _, err := mysqlctl.ParsePosition(at); err != nil && at != "" {
		return cluster.Embargo{}, err
	}
	return cluster.Embargo{Host: host, At: at}, nil
}

func (e *embargo) note(to cluster.Embargo, unread bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.now, e.unread = to, unread
}

// doubtful says whether there may be an embargo that could not be read.
func (e *embargo) doubtful() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.unread
}

func (e *embargo) get() cluster.Embargo {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.now
}

// set replaces the embargo; the zero Embargo lifts it. When set returns without an error it is on disk.
func (e *embargo) set(to cluster.Embargo) error {
	if e.path == "" {
		e.note(to, false)
		return nil
	}
	e.writing <- struct{}{}
	defer func() { <-e.writing }()
	e.note(to, false)
	return e.disk.Replace(e.path, []byte(to.Host+"|"+to.At+"\n"))
}
