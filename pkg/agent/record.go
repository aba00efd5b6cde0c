package agent

import (
	"context"
	"time"

	"mysql-mmm/pkg/lease"
)

// record writes the state file in a goroutine of its own, so that a disk that hangs does not stop what needs no disk:
// ending a lease, giving the role up, answering.
type record struct {
	disk    Disk
	path    string
	wanted  chan lease.Saved // one slot; the newest state wins
	written chan written     // how each attempt ended, for the owner
}

// written is how the writing of a state ended.
type written struct {
	saved lease.Saved
	err   error
}

// retryRecord is the time to the next attempt after one that failed.
const retryRecord = time.Second

func newRecord(disk Disk, path string) *record {
	return &record{disk: disk, path: path, wanted: make(chan lease.Saved, 1), written: make(chan written)}
}

// want asks for a state to be written. Only the owner may call it.
func (r *record) want(s lease.Saved) {
	select {
	case <-r.wanted:
	default:
	}
	r.wanted <- s
}

// Run writes states until ctx ends: always the newest that is wanted, again and again where writing it fails.
func (r *record) Run(ctx context.Context) error {
	retry := time.NewTimer(0)
	<-retry.C
	defer retry.Stop()
	var now lease.Saved
	for {
		select {
		case now = <-r.wanted:
		case <-retry.C:
		case <-ctx.Done():
			return nil
		}
		err := r.disk.Replace(r.path, []byte(formatState(now)))
		retry.Stop()
		if err != nil {
			retry.Reset(retryRecord)
		}
		select {
		case r.written <- written{saved: now, err: err}:
		case <-ctx.Done():
			return nil
		}
	}
}
