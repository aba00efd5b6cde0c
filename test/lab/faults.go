package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

// Drop makes this host deaf to others: what they send to it does not arrive, ARP included, while what it sends to them
// does. Without others this host hears everybody again (nft(8), netdev family).
func (h *Host) Drop(others ...*Host) error {
	rules := "table netdev lab\ndelete table netdev lab\n"
	if len(others) > 0 {
		rules += "table netdev lab {\n chain in {\n  type filter hook ingress device \"eth0\" priority 0;\n"
		for _, o := range others {
			mac, err := o.mac()
			if err != nil {
				return err
			}
			rules += fmt.Sprintf("  ether saddr %s drop\n", mac)
		}
		rules += " }\n}\n"
	}
	return h.nft(rules)
}

// Lose drops so many per cent of the packets that reach this host; 0 ends that.
func (h *Host) Lose(percent int) error {
	rules := "table netdev lab\ndelete table netdev lab\n"
	if percent > 0 {
		rules += fmt.Sprintf("table netdev lab {\n chain in {\n  type filter hook ingress device \"eth0\" priority 0;\n  numgen random mod 100 < %d drop\n }\n}\n", percent)
	}
	return h.nft(rules)
}

// Slow lets no more than so many bytes a second reach this host in packets of more than 500 bytes; it drops the rest,
// and no small packets. Lose(0) ends that.
func (h *Host) Slow(bytes int) error {
	return h.nft(fmt.Sprintf("table netdev lab\ndelete table netdev lab\ntable netdev lab {\n chain in {\n  type filter hook ingress device \"eth0\" priority 0;\n"+
		"  ip length > 500 limit rate over %d bytes/second burst 200000 bytes drop\n }\n}\n", bytes))
}

func (h *Host) nft(rules string) error {
	cmd := exec.Command("nft", "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	return h.Do(func() error {
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft on %s: %w: %s", h.Name, err, out)
		}
		return nil
	})
}

func (h *Host) mac() (mac net.HardwareAddr, err error) {
	nl, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return nil, err
	}
	defer nl.Close()
	l, err := nl.LinkByName("eth0")
	if err != nil {
		return nil, err
	}
	return l.Attrs().HardwareAddr, nil
}

// CutLine cuts the line between two hosts, both ways, or mends it.
func CutLine(a, b *Host, cut bool) error {
	if !cut {
		return errors.Join(a.Drop(), b.Drop())
	}
	return errors.Join(a.Drop(b), b.Drop(a))
}

// Pause stops agent and server of a database host, or lets them go on.
func (n *Node) Pause(on bool) error {
	s := syscall.SIGCONT
	if on {
		s = syscall.SIGSTOP
	}
	return errors.Join(n.Agent.Signal(s), n.Server.proc.Signal(s))
}

// Fault is something that goes wrong with the writer (db1), its peer (db2) or the monitor, and how it is mended.
type Fault struct {
	Name   string
	Strike func(c *Cluster) error
	Mend   func(c *Cluster) error // nil: the writer's server is started

	Hits      string        // what it takes away: "network", "monitor", and "agent", "server" of the first host
	Writer    bool          // it hits the writer's host: another one has to take over
	Monitor   bool          // it hits the monitor
	Takes     time.Duration // how long Strike takes
	Slow      time.Duration // how long its detection takes, beyond a period of the checks
	Unguarded bool          // until it is mended nobody on the writer's host can close the server for writes
}

