package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestMoveBehindStatement: a planned move, and set_offline, wait for a statement that writes for long: for as long as
// max_kill_retries, or the lease, allows. Then the statement is killed and rolled back, and the role moves. No host is
// killed (kill_host), and the two servers are never open at once.
func TestMoveBehindStatement(t *testing.T) {
	for name, c := range map[string]struct {
		o             lab.Options
		least, atMost time.Duration
	}{
		"spared for longer than the slack": {lab.Options{Lease: 20, Common: "blocking_type hard\nmax_kill_retries 7"},
			6500 * time.Millisecond, 10 * time.Second},
		"the lease ends before": {lab.Options{Lease: 3, Common: "blocking_type hard"}, time.Second,
			5 * time.Second},
		"not spared": {lab.Options{Lease: 10, Common: "blocking_type hard\nmax_kill_retries 0"},
			0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, c.o)
			dir := filepath.Dir(b.Monitor.LogPath())
			killed := filepath.Join(dir, "killed")
			b.must(os.WriteFile(filepath.Join(dir, "kill_host"), []byte("#!/bin/sh\necho $1 >>"+killed+"\n"), 0o755))
			b.slow()
			for _, m := range []struct{ from, to, order string }{{"db1", "db2", "move_role writer db2"},
				{"db2", "db1", "set_offline db2"}} {
				b.moveBehind(m.from, m.to, m.order, c.least, c.atMost)
			}
			if who, err := os.ReadFile(killed); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("killed: %s(%v)", who, err)
			}
		})
	}
}

// TestSoftMove: with blocking_type soft a planned move keeps new clients from the former writer, and not the monitor,
// to which the host does not seem dead. Where its agent is killed meanwhile, the next agent removes the rules that were
// left in the firewall, also those of an admin's iptables_block_cmd, and clients are let in again.
func TestSoftMove(t *testing.T) {
	for name, c := range map[string]struct{ commands, left string }{
		"own rule": {"", "iptables -I INPUT -p tcp --dport 3306 --syn -j REJECT"},
		"an admin's command": {"\niptables_block_cmd iptables -I INPUT -p tcp --dport 3306 --syn -j REJECT --reject-with tcp-reset" +
			"\niptables_unblock_cmd iptables -D INPUT -p tcp --dport 3306 --syn -j REJECT --reject-with tcp-reset",
			"true"},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, lab.Options{Lease: 4, TrapPeriod: 250 * time.Millisecond,
				Common: "blocking_type soft\nmax_kill_retries 2" + c.commands})
			b.slow()
			kept := b.admits("db1", false)
			b.moveBehind("db1", "db2", "move_role writer db2", 1500*time.Millisecond, 4*time.Second)
			if !kept() {
				t.Error("new clients of the former writer were not kept away")
			}
			b.state("db1", "ONLINE")
			if log := b.Monitor.Log(); strings.Contains(log, "HARD_OFFLINE") {
				t.Errorf("a planned move became a failover:\n%s", log)
			} else if refused := strings.Contains(log, "connection refused"); refused != (c.commands != "") {
				t.Errorf("the monitor was refused: %v:\n%s", refused, log)
			}

			old := b.Node("db2")
			go func() { _ = old.Server.Exec(b.ctx, "UPDATE app.slow SET v=v+1+SLEEP(1)") }() // it is killed
			b.runs(old)
			moving := make(chan string, 1)
			kept = b.admits("db2", false)
			go func() {
				out, _, err := b.Control(b.ctx, "move_role", "writer", "db1")
				moving <- fmt.Sprint(out, err)
			}()
			b.must(lab.Wait(b.ctx, "new clients to be kept away", func() (bool, string) { return kept(), "let in" }))
			b.must(old.Agent.Kill())
			_, err := old.Run(b.ctx, "sh", "-c", c.left)
			b.must(err)
			b.must(old.Agent.Start())
			let := b.admits("db2", true)
			b.must(lab.Wait(b.ctx, "clients to be let in again", func() (bool, string) { return let(), "kept away" }))
			b.Log(<-moving)
			b.until("a writer", func(show string) bool { return b.Writer(show) != nil })
			if out, err := old.Run(b.ctx, "sh", "-c", "nft list ruleset"); err != nil ||
				strings.Contains(out, "mmm_newcomers") || strings.Contains(out, "dport 3306") {
				t.Errorf("the agent that was killed has left %s (%v)", out, err)
			}
		})
	}
}

