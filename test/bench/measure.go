package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"mysql-mmm/test/lab"
)

// bench runs the measurements, each on a cluster of its own.
type bench struct {
	bin string
	n   int
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// cluster starts a cluster, and a client that writes 200 rows a second to it.
func (b *bench) cluster(ctx context.Context, o lab.Options) (*lab.Cluster, *lab.Load, error) {
	o.Bin, o.AutoSetOnline, o.Mon = b.bin, 1, " flap_count 0\n"+o.Mon // the same hosts die again and again here
	c, err := lab.New(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	if err := c.StartAll(ctx); err != nil {
		return nil, nil, err
	}
	l, err := c.StartLoad(ctx, 200)
	if err != nil {
		return nil, nil, err
	}
	return c, l, l.WaitServer(ctx, 1)
}

// kill measures the write gaps of kill -9 of the writer's server, n times, on db1 and db2 in turn. It stops before that
// where a server comes back with a transaction that no other has: its host would have to be set up anew.
func (b *bench) kill(ctx context.Context, c *lab.Cluster, l *lab.Load, n int) ([]float64, error) {
	var gaps []float64
	for i := range n {
		from, to := c.DBs[i%2], (i+1)%2+1
		if err := pause(ctx, l, 200); err != nil {
			return nil, err
		}
		since := time.Now()
		if err := from.Server.Kill(); err != nil {
			return nil, err
		}
		if err := l.WaitServer(ctx, to); err != nil {
			return nil, err
		}
		gaps = append(gaps, ms(l.Gap(since)))
		joined, err := c.Rejoin(ctx, from)
		if err != nil {
			return nil, err
		}
		if !joined {
			fmt.Fprintf(os.Stderr, "%s came back with a transaction that nobody else has: stopping after %d of %d\n",
				from.Name, len(gaps), n)
			return gaps, nil
		}
	}
	return gaps, nil
}

// pause waits for n more acknowledged rows.
func pause(ctx context.Context, l *lab.Load, n int) error {
	before, _ := l.Acked()
	return lab.Wait(ctx, "writes", func() (bool, string) {
		now, _ := l.Acked()
		return now >= before+n,
			fmt.Sprint(now - before)
	})
}

func (b *bench) fast(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var gaps []float64
	for len(gaps) < b.n {
		c, l, err := b.cluster(ctx, sample())
		if err != nil {
			return nil, err
		}
		some, err := b.kill(ctx, c, l, b.n-len(gaps))
		if err != nil {
			return nil, err
		}
		gaps = append(gaps, some...)
		l.Stop()
		if err := c.Close(); err != nil {
			return nil, err
		}
	}
	return []figure{{Name: "kill -9, sample configuration", Unit: "ms", Target: "median <= 800, max <= 2000",
		Values: gaps, judge: within(800, 2000)}}, nil
}

// sample has the lease and fast_failover of the samples in etc/mysql-mmm, and checks every 0.25 s with a trap_period of
// 1 s.
func sample() lab.Options { return lab.Options{TrapPeriod: time.Second, Lease: 3, FastFailover: true} }

// lost measures faults after which only the end of its lease proves that the writer is none any more: its host is cut
// off, or its agent and server are killed.
func (b *bench) lost(ctx context.Context) ([]figure, error) {
	var figures []figure
	for _, f := range []struct {
		name, target string
		limit        float64
		strike       func(c *lab.Cluster) error
	}{
		{"writer's host cut off, sample configuration", "<= 5500", 5500,
			func(c *lab.Cluster) error { return c.DBs[0].Cut(true) }},
		{"agent and server killed, sample configuration", "<= 6000", 6000, func(c *lab.Cluster) error {
			return errors.Join(c.DBs[0].Agent.Kill(), c.DBs[0].Server.Kill())
		}},
	} {
		var gaps []float64
		for range max(b.n/3, 1) {
			gap, err := b.once(ctx, f.strike)
			if err != nil {
				return nil, err
			}
			gaps = append(gaps, gap)
		}
		figures = append(figures, figure{Name: f.name, Unit: "ms", Target: f.target, Values: gaps,
			judge: allAtMost(f.limit)})
	}
	return figures, nil
}

// once strikes the writer of a new cluster, and measures the write gap in milliseconds.
func (b *bench) once(ctx context.Context, strike func(c *lab.Cluster) error) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, l, err := b.cluster(ctx, sample())
	if err != nil {
		return 0, err
	}
	if err := pause(ctx, l, 200); err != nil {
		return 0, err
	}
	since := time.Now()
	if err := strike(c); err != nil {
		return 0, err
	}
	if err := l.WaitServer(ctx, 2); err != nil {
		return 0, err
	}
	l.Stop()
	return ms(l.Gap(since)), c.Close()
}

func (b *bench) classic(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c, l, err := b.cluster(ctx, lab.Options{CheckPeriod: 5 * time.Second, TrapPeriod: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	gaps, err := b.kill(ctx, c, l, max(b.n/3, 1))
	if err != nil {
		return nil, err
	}
	figures := []figure{{Name: "kill -9, classic settings (5 s, 10 s)", Unit: "ms", Target: "all <= 11000",
		Values: gaps, judge: allAtMost(11000)}}
	l.Stop()
	if err := c.Close(); err != nil {
		return nil, err
	}
	c, l, err = b.cluster(ctx, lab.Options{CheckPeriod: 5 * time.Second, TrapPeriod: 10 * time.Second})
	if err != nil {
		return nil, err
	}
	since := time.Now()
	if err := c.DBs[0].Cut(true); err != nil {
		return nil, err
	}
	if err := l.WaitServer(ctx, 2); err != nil {
		return nil, err
	}
	l.Stop()
	figures = append(figures, figure{Name: "writer's host cut off, classic settings", Unit: "ms",
		Values: []float64{ms(l.Gap(since))}})
	return figures, c.Close()
}

func (b *bench) move(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	c, l, err := b.cluster(ctx, sample())
	if err != nil {
		return nil, err
	}
	var gaps, took []float64
	for i := range 2 * b.n {
		if err := pause(ctx, l, 100); err != nil {
			return nil, err
		}
		since := time.Now()
		out, status, err := c.Control(ctx, "move_role", "writer", c.DBs[(i+1)%2].Name)
		if err != nil || status != 0 {
			return nil, fmt.Errorf("move_role: %s %w", out, err)
		}
		took = append(took, ms(time.Since(since)))
		if err := l.WaitServer(ctx, (i+1)%2+1); err != nil {
			return nil, err
		}
		gaps = append(gaps, ms(l.Gap(since)))
	}
	l.Stop()
	if err := c.WaitLevel(ctx, c.DBs...); err != nil {
		return nil, err
	}
	lost := 0
	for _, n := range c.DBs {
		missing, err := l.Lost(ctx, n.Server)
		if err != nil {
			return nil, err
		}
		lost += len(missing)
	}
	return []figure{
		{Name: "move_role under 200 writes/s, write gap", Unit: "ms", Target: "median <= 100, max <= 300", Values: gaps,
			judge: within(100, 300)},
		{Name: "move_role, until mmm_control answers", Unit: "ms", Values: took},
		{Name: "move_role, acknowledged writes lost on any server", Unit: "rows", Target: "0",
			Values: []float64{float64(lost)}, judge: allAtMost(0)},
	}, c.Close()
}

// usage returns how much memory a daemon has resident (MB), and how much of one core it used over a while (per cent).
func usage(ctx context.Context, d *lab.Daemon, over time.Duration) (mb, percent float64, err error) {
	before, err := d.Usage()
	if err != nil {
		return 0, 0, err
	}
	select {
	case <-time.After(over):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	after, err := d.Usage()
	return float64(after.ResidentKB) / 1024, (after.CPU - before.CPU) / over.Seconds() * 100, err
}

func (b *bench) cost(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	// the periods and the lease of etc/mysql-mmm
	c, l, err := b.cluster(ctx, lab.Options{CheckPeriod: 5 * time.Second, TrapPeriod: 10 * time.Second, Lease: 3})
	if err != nil {
		return nil, err
	}
	l.Stop()
	mb, percent, err := usage(ctx, c.Monitor, 30*time.Second)
	if err != nil {
		return nil, err
	}
	agentMB, agentPercent, err := usage(ctx, c.DBs[0].Agent, 20*time.Second)
	if err != nil {
		return nil, err
	}
	return []figure{
		{Name: "monitor of 3 hosts, resident", Unit: "MB", Target: "<= 30", Values: []float64{mb},
			judge: allAtMost(30)},
		{Name: "monitor of 3 hosts, CPU", Unit: "%", Target: "<= 2", Values: []float64{percent}, judge: allAtMost(2)},
		{Name: "agent, resident", Unit: "MB", Target: "<= 20", Values: []float64{agentMB}, judge: allAtMost(20)},
		{Name: "agent, CPU", Unit: "%", Values: []float64{agentPercent}},
	}, c.Close()
}

func (b *bench) swarm(ctx context.Context) ([]figure, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Minute)
	defer cancel()
	s, err := lab.NewSwarm(ctx, b.bin, 200)
	if err != nil {
		return nil, err
	}
	err = lab.Wait(ctx, "the monitor to start", func() (bool, string) {
		_, err := s.Mon.Dial(ctx, "127.0.0.1:9988")
		return err == nil, fmt.Sprint(err)
	})
	if err != nil {
		return nil, err
	}
	select {
	case <-time.After(10 * time.Second): // let the first checks pass, which all come at once
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	before, err := s.Monitor.Usage()
	if err != nil {
		return nil, err
	}
	const over = time.Minute
	longest, _, err := s.Intervals(ctx, over)
	if err != nil {
		return nil, err
	}
	after, err := s.Monitor.Usage()
	if err != nil {
		return nil, err
	}
	return []figure{
		{Name: "202 hosts, longest time between two pings (period 5 s)", Unit: "ms", Target: "<= 5500",
			Values: []float64{ms(longest)}, judge: allAtMost(5500)},
		{Name: "monitor of 202 hosts, resident", Unit: "MB", Values: []float64{float64(after.ResidentKB) / 1024}},
		{Name: "monitor of 202 hosts, CPU", Unit: "%",
			Values: []float64{(after.CPU - before.CPU) / over.Seconds() * 100}},
	}, s.Close()
}
