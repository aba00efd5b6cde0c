package bubble

import (
	"time"

	"mysql-mmm/pkg/cluster"
)

// Some rules stand against accidents that random faults seldom bring about. The mishaps below are such accidents, with
// random times and lengths. Every other world has one. They are called with the world locked.

// mishap lets one of the mishaps happen: the one that the world is to have, or a random one.
func (w *World) mishap(d *dice) {
	at := d.between(0, faultTime/3)
	tell := pick(d, forgetfulPeer, thirdHost, lostDecision, blockedKernel, oldPromise, staleAnswers, lateOrders,
		hostGone, agentGone, lateGone, rebooted, cantWrite, shorterLease, otherFiles, nothingKnown, stoppedRenewal)
	if w.Story != nil {
		tell = w.Story
	}
	w.later(at, func() { tell(w, d) })
}

// lateGone: the writer is cut off while orders to it are still on their way.
func lateGone(w *World, d *dice) {
	if !w.Abilities.Has(BadNetwork) {
		hostGone(w, d)
		return
	}
	was := w.network.late
	w.note("FAULT", "orders come late and twice")
	w.network.late = 0.5
	w.later(w.leases(d, 0.3, 1), func() {
		w.network.late = was
		hostGone(w, d)
	})
}

// rebooted: the writer reboots, and is cut off soon afterwards. Its clock shows about the same after the boot as
// before, so that stamps from before the boot look like new ones.
func rebooted(w *World, d *dice) {
	writer := w.holder()
	if writer == nil {
		return
	}
	age := writer.clock.now() + d.between(-500*time.Millisecond, 500*time.Millisecond)
	w.note("FAULT", "%s reboots", writer.name)
	writer.off()
	soon := d.between(100*time.Millisecond, 6*time.Second)
	w.later(soon, func() { writer.boot(age) })
	w.later(soon+d.between(50*time.Millisecond, 3*time.Second), func() { w.alone(writer, true) })
}

// hostGone: the writer is cut off from all others, and connected again later.
func hostGone(w *World, d *dice) {
	writer := w.holder()
	if writer == nil {
		return
	}
	w.alone(writer, true)
	w.later(w.leases(d, 1, 2)+2*time.Second, func() { w.alone(writer, false) })
}

// agentGone: the writer is cut off from all others and its agent dies, so that only the kernel can take the address
// off.
func agentGone(w *World, d *dice) {
	writer := w.holder()
	if writer == nil {
		return
	}
	w.alone(writer, true)
	w.later(w.leases(d, 0, 0.3), writer.killAgent)
	w.later(w.leases(d, 1, 2)+4*time.Second, func() {
		writer.startAgent()
		w.alone(writer, false)
	})
}

// staleCandidate: the other hosts receive nothing for long while the writer writes, and then the writer's host dies.
func staleCandidate(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || w.semi {
		return
	}
	for _, h := range w.hosts {
		if h != writer {
			w.note("FAULT", "I/O thread of %s stopped", h.name)
			h.server.halt()
		}
	}
	w.later(d.between(14*time.Second, 18*time.Second), func() {
		w.note("FAULT", "%s loses its power", writer.name)
		writer.off()
	})
	w.later(d.between(24*time.Second, 28*time.Second), func() { writer.boot(time.Second) })
}

// cantWrite: the writer's disk hangs, and goes on at about the time at which the role is taken from the writer.
func cantWrite(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(Stalls) {
		hostGone(w, d)
		return
	}
	w.note("FAULT", "disk of the server of %s hangs", writer.name)
	writer.server.stall(true)
	w.later(d.between(4*time.Second, 14*time.Second), func() { writer.server.stall(false) })
}

// holder is a host that has the writer's address, or nil.
func (w *World) holder() *host {
	for _, h := range w.hosts {
		if h.kernel.has(writerIP) {
			return h
		}
	}
	return nil
}

// bothWays cuts the line between two machines in both directions, or mends it.
func (w *World) bothWays(a, b string, cut bool) {
	if w.healed && cut {
		return
	}
	w.note("FAULT", "line between %s and %s cut: %v", a, b, cut)
	w.network.line(a, b, cut)
	w.network.line(b, a, cut)
}

// alone cuts a host off from all others, or connects it again.
func (w *World) alone(h *host, cut bool) {
	if w.healed && cut {
		return
	}
	w.note("FAULT", "%s cut off: %v", h.name, cut)
	w.network.alone(h.name, cut)
}

// crash kills an agent and starts it again at most 200 ms later.
func (w *World) crash(d *dice, h *host) {
	w.note("FAULT", "agent of %s crashes", h.name)
	h.killAgent()
	w.later(d.between(20*time.Millisecond, 200*time.Millisecond), h.startAgent)
}

// leases is a random time from so many leases to so many.
func (w *World) leases(d *dice, from, to float64) time.Duration {
	l := float64(w.lease())
	return d.between(time.Duration(from*l), time.Duration(to*l))
}

