package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"mysql-mmm/pkg/config"
)

// MayBeFollowed says whether an agent with the configuration next may take over from one with old, in the same process. That is a
// restart: what is on the host stays as it is. It may not lose sight of an address that is there. The error says why not, line by line.
func MayBeFollowed(ctx context.Context, old, next *config.Config, addrs Addresses) error {
	was, is := old.Local(), next.Local()
	var reasons []error
	for _, v := range []struct {
		name    string
		changed bool
	}{
		{"active_master_role", old.ActiveMasterRole != next.ActiveMasterRole},
		{"agent_secret", old.AgentSecret != next.AgentSecret},
		{"cluster_interface", was.ClusterInterface != is.ClusterInterface},
		{"debug", old.Debug != next.Debug},
		{"ip of this host", was.IP != is.IP},
		{"mode of this host", was.Mode != is.Mode},
		{"pid_path", was.PIDPath != is.PIDPath},
		{"state_path", was.StatePath != is.StatePath},
		{"this", old.This != next.This},
		{"type of <socket>", old.Socket.SSL != next.Socket.SSL},
		{"writer_lease", old.WriterLease != next.WriterLease},
	} {
		if v.changed {
			reasons = append(reasons, fmt.Errorf("%s has changed: that needs a restart", v.name))
		}
	}
	present, err := addrs.List(ctx)
	if err != nil {
		return errors.Join(append(reasons, fmt.Errorf("look for the addresses that this host has: %w", err))...)
	}
	may := NewSite(next)
	for _, r := range NewSite(old).roles(present) {
		switch {
		case !slices.Contains(may.Addresses, r):
			reasons = append(reasons, fmt.Errorf("%s is gone from the configuration, and this host has it: first mmm_control set_offline %s", r, old.This))
		case r.Role == next.ActiveMasterRole && !may.MayWrite:
			reasons = append(reasons, fmt.Errorf("this host is not among the hosts of the role %s any more, and has it: first move it away", r))
		}
	}
	return errors.Join(reasons...)
}
