package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// Disturbance is a series of overlapping pairs of faults, and what became of the cluster.
type Disturbance struct {
	Pairs int
	*Soak // its Aside, Restarted, Hung and Wrong count here
}

// strike is one of the two faults of a pair: what, where, when, and for how long.
type strike struct {
	fault Fault
	view  *Cluster      // the cluster with the host first that is to be hit: faults strike the first host
	after time.Duration // since the pair began
	lasts time.Duration
}

func (s strike) String() string {
	return fmt.Sprintf("%s at %s after %.1f s for %.1f s;",
		s.fault.Name, s.view.DBs[0].Name, s.after.Seconds(), s.lasts.Seconds())
}

// Unheard is a fault in which no other database host hears the writer, and a second later the writer's server is
// killed. What it has committed in this second no other host has.
func Unheard() Fault {
	return Fault{Name: "unheard, then mysqld killed", Hits: "network server", Writer: true, Takes: time.Second,
		Strike: func(c *Cluster) error {
			for _, n := range c.DBs[1:] {
				if err := n.Drop(c.DBs[0].Host); err != nil {
					return err
				}
			}
			time.Sleep(time.Second) // as Takes says: part of the fault, and no synchronisation
			return c.DBs[0].Server.Kill()
		},
		Mend: func(c *Cluster) error {
			for _, n := range c.DBs[1:] {
				if err := n.Drop(); err != nil {
					return err
				}
			}
			return c.DBs[0].Server.Start(context.Background())
		}}
}

// TwoViews is a fault in which the writer and one of two clients are cut off from all others. This client goes on with
// this writer for as long as it takes writes, whoever is the writer for the other client.
func TwoViews() Fault {
	return Fault{Name: "the writer and a client cut from all others", Hits: "network", Writer: true,
		Strike: func(c *Cluster) error {
			writer, others := c.DBs[0].Host, []*Host{c.DBs[1].Host, c.DBs[2].Host}
			errs := []error{writer.Drop(append(others, c.Mon, c.Client)...), c.Second.Drop(others...)}
			for _, h := range append(others, c.Mon, c.Client) {
				errs = append(errs, h.Drop(writer))
			}
			return errors.Join(errs...)
		},
		Mend: func(c *Cluster) error {
			var errs []error
			for _, h := range []*Host{c.DBs[0].Host, c.DBs[1].Host, c.DBs[2].Host, c.Mon, c.Client, c.Second} {
				errs = append(errs, h.Drop())
			}
			return errors.Join(errs...)
		}}
}

// PowerCut is a fault in which the servers of the other hosts are killed, and a second later the writer's machine loses
// its power, and with it all writes that have not reached its disk. Nobody can take over: the same host is the writer
// when it is back. It needs Options.Disk.
func PowerCut() Fault {
	return Fault{Name: "power cut of a writer that is alone", Hits: "server", Writer: true,
		Strike: func(c *Cluster) error {
			// What was written before the fault is on the disk, also the system's tables.
			if err := errors.Join(c.DBs[0].Disk.sync(), c.DBs[1].Server.Kill(), c.DBs[2].Server.Kill()); err != nil {
				return err
			}
			time.Sleep(time.Second) // the writer goes on alone: part of the fault, and no synchronisation
			return c.DBs[0].losePower()
		},
		Mend: func(c *Cluster) error {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			return errors.Join(c.DBs[0].Server.Start(ctx), c.DBs[1].Server.Start(ctx), c.DBs[2].Server.Start(ctx))
		}}
}

// Disturb lets random pairs of the faults strike, for about the time lasts. After each pair the cluster must become
// whole. A host that was set aside is set up anew for that; before, aside is called with this host (old) and the
// writer. An error says that the cluster did not become whole, or that the lab failed.
func (c *Cluster) Disturb(ctx context.Context, faults []Fault, lasts time.Duration, dice *rand.Rand, trace io.Writer,
	aside func(ctx context.Context, old, writer *Node) error) (*Disturbance, error) {
	d := &Disturbance{Soak: &Soak{cluster: c, trace: trace, hanging: map[string]hanging{}, aside: aside,
		broken: c.watchBroken(ctx)}}
	defer d.broken.stop()
	for began := time.Now(); time.Since(began) < lasts; d.Pairs++ {
		if err := d.pair(ctx, faults, dice); err != nil {
			return d, err
		}
	}
	return d, nil
}