// forgetfulPeer: the monitor reaches no host, so that the writer keeps the role by the promises of the others, of which
// the monitor does not hear. Then the agents of the others crash, and the monitor reaches them when they remember no
// promise.
func forgetfulPeer(w *World, d *dice) {
	writer := w.holder()
	if writer == nil {
		return
	}
	for _, h := range w.hosts {
		w.bothWays(monitorName, h.name, true)
	}
	w.later(w.leases(d, 1.3, 2.6)+1500*time.Millisecond, func() {
		for _, h := range w.hosts {
			if h != writer {
				w.crash(d, h)
				w.bothWays(monitorName, h.name, false)
				w.bothWays(writer.name, h.name, true)
			}
		}
	})
}

// thirdHost: of three hosts, the first is the writer and keeps the role by promises. The second one is appointed, and
// gives the role up before it has had it: it is the one that is gone, while the third one has promised to the first.
func thirdHost(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || len(w.hosts) < 3 {
		forgetfulPeer(w, d)
		return
	}
	var rest []*host
	for _, h := range w.hosts {
		w.bothWays(monitorName, h.name, true)
		if h != writer {
			rest = append(rest, h)
		}
	}
	second, third := rest[0], rest[1]
	w.later(w.leases(d, 1.6, 2.6)+1250*time.Millisecond, func() {
		w.crash(d, second)
		w.bothWays(writer.name, second.name, true)
		w.bothWays(monitorName, second.name, false)
		w.later(d.between(200*time.Millisecond, 1500*time.Millisecond), func() {
			w.bothWays(monitorName, third.name, false)
			for i := range 4 {
				w.later(time.Duration(i+1)*300*time.Millisecond, func() { w.order("move_role writer " + third.name) })
			}
		})
	})
}

// lostDecision: the monitor, whose disk is slow, crashes right after the writer role has moved. The new writer is cut
// off, and the old one may not have heard of the move.
func lostDecision(w *World, d *dice) {
	writer := w.holder()
	if writer == nil {
		return
	}
	to := w.hosts[0]
	if to == writer {
		to = w.hosts[1]
	}
	w.brain.disk.slow = d.between(100*time.Millisecond, time.Second)
	w.order("move_role writer " + to.name)
	unheard, unaware := d.one(2), false
	var wait func()
	wait = func() {
		if w.healed {
			return
		}
		if w.appointed == to.name && unheard && !unaware {
			unaware = true
			w.bothWays(monitorName, writer.name, true)
		}
		if !to.kernel.has(writerIP) {
			w.later(500*time.Microsecond, wait)
			return
		}
		w.note("FAULT", "monitor crashes")
		w.brain.kill()
		w.later(d.between(20*time.Millisecond, 500*time.Millisecond), func() {
			w.brain.start()
			w.bothWays(monitorName, writer.name, false)
		})
		w.alone(to, true)
	}
	wait()
}

// lateOrders: the writer role moves while orders arrive late, and twice.
func lateOrders(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(BadNetwork) {
		lostDecision(w, d)
		return
	}
	was := w.network.late
	w.note("FAULT", "orders come late and twice")
	w.network.late = 0.5
	w.later(w.leases(d, 1, 3), func() { w.network.late = was })
	for i := range 1 + d.n(4) {
		w.later(time.Duration(i)*time.Second+w.leases(d, 0.2, 0.8), func() {
			for _, h := range w.hosts {
				if !h.kernel.has(writerIP) {
					w.order("move_role writer " + h.name)
					return
				}
			}
		})
	}
}

// blockedKernel: calls to the writer's kernel block at about the time at which the writer is cut off.
func blockedKernel(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(SlowKernels) {
		lostDecision(w, d)
		return
	}
	writer.kernel.stalled = time.Now().Add(w.leases(d, 0.1, 2))
	w.note("FAULT", "kernel of %s blocks", writer.name)
	w.later(w.leases(d, 0, 0.5), func() { w.alone(writer, true) })
	w.later(w.leases(d, 2, 4), func() { w.alone(writer, false) })
}

// oldPromise: the monitor is away for so long that the other candidate has to promise. Much later its answers still
// have that promise, and then the writer is cut off.
func oldPromise(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(Old) {
		forgetfulPeer(w, d)
		return
	}
	w.note("FAULT", "monitor killed")
	w.brain.kill()
	w.later(w.leases(d, 0.5, 2), w.brain.start)
	for i := range 4 {
		w.later(time.Duration(i)*5*time.Second+5*time.Second, func() {
			for _, h := range w.hosts {
				w.age(h, d.between(time.Hour, 60*24*time.Hour))
			}
		})
	}
	w.later(d.between(15*time.Second, 22*time.Second), func() { w.alone(writer, true) })
}

