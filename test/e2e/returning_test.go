package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

// alone are options with which only the death of a server changes a state quickly, by fast_failover: trap_period is 10
// s, so that no check notices a replication that a test stops.
func alone(position bool) lab.Options {
	o := leased()
	o.Position, o.TrapPeriod = position, 10*time.Second
	return o
}

// TestOldWriterReturns: twenty transactions of the writer have reached no other host when it dies. When it is back
// `show` names them, the host stays out in spite of auto_set_online, and no other host replicates them. By position, an
// operator can let them in with set_online.
func TestOldWriterReturns(t *testing.T) {
	for name, position := range map[string]bool{"gtid": false, "position": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, alone(position))
			db1, db2 := b.Node("db1"), b.Node("db2")
			b.load().Stop()
			b.must(b.WaitLevel(b.ctx, b.DBs...))
			for _, n := range b.DBs[1:] {
				b.must(n.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
			}
			for i := range 20 {
				b.must(db1.Server.Exec(b.ctx, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1, 0)", 1_000_000+i)))
			}
			b.must(db1.Server.Kill())
			l, err := b.StartLoad(b.ctx, 200)
			b.must(err)
			b.Cleanup(l.Stop)
			b.must(l.WaitServer(b.ctx, 2))
			b.must(db1.Server.Start(b.ctx))
			if position { // MariaDB takes them only where GTIDs need not be in order
				b.must(db1.Server.Exec(b.ctx, "STOP SLAVE", "SET GLOBAL gtid_strict_mode=0", "START SLAVE"))
				for _, n := range b.DBs[1:] {
					b.must(n.Server.Exec(b.ctx, "SET GLOBAL gtid_strict_mode=0"))
				}
			}
			b.until("the transactions to be named", func(show string) bool {
				return strings.Contains(show, "# Warning: host db1: it has 20 transactions that nobody else has: ")
			})
			b.logged(b.Monitor, "Host 'db1' has diverged: it has 20 transactions that nobody else has: ")
			if out, _ := b.control("checks db1 rep_threads"); !strings.Contains(out,
				"it has 20 transactions that nobody else has: ") {
				t.Errorf("checks: %s", out)
			}
			since := time.Now()
			b.must(lab.Wait(b.ctx, "some seconds", func() (bool, string) {
				return time.Since(since) > 4*time.Second,
					""
			}))
			if show := b.show(); !strings.Contains(show, "db1(10.77.0.11) master/AWAITING_RECOVERY") ||
				b.writer() != "db2" {
				t.Errorf("show:\n%s", show)
			}
			if n, err := db2.Server.Value(b.ctx, "SELECT COUNT(*) FROM app.t WHERE id >= 1000000"); err != nil ||
				n != "0" {
				t.Errorf("db2 has %s of the twenty rows, want 0 (%v)", n, err)
			}
			if !position {
				return // in strict mode MariaDB does not take these GTIDs after later ones
			}
			if out, status := b.control("set_online db1"); status != 0 {
				t.Fatal(out)
			}
			b.must(lab.Wait(b.ctx, "db2 to have the twenty rows", func() (bool, string) {
				n, err := db2.Server.Value(b.ctx, "SELECT COUNT(*) FROM app.t WHERE id >= 1000000")
				return err == nil && n == "20", n
			}))
			b.logged(b.Monitor,
				"Admin lets host 'db1' in with what only it has (it has 20 transactions that nobody else has: ")
			b.until("db1 to be ONLINE without a warning", func(show string) bool {
				return strings.Contains(show, "db1(10.77.0.11) master/ONLINE") && !strings.Contains(show, "#")
			})
		})
	}
}

// TestOldWriterRejoins: a former writer that has no transaction that others lack is ONLINE again by itself, and both
// masters replicate from each other again.
func TestOldWriterRejoins(t *testing.T) {
	b := start(t, leased())
	l := b.load()
	b.must(l.Between(b.Node("db1").Server.Kill))
	b.must(l.WaitServer(b.ctx, 2))
	b.logged(b.Node("db2").Agent, "Nothing of host 'db1' beyond ")
	b.must(b.Node("db1").Server.Start(b.ctx))
	b.logged(b.Monitor, "Host 'db1' has no transactions that others lack")
	b.logged(b.Node("db2").Agent, "Host 'db1' has been looked at: replicating from it again")
	b.must(b.WaitWhole(b.ctx))
	b.balance(l)
}

