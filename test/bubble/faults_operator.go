package bubble

import (
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
)

// operatorFaults are commands, changes of the configuration, and long times that pass.
func operatorFaults() []kind {
	return []kind{
		{"command", Operators, 6, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			words := pick(d, "move_role writer "+h.name, "move_role writer "+h.name, "move_role --force writer "+h.name,
				"set_offline "+h.name, "set_online "+h.name,
				"set_ip "+writerIP.String()+" "+h.name, "set_passive", "set_manual", "set_active", "set_active")
			return "command " + words, func() { w.order(words) }, nil
		}},
		{"move", 0, 3, hard, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "move to " + h.name, func() { w.order("move_role writer " + h.name) }, nil
		}},
		{"move that fails", 0, 2, hard, func(w *World, d *dice) (string, func(), func()) {
			h, soon := w.any(d), d.between(0, 500*time.Millisecond)
			second := w.anyFault(d, soon)
			for second.kind == "move that fails" {
				second = w.anyFault(d, soon)
			}
			return "move to " + h.name + ", then " + second.what, func() {
				w.order("move_role writer " + h.name)
				w.later(soon, func() { w.note("FAULT", "%s", second.what); second.strike() })
			}, second.mend
		}},
		{"time passes", Old, 4, nobody, func(w *World, d *dice) (string, func(), func()) {
			h, by := w.any(d), d.between(time.Hour, 60*24*time.Hour)
			return by.String() + " pass on " + h.name + ", if nothing depends on it", func() { w.age(h, by) }, nil
		}},
		{"reconfigured", Reconfigured, 4, hard, func(w *World, d *dice) (string, func(), func()) {
			next := setup{lease: cluster.Lease(pick(d, 0, 1000, 2000, 6000, 30000)) * cluster.Lease(time.Millisecond),
				candidates: slices.Clone(w.brain.setup.candidates),
				period:     pick[time.Duration](d, 250, 500, 1000) * time.Millisecond}
			if d.one(2) {
				next.lease = w.lease()
				if gone := pick(d, "db1", "db2", "db3"); len(next.candidates) > 2 {
					next.candidates = slices.DeleteFunc(next.candidates, func(n string) bool { return n == gone })
				}
			}
			var whom []string
			for _, n := range append(w.names(), monitorName) {
				if !d.one(4) {
					whom = append(whom, n)
				}
			}
			apart := d.between(100*time.Millisecond, 3*time.Second)
			if d.one(4) {
				next = w.brain.setup
				next.secret = 1 + d.n(1000)
			}
			return "monitor and agents restarted with another configuration", func() {
				for i, n := range whom {
					w.later(time.Duration(i)*apart, func() { w.reconfigure(n, next) })
				}
			}, nil
		}},
	}
}

// age lets a long time pass on a host's clock. It does nothing where something depends on the host: where it is the
// writer or to be it, or has promised something that may not be over.
func (w *World) age(h *host, by time.Duration) {
	over := 2 * h.setup.lease.Over()
	if !h.on || h.frozen || h.kernel.has(writerIP) || h.server.open() || time.Since(h.since) < over ||
		time.Since(w.vows[h.name].at) < over || w.appointed == h.name {
		return
	}
	w.note(h.name, "%v pass", by)
	h.clock.base += by
	h.kernel.flush(netip.Addr{})
}

// agree gives all hosts the secret of the monitor, as agents with another one could not be asked. The agent of a host
// whose secret changes is killed.
func (w *World) agree() {
	for _, h := range w.hosts {
		if h.setup.secret != w.brain.setup.secret {
			h.killAgent()
			h.setup.secret = w.brain.setup.secret
		}
	}
}

// reconfigure restarts the monitor, or the agent of a host, with another configuration.
func (w *World) reconfigure(name string, next setup) {
	if w.healed {
		return
	}
	w.classic = w.classic || next.lease == 0
	w.note(name, "restarts with lease %v, candidates %v, check period %v, secret %d", time.Duration(next.lease),
		next.candidates, next.period, next.secret)
	if name == monitorName {
		w.brain.kill()
		w.brain.setup = next
		w.brain.start()
		return
	}
	h := w.host(name)
	h.killAgent()
	h.setup = next
	h.startAgent()
}
