package check

import (
	"context"
	"strings"
	"time"

	"mysql-mmm/pkg/identity"
)

// Name is the name of a check, as in configurations and in answers of the monitor.
type Name string

// The checks of a host.
const (
	Ping       Name = "ping"
	MySQL      Name = "mysql"
	RepThreads Name = "rep_threads"
	RepBacklog Name = "rep_backlog"
)

// Status is what one probe has found.
type Status int

// Unknown says that the probe could not tell, which changes no verdict.
const (
	OK Status = iota
	Error
	Unknown
)

// Result is the outcome of one probe.
type Result struct {
	Status  Status
	Message string        // as `mmm_control checks` shows it: begins with OK, ERROR or UNKNOWN, one line
	Detail  string        // what Message has no room for, one line; mostly empty
	Refused bool          // nobody listens on the server's port
	Lag     time.Duration // how far replication is behind, of a rep_backlog that knows
	Greeted bool          // of mysql: the server greeted a new connection, and then failed
	Threads Threads       // of rep_threads
	Living  bool          // of an UNKNOWN of mysql: the server answers, with an error
	Refusal string        // what the server answers instead, and how a person mends that, where one has to

	// For people only, of the checks of replication.
	Source   identity.Source // whom it replicates from; without an address where that is not known
	Measured bool            // Lag is known
}

// Threads is what the two replication threads do.
type Threads struct {
	Known     bool          // the server told
	Receiving bool          // the I/O thread is connected to the source
	Stopped   bool          // the I/O thread does not run, and does not try to connect either
	Executing bool          // the SQL thread runs
	Delay     time.Duration // how far it is behind on purpose (SQL_Delay)
}

// Probe looks once at one thing. It belongs to one goroutine.
type Probe interface {
	// Probe returns soon after ctx has ended at the latest.
	Probe(ctx context.Context) Result
	Close()
}

// watcher is a Probe that can wait for trouble.
type watcher interface {
	// Broken returns nil when it is time to probe again, and an error when ctx ends before.
	Broken(ctx context.Context) error
}

// Update tells of one probe.
type Update struct {
	Host      string
	Name      Name
	Result    Result
	Verdict   Verdict // after this probe
	Change    Change
	FailedFor time.Duration // how long the check has been failing; 0 where it is not
	Took      time.Duration // by this probe
}

// maxText keeps a server's words, which may be long, in one line of a table. The longest useful one names a missing
// privilege and the GRANT for it.
const maxText = 300

// oneLine makes text of others fit to be shown in a line.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	runes := []rune(strings.Join(strings.Fields(text), " "))
	if len(runes) > maxText {
		return string(runes[:maxText-1]) + "…"
	}
	return string(runes)
}
