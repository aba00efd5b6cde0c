package monitor

import (
	"context"
	"errors"
	"fmt"
	"os"

	"mysql-mmm/pkg/cluster"
)

// This file is about how a monitor comes to its first state: from the checks, the status file, what agents say, and the monitor before it.

// start brings the monitor to its first state (monitor manual, "Start"). It is false when ctx ended before.
func (o *owner) start(ctx context.Context) (cluster.Output, bool) {
	var silent map[string]bool
	if o.After != nil {
		o.Mode, silent, o.exposed = o.After.lastMode(), o.After.silent(), o.After.lastExposure()
		o.After = nil
	}
	o.Log.Info("Waiting for network connection...")
	for !o.up {
		select {
		case o.up = <-o.network:
		case <-ctx.Done():
			return cluster.Output{}, false
		}
	}
	o.Log.Info("Network connection is available.")
	o.Log.Info("Performing initial checks...")
	for _, u := range o.Known {
		o.note(u)
	}
	for _, t := range o.Checks.Hosts(send(ctx, o.updates)) {
		o.group.Go(func() error { return t.Run(ctx) })
	}
	for !o.board.complete(len(o.Topology.Hosts)) {
		select {
		case u := <-o.updates:
			o.note(u)
		case o.up = <-o.network:
		case <-ctx.Done():
			return cluster.Output{}, false
		}
	}
	if err := killable(o.KillBin); err != nil {
		o.Log.Warn(fmt.Sprintf("No binary found for killing hosts (%s).", o.KillBin))
	}
	for _, w := range o.Warnings {
		o.Log.Warn(w)
	}
	stored := o.load()
	found := o.ask(ctx, stored, silent)
	var out cluster.Output
	o.state, out = cluster.Start(o.Topology, o.Mode, stored, found, o.verdicts(), o.now())
	o.chronicle(o.state, out)
	return out, ctx.Err() == nil
}

// lastMode is the mode that the monitor was in when Run returned: an operator may have changed it.
func (m *Monitor) lastMode() cluster.Mode {
	if snap := m.snapshot.Load(); snap != nil {
		return snap.State.Mode
	}
	return m.Mode
}

// silent are the hosts whose agents did not answer when Run returned.
func (m *Monitor) silent() map[string]bool {
	hosts := map[string]bool{}
	if snap := m.snapshot.Load(); snap != nil {
		for name, h := range snap.State.Hosts {
			hosts[name] = !h.AgentUp
		}
	}
	return hosts
}

// load reads the status file; without one, or with a broken one, the vote has less to go by.
func (o *owner) load() cluster.Durable {
	known := func(host string) bool { _, ok := o.Topology.Host(host); return ok }
	d, warnings, err := loadStatus(o.Disk, o.StatusPath, known)
	if err != nil {
		cause := ""
		if !errors.Is(err, os.ErrNotExist) {
			cause = fmt.Sprintf(" (%v)", err)
		}
		o.Log.Log(context.Background(), levelFatal, fmt.Sprintf("Couldn't open status file '%s': Starting up without status information.%s", o.StatusPath, cause))
	}
	for _, w := range warnings {
		o.Log.Warn(fmt.Sprintf("Status file '%s': %s", o.StatusPath, w))
	}
	return d
}

// ask asks all agents at once, but for those that are known not to answer: a lease may end while they are waited for.
func (o *owner) ask(ctx context.Context, stored cluster.Durable, silent map[string]bool) map[string]cluster.Found {
	type answer struct {
		host  string
		found cluster.Found
	}
	answers := make(chan answer, len(o.couriers))
	for name, c := range o.couriers {
		if silent[name] {
			answers <- answer{host: name}
			continue
		}
		o.group.Go(func() error {
			answers <- answer{name, c.found(ctx)}
			return nil
		})
	}
	found := map[string]cluster.Found{}
	for range o.couriers {
		a := <-answers
		if s, ok := stored.Hosts[a.host]; ok {
			a.found.Stored = &s
		}
		found[a.host] = a.found
	}
	for _, h := range o.Topology.Hosts {
		if f := found[h.Name]; f.Agent == nil && f.System == nil {
			o.Log.Log(ctx, levelFatal, fmt.Sprintf("Can't reach agent on host '%s'", h.Name))
		}
	}
	return found
}
