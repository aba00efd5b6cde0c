package bubble

import (
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
)

// fault is something that goes wrong at a time, and is mended later. Both are done with the world locked.
type fault struct {
	kind         string
	what         string
	whom         harm
	at, long     time.Duration
	strike, mend func() // mend may be nil
}

// kind makes faults of one kind.
type kind struct {
	name  string
	needs Abilities
	often int
	whom  harm
	make  func(w *World, d *dice) (what string, strike, mend func())
}

// harm is whom a fault of a kind can cost the writer, in a cluster that is well besides.
type harm uint8

const (
	anybody harm = iota // may cost the writer, for as long as a failover takes
	nobody              // must cost nothing
	hard                // may take as long as it takes
)

// trouble makes up what goes wrong in this world, lets it happen, and mends all in the end.
func (w *World) trouble() {
	d := newDice(w.Seed, "faults")
	var plan []fault
	length := faultTime
	mishap := !w.Single && (w.Story != nil || d.one(2))
	switch {
	case w.Single:
		plan = []fault{w.anyFault(d, 2*time.Second)}
		w.gaps = true
		w.only, w.whom = plan[0].kind, plan[0].whom
	case mishap:
		w.mishap(d)
		plan = w.someFaults(d, d.n(3))
	default:
		plan = w.someFaults(d, 2+d.n(10))
	}
	if !mishap { // all is mended once nothing more happens
		length = 0
		for _, f := range plan {
			length = min(faultTime, max(length, f.at+f.long+lull))
		}
	}
	if w.Abilities.Has(BadNetwork) && !w.Single {
		w.mu.Lock()
		w.network.loss = pick(d, 0, 0, 0.05, 0.3) * d.part()
		w.network.tails = pick(d, 0, 0, 0.1) * d.part()
		w.network.late = pick(d, 0, 0.01, 0.05)
		w.mu.Unlock()
	}
	for _, f := range plan {
		w.later(f.at, func() {
			w.faults[f.kind]++
			if f.mend == nil {
				w.note("FAULT", "%s", f.what)
			} else {
				w.note("FAULT", "%s for %.2f s", f.what, f.long.Seconds())
			}
			f.strike()
		})
		if f.mend != nil {
			w.later(f.at+f.long, func() {
				if !w.healed {
					w.note("MENDED", "%s", f.what)
					f.mend()
				}
			})
		}
	}
	time.Sleep(length)
	w.heal()
}

func (w *World) someFaults(d *dice, n int) (plan []fault) {
	for range n {
		plan = append(plan, w.anyFault(d, d.between(0, faultTime-5*time.Second)))
	}
	return plan
}

// anyFault is one that this world may have.
func (w *World) anyFault(d *dice, at time.Duration) fault {
	var may []kind
	for _, k := range allKinds() {
		if w.Abilities.Has(k.needs) && !(w.Single && k.whom == hard) {
			for range k.often {
				may = append(may, k)
			}
		}
	}
	k := pick(d, may...)
	what, strike, mend := k.make(w, d)
	return fault{kind: k.name, whom: k.whom, what: what, at: at, long: w.length(d), strike: strike, mend: mend}
}

// length is how long a fault lasts: mostly about as long as a lease.
func (w *World) length(d *dice) time.Duration {
	l := time.Duration(w.lease())
	switch d.n(4) {
	case 0:
		return d.between(50*time.Millisecond, time.Second)
	case 1:
		return d.between(5*time.Second, 20*time.Second)
	case 2:
		return d.between(l/3, l*3/2)
	}
	return d.between(time.Second, 6*time.Second)
}

