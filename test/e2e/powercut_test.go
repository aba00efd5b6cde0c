package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestPowerCut (S13): everything dies at once and comes back in another order, and nobody sets hosts online: the host that was the
// writer last, and so has all that was acknowledged, becomes it again by itself.
func TestPowerCut(t *testing.T) {
	o := leased()
	o.AutoSetOnline = 3600
	b := prepare(t, 90*time.Second, o)
	for _, n := range b.DBs {
		b.must(n.Agent.Start())
	}
	b.must(b.Monitor.Start())
	for _, n := range b.DBs {
		b.until(n.Name+" to wait for recovery", func(show string) bool {
			return strings.Contains(show, n.Name+"("+n.IP.String()+") "+mode(n.Name)+"/AWAITING_RECOVERY")
		})
		if out, status := b.control("set_online " + n.Name); status != 0 {
			t.Fatal(out)
		}
	}
	b.must(b.WaitWhole(b.ctx))
	if out, status := b.control("move_role writer db2"); status != 0 { // not the first host of the list
		t.Fatal(out)
	}
	l := b.load()
	b.must(l.WaitServer(b.ctx, 2))
	written, _ := l.Acked()
	b.must(lab.Wait(b.ctx, "some writes", func() (bool, string) { n, _ := l.Acked(); return n > written+50, "" }))

	b.must(l.Between(func() error {
		for _, n := range b.DBs {
			b.must(n.Server.Kill())
			b.must(n.Agent.Kill())
		}
		return b.Monitor.Kill()
	}))
	b.must(lab.Wait(b.ctx, "the addresses to go, as they do in a reboot", func() (bool, string) {
		return !slices.ContainsFunc(b.DBs, func(n *lab.Node) bool {
			have, err := n.Addresses()
			return err != nil || len(have) > 0
		}), ""
	}))
	for _, name := range []string{"db3", "db1"} {
		b.must(b.Node(name).Server.Start(b.ctx))
		b.must(b.Node(name).Agent.Start())
	}
	b.must(b.Monitor.Start())
	b.until("the others to be back", func(show string) bool {
		return strings.Contains(show, "db1(10.77.0.11) master/AWAITING_RECOVERY") && strings.Contains(show, "db2(10.77.0.12) master/HARD_OFFLINE")
	})
	if w := b.writer(); w != "" {
		t.Errorf("%s is the writer before the last one is back", w)
	}
	b.must(b.Node("db2").Server.Start(b.ctx))
	b.must(b.Node("db2").Agent.Start())
	b.until("db2 to be the writer again", func(show string) bool {
		w := b.Writer(show)
		return w != nil && w.Name == "db2"
	})
	b.must(lab.Wait(b.ctx, "writes to go on", func() (bool, string) { n, server := l.Acked(); return server == 2 && n > written+100, "" }))
	b.logged(b.Monitor, "because it was the last writer and nobody else is the writer")
	l.Stop()
	lost, err := l.Lost(b.ctx, b.Node("db2").Server)
	if err != nil || len(lost) > 0 {
		t.Errorf("acknowledged and lost: %v (%v)", lost, err)
	}
}

func mode(host string) string {
	if host == "db3" {
		return "slave"
	}
	return "master"
}
