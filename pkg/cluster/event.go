package cluster

import (
	"fmt"
	"time"
)

// Level says how loud an event is. Fatal ones are those that people have mail appenders for.
type Level int

// Levels in rising order.
const (
	Info Level = iota
	Warn
	Error
	Fatal
)

// Event is one thing that was decided, or that was found to have happened. The log, the history, hooks, alerts and
// metrics are renderings of it: what any of them is to know of it is here, and is not read from Text.
type Event struct {
	Level Level
	Host  string // host it is about, or ""
	Text  string // the line of the classic log, with the cause; "": the log does not tell it
	Fact  Fact   // what happened, for programs; nil: nothing but what Text says
}

// Fact is what an event is about: one of the types below.
type Fact interface{ fact() }

// Detail spells out what follows from another event.
type Detail struct{}

// StateChanged is a change of the state of the event's host.
type StateChanged struct{ From, To HostState }

// RoleLeaving: From is told to give an address up; To is the host that it is meant for, "" for whoever fits.
type RoleLeaving struct {
	Role     RoleIP
	From, To string
	Planned  bool // somebody, or a preference, wants it elsewhere
}

// RoleGiven: it is decided that To gets an address, which nobody has now. From is who had it when it began to leave;
// for the active master role, who was the writer before; "" for nobody.
type RoleGiven struct {
	Role     RoleIP
	From, To string
	Planned  bool
}

// RoleArrived: the agent of To has said that it has the address.
type RoleArrived struct {
	Role     RoleIP
	From, To string // From has had it before, and may be To; "" for nobody
	Planned  bool
	Took     time.Duration // since it began to leave From
}

// Conflict: an address is, or may be, in two places.
type Conflict struct{}

// Unprotected: the writer lacks what would take over from it, or keep it from being one of two.
type Unprotected struct{}

// Protected: it has that again.
type Protected struct{}

func (Detail) fact()       {}
func (StateChanged) fact() {}
func (RoleLeaving) fact()  {}
func (RoleGiven) fact()    {}
func (RoleArrived) fact()  {}
func (Conflict) fact()     {}
func (Unprotected) fact()  {}
func (Protected) fact()    {}

// journey is the way of an address from one host to another; the zero value is that of one that stays.
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
	Kills  []Kill
	Save   bool // what outlives the monitor has changed, which no event tells
	Clear  bool // send CLEAR_BAD_ROLES to every agent after its next order
	Answer string
	Move   *Move // the command answers only once this is decided: see Move.Outcome
}

// changed notes that a host's state changes.
func (o *Output) changed(host string, from, to HostState, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: Fatal, Host: host, Text: fmt.Sprintf(format, args...),
		Fact: StateChanged{from, to}})
}

// about gives the last event its fact.
func (o *Output) about(f Fact) { o.Events[len(o.Events)-1].Fact = f }

// happened notes what the log does not tell.
func (o *Output) happened(host string, f Fact) {
	o.Events = append(o.Events, Event{Level: Info, Host: host, Fact: f})
}

func (o *Output) detail(host, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: Info, Host: host, Text: fmt.Sprintf(format, args...), Fact: Detail{}})
}

func (o *Output) add(l Level, host, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: l, Host: host, Text: fmt.Sprintf(format, args...)})
}
