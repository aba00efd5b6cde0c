package mysqlctl

import (
	"net/netip"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestEndDumps: the connection by which the replica at that address reads the log is ended, and the replica, which
// lives, connects again. Replicas at other addresses are left alone.
func TestEndDumps(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		source := mysqltest.Start(t, mysqltest.Options{Server: kind, Args: []string{"--skip-name-resolve"}})
		replica := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 2})
		replica.Follow(source)
		s := agent(t, source, "agent")
		ctx := within(t, 2*time.Minute)
		const dumps = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
		var id string
		eventually(t, "the replica to read", func() bool { id = source.Query(dumps); return id != "" })
		if n, err := s.EndDumps(ctx, netip.MustParseAddr("192.0.2.1")); err != nil || n != 0 ||
			source.Query(dumps) != id {
			t.Errorf("of another address: %d, %v", n, err)
		}
		if n, err := s.EndDumps(ctx, netip.MustParseAddr("127.0.0.1")); err != nil || n != 1 {
			t.Errorf("%d, %v", n, err)
		}
		eventually(t, "it to end", func() bool { return source.Query(dumps) != id })
	})
}