// Faults are the rows of the matrix.
func Faults() []Fault {
	w := func(c *Cluster) *Node { return c.DBs[0] }
	signal := func(s syscall.Signal, of func(c *Cluster) *Daemon) func(c *Cluster) error {
		return func(c *Cluster) error { return of(c).Signal(s) }
	}
	writersAgent := func(c *Cluster) *Daemon { return w(c).Agent }
	monitor := func(c *Cluster) *Daemon { return c.Monitor }
	return []Fault{
		{Name: "line monitor-writer cut", Hits: "network",
			Strike: func(c *Cluster) error { return CutLine(c.Mon, w(c).Host, true) },
			Mend:   func(c *Cluster) error { return CutLine(c.Mon, w(c).Host, false) }},
		{Name: "writer cut from all", Hits: "network", Writer: true,
			Strike: func(c *Cluster) error { return w(c).Cut(true) },
			Mend:   func(c *Cluster) error { return w(c).Cut(false) }},
		{Name: "writer deaf to monitor", Hits: "network",
			Strike: func(c *Cluster) error { return w(c).Drop(c.Mon) },
			Mend:   func(c *Cluster) error { return w(c).Drop() }},
		{Name: "monitor deaf to writer", Hits: "network",
			Strike: func(c *Cluster) error { return c.Mon.Drop(w(c).Host) },
			Mend:   func(c *Cluster) error { return c.Mon.Drop() }},
		{Name: "writer deaf to all", Hits: "network", Writer: true,
			Strike: func(c *Cluster) error { return w(c).Drop(c.Mon, c.DBs[1].Host, c.DBs[2].Host, c.Client) },
			Mend:   func(c *Cluster) error { return w(c).Drop() }},
		{Name: "line writer-peer cut", Hits: "network",
			Strike: func(c *Cluster) error { return CutLine(c.DBs[1].Host, w(c).Host, true) },
			Mend:   func(c *Cluster) error { return CutLine(c.DBs[1].Host, w(c).Host, false) }},
		{Name: "agent killed", Hits: "agent", Writer: true, Unguarded: true,
			Strike: signal(syscall.SIGKILL, writersAgent),
			Mend:   func(c *Cluster) error { return w(c).Agent.Start() }},
		{Name: "agent stopped", Hits: "agent", Writer: true, Unguarded: true,
			Strike: signal(syscall.SIGSTOP, writersAgent), Mend: signal(syscall.SIGCONT, writersAgent)},
		{Name: "mysqld killed", Hits: "server", Writer: true,
			Strike: func(c *Cluster) error { return w(c).Server.Kill() }},
		{Name: "mysqld, then agent killed", Hits: "agent server", Writer: true, Takes: 2 * time.Second,
			Strike: func(c *Cluster) error { // the agent is killed while it may still be giving the role up
				if err := w(c).Server.Kill(); err != nil {
					return err
				}
				time.Sleep(2 * time.Second) // as Takes says: part of the fault, and no synchronisation
				return w(c).Agent.Kill()
			},
			Mend: func(c *Cluster) error {
				return errors.Join(w(c).Server.Start(context.Background()), w(c).Agent.Start())
			}},
		// Slow: the checks' timeout of 2 s, and a trap_period of 1 s
		{Name: "mysqld stopped", Hits: "server", Writer: true, Slow: 3 * time.Second,
			Strike: func(c *Cluster) error { return w(c).Server.proc.Signal(syscall.SIGSTOP) },
			Mend:   func(c *Cluster) error { return w(c).Server.proc.Signal(syscall.SIGCONT) }},
		{Name: "monitor killed", Hits: "monitor", Monitor: true,
			Strike: signal(syscall.SIGKILL, monitor),
			Mend:   func(c *Cluster) error { return c.Monitor.Start() }},
		{Name: "monitor stopped", Hits: "monitor", Monitor: true,
			Strike: signal(syscall.SIGSTOP, monitor), Mend: signal(syscall.SIGCONT, monitor)},
		{Name: "monitor and agent killed", Hits: "monitor agent", Writer: true, Monitor: true, Unguarded: true,
			Strike: func(c *Cluster) error { return errors.Join(c.Monitor.Kill(), w(c).Agent.Kill()) },
			Mend:   func(c *Cluster) error { return errors.Join(c.Monitor.Start(), w(c).Agent.Start()) }},
		{Name: "host paused", Hits: "agent server", Writer: true, Unguarded: true,
			Strike: func(c *Cluster) error { return w(c).Pause(true) },
			Mend:   func(c *Cluster) error { return w(c).Pause(false) }},
	}
}
