package monitor

import (
	"context"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// NewBehind asks a host's server how far its replication is behind, for commands that would have to wait for it.
func NewBehind(c *config.Config) func(ctx context.Context, host string) time.Duration {
	servers := map[string]*mysqlctl.Server{}
	for _, h := range c.Hosts {
		servers[h.Name] = mysqlctl.New(account(h, time.Second))
	}
	return func(ctx context.Context, host string) time.Duration {
		r, err := servers[host].Replica(ctx)
		if err != nil || r.Lag == nil {
			return 0 // the checks say what is wrong
		}
		return *r.Lag
	}
}
