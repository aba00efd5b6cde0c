package monitor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
)

// This file is about what programs, and people who are not looking, are told of: events. All that is in the history is
// one, and some moments are that the history does not keep.

// Subscriber hears of events. Hear is called by the owner, in the order of what happens, and never waits.
type Subscriber interface {
	Hear(e event.Event)
}

// Approver has a say in planned moves. Approve may take its time; it returns "" where nothing is against the move, else
// why not, as a sentence.
type Approver interface {
	Approve(ctx context.Context, e event.Event) (objection string)
}

// announce tells everybody.
func (m *Monitor) announce(e event.Event) {
	e.Cluster = m.cfg.Cluster
	for _, a := range m.cfg.Subscribers {
		a.Hear(e)
	}
}

// eventOf is the event that a record of the history is.
func eventOf(r history.Record, activeMasterRole string) event.Event {
	e := event.Event{At: r.At, Level: r.Level, Host: r.Host, From: r.From, To: r.To, Text: strings.TrimSpace(r.Text),
		Cause: r.Cause, Evidence: r.Evidence, Planned: r.Planned, Seconds: r.Seconds}
	role, rest, _ := strings.Cut(r.Role, "(")
	e.Role, e.IP = role, strings.TrimSuffix(rest, ")")
	switch {
	case r.Kind == history.State:
		e.Name = event.State
	case r.Kind == history.Check:
		e.Name = event.Check
	case r.Kind == history.Role && r.To == r.Host && role == activeMasterRole:
		e.Name = event.AfterPromotion
	case r.Kind == history.Role:
		e.Name = event.Role
	case r.Topic == string(cluster.Conflict):
		e.Name = event.Conflict
	case r.Topic == string(cluster.Unprotected):
		e.Name = event.Unprotected
	case r.Topic == string(cluster.Protected):
		e.Name = event.Protected
	default:
		e.Name = event.Note
	}
	return e
}

// promotion is the decision of a step to give the active master role to a host. It is false where there is none.
func promotion(activeMasterRole string, last, now cluster.State, underway map[cluster.RoleIP]transit) (event.Event,
	bool) {
	for i, a := range now.Addresses {
		if a.Role != activeMasterRole || a.Holder == "" || a.Holder == last.Addresses[i].Holder {
			continue
		}
		e := event.Event{Name: event.BeforePromotion, Level: levelName(cluster.Info), Host: a.Holder, Role: a.Role,
			IP: a.IP.String(), From: last.LastWriter, To: a.Holder,
			Planned: underway[a.RoleIP].planned, Text: fmt.Sprintf("Role '%s' is given to '%s'", a.RoleIP, a.Holder)}
		return e, true
	}
	return event.Event{}, false
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
	r := history.Record{Kind: history.Note, Topic: string(cluster.Unprotected), Text: why}
	level := cluster.Warn
	switch now {
	case covered:
		level, r.Topic, r.Text = cluster.Info, string(cluster.Protected),
			fmt.Sprintf("Role '%s' could be taken over again", o.m.cfg.Topology.ActiveMasterRole)
	case noWriter:
		level = cluster.Fatal
	case noSpare:
	}
	r.Level = levelName(level)
	o.m.cfg.Log.Log(ctx, levelOf(level), r.Text)
	o.record(r)
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
