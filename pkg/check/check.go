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

// The statuses. Unknown says that the probe could not tell, which changes no verdict.
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
	Greeted bool          // of mysql: the server greeted a new connection, and then did not answer
	Threads Threads       // of rep_threads and rep_backlog
	Living  bool          // of mysql, with UNKNOWN: the server is alive, as it answers with an error
	Refusal string        // the server's error and how to mend it, where a person has to mend something; else ""

	// Of the checks of replication. Nothing is decided by Measured.
	Source   identity.Source // what the server replicates from; without an address where that is not known
	Measured bool            // Lag is known
}

// Threads is what the two replication threads do.
type Threads struct {
	Known     bool          // the server told; else the other fields mean nothing
	Receiving bool          // the I/O thread is connected to the source
	Stopped   bool          // the I/O thread does not run, and does not try to connect either
	Executing bool          // the SQL thread runs
	Delay     time.Duration // how far the replica is behind on purpose (SQL_Delay)
}

// Probe looks once at one thing. It belongs to one goroutine.
type Probe interface {
	// Probe looks, and returns at the latest soon after ctx has ended.
	Probe(ctx context.Context) Result
	Close()
}

// watcher is a Probe that notices trouble between probes.
type watcher interface {
	// Broken returns nil when it is time to probe again, and an error when ctx ends before.
	Broken(ctx context.Context) error
}

// Update is what a Runner emits after a probe.
type Update struct {
	Host      string
	Name      Name
	Result    Result
	Verdict   Verdict // after this probe
	Change    Change
	FailedFor time.Duration // how long the check has been failing; 0 where it is not
	Took      time.Duration // how long this probe took
}

// maxText is how many characters of a server's text are shown, in one line of a table. The longest useful text names a
// missing privilege and the GRANT for it.
const maxText = 300

// oneLine makes a text of a server or of the system fit for one line: control characters and runs of blanks become one
// blank, and the text is cut off at maxText.
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
