package config

import (
	"fmt"
	"slices"
)

// Candidates are the hosts that may be the writer, sorted. An agent's file may leave the hosts of roles out; then the
// candidates are the masters.
func (c *Config) Candidates() []string {
	var masters []string
	for _, h := range c.Hosts {
		if h.Mode == Master {
			masters = append(masters, h.Name)
		}
	}
	for _, r := range c.Roles {
		if r.Name == c.ActiveMasterRole && len(r.Hosts) > 0 {
			return slices.Sorted(slices.Values(r.Hosts))
		}
	}
	return masters
}

// Setting is the name of a setting, and whether its value has changed.
type Setting struct {
	Name    string
	Changed bool
}

// NeedRestart gives an error for each change from old to next that a running program can't make: changes of settings
// that monitor and agents have in common, and of own, the settings of the program at hand.
func NeedRestart(old, next *Config, own ...Setting) []error {
	var reasons []error
	for _, s := range append([]Setting{
		{"active_master_role", old.ActiveMasterRole != next.ActiveMasterRole},
		{"agent_secret", old.AgentSecret != next.AgentSecret},
		{"debug", old.Debug != next.Debug},
		{"type of <socket>", old.Socket.SSL != next.Socket.SSL},
	}, own...) {
		if s.Changed {
			reasons = append(reasons, fmt.Errorf("%s has changed: that needs a restart", s.Name))
		}
	}
	return reasons
}
