package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

// The tests of this file: hosts that have more, or less, of the former writer's log than the new writer when the former
// one dies.

// calm starts a cluster, without load, and waits until all servers have the same.
func calm(t *testing.T, o lab.Options) *bench {
	t.Helper()
	b := start(t, o)
	b.load().Stop()
	b.must(b.WaitLevel(b.ctx, b.DBs...))
	return b
}

// extra is the id of the first row that a test inserts beside the load.
const extra = 1_000_000

// insert commits n rows on db1, beginning with id extra, each in a transaction of its own.
func (b *bench) insert(n int) {
	b.Helper()
	var rows []string
	for i := range n {
		rows = append(rows, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1, 0)", extra+i))
	}
	b.must(b.Node("db1").Server.Exec(b.ctx, rows...))
}

// has waits until a server has n rows with ids from extra on.
func (b *bench) has(host string, n int) {
	b.Helper()
	b.must(lab.Wait(b.ctx, fmt.Sprintf("%s to have %d rows", host, n), func() (bool, string) {
		v, err := b.Node(host).Server.Value(b.ctx, fmt.Sprintf("SELECT COUNT(*) FROM app.t WHERE id >= %d", extra))
		return err == nil && v == fmt.Sprint(n), v
	}))
}

// kill kills a host's server between two writes, once other hosts hold every row that was acknowledged. By position, a
// slave that lacks one waits for the dead server to come back, and only a look at it says which hosts have them: the
// server that acknowledges may be faster than another one by any time.
func (b *bench) kill(l *lab.Load, host string, holders ...string) {
	b.Helper()
	b.must(l.Between(func() error {
		for _, name := range holders {
			if err := lab.Wait(b.ctx, name+" to hold all rows", func() (bool, string) {
				lost, err := l.Lost(b.ctx, b.Node(name).Server)
				return err == nil && len(lost) == 0, fmt.Sprint(lost, err)
			}); err != nil {
				return err
			}
		}
		return b.Node(host).Server.Kill()
	}))
}

// relieved starts a load on a cluster whose writer db1 has died or given its role up, and waits until db2 acknowledges.
func (b *bench) relieved() *lab.Load {
	b.Helper()
	l, err := b.StartLoad(b.ctx, 200)
	b.must(err)
	b.Cleanup(l.Stop)
	b.must(l.WaitServer(b.ctx, 2))
	return l
}

// TestStoppedCandidate: the SQL thread of the only candidate is stopped, with ten thousand rows to execute, when the
// writer dies. The candidate is not opened, and `show` says why. When the thread runs again it is opened, and has every
// row.
func TestStoppedCandidate(t *testing.T) { each(t, stoppedCandidate) }

func stoppedCandidate(t *testing.T, o lab.Options) {
	a := alone(o.Position)
	a.Server = o.Server
	b := calm(t, a)
	db1, db2 := b.Node("db1"), b.Node("db2")
	b.must(db2.Server.Exec(b.ctx, "STOP SLAVE SQL_THREAD"))
	const n = 10_000
	var rows []string
	for i := range n {
		if i%1000 == 0 {
			rows = append(rows, "COMMIT", "BEGIN")
		}
		rows = append(rows, fmt.Sprintf("INSERT INTO app.t VALUES (%d, 1, 0)", extra+i))
	}
	b.must(db1.Server.Exec(b.ctx, append(rows, "COMMIT")...))
	b.has("db3", n)
	b.received("db2", "db3")
	b.must(db1.Server.Kill())
	b.must(lab.Wait(b.ctx, "show to say why db2 is not the writer", func() (bool, string) {
		show, _, err := b.Control(b.ctx, "show")
		return err == nil &&
			strings.Contains(show, "# Warning: agent on host db2 reports: Couldn't catch up with the former writer: ") &&
			strings.Contains(show, "replication does not run: SQL thread: No"), show
	}))
	if v, err := db2.Server.Value(b.ctx, "SELECT @@read_only"); err != nil || v != "1" {
		t.Errorf("read_only of db2 is %s (%v)", v, err)
	}
	if _, err := b.Client.Dial(b.ctx, lab.WriterIP+":3306"); err == nil {
		t.Error("somebody has the writer's address")
	}
	b.must(db2.Server.Exec(b.ctx, "START SLAVE SQL_THREAD"))
	b.relieved().Stop()
	b.has("db2", n)
	b.follows("db3", "db2")
	b.must(b.WaitLevel(b.ctx, b.DBs[1:]...))
}

