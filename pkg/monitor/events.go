package monitor

import (
	"context"
	"fmt"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
)

// This file is about who is told of events (package event), and about those that the brain does not decide.

// Subscriber hears of events. Hear is called by the owner, in the order of what happens, and never waits.
type Subscriber interface {
	Hear(e event.Event)
}

// Approver has a say in planned moves. Approve may take its time; it returns "" where nothing is against the move, else
// why not, as a sentence.
type Approver interface {
	Approve(ctx context.Context, e event.Event) (objection string)
}

// exposure is how badly the writer role lacks somebody who could take it.
type exposure int

const (
	covered  exposure = iota
	noSpare           // the writer is the only one
	noWriter          // there is nobody at all
)

func exposureOf(t cluster.Topology, s cluster.State) (exposure, string) {
	switch why, none := s.Exposed(t); {
	case why == "":
		return covered, ""
	case none:
		return noWriter, why
	default:
		return noSpare, why
	}
}

// expose says when the writer role comes to lack somebody who could take it, and when that is over.
func (o *owner) expose(ctx context.Context) {
	was := o.exposed
	now, why := exposureOf(o.m.cfg.Topology, o.state)
	if o.exposed = now; now == was {
		return
	}
	e := event.Event{Name: event.Unprotected, Text: why}
	level := cluster.Warn
	switch now {
	case covered:
		level, e.Name = cluster.Info, event.Protected
		e.Text = fmt.Sprintf("Role '%s' could be taken over again", o.m.cfg.Topology.ActiveMasterRole)
	case noWriter:
		level = cluster.Fatal
	case noSpare:
	}
	e.Level = levelName(level)
	o.m.cfg.Log.Log(ctx, levelOf(level), e.Text)
	o.record(e)
}

// lastExposure is how things were when Run returned: that is not told again.
func (m *Monitor) lastExposure() exposure {
	snap := m.snapshot.Load()
	if snap == nil {
		return covered
	}
	e, _ := exposureOf(m.cfg.Topology, snap.State)
	return e
}

// objection asks whether a planned move of the active master role may be made, where the command is one and would be
// carried out. While it waits everything goes on; what is true then is looked at anew when the command itself is
// carried out.
func (m *Monitor) objection(ctx context.Context, words []string) string {
	if m.cfg.Approver == nil || len(words) != 3 || words[0] != "move_role" ||
		words[1] != m.cfg.Topology.ActiveMasterRole {
		return ""
	}
	c := m.prepare(ctx, words)
	snap := m.snapshot.Load()
	_, out := cluster.Step(m.cfg.Topology, snap.State, cluster.Input{Now: m.now(), NetworkUp: snap.State.NetworkUp,
		Command: &c})
	if out.Move == nil {
		return "" // the owner says why
	}
	return m.cfg.Approver.Approve(ctx, event.Event{Name: event.BeforePlannedMove, Cluster: m.cfg.Cluster,
		At: time.Now(), Level: levelName(cluster.Info), Host: out.Move.To, Role: out.Move.Role,
		IP:   out.Move.IP.String(),
		From: out.Move.From, To: out.Move.To, Planned: true,
		Text: fmt.Sprintf("Role '%s' is to be moved from '%s' to '%s'", out.Move.RoleIP, out.Move.From, out.Move.To)})
}
