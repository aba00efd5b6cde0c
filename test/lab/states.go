package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// State is how things are in a cluster when a fault strikes: a column of the matrix.
type State struct {
	Name string
	What string // in words

	Options func(o *Options)                            // changes the options of its cluster; nil: not at all
	Enter   func(ctx context.Context, c *Cluster) error // under load; nil: nothing to do
	Leave   func(ctx context.Context, c *Cluster) error // nil: nothing to do
	Fresh   bool                                        // a cluster that has failed over is not used for another cell
	Calm    bool                                        // `show` has no warning while the cluster is in it

	Alone bool // no other candidate is there: nobody can take over, and only the monitor vouches for the writer
	// Async: nobody acknowledges what the writer commits. What only the writer had when it died may be lost, and must
	// be named.
	Async       bool
	NoSuccessor bool // another candidate vouches for the writer, but no host can take over
	// CantConfirm: the disk of a host's agent hangs, so that the agent can't note that the host is to leave, and does not
	// say that it is no writer any more. The role moves only when the host's lease is over.
	CantConfirm bool
}

// States are the columns of the matrix.
func States() []State {
	writer, peer := func(c *Cluster) *Node { return c.DBs[0] }, func(c *Cluster) *Node { return c.DBs[1] }
	silent := func(ctx context.Context, c *Cluster) error {
		return errors.Join(c.filterPings(true), sleep(ctx, 2*c.TrapPeriod))
	}
	heard := func(_ context.Context, c *Cluster) error { return c.filterPings(false) }
	return []State{
		{Name: "all well", What: "nothing else is wrong", Calm: true},
		{Name: "peer off", What: "the machine of the other candidate is off", Alone: true,
			Enter: func(ctx context.Context, c *Cluster) error {
				n := peer(c)
				if err := errors.Join(n.Server.Kill(), n.Agent.Kill(), n.Cut(true)); err != nil {
					return err
				}
				return c.waitState(ctx, n, "HARD_OFFLINE")
			},
			Leave: func(ctx context.Context, c *Cluster) error {
				n := peer(c)
				return errors.Join(n.Cut(false), n.Server.Start(ctx), n.Agent.Start())
			}},
		{Name: "candidate not replicating", NoSuccessor: true, Async: true,
			Fresh: true, // for a minute after a failover replication that does not run is not held against a host
			What:  "the I/O thread of the other candidate is stopped, and it lacks rows",
			Enter: func(ctx context.Context, c *Cluster) error {
				if err := peer(c).Server.Exec(ctx, "STOP SLAVE IO_THREAD"); err != nil {
					return err
				}
				return c.waitState(ctx, peer(c), "REPLICATION_FAIL")
			},
			Leave: func(ctx context.Context, c *Cluster) error {
				show, _, err := c.Control(ctx, "show")
				if err != nil || c.Writer(show) == peer(c) {
					return err // it is the writer: what it replicates is its agent's business
				}
				return peer(c).Server.Exec(ctx, "START SLAVE IO_THREAD")
			}},
		{Name: "agent just restarted", What: "the writer's agent was killed and started again a second ago",
			Enter: func(ctx context.Context, c *Cluster) error { return restarted(ctx, writer(c).Agent) }},
		{Name: "monitor just restarted", What: "the monitor was killed and started again a second ago",
			Enter: func(ctx context.Context, c *Cluster) error { return restarted(ctx, c.Monitor) }},
		{Name: "pings filtered", What: "no database host answers pings",
			Options: func(o *Options) { o.Gateway = true },
			Enter:   silent, Leave: heard},
		{Name: "ping_ips silent", NoSuccessor: true, // a monitor whose network is down decides nothing
			What:  "nobody in ping_ips answers: the monitor believes that its network is down",
			Enter: silent, Leave: heard},
		{Name: "a day old", What: "the other candidate has promised once, and then a day has passed", Calm: true,
			Options: func(o *Options) { o.Clocks = true },
			Enter:   func(ctx context.Context, c *Cluster) error { return c.age(ctx, 25*time.Hour) }},
		{Name: "writer's disk hangs", What: "the writer's agent can't write its state", CantConfirm: true,
			Enter: func(_ context.Context, c *Cluster) error { return hangDisk(c.stateFiles(writer(c))...) },
			Leave: func(_ context.Context, c *Cluster) error { return freeDisk(c.stateFiles(writer(c))...) }},
		{Name: "peer's disk hangs", What: "the agent of the other candidate can't write its state", NoSuccessor: true,
			CantConfirm: true,
			Enter:       func(_ context.Context, c *Cluster) error { return hangDisk(c.stateFiles(peer(c))...) },
			Leave:       func(_ context.Context, c *Cluster) error { return freeDisk(c.stateFiles(peer(c))...) }},
		{Name: "monitor's disk hangs", What: "the monitor can't write its state", NoSuccessor: true,
			Enter: func(_ context.Context, c *Cluster) error { return hangDisk(c.statusFile()) },
			Leave: func(_ context.Context, c *Cluster) error { return freeDisk(c.statusFile()) }},
		{Name: "three candidates", What: "db3 may be the writer too", Calm: true,
			Options: func(o *Options) { o.Candidates = 3 }},
	}
}

