// Package event names what hooks and alerts are told of. It decides nothing and runs nothing.
package event

import (
	"slices"
	"time"
)

// Name says what happened. The names are part of the configuration and of what hooks get: they stay.
type Name string

// The events, as docs/hooks.md explains them. Each has one name, the most specific.
const (
	State             Name = "state"               // a host's state changed: From, To
	Role              Name = "role"                // an address begins to leave From, or has arrived on To
	BeforePlannedMove Name = "before_planned_move" // an operator wants the active master role on To; nothing is decided
	BeforePromotion   Name = "before_promotion"    // it is decided that To gets the active master role
	AfterPromotion    Name = "after_promotion"     // To has the active master role
	Conflict          Name = "conflict"            // an address is, or may be, in two places
	Unprotected       Name = "unprotected"         // nobody else could be the writer now
	Protected         Name = "protected"           // somebody else could again
	Check             Name = "check"               // the verdict of a check changed
	Note              Name = "note"                // anything else that the history tells
)

// These select events by something other than their name.
const (
	All   Name = "all"
	Fatal Name = "fatal" // of level FATAL
)

// Names lists all names of events.
func Names() []string {
	var names []string
	for _, n := range []Name{State, Role, BeforePlannedMove, BeforePromotion, AfterPromotion, Conflict, Unprotected,
		Protected, Check, Note} {
		names = append(names, string(n))
	}
	return names
}

// Selectors lists all words that select events: the names, and `fatal` and `all`.
func Selectors() []string { return append(Names(), string(Fatal), string(All)) }

// LevelFatal is the level of what somebody should be woken up for.
const LevelFatal = "FATAL"

// Event is one thing that happened, or is about to. A field that is empty does not apply to it.
type Event struct {
	Name     Name      `json:"event"`
	Cluster  string    `json:"cluster,omitempty"` // as in @CLUSTER
	At       time.Time `json:"at"`
	Level    string    `json:"level"` // INFO, WARN, ERROR or FATAL, as in the log
	Host     string    `json:"host,omitempty"`
	Role     string    `json:"role,omitempty"`
	IP       string    `json:"ip,omitempty"`   // of the role's address
	From     string    `json:"from,omitempty"` // state or host
	To       string    `json:"to,omitempty"`
	Text     string    `json:"text"`
	Cause    string    `json:"cause,omitempty"`
	Evidence []string  `json:"evidence,omitempty"` // what the failing checks said
	Planned  bool      `json:"planned,omitempty"`  // of a role: an operator or a preference moves it
	Seconds  float64   `json:"seconds,omitempty"`  // of a role that has arrived: since it began to leave
}

// Selected says whether one of the selectors means this event. The selector `role` means `after_promotion` too: the
// address of the active master role has arrived.
func (e Event) Selected(selectors []Name) bool {
	return slices.ContainsFunc(selectors, func(s Name) bool {
		switch s {
		case All:
			return true
		case Fatal:
			return e.Level == LevelFatal
		case Role:
			return e.Name == Role || e.Name == AfterPromotion
		default:
			return e.Name == s
		}
	})
}