// TestSlaveHasMore: the dead writer's newest transactions have reached a slave and not the other master. That one
// fetches them from the slave before it is opened.
func TestSlaveHasMore(t *testing.T) {
	b := start(t, alone(false))
	b.load().Stop()
	b.must(b.WaitLevel(b.ctx, b.DBs...))
	db1, db2, db3 := b.Node("db1"), b.Node("db2"), b.Node("db3")
	b.must(db2.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
	for i := range 20 {
		b.must(db1.Server.Exec(b.ctx, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1, 0)", 1_000_000+i)))
	}
	b.must(b.WaitLevel(b.ctx, db1, db3))
	b.must(db1.Server.Kill())
	l, err := b.StartLoad(b.ctx, 200)
	b.must(err)
	b.Cleanup(l.Stop)
	b.must(l.WaitServer(b.ctx, 2))
	if n, err := db2.Server.Value(b.ctx, "SELECT COUNT(*) FROM app.t WHERE id >= 1000000"); err != nil || n != "20" {
		t.Errorf("db2 has %s of the twenty rows (%v)", n, err)
	}
	b.follows("db3", "db2")
	b.must(db1.Server.Start(b.ctx))
	b.must(b.WaitWhole(b.ctx))
	l.Stop()
	b.must(b.WaitLevel(b.ctx, b.DBs...))
}

// TestSlaveHasTheReturningWritersOwn: while its agent is away a slave replicates transactions that only the former
// writer has. By GTID it could follow the new writer without an error. Its agent leaves it where it is, and reports
// what it has.
func TestSlaveHasTheReturningWritersOwn(t *testing.T) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			o := alone(false)
			o.Server = kind
			b := start(t, o)
			b.load().Stop()
			b.must(b.WaitLevel(b.ctx, b.DBs...))
			db1, db3 := b.Node("db1"), b.Node("db3")
			for _, n := range b.DBs[1:] {
				b.must(n.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
			}
			b.must(db3.Agent.Kill())
			for i := range 20 {
				b.must(db1.Server.Exec(b.ctx, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1, 0)", extra+i)))
			}
			b.must(db1.Server.Kill())
			l, err := b.StartLoad(b.ctx, 200)
			b.must(err)
			b.Cleanup(l.Stop)
			b.must(l.WaitServer(b.ctx, 2))
			b.must(db1.Server.Start(b.ctx))
			b.must(db3.Server.Exec(b.ctx, "START SLAVE"))
			b.has("db3", 20)
			b.must(db3.Agent.Start())
			b.logged(b.Monitor,
				"Agent on host 'db3' reports: Couldn't change active master to 'db2': this slave has transactions that 'db2' lacks (GTID ")
			if r, err := db3.Server.Replica(b.ctx); err != nil || r["Master_Host"] != db1.IP.String() {
				t.Errorf("db3 follows %s (%v)", r["Master_Host"], err)
			}
		})
	}
}

// TestHalfATransaction: the writer dies while a large transaction is on its way, of which the other master has received
// a part. The rest never comes: the other master gives the part up and is opened.
func TestHalfATransaction(t *testing.T) {
	for name, position := range map[string]bool{"gtid": false, "position": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, alone(position))
			b.load().Stop()
			b.must(b.WaitLevel(b.ctx, b.DBs...))
			db1, db2 := b.Node("db1"), b.Node("db2")
			b.must(db1.Server.Exec(b.ctx, "CREATE TABLE app.large (id INT PRIMARY KEY, b LONGBLOB)"))
			b.must(b.WaitLevel(b.ctx, b.DBs...))
			before, err := db2.Server.Replica(b.ctx)
			b.must(err)
			b.must(b.Node("db3").Server.Exec(b.ctx, "STOP SLAVE IO_THREAD")) // so that it can't be fetched from db3
			b.must(db2.Slow(10_000_000))
			written := make(chan error, 1)
			go func() {
				written <- db1.Server.Exec(b.ctx,
					"INSERT INTO app.large SELECT seq, REPEAT('x', 1000000) FROM app.seq_1_to_40")
			}()
			b.must(lab.Wait(b.ctx, "a part of it to arrive", func() (bool, string) {
				r, err := db2.Server.Replica(b.ctx)
				if err != nil {
					return false, err.Error()
				}
				now, was := number(r["Read_Master_Log_Pos"]), number(before["Read_Master_Log_Pos"])
				return now > was+2_000_000 && now < was+30_000_000, r["Read_Master_Log_Pos"]
			}))
			b.must(db1.Server.Kill())
			b.must(db2.Lose(0))
			<-written // the result does not matter: it came after the death
			l, err := b.StartLoad(b.ctx, 200)
			b.must(err)
			b.Cleanup(l.Stop)
			b.must(l.WaitServer(b.ctx, 2))
			b.logged(db2.Agent, "The last transaction received of 'db1' is not whole")
			if n, err := db2.Server.Value(b.ctx, "SELECT COUNT(*) FROM app.large"); err != nil || n != "0" {
				t.Errorf("db2 has %s rows of the transaction (%v)", n, err)
			}
		})
	}
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0
	}
	return n
}
