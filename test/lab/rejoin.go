package lab

import (
	"cmp"
	"context"
	"fmt"
	"strings"
)

// Rejoin starts a server that was killed and waits until its host is part of the cluster again. joined is false where
// the host can't be: a server that dies between writing a transaction to its log and sending it comes back with a
// transaction that no other host has, and that no client was told to be committed. Such a host has to be set up anew;
// the cluster goes on without it.
func (c *Cluster) Rejoin(ctx context.Context, n *Node) (joined bool, err error) {
	if err := n.Server.Start(ctx); err != nil {
		return false, err
	}
	return c.Joined(ctx, n)
}

// Joined waits until the cluster is whole with this host in it, or until it is known that the host must be set up anew:
// then joined is false.
func (c *Cluster) Joined(ctx context.Context, n *Node) (joined bool, err error) {
	err = Wait(ctx, n.Name+" to be part of the cluster again", func() (bool, string) {
		show, _, err := c.Control(ctx, "show")
		if err != nil {
			return false, err.Error()
		}
		aside, err := c.Aside(ctx, show, n)
		if err != nil || aside != "" {
			return aside != "", fmt.Sprint(err)
		}
		joined = c.whole(show)
		return joined, show + fmt.Sprint(c.Placed(show))
	})
	return joined, err
}

// Aside is the reason why a host must be set up anew before it can be part of the cluster, in the words of `show` or of
// its server's replication. "" where no reason is known.
func (c *Cluster) Aside(ctx context.Context, show string, n *Node) (string, error) {
	for line := range strings.Lines(show) {
		if finding, ok := strings.CutPrefix(line, "# Warning: host "+n.Name+": "); ok {
			return strings.TrimSpace(finding), nil
		}
		problem, ok := strings.CutPrefix(line, "# Warning: agent on host "+n.Name+" reports: ")
		if ok && (strings.Contains(problem, "must be set up anew") ||
			strings.Contains(problem, "set this slave up by hand")) {
			return strings.TrimSpace(problem), nil
		}
	}
	return n.Server.Broken(ctx)
}

// Broken is the error that has ended the server's replication for good, or "".
func (s *Server) Broken(ctx context.Context) (string, error) {
	r, err := s.Replica(ctx)
	if err != nil {
		return "", err
	}
	switch {
	case r["Last_SQL_Errno"] != "0":
		return cmp.Or(r["Last_SQL_Error"], "error "+r["Last_SQL_Errno"]), nil
	// The source's log does not have the place at which to go on; 1236 is MariaDB's number, 13114 MySQL's.
	case r["Last_IO_Errno"] == "1236" || r["Last_IO_Errno"] == "13114":
		return cmp.Or(r["Last_IO_Error"], "error "+r["Last_IO_Errno"]), nil
	}
	return "", nil
}
