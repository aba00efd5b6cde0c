package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestTwoChannels: a slave replicates from the cluster on one channel (MariaDB: connection), and on another one from a
// server outside of the cluster. The first channel follows the writer; nothing happens to the other one.
func TestTwoChannels(t *testing.T) { each(t, twoChannels) }

func twoChannels(t *testing.T, o lab.Options) {
	o.Common = "<host db3>\n replication_channel mmm\n</host>"
	b := prepare(t, o)
	db3 := b.Node("db3")
	other, err := b.Outsider(b.ctx)
	b.must(err)
	b.must(db3.Server.Exec(b.ctx, "STOP SLAVE", "RESET SLAVE ALL"))
	if o.Position { // db3 begins at the start of db1's log again; by GTID it goes on where it was
		b.must(db3.Server.Exec(b.ctx, "SET sql_log_bin=0", "DROP DATABASE IF EXISTS app"))
		if o.Server == "" { // MariaDB has GTIDs in its log all the same
			b.must(db3.Server.Exec(b.ctx, "RESET MASTER"))
		}
	}
	b.must(db3.Server.Follow(b.ctx, b.Node("db1").Host, "mmm"))
	b.must(db3.Server.Follow(b.ctx, other.Host, "elsewhere"))
	b.must(b.StartAll(b.ctx))
	l := b.load()
	for i, step := range []func() error{
		func() error { return moved(b, "db2") },
		func() error { b.kill(l, "db2", "db1", "db3"); return nil },
	} {
		b.must(step())
		to := b.DBs[1-i]
		b.must(l.WaitServer(b.ctx, to.Server.ID()))
		b.must(lab.Wait(b.ctx, "db3 to follow "+to.Name, func() (bool, string) {
			r, err := db3.Server.Channel(b.ctx, "mmm")
			return err == nil && r["Master_Host"] == to.IP.String() && r["Slave_IO_Running"] == "Yes" &&
				r["Slave_SQL_Running"] == "Yes", fmt.Sprint(r, err)
		}))
		b.must(other.Server.Exec(b.ctx, fmt.Sprintf("INSERT INTO other.t VALUES (%d)", i)))
		b.must(lab.Wait(b.ctx, "the other channel", func() (bool, string) {
			v, err := db3.Server.Value(b.ctx, "SELECT COUNT(*) FROM other.t")
			return err == nil && v == fmt.Sprint(i+1), fmt.Sprint(v, err)
		}))
	}
	r, err := db3.Server.Channel(b.ctx, "elsewhere")
	if err != nil || r["Master_Host"] != other.IP.String() {
		t.Errorf("the other channel follows %s (%v)", r["Master_Host"], err)
	}
	l.Stop()
	b.level(l, []*lab.Node{b.Node("db1"), db3})
}

// moved moves the writer role. A move that is refused, or fails, is an error.
func moved(b *bench, to string) error {
	out, status, err := b.Control(b.ctx, "move_role", "writer", to)
	if err == nil && status != 0 {
		err = fmt.Errorf("exit %d: %s", status, out)
	}
	return err
}

// TestForcedMove: with move_role --force a host is opened that has not executed what it has received, and the log says
// what that costs. `show` names the transactions that only the former writer has, and no other host replicates them.
func TestForcedMove(t *testing.T) {
	for name, position := range map[string]bool{"gtid": false, "position": true} {
		t.Run(name, func(t *testing.T) {
			o := leased()
			o.Position = position
			b := calm(t, o)
			db1, db2 := b.Node("db1"), b.Node("db2")
			b.must(db2.Server.Exec(b.ctx, "STOP SLAVE SQL_THREAD"))
			b.must(b.Monitor.Kill()) // the new one gives replicas of the writer that it knows no minute of patience
			b.must(b.Monitor.Start())
			b.state("db2", "REPLICATION_FAIL")
			b.insert(20)
			b.has("db3", 20)
			b.received("db2", "db3")
			b.steps([]step{
				{"move_role writer db2", "ERROR: Can't move role to host with state REPLICATION_FAIL.", 2},
				{"move_role --force writer db2",
					"OK: Role 'writer' has been moved from 'db1' to 'db2' enforcedly. Now you can wait some time and check new roles info!", 0},
			})
			l := b.relieved()
			b.logged(db2.Agent, "DATA LOSS")
			b.has("db2", 0)
			b.aside("db1", "it has 20 transactions that nobody else has: ")
			b.must(b.SetUpAnew(b.ctx, db1, db2))
			b.must(b.SetUpAnew(b.ctx, b.Node("db3"), db2))
			b.must(b.WaitWhole(b.ctx))
			b.balance(l)
		})
	}
}

// TestBadServers: on the ports of the dead writer and of a dead slave something listens that answers nonsense, or
// nothing, or hangs up in the middle of an answer. It delays neither the new writer nor mmm_control.
func TestBadServers(t *testing.T) {
	for _, as := range []lab.Nuisance{lab.Nonsense, lab.Mute, lab.Quitter} {
		t.Run(string(as), func(t *testing.T) {
			b := start(t, leased())
			l := b.load()
			pester := func(host string) {
				b.Helper()
				stop, err := b.Node(host).Pester(b.ctx, as, b.Node("db2"))
				b.must(err)
				b.Cleanup(func() { _ = stop() }) // an error does not matter in the end
			}
			b.must(b.Node("db3").Server.Kill())
			pester("db3")
			b.must(l.Between(b.Node("db1").Server.Kill))
			since := time.Now()
			pester("db1")
			b.must(l.WaitServer(b.ctx, 2))
			if gap := l.Gap(since); gap > 10*time.Second {
				t.Errorf("write gap %v", gap)
			}
			asked := time.Now()
			if show := b.show(); !strings.Contains(show, "db2(10.77.0.12) master/ONLINE") {
				t.Errorf("show:\n%s", show)
			}
			if took := time.Since(asked); took > 2*time.Second {
				t.Errorf("show took %v", took)
			}
			t.Logf("write gap %v", l.Gap(since))
		})
	}
}
