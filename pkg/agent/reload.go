package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"mysql-mmm/pkg/config"
)

// MayBeFollowed says whether an agent with the configuration next may take over from one with the configuration old in
// the same process. As with a restart, addresses and server stay as they are meanwhile. So next has to name each
// virtual address that this host has now: an agent that does not know an address never takes it off. The error has a
// line for each reason why not.
func MayBeFollowed(ctx context.Context, old, next *config.Config, endpoints interface {
	List(ctx context.Context) ([]netip.Addr, error)
}) error {
	was, is := old.Local(), next.Local()
	reasons := config.NeedRestart(old, next,
		config.Setting{Name: "cluster_interface", Changed: was.ClusterInterface != is.ClusterInterface},
		config.Setting{Name: "ip of this host", Changed: was.IP != is.IP},
		config.Setting{Name: "mode of this host", Changed: was.Mode != is.Mode},
		config.Setting{Name: "pid_path", Changed: was.PIDPath != is.PIDPath},
		config.Setting{Name: "state_path", Changed: was.StatePath != is.StatePath},
		config.Setting{Name: "this", Changed: old.This != next.This})
	present, err := endpoints.List(ctx)
	if err != nil {
		return errors.Join(append(reasons, fmt.Errorf("look for the addresses that this host has: %w", err))...)
	}
	may := NewSite(next)
	for _, r := range NewSite(old).roles(present) {
		if !slices.Contains(may.Addresses, r) {
			reasons = append(reasons,
				fmt.Errorf("%s is gone from the configuration, and this host has it: first mmm_control set_offline %s",
					r, old.This))
		}
	}
	return errors.Join(reasons...)
}
