package e2e

import (
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestAckedBehindACommitThatWaits: in a ring of semi-synchronous masters a replica's own commits wait for an
// acknowledgement of the writer. When the writer dies without giving it, its replica has received, and acknowledged,
// transactions that wait behind that commit: it is opened soon, with all of them.
func TestAckedBehindACommitThatWaits(t *testing.T) { each(t, ackedBehindACommitThatWaits) }

func ackedBehindACommitThatWaits(t *testing.T, o lab.Options) {
	o.AckTimeout, o.AckAlways, o.Mon = time.Minute, true, "flap_count 0"
	o.Lease, o.FastFailover, o.TrapPeriod = 3, true, 20*time.Second
	b := calm(t, o)
	db1 := b.Node("db1")
	if o.Server == "" {
		b.must(b.Node("db2").Server.Exec(b.ctx, "SET sql_log_bin=0",
			"GRANT REPLICATION MASTER ADMIN ON *.* TO mmm_agent@'10.77.0.%'", "SET sql_log_bin=1"))
	}
	b.must(db1.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD")) // it acknowledges nothing of db2 any more
	b.insert(20)
	b.received("db2", "db3")
	since := time.Now()
	b.must(db1.Server.Kill())
	b.until("db2 to be the writer", func(string) bool {
		v, err := b.Node("db2").Server.Value(b.ctx, "SELECT @@read_only")
		return err == nil && v == "0"
	})
	if took := time.Since(since); took > 20*time.Second {
		t.Errorf("db2 is open after %v: it has waited for the writer's acknowledgement", took)
	}
	b.has("db2", 20)
}
