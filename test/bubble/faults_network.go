package bubble

// networkFaults are cut lines, and machines that are cut off.
func networkFaults() []kind {
	return []kind{
		{"line one way", 0, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			a, b := w.two(d)
			return "line from " + a + " to " + b, func() { w.network.line(a, b, true) },
				func() { w.network.line(a, b, false) }
		}},
		{"line", 0, 3, nobody, func(w *World, d *dice) (string, func(), func()) {
			a, b := w.two(d)
			set := func(cut bool) func() { return func() { w.network.line(a, b, cut); w.network.line(b, a, cut) } }
			return "line between " + a + " and " + b, set(true), set(false)
		}},
		{"host cut off", 0, 4, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return h.name + " cut off", func() { w.network.alone(h.name, true) },
				func() { w.network.alone(h.name, false) }
		}},
		{"monitor cut off", 0, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "monitor cut off", func() { w.network.alone(monitorName, true) },
				func() { w.network.alone(monitorName, false) }
		}},
		{"gateway", 0, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "gateway off", func() { w.network.alone(gatewayName, true) },
				func() { w.network.alone(gatewayName, false) }
		}},
	}
}
