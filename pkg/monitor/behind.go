package monitor

import (
	"context"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// NewBehind asks a host's server how far its replication is behind, for commands that would have to wait for it.
func NewBehind(c *config.Config) func(ctx context.Context, host string) time.Duration {
	return func(ctx context.Context, host string) time.Duration {
		h, _ := c.Host(host)
		server := mysqlctl.New(account(h, time.Second))
		defer server.Close() // no connection is kept for what is asked once a move
		r, err := server.Replica(ctx)
		if err != nil || r.Lag == nil {
			return 0 // the checks say what is wrong
		}
		return *r.Lag
	}
}
