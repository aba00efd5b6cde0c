package check

import (
	"slices"
	"time"
)

// Effect is what a failed check means for its host. Decisions look at effects; names of checks are for people.
type Effect int

// The effects.
const (
	HostDown          Effect = iota // the host itself does not answer
	ServerDown                      // the host's server does not answer
	ReplicationBroken               // the server does not replicate
	ReplicationLate                 // the server replicates, and is too far behind
	Advisory                        // people are told; nothing is decided by it
)

// Spec is one check: its name, what it means, how often it runs, and its probe. CONTRIBUTING.md says what it takes to
// add a check.
type Spec struct {
	Name                  Name
	Effect                Effect
	Period, Timeout, Trap time.Duration // as in Runner
	New                   func(host string) Probe
}

// Registry are the checks that every host has, in the order in which they are shown. Names don't repeat.
type Registry []Spec

// Known returns the checks that a configuration can name, without periods and probes.
func Known() Registry {
	return Registry{
		{Name: Ping, Effect: HostDown},
		{Name: MySQL, Effect: ServerDown},
		{Name: RepThreads, Effect: ReplicationBroken},
		{Name: RepBacklog, Effect: ReplicationLate},
	}
}

// Names lists the checks.
func (r Registry) Names() []Name {
	names := make([]Name, len(r))
	for i, s := range r {
		names[i] = s.Name
	}
	return names
}

// Has says whether there is a check of that name.
func (r Registry) Has(name Name) bool {
	return slices.ContainsFunc(r, func(s Spec) bool { return s.Name == name })
}

// Good says whether all checks with the effect e are good, also where there is none; good returns the verdict of a
// check.
func (r Registry) Good(e Effect, good func(Name) bool) bool {
	return !slices.ContainsFunc(r, func(s Spec) bool { return s.Effect == e && !good(s.Name) })
}

// Runners returns one Runner for each check of each host. Each calls emit after each of its probes.
func (r Registry) Runners(hosts []string, emit func(Update)) []*Runner {
	var all []*Runner
	for _, h := range hosts {
		for _, s := range r {
			all = append(all, &Runner{Host: h, Name: s.Name, Probe: s.New(h), Period: s.Period, Timeout: s.Timeout,
				Trap: s.Trap, Emit: emit})
		}
	}
	return all
}