// TestForcedWhenStuck: the writer is dead and the candidate is appointed, but can't execute what it has received. With
// move_role --force it is opened all the same, and the log says what that costs.
func TestForcedWhenStuck(t *testing.T) {
	b := calm(t, alone(false))
	db1, db2 := b.Node("db1"), b.Node("db2")
	b.must(db2.Server.Exec(b.ctx, "STOP SLAVE SQL_THREAD"))
	b.insert(50)
	b.has("db3", 50)
	b.received("db2", "db3")
	b.must(db1.Server.Kill())
	b.must(lab.Wait(b.ctx, "show to say why db2 is not the writer", func() (bool, string) {
		show, _, err := b.Control(b.ctx, "show")
		return err == nil && strings.Contains(show, "replication does not run: SQL thread: No"), show
	}))
	asked := time.Now()
	b.steps([]step{
		{"move_role --force writer db2",
			"OK: Role 'writer' has been moved from 'db1' to 'db2' enforcedly. Now you can wait some time and check new roles info!", 0},
	})
	b.relieved().Stop()
	if took := time.Since(asked); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
	b.logged(db2.Agent, "DATA LOSS")
	b.has("db2", 0)
}

// TestUnfitCandidate: the only candidate's I/O thread has been stopped for longer than trap_period when the writer
// dies. By file and position the candidate can't fetch what another host has received: no host is the writer for
// wait_for_other_master, then the candidate gets the role and the log says what is missing. By GTID it becomes the
// writer at once, with every row.
func TestUnfitCandidate(t *testing.T) {
	for name, position := range map[string]bool{"gtid": false, "position": true} {
		t.Run(name, func(t *testing.T) {
			o := leased()
			o.Position, o.Mon = position, "flap_count 0\nwait_for_other_master 15"
			b := calm(t, o)
			db1, db2 := b.Node("db1"), b.Node("db2")
			b.must(db2.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
			b.must(lab.Wait(b.ctx, "the monitor to notice", func() (bool, string) {
				show, _, err := b.Control(b.ctx, "explain", "db2")
				return err == nil && (strings.Contains(show, "It would lack something") || !position &&
					strings.Contains(show, "rep_threads: not OK")), show
			}))
			b.insert(50)
			b.has("db3", 50)
			b.must(db1.Server.Kill())
			began := time.Now()
			l := b.relieved()
			defer l.Stop()
			took := time.Since(began)
			if !position {
				b.has("db2", 50)
				if took > 12*time.Second {
					t.Errorf("the takeover took %v", took)
				}
				return
			}
			if took < 13*time.Second {
				t.Errorf("it was promoted after %v", took)
			}
			b.logged(b.Monitor, "is given to nobody: 'db2' had received nothing of 'db1' for ")
			b.logged(b.Monitor, "DATA LOSS: role 'writer(10.77.0.100)' is given to 'db2'")
		})
	}
}

// received waits until one host has received as much of the writer's log as another one.
func (b *bench) received(host, as string) {
	b.Helper()
	b.must(lab.Wait(b.ctx, host+" to have received as much as "+as, func() (bool, string) {
		x, err := b.Node(host).Server.Replica(b.ctx)
		if err != nil {
			return false, err.Error()
		}
		y, err := b.Node(as).Server.Replica(b.ctx)
		if err != nil {
			return false, err.Error()
		}
		place := func(r map[string]string) string { return r["Master_Log_File"] + ":" + r["Read_Master_Log_Pos"] }
		return place(x) == place(y), place(x) + " " + place(y)
	}))
}

// TestLateCandidate: the candidate has received more than it has executed when the writer dies. It is opened once it
// has executed everything, and slaves follow it from the place on at which it took over.
func TestLateCandidate(t *testing.T) {
	for name, position := range map[string]bool{"gtid": false, "position": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, alone(position))
			l := b.load()
			release, err := b.Node("db2").Server.Hold(b.ctx)
			b.must(err)
			before, _ := l.Acked()
			b.must(lab.Wait(b.ctx, "writes that db2 has not executed",
				func() (bool, string) { n, _ := l.Acked(); return n > before+200, "" }))
			b.must(l.Between(func() error { b.received("db2", "db3"); return b.Node("db1").Server.Kill() }))
			b.must(lab.Wait(b.ctx, "show to say what db2 waits for", func() (bool, string) {
				show, _, err := b.Control(b.ctx, "show")
				return err == nil &&
					strings.Contains(show, "# Warning: agent on host db2 reports: Catching up with 10.77.0.11: "), show
			}))
			b.must(release())
			b.must(l.WaitServer(b.ctx, 2))
			if b.rejoin("db1", l) {
				b.follows("db3", "db2")
				b.balance(l)
			}
		})
	}
}

