// Package sim searches for two writers: a simulated network, kernels, disks and clocks around the real brain
// (package cluster) and the real half of the agents (package lease, agent.Plan). A world is made from a seed and is the
// same each time. Nothing but tests uses it.
package sim

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
)

const (
	lease    = cluster.Lease(3 * time.Second)
	faultEnd = 80 * time.Second  // after this everything is healed
	worldEnd = 120 * time.Second // and by then one host is the writer
)

var writer = cluster.RoleIP{Role: "writer", IP: netip.MustParseAddr("192.0.2.100")}

// Rules are the rules of the lease that a world leaves out, to show that each is needed.
type Rules struct {
	EchoFromReceipt   bool // the lease counts from the order's arrival
	NoWait            bool // the monitor does not wait for the old lease
	LowerEpochs       bool // an agent takes lower epochs
	NoPromiseKept     bool // a promise binds nobody
	NoPromiseAtStart  bool // an agent's start counts as no promise
	NoSlack           bool // the kernel's whole seconds are not reckoned with
	NoLifetime        bool // addresses stay for ever
	SameBoot          bool // stamps of another boot count
	AnyGone           bool // any host that is gone counts as the one promised to
	SavedAfterSending bool // the monitor saves after it has sent
}

// World is one run.
type World struct {
	Rules Rules
	Trace bool

	rng    *rand.Rand
	now    time.Duration
	queue  events
	serial int
	t      cluster.Topology
	hosts  []*host
	mon    *monitor
	cut    map[[2]string]bool
	loss   float64
	tails  float64 // part of the messages that take long
	seed   uint64

	slowDisk time.Duration // of the monitor
	log      []string
	broken   string
	epochs   map[uint64]cluster.Epoch
}

// event is something that happens at a time.
type event struct {
	at     time.Duration
	serial int
	f      func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].serial < e[j].serial
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}

// New makes the world of a seed: two hosts that may be the writer, in every fourth world three, and a monitor.
func New(seed uint64, rules Rules) *World {
	w := &World{Rules: rules, seed: seed, slowDisk: 20 * time.Millisecond, rng: rand.New(rand.NewPCG(seed, 7)), cut: map[[2]string]bool{}, epochs: map[uint64]cluster.Epoch{}}
	names := []string{"db1", "db2"}
	if seed%4 == 3 {
		names = append(names, "db3")
	}
	w.t = cluster.Topology{
		ActiveMasterRole: "writer", AutoSetOnline: time.Second, WaitForOtherMaster: time.Minute, Lease: lease, FastFailover: seed%2 == 0,
		ReleaseTimeout: 5 * time.Second, SwitchTimeout: 10 * time.Second,
		Roles: []cluster.Role{{Name: "writer", Exclusive: true, Hosts: names, IPs: []netip.Addr{writer.IP}}},
	}
	for i, name := range names {
		w.t.Hosts = append(w.t.Hosts, cluster.Host{Name: name, IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), Master: true, Peer: names[(i+1)%len(names)]})
		w.hosts = append(w.hosts, newHost(w, name, names))
	}
	w.mon = newMonitor(w)
	return w
}

// after schedules f.
func (w *World) after(d time.Duration, f func()) {
	w.serial++
	heap.Push(&w.queue, event{w.now + d, w.serial, f})
}

// between is a random time.
func (w *World) between(a, b time.Duration) time.Duration {
	return a + time.Duration(w.rng.Int64N(int64(b-a)+1))
}

func (w *World) note(format string, args ...any) {
	if w.Trace {
		w.log = append(w.log, fmt.Sprintf("%9.3f ", w.now.Seconds())+fmt.Sprintf(format, args...))
	}
}

// Log is what happened, where Trace was set.
func (w *World) Log() string { return strings.Join(w.log, "\n") }

// send brings something from one machine to a process on another, or loses it, or brings it twice.
func (w *World) send(from, to string, p *process, f func()) {
	copies := 1
	if w.rng.Float64() < 0.01 {
		copies = 2
	}
	for range copies {
		if w.rng.Float64() < w.loss {
			continue
		}
		d := w.between(100*time.Microsecond, 3*time.Millisecond)
		if w.rng.Float64() < w.tails {
			d = w.between(0, 4*time.Second)
		}
		life := p.life
		w.after(d, func() {
			if !w.cut[[2]string{from, to}] && p.life == life {
				p.do(f)
			}
		})
	}
}

// reaches says whether packets go both ways.
func (w *World) reaches(a, b string) bool {
	return !w.cut[[2]string{a, b}] && !w.cut[[2]string{b, a}]
}

// step lets the next event happen. It is false at the end of the world, or when something is wrong.
func (w *World) step() bool {
	if len(w.queue) == 0 || w.queue[0].at > worldEnd {
		return false
	}
	e := heap.Pop(&w.queue).(event)
	w.now = e.at
	e.f()
	w.check()
	return w.broken == ""
}

// check looks whether the address is on two hosts.
func (w *World) check() {
	var have []string
	for _, h := range w.hosts {
		if h.kernel.present {
			have = append(have, h.name)
		}
	}
	if len(have) > 1 {
		w.fail("the writer's address is on %s", strings.Join(have, " and "))
	}
}

// epoch holds everybody to it that a number has one content.
func (w *World) epoch(e cluster.Epoch) {
	if old, ok := w.epochs[e.Number]; ok && old != e && !w.Rules.SavedAfterSending {
		w.fail("epoch %d is %v and %v", e.Number, old, e)
	}
	w.epochs[e.Number] = e
}

func (w *World) fail(format string, args ...any) {
	if w.broken == "" {
		w.broken = fmt.Sprintf("%.3f s: ", w.now.Seconds()) + fmt.Sprintf(format, args...)
		w.note("%s", w.broken)
	}
}

// Run lives through the world and returns what is wrong with it, or "".
func (w *World) Run() string {
	w.mon.proc.start()
	w.mon.begin()
	for _, h := range w.hosts {
		h.boot()
	}
	w.faults()
	for w.step() {
	}
	if w.broken != "" {
		return w.broken
	}
	var writers []string
	for _, h := range w.hosts {
		if h.kernel.present && h.server.up && h.server.writable {
			writers = append(writers, h.name)
		}
	}
	if len(writers) != 1 {
		w.fail("the writers in the end are %v; the monitor says %s", writers, cluster.Show(w.t, w.mon.state))
	}
	return w.broken
}

// process is a program that can be killed, and stopped: what reaches it then waits.
type process struct {
	life    int
	up      bool
	stopped bool
	waiting []func()
}

func (p *process) start() { p.up = true }

func (p *process) kill() {
	p.life++
	p.up, p.stopped, p.waiting = false, false, nil
}

func (p *process) do(f func()) {
	switch {
	case !p.up:
	case p.stopped:
		p.waiting = append(p.waiting, f)
	default:
		f()
	}
}

func (p *process) cont() {
	p.stopped = false
	waiting := p.waiting
	p.waiting = nil
	for i, f := range waiting {
		if p.stopped || !p.up {
			p.waiting = append(p.waiting, waiting[i:]...)
			return
		}
		f()
	}
}

// timer runs f in the process after d, if it lives that long.
func (w *World) timer(p *process, d time.Duration, f func()) {
	life := p.life
	w.after(d, func() {
		if p.life == life {
			p.do(f)
		}
	})
}

func others(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}
