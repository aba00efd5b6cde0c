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

// expose logs and records that the writer's exposure has changed. The log tells it before the events of its step, the
// history after them.
func (o *owner) expose(ctx context.Context, e *cluster.Event) {
	if e == nil {
		return
	}
	o.m.cfg.Log.Log(ctx, levelOf(e.Level), e.Text)
	if t, ok := told(*e, o.m.cfg.Topology.ActiveMasterRole, nil); ok {
		o.record(t)
	}
}

// lastExposure is the exposure that was told last when Run returned. The monitor that follows does not tell it again.
func (m *Monitor) lastExposure() cluster.Exposure {
	if snap := m.snapshot.Load(); snap != nil {
		return snap.State.Exposure
	}
	return cluster.Covered
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
