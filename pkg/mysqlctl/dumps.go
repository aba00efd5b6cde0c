package mysqlctl

import (
	"context"
	"net/netip"
	"strings"
)

// EndDumps ends the connections by which the replica at that address reads this server's binary log, and returns how
// many it has ended. A semi-synchronous source counts a replica for as long as its connection lasts, also a replica
// whose host is dead: commits wait for its acknowledgement. A replica that lives connects again. Where the server lists
// its clients by name (skip_name_resolve is off) it may find none.
func (s *Server) EndDumps(ctx context.Context, replica netip.Addr) (int, error) {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	list, err := s.listProcesses(ctx)
	if err != nil {
		return 0, err
	}
	var kill []uint64
	for _, p := range list {
		at, err := netip.ParseAddrPort(p.host)
		if strings.HasPrefix(p.command, "Binlog Dump") && err == nil && at.Addr().Unmap() == replica.Unmap() {
			kill = append(kill, p.id)
		}
	}
	return s.killAll(ctx, kill)
}
