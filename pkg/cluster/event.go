package cluster

import "fmt"

// Level says how loud an event is. Fatal ones are those that people have mail appenders for.
type Level int

// Levels in rising order.
const (
	Info Level = iota
	Warn
	Error
	Fatal
)

// Event is one decision with its cause, in the words of the classic log.
type Event struct {
	Level Level
	Host  string // host it is about, or ""
	Text  string

	From, To HostState // of a change of Host's state; "" for other events
	Detail   bool      // it spells out what follows from another event
	Topic    Topic     // "" for most
}

// Topic is what an event is about, where programs and not only people should know it.
type Topic string

// The topics.
const (
	Conflict    Topic = "conflict"    // an address is, or may be, in two places
	Unprotected Topic = "unprotected" // the writer lacks what would take over from it, or keep it from being one of two
	Protected   Topic = "protected"   // it has that again
)

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
	o.Events = append(o.Events, Event{Level: Fatal, Host: host, Text: fmt.Sprintf(format, args...), From: from, To: to})
}

// about gives the last event its topic.
func (o *Output) about(t Topic) { o.Events[len(o.Events)-1].Topic = t }

func (o *Output) detail(host, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: Info, Host: host, Text: fmt.Sprintf(format, args...), Detail: true})
}

func (o *Output) add(l Level, host, format string, args ...any) {
	o.Events = append(o.Events, Event{Level: l, Host: host, Text: fmt.Sprintf(format, args...)})
}
