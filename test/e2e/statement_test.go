package e2e

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestMoveBehindStatement: a statement that writes for long holds up a planned move and set_offline for as long as it
// is spared, no longer. Then it is killed and undone, the role moves, no host is killed, and at no time are both
// servers open.
func TestMoveBehindStatement(t *testing.T) {
	for name, c := range map[string]struct {
		o             lab.Options
		least, atMost time.Duration
	}{
		"spared for longer than the slack": {lab.Options{Lease: 20, Common: "blocking_type hard\nmax_kill_retries 7"}, 6500 * time.Millisecond, 10 * time.Second},
		"the lease ends before":            {lab.Options{Lease: 3, Common: "blocking_type hard"}, time.Second, 5 * time.Second},
		"not spared":                       {lab.Options{Lease: 10, Common: "blocking_type hard\nmax_kill_retries 0"}, 0, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t, 2*time.Minute, c.o)
			dir := filepath.Dir(b.Monitor.LogPath())
			killed := filepath.Join(dir, "killed")
			b.must(os.WriteFile(filepath.Join(dir, "kill_host"), []byte("#!/bin/sh\necho $1 >>"+killed+"\n"), 0o755))
			b.must(b.Node("db1").Server.Exec(b.ctx, "CREATE TABLE app.slow (id INT PRIMARY KEY AUTO_INCREMENT, v INT)", "INSERT INTO app.slow (v) VALUES (1)",
				"INSERT INTO app.slow (v) SELECT v FROM app.slow", "INSERT INTO app.slow (v) SELECT v FROM app.slow", "INSERT INTO app.slow (v) SELECT v FROM app.slow",
				"INSERT INTO app.slow (v) SELECT v FROM app.slow", "INSERT INTO app.slow (v) SELECT v FROM app.slow"))
			for _, m := range []struct{ from, to, order string }{{"db1", "db2", "move_role writer db2"}, {"db2", "db1", "set_offline db2"}} {
				b.moveBehind(m.from, m.to, m.order, c.least, c.atMost)
			}
			if who, err := os.ReadFile(killed); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("killed: %s(%v)", who, err)
			}
		})
	}
}

// moveBehind gives the order while a statement of 30 s runs on the host that it takes the role from.
func (b *bench) moveBehind(from, to, order string, least, atMost time.Duration) {
	b.Helper()
	old, next := b.Node(from).Server, b.Node(to).Server
	statement := make(chan error, 1)
	go func() { statement <- old.Exec(b.ctx, "UPDATE app.slow SET v=v+1+SLEEP(1)") }()
	b.must(lab.Wait(b.ctx, "the statement to run", func() (bool, string) {
		n, err := old.Value(b.ctx, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE='User sleep' AND TIME>=1")
		return err == nil && n == "1", n
	}))
	looking, stop := context.WithCancel(b.ctx)
	var looks sync.WaitGroup
	looks.Go(func() {
		for looking.Err() == nil {
			// The old one first: it does not open again in between.
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
