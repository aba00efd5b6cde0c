package monitor

import (
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/event"
)

// Observer hears what happens, to count it. Its methods are called by many goroutines at once and never wait.
type Observer interface {
	Probed(u check.Update)
	Asked(host string, took time.Duration, answered bool) // the host's agent was sent an order
	Killed(host string, ok bool)                          // kill_host has ended; ok: the host is off
	Happened(e event.Event)                               // an event that the history keeps
}

// unobserved is an Observer that hears nothing.
type unobserved struct{}

func (unobserved) Probed(check.Update)               {}
func (unobserved) Asked(string, time.Duration, bool) {}
func (unobserved) Killed(string, bool)               {}
func (unobserved) Happened(event.Event)              {}
