package e2e

import (
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestSoak: kill -9 of the writer's server at any moment, and planned moves, three of each, under load, on every
// server, by GTID and by position: no acknowledged row is lost, and all servers have the same rows in the end. make
// soak does more.
func TestSoak(t *testing.T) { each(t, soak) }

func soak(t *testing.T, o lab.Options) {
	o.Slaves, o.TrapPeriod, o.Lease, o.FastFailover, o.Mon, o.AckTimeout = 2, time.Second, 3, true, "flap_count 0",
		2*time.Second
	b := start(t, o)
	s, err := b.Soak(b.ctx, 3, t.Output())
	b.must(err)
	for _, text := range s.Wrong {
		t.Error(text)
	}
	for _, text := range s.Aside {
		t.Logf("set aside: %s", text)
	}
	if s.Failovers != 3 || s.Moves != 3 || s.Acked < 600 {
		t.Errorf("%d failovers, %d moves, %d rows", s.Failovers, s.Moves, s.Acked)
	}
	t.Logf("write gaps: %v in failovers, %v in moves", s.Gaps, s.MoveGaps)
	b.logged(b.Monitor, "FATAL Admin moved role 'writer' from 'db1' to 'db2'")
	b.logged(b.Monitor, "FATAL State of host 'db2' changed from ONLINE to HARD_OFFLINE (ping: OK, mysql: ")
	b.logged(b.Node("db1").Agent, "INFO Deleted: writer(10.77.0.100)")
	b.logged(b.Node("db3").Agent, "INFO Changing active master to 'db2'")
}
