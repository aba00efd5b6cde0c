package check

import (
	"slices"
	"time"
)

// Effect is what it means for a host that a check of it has failed. Whoever decides looks at effects; names of checks
// are for people.
type Effect int

// The effects.
const (
	HostDown          Effect = iota // the host itself does not answer
	ServerDown                      // its server does not
	ReplicationBroken               // it does not replicate
	ReplicationLate                 // it replicates, and is too far behind
	Advisory                        // people are told; nothing is decided by it
)

// Spec is one check: what it is called, what it means, how often it runs, and how it looks. CONTRIBUTING.md says what
// it takes to add one.
type Spec struct {
	Name                  Name
	Effect                Effect
	Period, Timeout, Trap time.Duration // as of Runner
	New                   func(host string) Probe
}

// Registry are the checks that every host has, in the order in which they are shown. Names don't repeat.
type Registry []Spec

// Known are the checks that a configuration can name, without periods and probes.
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

// Good says whether no check with an effect has failed; good is the verdict of each.
func (r Registry) Good(e Effect, good func(Name) bool) bool {
	return !slices.ContainsFunc(r, func(s Spec) bool { return s.Effect == e && !good(s.Name) })
}

// Runners are what runs the checks of hosts. Each calls emit after each of its probes.
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
