package monitor

import (
	"context"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// NewBehind makes a function that asks a host's server how far its replication is behind, for commands that would have
// to wait for that. The function returns 0 where the server does not say.
func NewBehind(c *config.Config) func(ctx context.Context, host string) time.Duration {
	return func(ctx context.Context, host string) time.Duration {
		h, _ := c.Host(host)
		server := mysqlctl.New(account(h, time.Second))
		defer server.Close() // this is asked once a move: the connection need not be kept
		r, err := server.Replica(ctx)
		if err != nil || r.Lag == nil {
			return 0 // the checks say what is wrong
		}
		return *r.Lag
	}
}