// allKinds are the kinds of faults that there are.
func allKinds() []kind {
	return []kind{
		{"line one way", 0, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			a, b := w.two(d)
			return "line from " + a + " to " + b, func() { w.network.line(a, b, true) }, func() { w.network.line(a, b, false) }
		}},
		{"line", 0, 3, nobody, func(w *World, d *dice) (string, func(), func()) {
			a, b := w.two(d)
			set := func(cut bool) func() { return func() { w.network.line(a, b, cut); w.network.line(b, a, cut) } }
			return "line between " + a + " and " + b, set(true), set(false)
		}},
		{"host cut off", 0, 4, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return h.name + " cut off", func() { w.network.alone(h.name, true) }, func() { w.network.alone(h.name, false) }
		}},
		{"monitor cut off", 0, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "monitor cut off", func() { w.network.alone(monitorName, true) }, func() { w.network.alone(monitorName, false) }
		}},
		{"gateway", 0, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			return "gateway off", func() { w.network.alone(gatewayName, true) }, func() { w.network.alone(gatewayName, false) }
		}},
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
		{"server killed", 0, 3, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "server of " + h.name + " killed", h.server.die, h.server.start
		}},
		{"server hangs", 0, 2, anybody, func(w *World, d *dice) (string, func(), func()) {
			h, how := w.any(d), pick(d, silent, stuck)
			return "server of " + h.name + " hangs", func() { h.server.hang(how) }, h.server.goOn
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
		{"disk hangs", BadDisks, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			disk, long := w.anyDisk(d), w.length(d)
			return "disk of " + disk.owner + " hangs for " + long.String(), func() { disk.hangs = time.Now().Add(long) }, nil
		}},
		{"disk full", BadDisks, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			disk, long := w.anyDisk(d), w.length(d)
			return "disk of " + disk.owner + " is full for " + long.String(), func() { disk.fails = time.Now().Add(long) }, nil
		}},
		{"disk slow", BadDisks, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			disk, slow := w.anyDisk(d), d.between(100*time.Millisecond, 2*time.Second)
			return "disk of " + disk.owner + " is slow", func() { disk.slow = slow }, func() { disk.slow = 20 * time.Millisecond }
		}},
		{"kernel blocks", SlowKernels, 2, hard, func(w *World, d *dice) (string, func(), func()) {
			h, long := w.any(d), w.length(d)
			return "kernel of " + h.name + " blocks for " + long.String(), func() { h.kernel.stalled = time.Now().Add(long) }, nil
		}},
		{"kernel slow", SlowKernels, 1, hard, func(w *World, d *dice) (string, func(), func()) {
			h, slow := w.any(d), d.between(20*time.Millisecond, 400*time.Millisecond)
			return "kernel of " + h.name + " is slow", func() { h.kernel.slow = slow }, func() { h.kernel.slow = 20 * time.Millisecond }
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
			return "somebody flushes the firewall of " + h.name, func() { h.kernel.closed = false; w.check() }, nil
		}},
		{"receiving stopped", BadReplication, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "I/O thread of " + h.name + " stopped", func() {
				h.server.replica.disconnect()
				h.server.replica.halted = h.server.replica.halted || h.server.replica.io
				h.server.replica.io = false
				h.server.turn()
			}, h.server.receiveAgain
		}},
		{"executing stopped", BadReplication, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return "SQL thread of " + h.name + " stopped", func() { h.server.replica.sql, h.server.replica.sqlError = false, "Table is full"; h.server.turn() },
				func() {
					h.server.replica.sql, h.server.replica.sqlError = h.server.replica.source != "", ""
					h.server.turn()
				}
		}},
		{"executing late", BadReplication, 2, nobody, func(w *World, d *dice) (string, func(), func()) {
			h, by := w.any(d), d.between(time.Second, 15*time.Second)
			return "SQL thread of " + h.name + " late by " + by.String(), func() { h.server.replica.behind = by }, func() { h.server.replica.behind = 0; h.server.turn() }
		}},
		{"replication denied", BadReplication, 1, nobody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			return h.name + " may not replicate", func() { h.server.replica.denied = true; h.server.turn() }, func() { h.server.replica.denied = false; h.server.turn() }
		}},
		{"command", Operators, 6, anybody, func(w *World, d *dice) (string, func(), func()) {
			h := w.any(d)
			words := pick(d, "move_role writer "+h.name, "move_role writer "+h.name, "move_role --force writer "+h.name, "set_offline "+h.name, "set_online "+h.name,
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
		{"time passes", Old, 4, nobody, func(w *World, d *dice) (string, func(), func()) {
			h, by := w.any(d), d.between(time.Hour, 60*24*time.Hour)
			return by.String() + " pass on " + h.name + ", if it need not be there", func() { w.age(h, by) }, nil
		}},
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
		{"reconfigured", Reconfigured, 4, hard, func(w *World, d *dice) (string, func(), func()) {
			next := setup{lease: cluster.Lease(pick(d, 0, 1000, 2000, 6000, 30000)) * cluster.Lease(time.Millisecond), candidates: slices.Clone(w.brain.setup.candidates),
				period: pick[time.Duration](d, 250, 500, 1000) * time.Millisecond}
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
			return "members restarted with another configuration", func() {
				for i, n := range whom {
					w.later(time.Duration(i)*apart, func() { w.reconfigure(n, next) })
				}
			}, nil
		}},
	}

}

func (w *World) names() []string {
	var list []string
	for _, h := range w.hosts {
		list = append(list, h.name)
	}
	return list
}

// any is one of the hosts.
func (w *World) any(d *dice) *host { return w.hosts[d.n(len(w.hosts))] }

func (w *World) anyDisk(d *dice) *disk {
	if d.one(2) {
		return w.brain.disk
	}
	return w.any(d).disk
}

// two are different machines, of which one is a host.
func (w *World) two(d *dice) (a, b string) {
	a = w.any(d).name
	others := slices.DeleteFunc(append(w.names(), monitorName, monitorName), func(n string) bool { return n == a })
	b = pick(d, others...)
	if d.one(2) {
		return b, a
	}
	return a, b
}

// age lets a long time pass on a host's clock, where nothing depends on that: it is not the writer, and all that it
// has promised is over.
func (w *World) age(h *host, by time.Duration) {
	over := 2 * h.setup.lease.Over()
	if !h.on || h.frozen || h.kernel.has(writerIP) || h.server.open() || time.Since(h.since) < over || time.Since(w.vows[h.name].at) < over || w.appointed == h.name {
		return
	}
	w.note(h.name, "%v pass", by)
	h.clock.base += by
	h.kernel.flush(netip.Addr{})
}

// reconfigure restarts a member with another configuration.
func (w *World) reconfigure(name string, next setup) {
	if w.healed {
		return
	}
	w.classic = w.classic || next.lease == 0
	w.note(name, "restarts with lease %v, candidates %v, check period %v", time.Duration(next.lease), next.candidates, next.period)
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

// reload lets another configuration, which is the same, take over in the same process.
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

// heal mends everything.
func (w *World) heal() {
	w.mu.Lock()
	w.healed = true
	w.note("world", "all is mended")
	clear(w.network.cut)
	w.network.loss, w.network.tails, w.network.late = 0, 0, 0
	for _, d := range append([]*disk{w.brain.disk}, w.disks()...) {
		d.hangs, d.fails, d.slow = time.Time{}, time.Time{}, 20*time.Millisecond
	}
	for _, h := range w.hosts {
		h.resume()
		h.boot(time.Second)
		h.kernel.stalled, h.kernel.slow = time.Time{}, 20*time.Millisecond
		h.server.start()
		h.server.goOn()
		r := &h.server.replica
		r.denied, r.behind = false, 0
		h.server.receiveAgain()
		if w.Abilities.Has(BadReplication) && !r.sql && r.sqlError != "" {
			r.sql, r.sqlError = true, ""
		}
		h.server.turn()
		if h.agent != nil {
			h.agent.cont()
		}
		h.startAgent()
	}
	w.brain.cont()
	w.brain.start()
	w.mu.Unlock()
	if w.Abilities.Has(Operators) || w.Abilities.Has(Reconfigured) {
		w.crowd.Go(w.putRight)
	}
}

func (w *World) disks() []*disk {
	var list []*disk
	for _, h := range w.hosts {
		list = append(list, h.disk)
	}
	return list
}

// receiveAgain ends what a fault has done to the I/O thread, and nothing that the agent has.
func (s *server) receiveAgain() {
	if s.replica.halted {
		s.replica.io, s.replica.halted = s.replica.source != "", false
		s.turn()
	}
}
