package monitor

import (
	"context"
	"fmt"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/store"
)

// This file sees to it that decisions are on the disk before agents hear of them.

// pending are orders that wait for the status file.
type pending struct {
	version  uint64
	deadline time.Time
	epoch    bool // a new epoch is to be saved: no agent hears of it before (docs/design.md, "Never two writers")
}

// save hands the part of the state that must outlive the monitor to the store, if it has changed. In passive mode the
// status file stays as it is.
func (o *owner) save() {
	if o.state.Mode == cluster.Passive {
		return
	}
	number, changed := o.m.store.Save(o.state.Durable())
	if !changed {
		return
	}
	epoch := o.state.Epoch != o.savedEpoch || o.pending != nil && o.pending.epoch
	o.savedEpoch = o.state.Epoch
	o.pending = &pending{version: number, deadline: time.Now().Add(saveTimeout), epoch: epoch}
}

// saved releases the orders that waited for the status file. Where the file can't be written that is logged, and orders
// go out all the same, unless they depend on a new epoch.
func (o *owner) saved(s store.Saved) {
	if s.Err != nil {
		o.m.cfg.Log.Log(context.Background(), levelFatal,
			fmt.Sprintf("Couldn't write status file '%s': %v. Trying again.", o.m.cfg.StatusPath, s.Err))
	}
	if s.Aside != "" {
		o.m.cfg.Log.Warn(fmt.Sprintf("What could not be read of status file '%s' is kept as '%s'", o.m.cfg.StatusPath,
			s.Aside))
	}
	if o.pending != nil && s.Version >= o.pending.version && (s.Err == nil || !o.pending.epoch) {
		o.pending = nil
	}
	o.sendOrders()
}

// overdue stops waiting for a disk that hangs, unless a new epoch is to be saved: then it repeats a warning.
func (o *owner) overdue() {
	if o.pending != nil && time.Now().After(o.pending.deadline) {
		if o.pending.epoch {
			o.m.cfg.Log.Log(context.Background(), levelFatal,
				fmt.Sprintf("Status file '%s' is still not written: the writer role can't move before it is",
					o.m.cfg.StatusPath))
			o.pending.deadline = time.Now().Add(repeatWarning)
			return
		}
		o.m.cfg.Log.Log(context.Background(), levelFatal,
			fmt.Sprintf("Status file '%s' is still not written: going on without", o.m.cfg.StatusPath))
		o.pending = nil
		o.sendOrders()
	}
}