// staleAnswers: the disk of the writer's agent hangs while the agent is told of another epoch, so that it can only
// answer that it is busy. Then the writer is cut off.
func staleAnswers(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(BadDisks) {
		lostDecision(w, d)
		return
	}
	writer.disk.hangs = time.Now().Add(w.leases(d, 1, 4))
	w.note("FAULT", "disk of %s hangs", writer.name)
	to := w.any(d)
	w.order("move_role writer " + to.name)
	w.later(w.leases(d, 0.2, 1.2)+d.between(0, 2*time.Second), func() { w.alone(writer, true) })
}

// shorterLease: the configuration changes from a long lease to a short one while the disk of the writer's agent hangs,
// so that the writer still has the long lease. Then the writer is cut off and the monitor is restarted once more.
func shorterLease(w *World, d *dice) {
	if !w.Abilities.Has(Reconfigured) {
		hostGone(w, d)
		return
	}
	long, short := w.brain.setup, w.brain.setup
	long.lease, short.lease = 12*cluster.Lease(time.Second), cluster.Lease(time.Second)
	w.reconfigure(monitorName, long)
	w.later(d.between(5*time.Second, 8*time.Second), func() {
		writer := w.holder()
		if writer == nil || w.healed {
			return
		}
		w.note("FAULT", "disk of %s hangs", writer.name)
		writer.disk.hangs = time.Now().Add(d.between(time.Second, 10*time.Second))
		w.reconfigure(monitorName, short)
		w.later(d.between(50*time.Millisecond, 700*time.Millisecond), func() {
			w.alone(writer, true)
			w.note("FAULT", "monitor crashes")
			w.brain.kill()
			w.brain.start()
		})
	})
}

// nothingKnown: a long lease is made a short one just when the writer is cut off, which does not go by the new one yet;
// and then the monitor and all the other agents lose what they knew.
func nothingKnown(w *World, d *dice) {
	if !w.Abilities.Has(Reconfigured) || !w.Abilities.Has(LostState) {
		hostGone(w, d)
		return
	}
	long, short := w.brain.setup, w.brain.setup
	long.lease, short.lease = 12*cluster.Lease(time.Second), cluster.Lease(time.Second)
	w.reconfigure(monitorName, long)
	w.later(d.between(5*time.Second, 8*time.Second), func() {
		writer := w.holder()
		if writer == nil || w.healed {
			return
		}
		w.alone(writer, true)
		w.reconfigure(monitorName, short)
		w.later(d.between(50*time.Millisecond, 2*time.Second), func() {
			w.note("FAULT", "monitor and agents other than %s lose their states", writer.name)
			w.lost = true
			w.brain.kill()
			w.brain.disk.rollBack(monitorState, 100)
			for _, h := range w.hosts {
				if h != writer {
					h.killAgent()
					h.disk.rollBack(agentState, 100)
					h.startAgent()
				}
			}
			w.brain.start()
		})
	})
}

// stoppedRenewal: the writer's machine stands still between its agent's look at the address and the call that renews
// it, until the address has ended and another host has the role.
func stoppedRenewal(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(Pauses) {
		hostGone(w, d)
		return
	}
	writer.kernel.renewing = func() {
		w.later(d.between(0, 50*time.Microsecond), func() {
			w.note("FAULT", "%s stands still", writer.name)
			writer.freeze(false)
			w.later(w.leases(d, 1, 2)+3*time.Second, writer.resume)
		})
	}
}

// firstLease: a cluster without a lease is given one at about the time at which the writer is cut off, which may not
// hear of it.
func firstLease(w *World, d *dice) {
	if !w.Abilities.Has(Reconfigured) {
		hostGone(w, d)
		return
	}
	first, without := w.brain.setup, w.brain.setup
	without.lease = 0
	for _, name := range append(w.names(), monitorName) {
		w.reconfigure(name, without)
	}
	w.later(d.between(5*time.Second, 9*time.Second), func() {
		writer := w.holder()
		if writer == nil {
			return
		}
		w.classic = false
		w.reconfigure(monitorName, first)
		w.later(d.between(0, time.Second), func() { w.alone(writer, true) })
		w.later(d.between(time.Second, 2*time.Second), func() {
			w.note("FAULT", "monitor crashes")
			w.brain.kill()
			w.brain.start()
		})
	})
}

// otherFiles: the configurations of the machines get different leases, one after the other, and then the writer is cut
// off.
func otherFiles(w *World, d *dice) {
	writer := w.holder()
	if writer == nil || !w.Abilities.Has(Reconfigured) {
		hostGone(w, d)
		return
	}
	for i, name := range append(w.names(), monitorName) {
		next := w.brain.setup
		next.lease = cluster.Lease(pick(d, 1000, 3000, 6000, 12000)) * cluster.Lease(time.Millisecond)
		w.later(time.Duration(i)*d.between(0, 2*time.Second), func() { w.reconfigure(name, next) })
	}
	w.later(d.between(8*time.Second, 12*time.Second), func() {
		if writer := w.holder(); writer != nil {
			w.alone(writer, true)
		}
	})
}
