package monitor

import (
	"fmt"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/history"
)

// transit is the way of an address from one host to another.
type transit struct {
	from    string
	planned bool
	began   time.Duration // monitor's clock
}

// record puts records into the history and tells the observer and the subscribers.
func (o *owner) record(records ...history.Record) {
	at := time.Now()
	for i := range records {
		records[i].At = at
		o.m.cfg.Observer.Happened(records[i])
		o.m.announce(eventOf(records[i], o.m.cfg.Topology.ActiveMasterRole))
	}
	o.m.cfg.History.Add(records...)
}

// recordNote keeps what is only said.
func (o *owner) recordNote(l cluster.Level, text string) {
	o.record(history.Record{Kind: history.Note, Level: levelName(l), Text: text})
}

// recordCheck keeps a verdict that has changed. That a check that never failed is OK says nothing.
func (o *owner) recordCheck(u check.Update) {
	r := history.Record{Kind: history.Check, Host: u.Host}
	last, known := o.checkTable[checkKey{u.Host, u.Name}]
	switch {
	case u.Change == check.BecameFailed:
		r.Level = levelName(cluster.Error)
		r.Text = fmt.Sprintf("Check '%s' on '%s' fails: %s", u.Name, u.Host, u.Result.Message)
	case u.Change == check.BecameOK && known && !last.Good:
		r.Level = levelName(cluster.Info)
		r.Text = fmt.Sprintf("Check '%s' on '%s' is ok again", u.Name, u.Host)
	default:
		return
	}
	o.record(r)
}

// recordStep keeps what a step has changed: its events, and every address that left or arrived.
func (o *owner) recordStep(last cluster.State, out cluster.Output) {
	records := eventRecords(out.Events, o.checkTable.complaints)
	records = append(records, transitRecords(o.transits, last.Addresses, o.state.Addresses, out.Events, o.m.now())...)
	if len(records) > 0 {
		o.record(records...)
	}
	if e, ok := promotion(o.m.cfg.Topology.ActiveMasterRole, last, o.state, o.transits); ok {
		e.At = time.Now()
		o.m.announce(e)
	}
}

// eventRecords makes records of events. What the failing checks of a host say is the evidence for what becomes of it.
func eventRecords(events []cluster.Event, complaints func(host string) []string) []history.Record {
	var records []history.Record
	for _, e := range events {
		if e.Detail {
			continue
		}
		r := history.Record{Kind: history.Note, Level: levelName(e.Level), Host: e.Host, Topic: string(e.Topic),
			Text: e.Text}
		if e.To != "" {
			r.Kind, r.From, r.To = history.State, string(e.From), string(e.To)
			if e.To != cluster.Online {
				r.Evidence = complaints(e.Host)
			}
		}
		records = append(records, r)
	}
	return records
}

// transitRecords compares the addresses before and after a step, which are in the same order, and keeps under way what
// has left and not arrived.
func transitRecords(underway map[cluster.RoleIP]transit, before, after []cluster.Address, events []cluster.Event,
	now time.Duration) []history.Record {
	var records []history.Record
	for i, a := range after {
		b := before[i]
		r := history.Record{Kind: history.Role, Level: levelName(cluster.Info), Role: a.RoleIP.String()}
		switch {
		case b.Holder != "" && a.Holder != b.Holder:
			// on its way back it has been under way since it first left
			if j, ok := underway[a.RoleIP]; !ok || j.from == "" {
				underway[a.RoleIP] = transit{from: b.Holder, planned: a.Next != "", began: now}
			}
			r.Host, r.From, r.To, r.Planned = b.Holder, b.Holder, a.Next, a.Next != ""
			r.Text = fmt.Sprintf("Role '%s' is leaving '%s'", a.RoleIP, b.Holder)
			if a.Next != "" {
				r.Text += fmt.Sprintf(" for '%s'", a.Next)
			}
			r.Cause = causeFor(b.Holder, events)
			records = append(records, r)
		case b.Holder == "" && a.Holder != "":
			if _, ok := underway[a.RoleIP]; !ok {
				underway[a.RoleIP] = transit{began: now}
			}
		}
		j, ok := underway[a.RoleIP]
		if !ok || a.Holder == "" || !a.Confirmed {
			continue
		}
		delete(underway, a.RoleIP)
		r.Host, r.From, r.To, r.Planned, r.Seconds, r.Cause = a.Holder, j.from, a.Holder, j.planned,
			(now - j.began).Seconds(), ""
		r.Text = fmt.Sprintf("Role '%s' is on '%s'", a.RoleIP, a.Holder)
		switch j.from {
		case "":
		case a.Holder:
			r.Text += fmt.Sprintf(" again, after %.2f seconds", r.Seconds)
		default:
			r.Text += fmt.Sprintf(", %.2f seconds after it began to leave '%s'", r.Seconds, j.from)
		}
		records = append(records, r)
	}
	return records
}

// causeFor is what a step says of why a host loses an address: what became of the host, or else the last that was
// decided.
func causeFor(host string, events []cluster.Event) string {
	cause := ""
	for _, e := range events {
		if e.Host == host && e.To != "" {
			return e.Text
		}
		if !e.Detail {
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
