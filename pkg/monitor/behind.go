package monitor

import (
	"context"
	"time"

	"mysql-mmm/pkg/config"
)

// NewBehind makes a function that asks a host's server how far its replication is behind, for commands that would have
// to wait for that. The function returns 0 where the server does not say.
func NewBehind(c *config.Config, l Links) func(ctx context.Context, host string) time.Duration {
	return func(ctx context.Context, host string) time.Duration {
		h, _ := c.Host(host)
		server := l.Connect(h, time.Second, func() bool { return true }) // asked once a move: the connection is not kept
		defer server.Close()
		r, err := server.Replica(ctx)
		if err != nil || r.Lag == nil {
			return 0 // the checks say what is wrong
		}
		return *r.Lag
	}
}