// TestMoveSaysWhatIsInTheWay: a planned move waits for max_kill_retries for a statement that the agent can't end. Then
// the role stays, and move_role shows the statement without its values. The statement ends without an error.
func TestMoveSaysWhatIsInTheWay(t *testing.T) {
	b := start(t, lab.Options{Server: "mysql-9.7", Lease: 6, Common: "max_kill_retries 1"})
	b.slow()
	db1 := b.Node("db1")
	b.must(db1.Server.Exec(b.ctx, "SET sql_log_bin=0", "REVOKE CONNECTION_ADMIN ON *.* FROM mmm_agent@'10.77.0.%'",
		"SET sql_log_bin=1"))
	statement := make(chan error, 1)
	go func() {
		statement <- db1.Server.Exec(b.ctx, "UPDATE app.slow SET v=IF('SECRET'='', 0, v+1+SLEEP(0.25))")
	}()
	b.must(lab.Wait(b.ctx, "the statement to run", func() (bool, string) {
		n,
			err := db1.Server.Value(b.ctx,
			"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep' AND TIME>=1")
		return err == nil && n == "1", n
	}))
	out, status := b.control("move_role writer db2")
	b.Log(out)
	if !strings.Contains(out, "It is on 'db1'") || !strings.Contains(out,
		" s: User sleep) UPDATE app.slow SET v=IF(?=?, ?, v+?+SLEEP(?.?))") || status == 0 {
		t.Errorf("move_role: %d: %s", status, out)
	}
	for what, text := range map[string]string{"the answer": out, "the monitor's log": b.Monitor.Log(),
		"the agent's log": db1.Agent.Log()} {
		if strings.Contains(text, "SECRET") {
			t.Errorf("%s has a value of the statement:\n%s", what, text)
		}
	}
	b.must(<-statement)
	if w := b.writer(); w != "db1" || strings.Contains(b.Monitor.Log(), "OFFLINE") {
		t.Errorf("the writer is %s:\n%s", w, b.Monitor.Log())
	}
}

// admits tries again and again to connect as a client to a host's own address. The function that it returns says
// whether one of the attempts has succeeded (want true), or failed (want false).
func (b *bench) admits(host string, want bool) func() bool {
	var seen atomic.Bool
	ctx, stop := context.WithCancel(b.ctx)
	var tries sync.WaitGroup
	tries.Go(func() {
		for ctx.Err() == nil && !seen.Load() {
			_, err := b.Client.Run(ctx, "bash", "-c", "exec 3<>/dev/tcp/"+b.Node(host).IP.String()+"/3306")
			if ctx.Err() == nil && (err == nil) == want {
				seen.Store(true)
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	b.Cleanup(func() { stop(); tries.Wait() })
	return seen.Load
}

// slow makes table app.slow, of 32 rows: an update that sleeps for a second at each row takes half a minute.
func (b *bench) slow() {
	b.Helper()
	b.must(b.Node("db1").Server.Exec(b.ctx, "CREATE TABLE app.slow (id INT PRIMARY KEY AUTO_INCREMENT, v INT)",
		"INSERT INTO app.slow (v) VALUES (1)",
		"INSERT INTO app.slow (v) SELECT v FROM app.slow", "INSERT INTO app.slow (v) SELECT v FROM app.slow",
		"INSERT INTO app.slow (v) SELECT v FROM app.slow",
		"INSERT INTO app.slow (v) SELECT v FROM app.slow", "INSERT INTO app.slow (v) SELECT v FROM app.slow"))
}

// runs waits until such an update runs on a host.
func (b *bench) runs(n *lab.Node) {
	b.Helper()
	b.must(lab.Wait(b.ctx, "the statement to run", func() (bool, string) {
		n,
			err := n.Server.Value(b.ctx,
			"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep' AND TIME>=1")
		return err == nil && n == "1", n
	}))
}

// moveBehind gives the monitor a command (order) that moves the role from one host to another, while an update of half
// a minute runs on the old one. The move must take from least to atMost, and undo the update.
func (b *bench) moveBehind(from, to, order string, least, atMost time.Duration) {
	b.Helper()
	old, next := b.Node(from).Server, b.Node(to).Server
	statement := make(chan error, 1)
	go func() { statement <- old.Exec(b.ctx, "UPDATE app.slow SET v=v+1+SLEEP(1)") }()
	b.runs(b.Node(from))
	looking, stop := context.WithCancel(b.ctx)
	var looks sync.WaitGroup
	looks.Go(func() {
		for looking.Err() == nil {
			// The old server is asked first, and once more in the end: it does not open again in between.
			if was, err := old.Value(looking, "SELECT @@read_only"); err != nil || was != "0" {
				continue
			}
			if now, err := next.Value(looking, "SELECT @@read_only"); err == nil && now == "0" {
				if still, err := old.Value(looking, "SELECT @@read_only"); err == nil && still == "0" {
					b.Errorf("%s: both servers are open", order)
					return
				}
			}
			time.Sleep(20 * time.Millisecond)
		}
	})
	began := time.Now()
	if out, status := b.control(order); status != 0 {
		b.Fatal(out)
	}
	b.until("the writer to be on "+to, func(show string) bool { w := b.Writer(show); return w != nil && w.Name == to })
	if took := time.Since(began); took < least || took > atMost {
		b.Errorf("%s took %v, want %v to %v", order, took, least, atMost)
	}
	stop()
	looks.Wait()
	if err := <-statement; err == nil {
		b.Errorf("%s: the statement was acknowledged", order)
	}
	for _, s := range []*lab.Node{b.Node(from), b.Node(to)} {
		if sum, err := s.Server.Value(b.ctx, "SELECT SUM(v) FROM app.slow"); err != nil || sum != "32" {
			b.Errorf("%s: the sum of 32 ones is %s on %s (%v)", order, sum, s.Name, err)
		}
	}
	if strings.Contains(b.Monitor.Log(), "killing it!") {
		b.Errorf("%s: a host was to be killed:\n%s", order, b.Monitor.Log())
	}
}
