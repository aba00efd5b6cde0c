package bubble

import (
	"net/netip"
	"time"
)

// machineFaults are the faults of hosts, of their kernels and disks, and of people who log in there.
func machineFaults() []kind {
	return []kind{
		{"host stands still", Pauses, 2, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return h.name + " stands still", func() { h.freeze(false) }, h.resume
		}},
		{"host suspended", Pauses, 2, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return h.name + " suspended", func() { h.freeze(true) }, h.resume
		}},
		{"wall clock jumps", Pauses, 1, anybody, func(w *World, d *dice) (string, func(), func()) {
			h, by := w.any(d), d.between(-time.Hour, time.Hour)
			return "wall clock of " + h.name + " jumps by " + by.String(), func() { h.clock.ahead += by }, nil
		}},
		{"reboot", 0, 3, anybody, func(w *World, d *dice) (string, func(), func()) {
			h, age := w.any(d), d.between(time.Second, 30*time.Second)
			return h.name + " reboots", h.off, func() { h.boot(age) }
		}},
		{"power cut", 0, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			var late []time.Duration
			for range len(w.hosts) + 1 {
				late = append(late, d.between(0, 8*time.Second))
			}
			return "power cut", func() {
					for _, h := range w.hosts {
						h.off()
					}
					w.brain.kill()
				}, func() {
					for i, h := range w.hosts {
						w.later(late[i], func() { h.boot(time.Second + late[i]) })
					}
					w.later(late[len(w.hosts)], w.brain.start)
				}
		}},
		{"disk hangs", BadDisks, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			disk, long := w.anyDisk(d), w.length(d)
			return "disk of " + disk.owner + " hangs for " + long.String(),
				func() { disk.hangs = time.Now().Add(long) }, nil
		}},
		{"disk full", BadDisks, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			disk, long := w.anyDisk(d), w.length(d)
			return "disk of " + disk.owner + " is full for " + long.String(),
				func() { disk.fails = time.Now().Add(long) }, nil
		}},
		{"disk slow", BadDisks, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			disk, slow := w.anyDisk(d), d.between(100*time.Millisecond, 2*time.Second)
			return "disk of " + disk.owner + " is slow", func() { disk.slow = slow },
				func() { disk.slow = 20 * time.Millisecond }
		}},
		{"kernel blocks", SlowKernels, 2, hard, func(w *World, d *dice) (string, func(), func()) {
			h, long := w.any(d), w.length(d)
			return "kernel of " + h.name + " blocks for " + long.String(),
				func() { h.kernel.stalled = time.Now().Add(long) }, nil
		}},
		{"kernel slow", SlowKernels, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			h, slow := w.any(d), d.between(20*time.Millisecond, 400*time.Millisecond)
			return "kernel of " + h.name + " is slow", func() { h.kernel.slow = slow },
				func() { h.kernel.slow = 20 * time.Millisecond }
		}},
		{"foreign address", ForeignHands, 2, anybody, func(w *World, d *dice) (string, func(), func()) {
			h, bits := w.any(d), pick(d, 24, 24, 32)
			return "somebody adds the writer's address to " + h.name, func() { h.kernel.foreign(writerIP, bits) }, nil
		}},
		{"addresses flushed", ForeignHands, 1, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "somebody flushes the addresses of " + h.name, func() { h.kernel.flush(netip.Addr{}) }, nil
		}},
		{"firewall flushed", ForeignHands, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "somebody flushes the firewall of " + h.name, h.kernel.flushRules, nil
		}},
	}
}