// TestLateSlave: a slave that executes nothing does not delay a failover. It follows the new writer when it has caught
// up.
func TestLateSlave(t *testing.T) {
	for name, position := range map[string]bool{"gtid": false, "position": true} {
		t.Run(name, func(t *testing.T) {
			b := start(t, alone(position))
			l := b.load()
			release, err := b.Node("db3").Server.Hold(b.ctx)
			b.must(err)
			before, _ := l.Acked()
			b.must(lab.Wait(b.ctx, "writes that db3 has not executed",
				func() (bool, string) { n, _ := l.Acked(); return n > before+200, "" }))
			since := time.Now()
			b.must(l.Between(func() error { b.received("db2", "db3"); return b.Node("db1").Server.Kill() }))
			b.must(l.WaitServer(b.ctx, 2))
			if gap := l.Gap(since); gap > 5*time.Second {
				t.Errorf("write gap %v behind a slave that is late", gap)
			}
			b.must(release())
			if b.rejoin("db1", l) {
				b.follows("db3", "db2")
				b.balance(l)
			}
		})
	}
}

// byPosition runs a test on every kind of server, by file and position.
func byPosition(t *testing.T, test func(t *testing.T, o lab.Options)) {
	for _, kind := range servers.Tested() {
		t.Run(servers.Kind{Name: kind}.String(), func(t *testing.T) {
			o := alone(true)
			o.Server = kind
			test(t, o)
		})
	}
}

// TestSlaveAhead: a slave that replicates by position, and has executed more of the dead writer's log than the new
// writer, is set aside with the reason. So is the former writer when it is back. Both are part of the cluster again
// when they have been set up anew.
func TestSlaveAhead(t *testing.T) { byPosition(t, slaveAhead) }

