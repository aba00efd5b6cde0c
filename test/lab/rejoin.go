package lab

import (
	"context"
	"fmt"
)

// Rejoin starts a server that was killed and waits until its host is part of the cluster again. It is false where it can't be: a
// server that dies between writing a transaction to its log and sending it comes back with a transaction that nobody else has and no
// client was promised. Its replication then stops with an error, and it has to be set up anew; the cluster goes on without it.
func (c *Cluster) Rejoin(ctx context.Context, n *Node) (joined bool, err error) {
	if err := n.Server.Start(ctx); err != nil {
		return false, err
	}
	return c.Joined(ctx, n)
}

// Joined waits until a host is part of the cluster again, with everything whole, or its replication says that it can't be.
func (c *Cluster) Joined(ctx context.Context, n *Node) (joined bool, err error) {
	err = Wait(ctx, n.Name+" to be part of the cluster again", func() (bool, string) {
		r, err := n.Server.Replica(ctx)
		if err != nil {
			return false, err.Error()
		}
		if r["Last_SQL_Errno"] != "0" || r["Last_IO_Errno"] == "1236" {
			return true, ""
		}
		show, _, err := c.Control(ctx, "show")
		if err != nil {
			return false, err.Error()
		}
		joined = r["Slave_IO_Running"] == "Yes" && c.whole(show)
		return joined, show + fmt.Sprint(c.Placed(show))
	})
	return joined, err
}
