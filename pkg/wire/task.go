package wire

import (
	"context"
	"fmt"
	"net"
)

// Listening is a Server with its listener, as a task of package daemon.
type Listening struct {
	Server   *Server
	Listener net.Listener
}

// Run serves until ctx ends.
func (l Listening) Run(ctx context.Context) error { return l.Server.Serve(ctx, l.Listener) }

// String names the task.
func (l Listening) String() string { return fmt.Sprintf("listener on %s", l.Listener.Addr()) }
