package e2e

import (
	"context"
	"os"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

func TestSmoke(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	c, err := lab.New(ctx, lab.Options{Bin: os.Getenv("MMM_BIN"), AutoSetOnline: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		t.Log(c.Monitor.Log())
		for _, n := range c.DBs {
			t.Log(n.Name, n.Agent.Log())
		}
	})
	if err := c.StartAll(ctx); err != nil {
		t.Fatal(err)
	}
	l, err := c.StartLoad(ctx, 200)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.WaitServer(ctx, 1); err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"db2", "db1", "db2"} {
		since := time.Now()
		out, status, err := c.Control(ctx, "move_role", "writer", to)
		t.Log(out, status, err, time.Since(since))
		if err := l.WaitServer(ctx, int(to[2]-'0')); err != nil {
			t.Fatal(err)
		}
		t.Log("gap", l.Gap(since))
		time.Sleep(2 * time.Second)
	}
	since := time.Now()
	c.DBs[1].Server.Kill()
	go func() {
		has := map[string]bool{}
		for ctx.Err() == nil {
			for _, n := range c.DBs[:2] {
				ips, _ := n.Addresses()
				h := false
				for _, ip := range ips {
					h = h || ip.String() == lab.WriterIP
				}
				if h != has[n.Name] {
					has[n.Name] = h
					println(n.Name, h, time.Since(since).Milliseconds())
				}
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if err := l.WaitServer(ctx, 1); err != nil {
		t.Fatal(err)
	}
	t.Log("kill gap", l.Gap(since))
	time.Sleep(2 * time.Second)
	if err := c.DBs[1].Server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitWhole(ctx); err != nil {
		t.Fatal(err)
	}
	l.Stop()
	n, _ := l.Acked()
	t.Log("acked", n)
	if err := c.WaitLevel(ctx, c.DBs...); err != nil {
		t.Fatal(err)
	}
	lost, err := l.Lost(ctx, c.DBs[0].Server)
	t.Log("lost", lost, err)
}
