package sim

import (
	"time"

	"mysql-mmm/pkg/cluster"
)

// faults makes up what goes wrong in this world, and when it is mended. In the end everything works again.
func (w *World) faults() {
	if w.rng.IntN(2) == 0 {
		w.loss = 0.3 * w.rng.Float64()
	}
	if w.rng.IntN(2) == 0 {
		w.tails = 0.1 * w.rng.Float64()
	}
	faults := 2 + w.rng.IntN(12)
	if w.seed/4%6 < 3 {
		w.story(w.seed)
		faults = w.rng.IntN(3)
		w.loss, w.tails = w.loss/4, w.tails/4
	}
	for range faults {
		w.fault(w.between(6*time.Second, faultEnd-5*time.Second))
	}
	w.after(faultEnd, w.heal)
}

// length is how long a fault lasts: mostly about as long as a lease.
func (w *World) length() time.Duration {
	switch w.rng.IntN(4) {
	case 0:
		return w.between(50*time.Millisecond, time.Second)
	case 1:
		return w.between(5*time.Second, 20*time.Second)
	}
	return w.between(time.Second, 6*time.Second)
}

func (w *World) fault(at time.Duration) {
	h := w.hosts[w.rng.IntN(len(w.hosts))]
	long := w.length()
	during := func(name string, strike, mend func()) {
		w.after(at, func() { w.note("FAULT %s for %.2f s", name, long.Seconds()); strike() })
		w.after(at+long, func() { w.note("MENDED %s", name); mend() })
	}
	names := []string{"mon"}
	for _, h := range w.hosts {
		names = append(names, h.name)
	}
	switch w.rng.IntN(12) {
	case 0, 1: // one line, one way or both
		a, b := names[w.rng.IntN(len(names))], names[w.rng.IntN(len(names))]
		both := w.rng.IntN(2) == 0
		set := func(cut bool) func() {
			return func() {
				w.cut[[2]string{a, b}] = cut
				if both {
					w.cut[[2]string{b, a}] = cut
				}
			}
		}
		during("line "+a+" to "+b, set(true), set(false))
	case 2, 3: // a host cut off from everybody
		set := func(cut bool) func() {
			return func() {
				for _, n := range names {
					w.cut[[2]string{h.name, n}], w.cut[[2]string{n, h.name}] = cut, cut
				}
			}
		}
		during(h.name+" cut off", set(true), set(false))
	case 4:
		during("agent of "+h.name+" killed", func() { h.proc.kill() }, h.startAgent)
	case 5:
		during("agent of "+h.name+" stopped", func() { h.proc.stopped = true }, func() { h.proc.cont() })
	case 6:
		during("host "+h.name+" paused", func() { h.paused, h.proc.stopped = true, true }, func() { h.paused = false; h.proc.cont() })
	case 7:
		during("host "+h.name+" reboots", h.off, h.boot)
	case 8:
		during("server of "+h.name+" killed", func() { h.server.up = false }, func() {
			if h.on {
				h.server.up, h.server.writable = true, false
			}
		})
	case 9:
		during("monitor killed", w.mon.proc.kill, w.startMonitor)
	case 10:
		during("monitor stopped", func() { w.mon.proc.stopped = true }, func() { w.mon.proc.cont() })
	case 11:
		w.after(at, func() {
			w.note("move_role writer %s", h.name)
			w.mon.proc.do(func() {
				w.mon.step(cluster.Input{Command: &cluster.Command{Words: []string{"move_role", "writer", h.name}, AgentUp: map[string]bool{"db1": true, "db2": true, "db3": true}}})
			})
		})
	}
}

func (w *World) startMonitor() {
	if !w.mon.proc.up {
		w.mon.proc.start()
		w.mon.begin()
	}
}

// heal mends everything.
func (w *World) heal() {
	w.note("everything is mended")
	clear(w.cut)
	w.loss, w.tails = 0, 0
	for _, h := range w.hosts {
		h.boot()
		if !h.server.up {
			h.server.up, h.server.writable = true, false
		}
		h.paused = false
		h.proc.cont()
		h.startAgent()
	}
	w.mon.proc.cont()
	w.startMonitor()
}