// pair lets two faults strike, and waits until the cluster is whole and the writer's commits are acknowledged again.
func (d *Disturbance) pair(ctx context.Context, faults []Fault, dice *rand.Rand) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	w, err := d.cluster.theWriter(ctx)
	if err != nil {
		return err
	}
	pair := choose(faults, d.cluster, w, dice)
	what := strings.Trim(fmt.Sprint(pair), "[]")
	d.tell("%s", what)
	group, together := errgroup.WithContext(ctx)
	for _, s := range pair {
		group.Go(func() error { return s.run(together) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := d.settle(ctx); err != nil {
		return fmt.Errorf("after %s: %w", what, err)
	}
	if d.cluster.Async {
		return nil
	}
	if w, err = d.cluster.theWriter(ctx); err != nil {
		return err
	}
	return d.semiSync(ctx, w)
}

// choose picks two faults at random that don't take away the same thing. The second one strikes while the first one
// lasts. Most of them strike the writer's host. Where there is only one fault to choose from, it strikes the writer
// alone.
func choose(faults []Fault, c *Cluster, writer *Node, dice *rand.Rand) []strike {
	one := func() strike {
		order := slices.Clone(c.DBs)
		dice.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		if dice.IntN(10) < 6 || len(faults) == 1 {
			i := slices.Index(order, writer)
			order[0], order[i] = order[i], order[0]
		}
		view := *c
		view.DBs = order
		lasts := time.Second + time.Duration(dice.Int64N(int64(9*time.Second)))
		return strike{fault: faults[dice.IntN(len(faults))], view: &view, lasts: lasts}
	}
	first := one()
	if len(faults) == 1 {
		return []strike{first}
	}
	for {
		second := one()
		if first.apart(second) {
			second.after = first.fault.Takes + time.Duration(dice.Int64N(int64(first.lasts)))
			return []strike{first, second}
		}
	}
}

// apart says whether two strikes take away different things. The network and the monitor are there once for all hosts.
func (s strike) apart(o strike) bool {
	for hit := range strings.FieldsSeq(s.fault.Hits) {
		everywhere := hit == "network" || hit == "monitor"
		if strings.Contains(o.fault.Hits, hit) && (everywhere || s.view.DBs[0] == o.view.DBs[0]) {
			return false
		}
	}
	return true
}

// run waits for the time of the strike, lets the fault strike, and mends it.
func (s strike) run(ctx context.Context) error {
	if err := sleep(ctx, s.after); err != nil {
		return err
	}
	if err := s.fault.Strike(s.view); err != nil {
		return fmt.Errorf("strike: %w", err)
	}
	if err := sleep(ctx, s.lasts); err != nil {
		return err
	}
	if s.fault.Mend == nil {
		return s.view.DBs[0].Server.Start(ctx)
	}
	return s.fault.Mend(s.view)
}

// WaitLists waits until all servers have the same lists, and returns them.
func (c *Cluster) WaitLists(ctx context.Context) (all map[int64]string, err error) {
	err = Wait(ctx, "the servers to have the same lists", func() (bool, string) {
		for i, n := range c.DBs {
			have, err := n.Server.Lists(ctx)
			switch {
			case err != nil:
				return false, err.Error()
			case i == 0:
				all = have
			}
			if !maps.Equal(all, have) {
				return false, difference(c.DBs[0].Name, all, n.Name, have)
			}
		}
		return true, ""
	})
	return all, err
}

// difference tells one list in which two servers differ.
func difference(a string, has map[int64]string, b string, have map[int64]string) string {
	for _, m := range []map[int64]string{has, have} {
		for id := range m {
			if has[id] != have[id] {
				return fmt.Sprintf("list %d: %s has %q, %s has %q", id, a, has[id], b, have[id])
			}
		}
	}
	return ""
}