// waitState waits until `show` says that a host is in a state.
func (c *Cluster) waitState(ctx context.Context, n *Node, state string) error {
	return Wait(ctx, n.Name+" to be "+state, func() (bool, string) {
		show, _, err := c.Control(ctx, "show")
		for line := range strings.Lines(show) {
			if strings.HasPrefix(line, "  "+n.Name+"(") && strings.Contains(line, "/"+state+".") {
				return true, ""
			}
		}
		return false, show + fmt.Sprint(err)
	})
}

// restarted kills a daemon, starts it again, and lets a second pass.
func restarted(ctx context.Context, d *Daemon) error {
	if err := errors.Join(d.Kill(), d.Start()); err != nil {
		return err
	}
	return sleep(ctx, time.Second)
}

// sleep waits for d, or until ctx ends. Such a pause is part of a state or of a fault, and no synchronisation.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// filterPings keeps all database hosts from answering pings, or ends that.
func (c *Cluster) filterPings(on bool) error {
	rules := "table ip lab_pings\ndelete table ip lab_pings\n"
	if on {
		rules += "table ip lab_pings {\n chain in {\n  type filter hook input priority 0;\n" +
			"  icmp type echo-request drop\n }\n}\n"
	}
	var errs []error
	for _, n := range c.DBs {
		errs = append(errs, n.nft(rules))
	}
	return errors.Join(errs...)
}

// age makes the other candidate promise, and then lets a day pass on its clock while its agent runs. For the promise
// the monitor is away for longer than a lease: that the writer still has its address afterwards proves that the
// candidate has promised. On the writer's clock the day passes before the promise. Otherwise its lease would run out at
// once, it would ask again, and the promise would be new.
func (c *Cluster) age(ctx context.Context, by time.Duration) error {
	c.DBs[0].Agent.clock.Forward(by)
	if err := errors.Join(sleep(ctx, time.Second), c.WaitWhole(ctx)); err != nil {
		return err
	}
	if err := errors.Join(c.Monitor.Kill(), sleep(ctx, time.Duration(c.lease())*time.Second*4/3)); err != nil {
		return err
	}
	have, err := c.DBs[0].Addresses()
	if err != nil {
		return err
	}
	if !slices.Contains(have, netip.MustParseAddr(WriterIP)) {
		return fmt.Errorf("promises did not keep the writer: %s has %v", c.DBs[0].Name, have)
	}
	if err := c.Monitor.Start(); err != nil {
		return err
	}
	if err := c.WaitWhole(ctx); err != nil {
		return err
	}
	if err := sleep(ctx, time.Second); err != nil { // so that no promise is given any more
		return err
	}
	for _, n := range c.DBs[1:] {
		n.Agent.clock.Forward(by)
	}
	return sleep(ctx, time.Second) // until the agents have got over the jump of their clocks
}
