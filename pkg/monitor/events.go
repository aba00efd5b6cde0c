package monitor

import (
	"context"
	"fmt"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
)

// This file is about who is told of events (package event), and about the events that the brain does not make itself.

// Subscriber hears of events. Hear is called by the owner, in the order in which events happen, and must not wait.
type Subscriber interface {
	Hear(e event.Event)
}

// Approver has a say in planned moves. Approve may take any time. It returns "" where nothing is against the move, else
// a sentence that says why not.
type Approver interface {
	Approve(ctx context.Context, e event.Event) (objection string)
}

// exposure says whether another host could take the writer role over if the writer died now.
type exposure int

const (
	covered  exposure = iota // another host could
	noSpare                  // no host but the writer can have the role
	noWriter                 // no host can have the role
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

// expose reports when no host can take the writer role over any more, and when one can again.
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

// lastExposure is the exposure when Run returned. The monitor that follows does not report it again.
func (m *Monitor) lastExposure() exposure {
	snap := m.snapshot.Load()
	if snap == nil {
		return covered
	}
	e, _ := exposureOf(m.cfg.Topology, snap.State)
	return e
}

// objection asks the Approver, if the command is a planned move of the active master role that would be carried out,
// and returns the answer. Everything else goes on while it waits, so the owner judges the command anew when it carries
// it out.
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
