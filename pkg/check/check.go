// Package check finds out how each host is: ping, mysql, rep_threads, rep_backlog, and whether the monitor itself has a
// network. Each check of each host has a goroutine of its own, so that a slow host delays no other check. What the
// results mean for the cluster is decided elsewhere.
package check

import (
	"context"
	"time"
)

// Name is one of the four checks.
type Name string

// The checks (monitor manual, "Checks").
const (
	Ping       Name = "ping"
	MySQL      Name = "mysql"
	RepThreads Name = "rep_threads"
	RepBacklog Name = "rep_backlog"
)

// Names lists the checks in the order in which they are shown.
func Names() []Name { return []Name{Ping, MySQL, RepThreads, RepBacklog} }

// Status is what a probe found.
type Status uint8

// Unknown changes no verdict.
const (
	OK Status = iota
	Failed
	Unknown
)

// Result is what one probe found, with the text that `mmm_control checks` shows.
type Result struct {
	Status  Status
	Message string
}

// Probe looks once. Probe returns by the deadline of its context.
type Probe interface {
	Probe(ctx context.Context) Result
	Close()
}

// breakable is a probe that keeps a connection and hears of its end at once.
type breakable interface {
	// WaitBroken returns nil as soon as the connection breaks, or an error when ctx ends.
	WaitBroken(ctx context.Context) error
}

// Update is what a Runner tells after each probe.
type Update struct {
	Host    string
	Name    Name
	Result  Result
	Verdict Verdict
	Change  Change
	For     time.Duration // how long it has failed, with BecameFailed
}
