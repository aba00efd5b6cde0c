package agent

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// TestServes: a load balancer is never told that a host serves a role whose work the host can't do now.
func TestServes(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	writer := cluster.RoleIP{Role: "writer", IP: netip.MustParseAddr("10.0.0.100")}
	reader := cluster.RoleIP{Role: "reader", IP: netip.MustParseAddr("10.0.0.101")}
	well := func(change func(*Status)) Status {
		roles := []cluster.RoleIP{reader, writer}
		s := Status{Ordered: roles, Present: roles, Writable: wire.Yes, Observed: now, Told: now, Leased: true,
			ends: 10 * time.Second}
		if change != nil {
			change(&s)
		}
		return s
	}
	for _, c := range []struct {
		name                 string
		status               Status
		clock                time.Duration
		whyWriter, whyReader string
	}{
		{"all well", well(nil), 9 * time.Second, "", ""},
		{"the lease is over", well(nil), 10 * time.Second, "the lease is over", ""},
		{"no lease is used", well(func(s *Status) { s.Leased, s.ends = false, 0 }), time.Hour, "", ""},
		{"read-only", well(func(s *Status) { s.Writable = wire.No }), 0, "closed for writes", ""},
		{"the server hangs", well(func(s *Status) { s.Writable = wire.Unsure }), 0, "does not answer",
			"does not answer"},
		{"the server refuses the agent", well(func(s *Status) {
			s.Writable, s.Refused, s.Opened = wire.Unsure, true,
				true
		}), 0, "", ""},
		{"the same, not known to be open", well(func(s *Status) { s.Writable, s.Refused = wire.Unsure, true }), 0,
			"closed for writes", ""},
		{"the server is down", well(func(s *Status) { s.Writable, s.Down = wire.No, true }), 0, "does not run",
			"does not run"},
		{"the port is closed", well(func(s *Status) { s.Fenced = true }), 0, "closed to clients", "closed to clients"},
		{"the address is still here, but is to leave", well(func(s *Status) { s.Ordered = []cluster.RoleIP{reader} }),
			0, "no address of role writer", ""},
		{"the address is not here yet", well(func(s *Status) { s.Present = []cluster.RoleIP{reader} }), 0,
			"no address of role writer", ""},
		{"nothing was ordered since the start", well(func(s *Status) { s.Ordered = nil }), 0, "no address",
			"no address"},
		{"never looked", Status{}, 0, "looked at lately", "looked at lately"},
		{"looked long ago", well(func(s *Status) { s.Observed = now.Add(-stale) }), 0, "looked at lately",
			"looked at lately"},
		{"the agent hangs", well(func(s *Status) { s.Told = now.Add(-stale) }), 0, "looked at lately",
			"looked at lately"},
	} {
		for role, want := range map[string]string{"writer": c.whyWriter, "reader": c.whyReader} {
			if why := c.status.serves(role, "writer", now, c.clock); (why == "") != (want == "") ||
				!strings.Contains(why, want) {
				t.Errorf("%s: %s: %q, want %q", c.name, role, why, want)
			}
		}
	}
}
