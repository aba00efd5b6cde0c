package lab

import (
	"context"
	"fmt"
	"strings"
)

// hungDump finds a thread of a MariaDB that sends its log to nobody any more and never ends. When the acknowledging
// replica is gone again in the moment in which it registers, that thread waits for a word of the one that receives the
// acknowledgements, which waits for a replica; and whoever comes with the same server_id waits for the end of that
// thread (seen on 10.11.19).
func (s *Server) hungDump(ctx context.Context) (id string, err error) {
	if s.kind.MySQL {
		return "", nil
	}
	return s.Value(ctx,
		"SELECT MAX(ID) FROM information_schema.PROCESSLIST WHERE STATE='Waiting to finalize termination'")
}

// freeDump does about it what docs/replication.md says: semi-synchronous replication off and on again while the replica
// keeps away.
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

// freeDumps looks at both masters, and frees a thread that it has seen hanging for some looks: all threads are in that
// state for a moment.
func (s *Soak) freeDumps(ctx context.Context) error {
	const looks = 200 // one each 10 ms, or less often
	for _, n := range s.cluster.DBs[:2] {
		id, err := n.Server.hungDump(ctx)
		if err != nil || id == "" {
			delete(s.hanging, n.Name)
			continue // it does not run, or nothing hangs
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

// hanging is a thread that was seen so often to hang.
type hanging struct {
	id    string
	looks int
}
