package bubble

import (
	"slices"
	"time"
)

// fault is something that goes wrong at a time, and is mended later. strike and mend are called with the world locked.
type fault struct {
	kind         string
	what         string
	whom         harm
	at, long     time.Duration // when it strikes, and for how long it lasts
	strike, mend func()        // mend may be nil
}

// kind makes faults of one kind.
type kind struct {
	name  string
	needs Abilities // of the world
	often int       // how likely it is, compared with other kinds
	whom  harm
	make  func(w *World, d *dice) (what string, strike, mend func())
}

// harm is how long clients may be without a writer for a fault, in a cluster in which all else is well.
type harm uint8

const (
	anybody harm = iota // as long as a failover takes
	nobody              // not at all
	hard                // without a limit
)

// trouble plans at random what goes wrong in this world, lets it happen, and mends everything in the end.
func (w *World) trouble() {
	d := newDice(w.Seed, "faults")
	var plan []fault
	length := faultTime
	mishap := !w.Single && (w.Story != nil || d.one(2))
	switch {
	case w.Single:
		plan = []fault{w.anyFault(d, 2*time.Second)}
		w.gaps = true
		w.only, w.whom, w.lasts = plan[0].kind, plan[0].whom, plan[0].long
	case mishap:
		w.mishap(d)
		plan = w.someFaults(d, d.n(3))
	default:
		plan = w.someFaults(d, 2+d.n(10))
	}
	if !mishap { // all can be mended soon after the last fault of the plan
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

// anyFault makes a fault of a random kind that this world may have.
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
	return slices.Concat(networkFaults(), programFaults(), machineFaults(), replicationFaults(), operatorFaults(),
		stateFaults())
}

func (w *World) names() []string {
	var list []string
	for _, h := range w.hosts {
		list = append(list, h.name)
	}
	return list
}

// any is a random host.
func (w *World) any(d *dice) *host { return w.hosts[d.n(len(w.hosts))] }

func (w *World) anyDisk(d *dice) *disk {
	if d.one(2) {
		return w.brain.disk
	}
	return w.any(d).disk
}

// two are two different random machines, of which at least one is a database host.
func (w *World) two(d *dice) (a, b string) {
	a = w.any(d).name
	others := slices.DeleteFunc(append(w.names(), monitorName, monitorName), func(n string) bool { return n == a })
	b = pick(d, others...)
	if d.one(2) {
		return b, a
	}
	return a, b
}

// heal mends everything, and starts everything that does not run.
func (w *World) heal() {
	w.mu.Lock()
	w.healed = true
	w.note("world", "all is mended")
	clear(w.network.cut)
	w.network.loss, w.network.tails, w.network.late = 0, 0, 0
	for _, d := range append([]*disk{w.brain.disk}, w.disks()...) {
		d.hangs, d.fails, d.slow = time.Time{}, time.Time{}, 20*time.Millisecond
	}
	w.agree()
	for _, h := range w.hosts {
		h.resume()
		h.boot(time.Second)
		h.kernel.goOn()
		h.server.stall(false)
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
