package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/test/lab"
)

// burdens measures changes of the writer that something makes hard: a lock, an open transaction and busy clients, or a
// slave that is a minute behind and whose agent is stopped.
func (b *bench) burdens(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, m := range []struct {
		name, target string
		limit        float64
		burden       func(ctx context.Context, c *lab.Cluster) error
		change       func(ctx context.Context, c *lab.Cluster) error
	}{
		{"move_role past LOCK TABLES, transaction, 50 clients", "<= 600", 600, encumber, moveAway},
		{"move_role, db3 a minute behind, its agent stopped", "<= 300", 300, delaySlave, moveAway},
		{"kill -9, db3 a minute behind, its agent stopped", "<= 2000", 2000, delaySlave,
			func(_ context.Context, c *lab.Cluster) error { return c.DBs[0].Server.Kill() }},
	} {
		var gaps, shows []float64
		for range max(b.n/3, 1) {
			gap, show, err := b.burdened(ctx, m.burden, m.change)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", m.name, err)
			}
			gaps, shows = append(gaps, gap), append(shows, show)
		}
		figures = append(figures, figure{Name: m.name, Unit: "ms", Target: m.target, Values: gaps,
			judge: allAtMost(m.limit)},
			figure{Name: " mmm_control show meanwhile, the slowest", Unit: "ms", Target: "<= 100", Values: shows,
				judge: allAtMost(100)})
	}
	return figures, nil
}

// burdened puts a burden on a new cluster, changes its writer, and measures the write gap and the slowest
// `mmm_control show`, both in milliseconds.
func (b *bench) burdened(ctx context.Context, burden, change func(context.Context, *lab.Cluster) error) (gap,
	slowest float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, l, err := b.cluster(ctx, sample())
	if err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, l, 200); err != nil {
		return 0, 0, err
	}
	busy, release := context.WithCancel(ctx)
	defer release()
	if err := burden(busy, c); err != nil {
		return 0, 0, err
	}
	if err := pause(ctx, l, 400); err != nil {
		return 0, 0, err
	}
	watched, stop := context.WithCancel(ctx)
	defer stop()
	var watch errgroup.Group
	watch.Go(func() error {
		for watched.Err() == nil {
			began := time.Now()
			if out, status, err := c.Control(ctx, "show"); err != nil || status != 0 {
				return fmt.Errorf("show: %s %w", out, err)
			}
			slowest = max(slowest, ms(time.Since(began)))
		}
		return nil
	})
	since := time.Now()
	if err := change(ctx, c); err != nil {
		return 0, 0, err
	}
	if err := l.WaitServer(ctx, 2); err != nil {
		return 0, 0, err
	}
	stop()
	if err := watch.Wait(); err != nil {
		return 0, 0, err
	}
	l.Stop()
	release()
	if err := c.DBs[2].Agent.Signal(syscall.SIGCONT); err != nil {
		return 0, 0, err
	}
	return ms(l.Gap(since)), slowest, c.Close()
}

func moveAway(ctx context.Context, c *lab.Cluster) error {
	out, status, err := c.Control(ctx, "move_role", "writer", "db2")
	if err != nil || status != 0 {
		return fmt.Errorf("move_role: %s %w", out, err)
	}
	return nil
}

// encumber gives the writer's server an idle LOCK TABLES, a transaction that stays open, and clients that never rest.
func encumber(ctx context.Context, c *lab.Cluster) error {
	db1 := c.DBs[0].Server
	if err := db1.Lock(ctx); err != nil {
		return err
	}
	if err := db1.Busy(ctx, 50); err != nil {
		return err
	}
	return db1.OpenTransaction(ctx)
}

// delaySlave makes db3 execute everything a minute late, and stops its agent.
func delaySlave(ctx context.Context, c *lab.Cluster) error {
	if err := c.DBs[2].Server.Delay(ctx, time.Minute); err != nil {
		return err
	}
	return c.DBs[2].Agent.Signal(syscall.SIGSTOP)
}
