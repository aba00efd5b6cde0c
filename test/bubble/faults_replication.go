package bubble

import "time"

// replicationFaults are the faults of binary logs and of replication threads.
func replicationFaults() []kind {
	return []kind{
		{"receiving stopped", BadReplication, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "I/O thread of " + h.name + " stopped", h.server.halt, h.server.receiveAgain
		}},
		{"executing stopped", BadReplication, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "SQL thread of " + h.name + " stopped", func() {
					h.server.replica.sql,
						h.server.replica.sqlError = false, "Table is full"
					h.server.turn()
				},
				func() {
					h.server.replica.sql, h.server.replica.sqlError = h.server.replica.source != "", ""
					h.server.turn()
				}
		}},
		{"executing late", BadReplication, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h, by := w.any(d), d.between(time.Second, 15*time.Second)
			return "SQL thread of " + h.name + " late by " + by.String(), func() { h.server.replica.behind = by },
				func() { h.server.replica.behind = 0; h.server.turn() }
		}},
		{"replication denied", BadReplication, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return h.name + " may not replicate", func() { h.server.replica.denied = true; h.server.turn() },
				func() { h.server.replica.denied = false; h.server.turn() }
		}},
		{"log reset", Resets, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "RESET MASTER on " + h.name, func() {
				if h.server.health == well {
					h.server.log.reset()
					w.excused = true
					h.server.turn()
				}
			}, nil
		}},
	}
}

// halt stops the I/O thread, as somebody who does not tell the agent.
func (s *server) halt() {
	r := &s.replica
	r.disconnect()
	r.io, r.halted = false, r.halted || r.io
	s.turn()
}

// receiveAgain starts the I/O thread again where a fault has stopped it, and not where the agent has.
func (s *server) receiveAgain() {
	if s.replica.halted {
		s.replica.io, s.replica.halted = s.replica.source != "", false
		s.turn()
	}
}
