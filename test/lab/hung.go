package lab

import (
	"context"
	"fmt"
	"strings"
)

// hungDump returns the id of a dump thread of a MariaDB that hangs while it ends, or "". Such a thread sends the log to
// a replica. Where an acknowledging replica disconnects in the moment in which it registers, its dump thread waits for
// the thread that receives acknowledgements, which itself waits for a replica. A replica with the same server_id that
// connects later waits for the end of the hung thread (seen on 10.11.19; docs/replication.md).
func (s *Server) hungDump(ctx context.Context) (id string, err error) {
	if s.kind.MySQL {
		return "", nil
	}
	return s.Value(ctx,
		"SELECT MAX(ID) FROM information_schema.PROCESSLIST WHERE STATE='Waiting to finalize termination'")
}

// freeDump ends a hung dump thread as docs/replication.md says: it turns semi-synchronous replication off and on again
// while the replica keeps away.
func (s *Server) freeDump(ctx context.Context, replica *Server) error {
	if err := replica.Exec(ctx, "STOP SLAVE IO_THREAD"); err != nil {
		return err
	}
	if err := s.Exec(ctx, "SET GLOBAL rpl_semi_sync_master_enabled=OFF"); err != nil {
		return err
	}
	if err := Wait(ctx, "hung dump threads of "+s.host.Name+" to end", func() (bool, string) {
		id, err := s.hungDump(ctx)
		return err == nil && id == "", fmt.Sprint(id, err)
	}); err != nil {
		return err
	}
	if err := s.Exec(ctx, "SET GLOBAL rpl_semi_sync_master_enabled=ON"); err != nil {
		return err
	}
	return replica.Exec(ctx, "START SLAVE IO_THREAD")
}

// freeDumps looks at both masters, and ends a dump thread that has seemed to hang in many looks. One look is not
// enough: every dump thread is in that state for a moment when it ends.
func (s *Soak) freeDumps(ctx context.Context) error {
	const looks = 200 // one each 10 ms, or less often
	for _, n := range s.cluster.DBs[:2] {
		id, err := n.Server.hungDump(ctx)
		if err != nil || id == "" {
			delete(s.hanging, n.Name)
			continue // the server does not run, or no thread hangs
		}
		if last := s.hanging[n.Name]; last.id != id {
			s.hanging[n.Name] = hanging{id: id}
		} else if last.looks++; last.looks < looks {
			s.hanging[n.Name] = last
		} else {
			delete(s.hanging, n.Name)
			s.Hung++
			s.tell("    a dump thread of %s hangs: %s", n.Name, strings.TrimSpace(id))
			if err := n.Server.freeDump(ctx, s.cluster.otherMaster(n).Server); err != nil {
				return err
			}
		}
	}
	return nil
}

// hanging is a thread that seems to hang, and how often that was seen again.
type hanging struct {
	id    string
	looks int
}
