package sim

import (
	"time"

	"mysql-mmm/pkg/cluster"
)

// Some rules stand against accidents that chance alone seldom arranges. Every other world has one of these, at a time and with
// lengths that are left to chance.

// holder is the host that has the address, or nil.
func (w *World) holder() *host {
	for _, h := range w.hosts {
		if h.kernel.present {
			return h
		}
	}
	return nil
}

// line cuts or mends both ways between two machines.
func (w *World) line(a, b string, cut bool) {
	w.note("line %s to %s cut: %v", a, b, cut)
	w.cut[[2]string{a, b}], w.cut[[2]string{b, a}] = cut, cut
}

func (w *World) move(to string) {
	w.note("move_role writer %s", to)
	w.mon.proc.do(func() {
		w.mon.step(cluster.Input{Command: &cluster.Command{Words: []string{"move_role", "writer", to}, AgentUp: map[string]bool{"db1": true, "db2": true, "db3": true}}})
	})
}

// crash kills an agent and starts it again at once.
func (w *World) crash(h *host) {
	w.note("agent of %s crashes", h.name)
	h.proc.kill()
	w.after(w.between(20*time.Millisecond, 200*time.Millisecond), h.startAgent)
}

func (w *World) story(seed uint64) {
	at := w.between(10*time.Second, 40*time.Second)
	switch seed / 4 % 6 {
	case 0:
		w.after(at, w.forgetfulPeer)
	case 1:
		w.after(at, w.thirdHost)
	case 2:
		w.slowDisk = w.between(100*time.Millisecond, 2*time.Second)
		w.after(at, w.lostDecision)
	}
}

// forgetfulPeer: the writer lives by the promises of the others, which the monitor does not hear of; then one of them crashes,
// and the monitor hears it just when it knows of no promise any more.
func (w *World) forgetfulPeer() {
	wr := w.holder()
	if wr == nil {
		return
	}
	for _, h := range w.hosts {
		w.line("mon", h.name, true)
	}
	w.after(w.between(4*time.Second, 8*time.Second), func() {
		for _, h := range w.hosts {
			if h != wr {
				w.crash(h)
				w.line("mon", h.name, false)
				w.line(wr.name, h.name, true)
			}
		}
	})
}

// thirdHost: of three hosts the second is appointed while the first lives by promises, and gives the role up before it has had
// it; it is gone, and the third has promised to the first.
func (w *World) thirdHost() {
	wr := w.holder()
	if wr == nil || len(w.hosts) < 3 {
		return
	}
	var rest []*host
	for _, h := range w.hosts {
		w.line("mon", h.name, true)
		if h != wr {
			rest = append(rest, h)
		}
	}
	second, third := rest[0], rest[1]
	w.after(w.between(5*time.Second, 8*time.Second), func() {
		w.crash(second)
		w.line(wr.name, second.name, true)
		w.line("mon", second.name, false)
		w.after(w.between(200*time.Millisecond, 1500*time.Millisecond), func() {
			w.line("mon", third.name, false)
			for _, d := range []time.Duration{300 * time.Millisecond, 600 * time.Millisecond, 900 * time.Millisecond, 1200 * time.Millisecond} {
				w.after(d, func() { w.move(third.name) })
			}
		})
	})
}

// lostDecision: a monitor with a slow disk crashes right after the role has moved; the new writer is cut off.
func (w *World) lostDecision() {
	wr := w.holder()
	if wr == nil {
		return
	}
	to := w.hosts[0]
	if to == wr {
		to = w.hosts[1]
	}
	w.move(to.name)
	var wait func()
	wait = func() {
		if !to.kernel.present {
			if w.now < faultEnd {
				w.after(time.Millisecond, wait)
			}
			return
		}
		w.note("monitor crashes")
		w.mon.proc.kill()
		w.after(w.between(20*time.Millisecond, 500*time.Millisecond), w.startMonitor)
		for _, h := range w.hosts {
			w.line(to.name, h.name, true)
		}
		w.line("mon", to.name, true)
	}
	wait()
}
