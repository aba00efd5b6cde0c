package bubble

import "time"

// programFaults are the faults of agents, of the monitor and of servers.
func programFaults() []kind {
	return []kind{
		{"agent killed", 0, 3, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "agent of " + h.name + " killed", h.killAgent, h.startAgent
		}},
		{"agent restarted", 0, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h, soon := w.any(d), d.between(20*time.Millisecond, 300*time.Millisecond)
			return "agent of " + h.name + " restarted", func() { h.killAgent(); w.later(soon, h.startAgent) }, nil
		}},
		{"agent stopped", Pauses, 2, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "agent of " + h.name + " stopped", func() {
					if h.agent != nil {
						h.agent.stop()
					}
				}, func() {
					if h.agent != nil && !h.frozen {
						h.agent.cont()
					}
				}
		}},
		{"server killed", 0, 3, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "server of " + h.name + " killed", h.server.die, h.server.start
		}},
		{"server hangs", 0, 2, anybody, func(w *World, d *dice) (string, func(), func()) {
			h, how := w.any(d), pick(d, silent, stuck)
			return "server of " + h.name + " hangs", func() { h.server.hang(how) }, h.server.goOn
		}},
		{"server can't write", Stalls, 3, hard, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "disk of the server of " + h.name + " hangs", func() { h.server.stall(true) },
				func() { h.server.stall(false) }
		}},
		{"monitor killed", 0, 3, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "monitor killed", w.brain.kill, w.brain.start
		}},
		{"monitor restarted", 0, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			soon := d.between(20*time.Millisecond, 500*time.Millisecond)
			return "monitor restarted", func() { w.brain.kill(); w.later(soon, w.brain.start) }, nil
		}},
		{"monitor stopped", Pauses, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "monitor stopped", w.brain.stop, w.brain.cont
		}},
		{"agent reloads", 0, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "agent of " + h.name + " reloads", func() { h.reload() }, nil
		}},
		{"monitor reloads", 0, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "monitor reloads", w.brain.reload, nil
		}},
	}
}

// reload reloads the agent: a new life with the same configuration takes over in the same process.
func (h *host) reload() {
	old := h.agent
	if old == nil || h.frozen {
		return
	}
	old.cancel()
	h.w.crowd.Go(func() {
		<-old.ended
		h.w.mu.Lock()
		defer h.w.mu.Unlock()
		if h.agent == old && old.alive() && h.on {
			h.run(old)
		}
	})
}

// reload reloads the monitor in the same way.
func (b *brain) reload() {
	old := b.life
	if old == nil {
		return
	}
	old.cancel()
	b.w.crowd.Go(func() {
		<-old.ended
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		if b.life == old && old.alive() {
			b.run(old)
		}
	})
}
