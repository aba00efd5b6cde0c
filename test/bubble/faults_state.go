package bubble

import "time"

// stateFaults are the faults of state files.
func stateFaults() []kind {
	return []kind{
		{"monitor state lost", LostState, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			n, soon := pick(d, 1, 1, 2, 100), d.between(20*time.Millisecond, 2*time.Second)
			return "monitor restarted with an older state", func() {
				w.brain.kill()
				w.brain.disk.rollBack(monitorState, n)
				w.lost = true
				w.later(soon, w.brain.start)
			}, nil
		}},
		{"agent state lost", LostState, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			h, n, soon := w.any(d), pick(d, 1, 1, 2, 100), d.between(20*time.Millisecond, 2*time.Second)
			return "agent of " + h.name + " restarted with an older state", func() {
				h.killAgent()
				h.disk.rollBack(agentState, n)
				h.disk.rollBack(agentState+".embargo", n)
				h.forgot = true
				w.lost = true
				w.later(soon, h.startAgent)
			}, nil
		}},
		{"monitor state spoilt", LostState, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			soon := d.between(20*time.Millisecond, 2*time.Second)
			return "monitor restarted with a state that is damaged or another cluster's", func() {
				w.brain.kill()
				w.brain.disk.spoil(monitorState, d)
				w.lost = true
				w.later(soon, w.brain.start)
			}, nil
		}},
		{"agent state spoilt", LostState, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			h, soon := w.any(d), d.between(20*time.Millisecond, 2*time.Second)
			return "agent of " + h.name + " restarted with a state that is damaged or another cluster's", func() {
				h.killAgent()
				h.disk.spoil(agentState, d)
				h.disk.spoil(agentState+".embargo", d)
				w.lost = true
				w.later(soon, h.startAgent)
			}, nil
		}},
	}
}
