package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

var stalls = flag.Int("stalls", 1,
	"in how many clusters of each server TestDiskStalls lets the disk hang, each for a time of its own")

// unwriting are options with which the disk of db1 can be made to hang, and write_timeout is 4 s.
func unwriting(kind string) lab.Options {
	o := leased()
	o.Server, o.Disk, o.Mon = kind, true, "flap_count 0\nwrite_timeout 4"
	return o
}

// noticed is how long a disk must hang to cost the writer its role for certain: write_timeout; a second or two until a
// commit is seen to wait, or three until the agent sees that a block of its own is not written either; and the
// failover.
const noticed = 10 * time.Second

// TestDiskStalls: the writer's server answers, and its disk hangs. Another host becomes the writer. A client that
// waits for its commit on the former writer is not told that it is committed; what the former writer commits when its
// disk goes on is named, or the new writer has it. Where the disk goes on in time the writer stays, and the client is
// told.
func TestDiskStalls(t *testing.T) {
	for _, kind := range servers.Tested() {
		for range *stalls {
			lasts := time.Duration(2_000+rand.IntN(13_000)) * time.Millisecond
			t.Run(fmt.Sprintf("%s %v", servers.Kind{Name: kind}, lasts), func(t *testing.T) {
				start(t, unwriting(kind)).stall(lasts)
			})
		}
	}
}

// byHand is the id of the row that a client of its own writes to the former writer.
const byHand = 1_000_000

// stall makes the disk of the writer db1 hang for some time, and tests what becomes of the role and of the data.
func (b *bench) stall(lasts time.Duration) {
	db1, db2 := b.Node("db1"), b.Node("db2")
	l := b.load()
	watch := b.WatchWriter(b.ctx)
	b.Cleanup(func() { b.must(db1.Disk.GoOn()) }) // before the server is killed
	began := time.Now()
	b.must(db1.Disk.Hang())
	waiting, err := b.Insert(b.ctx, db1, byHand)
	b.must(err)
	healed := time.AfterFunc(lasts, func() { b.must(db1.Disk.GoOn()) })
	defer healed.Stop()
	if b.keeps(l, began, lasts) {
		b.Logf("disk hung for %v: write gap %v, the writer stays", lasts, l.Gap(began))
		if err := <-waiting; err != nil || lasts > noticed {
			b.Errorf("the writer stays, and the client that waited for it was told %v", err)
		}
		b.whole(l, db1)
		return
	}
	gap := l.Gap(began)
	b.logged(b.Monitor, "answers and can't write: connection ")
	answer := <-waiting // nil: the disk may have gone on just before the clients were cut off
	took := time.Since(began)
	b.must(lab.Wait(b.ctx, "the disk to be well again", func() (bool, string) { return time.Since(began) > lasts, "" }))
	b.logged(db1.Agent, "its port is open to clients again")
	b.must(lab.Wait(b.ctx, "db1 to be closed", func() (bool, string) {
		v, err := db1.Server.Value(b.ctx, "SELECT @@read_only")
		return err == nil && v == "1", fmt.Sprint(v, err)
	}))
	both, err := watch.Stop()
	b.must(err)
	if both > 0 {
		b.Errorf("the address was on two hosts for %v", both)
	}
	b.until("the log of db1 to be looked at", func(show string) bool {
		return strings.Contains(show, "host db1: it has ") || strings.Contains(show, "db1(10.77.0.11) master/ONLINE")
	})
	b.whole(l, db2)
	old, now := b.counts(db1, byHand), b.counts(db2, byHand)
	b.Logf("disk hung for %v: write gap %v, the client that waited was told %v after %v, address on two hosts %v, "+
		"rows of that client on the old and the new writer: %s, %s", lasts, gap, answer, took, both, old, now)
	switch named := strings.Contains(b.show(), "host db1: it has "); {
	case answer == nil && now != "1":
		b.Errorf("the client was told that its row is committed, and the new writer lacks it")
	case answer == nil && lasts > noticed:
		b.Errorf("the client was told that its row is committed, on a disk that hung for %v", lasts)
	case old == "1" && now == "0" && !named:
		b.Errorf("a row that only the former writer has is not named:\n%s", b.show())
	}
}

// counts says how many rows with this id a server has.
func (b *bench) counts(n *lab.Node, id int) string {
	v, err := n.Server.Value(b.ctx, fmt.Sprintf("SELECT COUNT(*) FROM app.t WHERE id=%d", id))
	b.must(err)
	return v
}

// keeps waits until db2 acknowledges writes, or db1 does again after its disk has gone on. It says whether db1 does.
func (b *bench) keeps(l *lab.Load, began time.Time, lasts time.Duration) (keeps bool) {
	const undecided = 5 * time.Second // a failover that had begun has ended by then
	before := 0
	b.must(lab.Wait(b.ctx, "writes to be acknowledged", func() (bool, string) {
		n, server := l.Acked()
		if time.Since(began) < lasts+undecided {
			before = n
		}
		keeps = server == 1 && n > before
		_, err := l.Errors()
		return server == 2 || keeps, fmt.Sprintf("server %d, last error: %v", server, err)
	}))
	return keeps
}

// whole ends the load. The writer must have every acknowledged row.
func (b *bench) whole(l *lab.Load, writer *lab.Node) {
	l.Stop()
	b.must(b.WaitLevel(b.ctx, writer))
	if lost, err := l.Lost(b.ctx, writer.Server); err != nil || len(lost) > 0 {
		b.Errorf("%d acknowledged rows are lost: %v, %v", len(lost), lost, err)
	}
}

// TestAcknowledgementsMissing: the writer's commits wait for acknowledgements that no replica gives. Another host
// becomes the writer. When the former writer need not wait any more it commits what has waited: no client was told
// that, and `show` names it.
func TestAcknowledgementsMissing(t *testing.T) {
	b := start(t, unwriting(""))
	l := b.load()
	db1, db2 := b.Node("db1"), b.Node("db2")
	// Between two writes: a commit that waits already would use the old timeout, and turn waiting off after it.
	b.must(l.Between(func() error {
		return db1.Server.Exec(b.ctx, "SET GLOBAL rpl_semi_sync_master_wait_no_slave=1",
			"SET GLOBAL rpl_semi_sync_master_timeout=3600000")
	}))
	b.must(db1.Server.WaitSemiSync(b.ctx))
	began := time.Now()
	b.must(db2.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD", "SET GLOBAL rpl_semi_sync_slave_enabled=0",
		"START SLAVE IO_THREAD"))
	b.must(l.WaitServer(b.ctx, 2))
	t.Logf("write gap %v", l.Gap(began))
	b.logged(b.Monitor, "for its commit (Waiting for semi-sync ACK from slave)")
	if out, _ := b.control("explain db1"); !strings.Contains(out, "Its server answers and can't write: connection ") {
		t.Errorf("explain:\n%s", out)
	}
	b.must(db1.Server.Exec(b.ctx, "SET GLOBAL rpl_semi_sync_master_enabled=0"))
	b.until("db1's commits to be named", func(show string) bool { return strings.Contains(show, "host db1: it has ") })
	l.Stop()
	if lost, err := l.Lost(b.ctx, db2.Server); err != nil || len(lost) > 0 {
		t.Errorf("%d acknowledged rows are lost: %v, %v", len(lost), lost, err)
	}
}
