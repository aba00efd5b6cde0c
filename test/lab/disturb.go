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
	*Soak // hosts that were set aside, and what must not be
}

// strike is one of the faults that overlap.
type strike struct {
	fault Fault
	view  *Cluster      // as the fault sees it: the host that it hits comes first
	after time.Duration // since the pair began
	lasts time.Duration
}

func (s strike) String() string {
	return fmt.Sprintf("%s at %s after %.1f s for %.1f s;",
		s.fault.Name, s.view.DBs[0].Name, s.after.Seconds(), s.lasts.Seconds())
}

// Unheard is a writer that nobody hears, and whose server is killed a second later: what it has committed meanwhile is
// nowhere else.
func Unheard() Fault {
	return Fault{Name: "unheard, then mysqld killed", Hits: "network server", Writer: true, Takes: time.Second,
		Strike: func(c *Cluster) error {
			for _, n := range c.DBs[1:] {
				if err := n.Drop(c.DBs[0].Host); err != nil {
					return err
				}
			}
			time.Sleep(time.Second) // it Takes so long: part of the fault, and no synchronisation
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

// TwoViews is a writer on the other side of a cut, with one of two clients: that one hears nothing from the other
// hosts, and goes on with this writer for as long as it is one.
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

// PowerCut is a writer whose peers are away, and whose machine loses its power and with it all that its disk has not
// been made to keep. Nobody can take over; it comes back as the writer that it was.
func PowerCut() Fault {
	return Fault{Name: "power cut of a writer that is alone", Hits: "server", Writer: true,
		Strike: func(c *Cluster) error {
			// What was made before is on the disk, the tables of the system too.
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

// Disturb lets random pairs of the faults strike for some time. Between two pairs the cluster becomes whole, where need
// be with a host set up anew that was set aside; before that, aside is called with it and the writer. An error says
// that the cluster did not become whole, or that the lab failed.
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

// pair lets two faults strike, and sees to it that all is well afterwards.
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

// choose is a pair of faults that one can tell apart: they don't take away the same, and the second one strikes while
// the first one lasts. Most strike the writer's host. Of a single fault there is no pair: it strikes the writer.
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

func (s strike) apart(o strike) bool {
	for hit := range strings.FieldsSeq(s.fault.Hits) {
		everywhere := hit == "network" || hit == "monitor"
		if strings.Contains(o.fault.Hits, hit) && (everywhere || s.view.DBs[0] == o.view.DBs[0]) {
			return false
		}
	}
	return true
}

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

// difference is one list that two servers have otherwise.
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
