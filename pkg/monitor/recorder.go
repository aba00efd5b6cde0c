package monitor

import (
	"fmt"
	"strings"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
)

// record puts events into the history and tells the observer and the subscribers of them. A decision to promote a host
// (BeforePromotion) is for subscribers only: the history and the observer get the promotion itself, once it has
// happened.
func (o *owner) record(events ...event.Event) {
	at := time.Now()
	for _, e := range events {
		e.At, e.Cluster = at, o.m.cfg.Cluster
		if e.Name != event.BeforePromotion {
			o.m.cfg.Observer.Happened(e)
			o.m.cfg.History.Add(recordOf(e))
		}
		for _, s := range o.m.cfg.Subscribers {
			s.Hear(e)
		}
	}
}

// recordOf turns an event into a record of the history.
func recordOf(e event.Event) history.Record {
	r := history.Record{At: e.At, Kind: history.Note, Level: e.Level, Host: e.Host, From: e.From, To: e.To, Text: e.Text,
		Cause: e.Cause, Evidence: e.Evidence, Planned: e.Planned, Seconds: e.Seconds}
	if e.Role != "" {
		r.Role = e.Role + "(" + e.IP + ")"
	}
	switch e.Name {
	case event.State:
		r.Kind = history.State
	case event.Check:
		r.Kind = history.Check
	case event.Role, event.AfterPromotion:
		r.Kind = history.Role
	case event.Conflict, event.Unprotected, event.Protected:
		r.Topic = string(e.Name)
	case event.Note, event.BeforePromotion, event.BeforePlannedMove:
	case event.All, event.Fatal: // no events
	}
	return r
}

// recordNote records a text that no other event stands for.
func (o *owner) recordNote(l cluster.Level, text string) {
	o.record(event.Event{Name: event.Note, Level: levelName(l), Text: text})
}

// recordCheck records a verdict that has changed. It is to be called before u is in the check table. The first verdict
// of a check is not recorded if it is OK.
func (o *owner) recordCheck(u check.Update) {
	e := event.Event{Name: event.Check, Host: u.Host}
	last, known := o.checkTable[checkKey{u.Host, u.Name}]
	switch {
	case u.Change == check.BecameFailed:
		e.Level = levelName(cluster.Error)
		e.Text = fmt.Sprintf("Check '%s' on '%s' fails: %s", u.Name, u.Host, u.Result.Message)
	case u.Change == check.BecameOK && known && !last.verdict.Good:
		e.Level = levelName(cluster.Info)
		e.Text = fmt.Sprintf("Check '%s' on '%s' is ok again", u.Name, u.Host)
	default:
		return
	}
	o.record(e)
}

// recordStep records the events of a step. Those that the log tells come first, as they are the cause of the moves of
// roles.
func (o *owner) recordStep(out cluster.Output) {
	var said, roles []event.Event
	complaints := func(host string) []string { return o.checkTable.complaints(o.m.cfg.Checks.Registry, host) }
	for _, e := range out.Events {
		t, ok := told(e, o.m.cfg.Topology.ActiveMasterRole, complaints)
		switch {
		case !ok:
		case !e.Logged():
			if e, leaving := e.Fact.(cluster.RoleLeaving); leaving {
				t.Cause = causeFor(e.From, out.Events)
			}
			roles = append(roles, t)
		default:
			said = append(said, t)
		}
	}
	o.record(append(said, roles...)...)
}

// told turns an event of the brain into the event that subscribers and the history get; false where they get none.
// complaints returns what the failing checks of a host say: that is the evidence for a change of the host's state.
func told(e cluster.Event, activeMasterRole string, complaints func(host string) []string) (event.Event, bool) {
	t := event.Event{Name: event.Note, Level: levelName(e.Level), Host: e.Host, Text: strings.TrimSpace(e.Text)}
	moved := func(role cluster.RoleIP, from, to string, planned bool) {
		t.Name, t.Role, t.IP, t.From, t.To, t.Planned = event.Role, role.Role, role.IP.String(), from, to, planned
	}
	switch f := e.Fact.(type) {
	case nil:
	case cluster.Detail:
		return event.Event{}, false
	case cluster.StateChanged:
		t.Name, t.From, t.To = event.State, string(f.From), string(f.To)
		if f.To != cluster.Online {
			t.Evidence = complaints(e.Host)
		}
	case cluster.Conflict:
		t.Name = event.Conflict
	case cluster.NoLease, cluster.NoSuccessor:
		t.Name = event.Unprotected
	case cluster.Successor:
		t.Name = event.Protected
	case cluster.RoleLeaving:
		moved(f.Role, f.From, f.To, f.Planned)
		t.Text = fmt.Sprintf("Role '%s' is leaving '%s'", f.Role, f.From)
		if f.To != "" {
			t.Text += fmt.Sprintf(" for '%s'", f.To)
		}
	case cluster.RoleGiven:
		moved(f.Role, f.From, f.To, f.Planned)
		t.Name, t.Text = event.BeforePromotion, fmt.Sprintf("Role '%s' is given to '%s'", f.Role, f.To)
		return t, f.Role.Role == activeMasterRole
	case cluster.RoleArrived:
		moved(f.Role, f.From, f.To, f.Planned)
		if f.Role.Role == activeMasterRole {
			t.Name = event.AfterPromotion
		}
		t.Seconds = f.Took.Seconds()
		t.Text = fmt.Sprintf("Role '%s' is on '%s'", f.Role, f.To)
		switch f.From {
		case "":
		case f.To:
			t.Text += fmt.Sprintf(" again, after %.2f seconds", t.Seconds)
		default:
			t.Text += fmt.Sprintf(", %.2f seconds after it began to leave '%s'", t.Seconds, f.From)
		}
	default:
		panic(fmt.Sprintf("impossible fact %T", f)) // TestTold has all of them
	}
	return t, true
}

// causeFor returns the text of the event that explains why a host loses an address: the change of the host's state, or,
// where that did not change, the last other decision in the same step.
func causeFor(host string, events []cluster.Event) string {
	cause := ""
	for _, e := range events {
		switch e.Fact.(type) {
		case cluster.StateChanged:
			if e.Host == host {
				return e.Text
			}
			cause = e.Text
		case cluster.Detail, cluster.RoleLeaving, cluster.RoleGiven, cluster.RoleArrived:
		default:
			cause = e.Text
		}
	}
	return cause
}

func levelName(l cluster.Level) string {
	switch l {
	case cluster.Info:
		return "INFO"
	case cluster.Warn:
		return "WARN"
	case cluster.Error:
		return "ERROR"
	case cluster.Fatal:
		return "FATAL"
	}
	panic(fmt.Sprintf("impossible level %d", l))
}
