// Package store keeps what must outlive the monitor: in the status file, which has the original's lines and more.
package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Disk reads and replaces small files (package durable).
type Disk interface {
	ReadFile(path string) ([]byte, error)
	Replace(path string, content []byte) error
	Rename(from, to string) error
}

// File is a status file. Run writes it in a goroutine of its own: the newest version only, again and again where the
// disk does not take it.
type File struct {
	path   string
	disk   Disk
	wanted chan version // one slot; the newest wins
	saved  chan Saved

	newest version // as last handed to Save

	unread atomic.Bool // the content of the file is not known whole: it is kept aside before the file is replaced
}

// version is one content of the file.
type version struct {
	number uint64
	text   string
}

// Saved is how the writing of one version ended.
type Saved struct {
	Version uint64
	Err     error
	Aside   string // where the former content is kept, which could not be read whole; "" for no such content
}

// retryPeriod is the time from one failed attempt to write to the next.
const retryPeriod = time.Second

// NewFile is the status file at path. Nothing is read or written yet.
func NewFile(path string, disk Disk) *File {
	return &File{path: path, disk: disk, wanted: make(chan version, 1), saved: make(chan Saved)}
}

// Saved tells how writing ended, of each version that was tried.
func (f *File) Saved() <-chan Saved { return f.saved }

// Save asks for d to be written, and returns the number of that version. changed is false where that is what was asked
// for last: then there is nothing to write. Only one goroutine may call it.
func (f *File) Save(d cluster.Durable) (number uint64, changed bool) {
	text := format(d)
	if text == f.newest.text {
		return f.newest.number, false
	}
	f.newest = version{number: f.newest.number + 1, text: text}
	select {
	case <-f.wanted:
	default:
	}
	f.wanted <- f.newest
	return f.newest.number, true
}

// Run writes until ctx ends; what was asked for last is then still written.
func (f *File) Run(ctx context.Context) error {
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	var failed *version
	for {
		var v version
		select {
		case v = <-f.wanted:
		case <-retry.C:
			v = *failed
		case <-ctx.Done():
			select {
			case v := <-f.wanted:
				_, err := f.replace(v)
				return err
			default:
			}
			if failed != nil {
				_, err := f.replace(*failed)
				return err
			}
			return nil
		}
		aside, err := f.replace(v)
		failed = nil
		retry.Stop()
		if err != nil {
			failed = &v
			retry.Reset(retryPeriod)
		}
		select {
		case f.saved <- Saved{Version: v.number, Err: err, Aside: aside}:
		case <-ctx.Done():
		}
	}
}

// replace writes a version. It keeps the former content as aside, where that could not be read whole.
func (f *File) replace(v version) (aside string, err error) {
	if f.unread.Swap(false) {
		aside = f.path + ".unreadable"
		if err := f.disk.Rename(f.path, aside); err != nil {
			aside = "" // there is no file, or the disk takes no change of names: decisions are not held up by that
		}
	}
	return aside, f.disk.Replace(f.path, []byte(v.text))
}

// Load reads the file. A missing one is fs.ErrNotExist. What can't be right in it is left out, with a warning each. One
// of another cluster is an error: by its epoch nobody here could ever be the writer. known are the hosts of the
// configuration.
func (f *File) Load(known func(host string) bool) (cluster.Durable, []string, error) {
	f.unread.Store(true)
	text, err := f.disk.ReadFile(f.path)
	if err != nil {
		f.unread.CompareAndSwap(true, !errors.Is(err, fs.ErrNotExist))
		return cluster.Durable{}, nil, err
	}
	d, warnings := parse(string(text), known)
	if theirs := others(d.Epoch, known); len(d.Hosts) == 0 && len(theirs) > 0 {
		return cluster.Durable{}, nil,
			fmt.Errorf("it is another cluster's: it knows none of the hosts of the configuration, and its writer is one of '%s'",
				clip(strings.Join(theirs, "', '")))
	}
	f.unread.CompareAndSwap(true, len(warnings) > 0)
	return d, warnings, nil
}

// others are the hosts that are, or may be, the writer by an epoch, where none of them is known.
func others(e cluster.Epoch, known func(host string) bool) []string {
	hosts := cluster.SplitHosts(e.Terms.Candidates)
	if e.Holder != "" {
		hosts = append(hosts, e.Holder)
	}
	if slices.ContainsFunc(hosts, known) {
		return nil
	}
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
