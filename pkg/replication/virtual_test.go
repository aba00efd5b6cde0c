package replication

import (
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"testing"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// TestFollowsTheRole: a slave that replicates from an address of a role, or from a name of one, is pointed at the
// host's own address, also where that host is the writer already.
func TestFollowsTheRole(t *testing.T) {
	for source, moved := range map[string]bool{
		"10.0.0.1": false, "::ffff:10.0.0.1": false, "db1.example.com": false,
		"10.0.0.100": true, "writer.example.com": true, "2001:db8:0::0064": true,
	} {
		s := &sim{replica: mysqlctl.Replica{SourceHost: source, SourcePort: 3306, SourceID: 1, IORunning: "Yes",
			SQLRunning: "Yes", Received: at(100), Executed: at(100)}}
		f := &follower{peers: s, local: s, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
			addresses: []netip.Addr{netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("2001:db8::64")},
			sources:   func(string) (Source, bool) { return Source{Host: "10.0.0.1", Port: 3306}, true }}
		// the order does not say yet where db1 took over, so that nothing is done
		err := f.repoint(t.Context(), cluster.Order{Extended: true, Master: "db1",
			Switch: cluster.Switch{From: "db2", To: "db1"}})
		if errors.Is(err, errNotYet) != moved || err != nil && !moved {
			t.Errorf("%s: %v", source, err)
		}
	}
}
