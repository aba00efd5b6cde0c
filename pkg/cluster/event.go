package cluster

import (
	"fmt"
	"time"
)

// Level says how loud an event is. People have themselves woken by Fatal ones.
type Level int

// Levels in rising order.
const (
	Info Level = iota
	Warn
	Error
	Fatal
)

// Event is one thing that was decided, or that was found to have happened. The log, the history, hooks, alerts and
// metrics are made of events: what any of them needs to know is in Fact, and is not read from Text.
type Event struct {
	Level Level
	Host  string // host it is about, or ""
	Text  string // the line of the classic log, with the cause; "" where the event is not Logged
	Fact  Fact   // what happened, for programs; nil: nothing but what Text says
}

// Logged says whether the log has a line about the event, for people. It has none about the stations of an address on
// its way: it has lines about the decisions that move the address, which are events of their own.
func (e Event) Logged() bool { return e.Fact == nil || e.Fact.logged() }

// Fact is what an event is about: one of the types below. logged is Event.Logged.
type Fact interface{ logged() bool }

// Detail spells out what follows from another event.
type Detail struct{}

// StateChanged is a change of the state of the event's host.
type StateChanged struct{ From, To HostState }

// RoleLeaving: From is told to give an address up. To is the host that the address is meant for, "" where that is not
// decided yet.
type RoleLeaving struct {
	Role     RoleIP
	From, To string
	Planned  bool // an operator, or a preference, moves it
}

// RoleGiven: it is decided that To gets an address, which nobody has now. From is the host that had the address when it
// began to leave; for the active master role, the writer before; "" for nobody.
type RoleGiven struct {
	Role     RoleIP
	From, To string
	Planned  bool
}

// RoleArrived: the agent of To has said that its host has the address.
type RoleArrived struct {
	Role     RoleIP
	From, To string // From is the host that had it before, perhaps To itself; "" for nobody
	Planned  bool
	Took     time.Duration // since it began to leave From
}

// Conflict: an address is, or may be, in two places.
type Conflict struct{}

// NoLease: the agent of the event's host, which may be the writer, knows no lease, so that there may be two writers.
type NoLease struct{}

// NoSuccessor: nobody could take over from the writer now or, where there is no writer, nobody can become it.
type NoSuccessor struct{}

// Successor: what NoSuccessor said is over.
type Successor struct{}

func (Detail) logged() bool       { return true }
func (StateChanged) logged() bool { return true }
func (RoleLeaving) logged() bool  { return false }
func (RoleGiven) logged() bool    { return false }
func (RoleArrived) logged() bool  { return false }
func (Conflict) logged() bool     { return true }
func (NoLease) logged() bool      { return true }
func (NoSuccessor) logged() bool  { return true }
func (Successor) logged() bool    { return true }

// journey is the way of an address from one host to another; the zero value: the address stays where it is.
type journey struct {
	underway bool
	from     string // host that it first left; "" where nobody had it
	planned  bool
	began    time.Duration // monitor's clock
}

// Kill asks for the kill_host program to be run.
type Kill struct {
	Host     string
	PingGood bool // second argument of kill_host: whether the host still answers pings
}

// Output is what a Step asks of the world, apart from the orders that follow from its State.
type Output struct {
	Events []Event
	// Exposure says that the writer's exposure has changed (NoSuccessor, Successor); nil: it has not. It is apart from
	// Events because it follows from them, and is the cause of none.
	Exposure *Event
	Kills    []Kill
	Save     bool // what outlives the monitor (Durable) has changed, and no event says so
	Clear    bool // send CLEAR_BAD_ROLES to every agent after its next order
	Answer   string
	Move     *Move // a move that was ordered: the command is answered once Move.Outcome is decided
}

// changed notes that a host's state changes.
func (o *Output) changed(host string, from, to HostState, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: Fatal, Host: host, Text: fmt.Sprintf(format, args...),
		Fact: StateChanged{from, to}})
}

// about gives the last event its fact.
func (o *Output) about(f Fact) { o.Events[len(o.Events)-1].Fact = f }

// happened adds an event that the log does not tell.
func (o *Output) happened(host string, f Fact) {
	o.Events = append(o.Events, Event{Level: Info, Host: host, Fact: f})
}

func (o *Output) detail(host, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: Info, Host: host, Text: fmt.Sprintf(format, args...), Fact: Detail{}})
}

func (o *Output) add(l Level, host, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: l, Host: host, Text: fmt.Sprintf(format, args...)})
}