func slaveAhead(t *testing.T, o lab.Options) {
	b := calm(t, o)
	db1, db2, db3 := b.Node("db1"), b.Node("db2"), b.Node("db3")
	b.must(db2.Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
	b.insert(20)
	b.has("db3", 20)
	b.must(db1.Server.Kill())
	l := b.relieved()
	b.aside("db3", "it has transactions that 'db2' lacks and must be set up anew")
	b.until("db3 to serve no reader any more", func(show string) bool {
		return strings.Contains(show,
			"  db3(10.77.0.13) slave/ONLINE. Roles: \n")
	})
	b.must(db1.Server.Start(b.ctx))
	b.aside("db1", "it has 20 transactions that nobody else has: ")
	b.aside("db3", "must be set up anew")
	b.has("db2", 0)
	b.must(b.Restore(b.ctx, db1, db2))
	b.until("db2 to wait for the place in the new log", func(show string) bool {
		return strings.Contains(show,
			"# Warning: agent on host db2 reports: Couldn't set replication as ONLINE needs it: host 'db1' has a new binary log, which ends at bin.0000")
	})
	if why, err := db2.Server.Broken(b.ctx); err != nil || why != "" {
		t.Errorf("db2 has tried to go on in the new log of db1: %s %v", why, err)
	}
	b.must(b.FollowAnew(b.ctx, db2, db1))
	b.must(b.SetUpAnew(b.ctx, db3, db2))
	b.must(b.WaitWhole(b.ctx))
	b.balance(l)
}

// aside waits until `show` says that a host is set aside, for this reason.
func (b *bench) aside(host, reason string) {
	b.Helper()
	b.must(lab.Wait(b.ctx, host+" to be set aside: "+reason, func() (bool, string) {
		show, _, err := b.Control(b.ctx, "show")
		if err != nil {
			return false, err.Error()
		}
		why, err := b.Aside(b.ctx, show, b.Node(host))
		return err == nil && strings.Contains(why, reason) && strings.Contains(show, why), why + "\n" + show
	}))
}

// TestSlaveBehind: a slave that replicates by position, and has received less of the dead writer's log than the new
// writer, waits until the former writer is back and it has received the rest of that log from it. `show` says that it
// waits.
func TestSlaveBehind(t *testing.T) { byPosition(t, slaveBehind) }

func slaveBehind(t *testing.T, o lab.Options) {
	b := calm(t, o)
	b.must(b.Node("db3").Server.Exec(b.ctx, "STOP SLAVE IO_THREAD"))
	b.insert(20)
	b.has("db2", 20)
	b.must(b.Node("db1").Server.Kill())
	l := b.relieved()
	b.must(b.Node("db3").Server.Exec(b.ctx, "START SLAVE"))
	b.must(lab.Wait(b.ctx, "show to say what db3 waits for", func() (bool, string) {
		show, _, err := b.Control(b.ctx, "show")
		return err == nil &&
			strings.Contains(show,
				"# Warning: agent on host db3 reports: Couldn't change active master to 'db2': execute what the new writer had executed of db1"), show
	}))
	b.must(b.Node("db1").Server.Start(b.ctx))
	b.must(b.WaitWhole(b.ctx))
	b.follows("db3", "db2")
	b.balance(l)
}

// TestSlaveAway: the server or the agent of a slave that replicates by position does not run during the failover, and
// is started again before or after the former writer is back. In the end the slave lacks no row.
func TestSlaveAway(t *testing.T) { byPosition(t, slaveAway) }

func slaveAway(t *testing.T, o lab.Options) {
	for _, c := range []struct {
		name       string
		away, back func(b *bench, n *lab.Node) error
		oldFirst   bool
	}{
		{"server", func(_ *bench, n *lab.Node) error { return n.Server.Kill() },
			func(b *bench, n *lab.Node) error { return n.Server.Start(b.ctx) }, false},
		{"agent", func(_ *bench, n *lab.Node) error { return n.Agent.Kill() },
			func(_ *bench, n *lab.Node) error { return n.Agent.Start() }, false},
		{"agent, former writer back before", func(_ *bench, n *lab.Node) error { return n.Agent.Kill() },
			func(_ *bench, n *lab.Node) error { return n.Agent.Start() }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := start(t, o)
			l := b.load()
			db1, db3 := b.Node("db1"), b.Node("db3")
			b.must(c.away(b, db3))
			before, _ := l.Acked()
			b.must(lab.Wait(b.ctx, "writes", func() (bool, string) { n, _ := l.Acked(); return n > before+100, "" }))
			b.kill(l, "db1", "db2")
			b.must(l.WaitServer(b.ctx, 2))
			if c.oldFirst {
				b.must(db1.Server.Start(b.ctx))
				b.logged(b.Node("db2").Agent, "Host 'db1' has been looked at: replicating from it again")
				b.must(c.back(b, db3))
			} else {
				b.must(c.back(b, db3))
				before, _ := l.Acked()
				b.must(lab.Wait(b.ctx, "more writes", func() (bool, string) {
					n, _ := l.Acked()
					return n > before+200,
						""
				}))
				b.must(db1.Server.Start(b.ctx))
			}
			b.must(b.WaitWhole(b.ctx))
			b.follows("db3", "db2")
			b.balance(l)
		})
	}
}
