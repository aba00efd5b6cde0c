package sim

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/cluster"
	leases "mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/wire"
)

// host is a machine with a kernel, a server, a disk and an agent.
type host struct {
	w      *World
	name   string
	others []string
	site   agent.Site

	rate   float64 // speed of its clock
	booted time.Duration
	boots  int
	on     bool
	paused bool // all its processes are stopped

	kernel struct {
		present bool
		serial  int // of the newest lifetime
	}
	server struct{ up, writable bool }
	disk   leases.Saved

	proc   process
	tenure *leases.Tenure
	order  *wire.Order
	memory agent.Memory
	work   int // serial of the present plan
	asks   map[string]bool
}

// idle is a busy machine's slack: a call to the kernel takes up to 50 ms, and lifetimes end up to a second late.
const (
	slowCall   = 50 * time.Millisecond
	lateKernel = time.Second
)

func newHost(w *World, name string, names []string) *host {
	h := &host{w: w, name: name, others: others(names, name), rate: 0.99 + 0.02*w.rng.Float64()}
	h.site = agent.Site{Host: name, MayWrite: true, ActiveMasterRole: "writer", Addresses: []cluster.RoleIP{writer}}
	return h
}

// clock is the machine's own monotonic clock.
func (h *host) clock() time.Duration {
	return time.Second + time.Duration(float64(h.w.now-h.booted)*h.rate)
}

func (h *host) bootID() string {
	if h.w.Rules.SameBoot {
		return "boot"
	}
	return fmt.Sprintf("boot%d", h.boots)
}

// boot switches the machine on.
func (h *host) boot() {
	if h.on {
		return
	}
	h.boots++
	h.on, h.booted = true, h.w.now
	h.server.up, h.server.writable = true, false
	h.startAgent()
}

// off switches the machine off.
func (h *host) off() {
	h.on, h.paused = false, false
	h.kernel.present = false
	h.kernel.serial++
	h.server.up = false
	h.proc.kill()
}

func (h *host) startAgent() {
	if !h.on || h.proc.up {
		return
	}
	now := h.clock()
	if h.w.Rules.NoPromiseAtStart {
		now -= time.Hour
	}
	start := h.disk
	start.Lease = max(start.Lease, lease)
	h.tenure = leases.New(h.name, h.bootID(), append([]string{h.name}, h.others...), start, lease, now)
	h.order, h.memory, h.asks = nil, agent.Memory{}, map[string]bool{}
	h.proc.start()
	h.proc.stopped = h.paused
	h.w.timer(&h.proc, time.Duration(float64(lease.Poll())/h.rate), h.poll)
}

// set gives the address a lifetime, as the kernel keeps it.
func (h *host) set() {
	left := h.tenure.Left(h.clock())
	if left <= 0 {
		h.remove()
		return
	}
	whole := cluster.Lifetime(left)
	if left == leases.Forever {
		whole = 1000 * time.Hour
	}
	if whole == 0 {
		return
	}
	h.kernel.present = true
	h.w.note("%s: lifetime for %.3f s", h.name, left.Seconds())
	h.kernel.serial++
	if h.w.Rules.NoLifetime {
		return
	}
	serial := h.kernel.serial
	h.w.after(whole+h.w.between(0, slowCall)+h.w.between(0, lateKernel), func() {
		if h.kernel.serial == serial && h.kernel.present {
			h.w.note("%s: the kernel takes the address off", h.name)
			h.kernel.present = false
		}
	})
}

func (h *host) remove() {
	h.kernel.present = false
	h.kernel.serial++
}

// obey takes in an order and answers when it is done.
func (h *host) obey(o cluster.Order, echo cluster.Stamp, answer func(cluster.Answer)) {
	now := h.clock()
	if h.w.Rules.EchoFromReceipt {
		echo = cluster.Stamp{Boot: h.bootID(), At: now}
	}
	if h.w.Rules.LowerEpochs && o.Epoch.Number < h.tenure.Saved.Epoch.Number {
		h.tenure.Saved.Epoch.Number = 0
	}
	if to, _ := h.tenure.PromiseAge(now); h.w.Rules.AnyGone && o.Epoch.Gone != "" && to != "" && o.Epoch.Number > h.tenure.Saved.Epoch.Number {
		o.Epoch.Gone = to
	}
	if h.w.Rules.AnyGone && o.Epoch.Number == h.tenure.Saved.Epoch.Number {
		o.Epoch = h.tenure.Saved.Epoch
	}
	if !h.tenure.Order(now, o.Epoch, o.Lease, echo, h.kernel.present) {
		answer(h.report(false))
		return
	}
	h.disk = h.tenure.Saved
	h.order = &wire.Order{State: o.State, Roles: o.Roles, Lease: o.Lease}
	if h.kernel.present && h.tenure.Holds(now) {
		h.set()
	}
	h.watch()
	h.plan(func() { answer(h.report(true)) })
}

// watch sees to it that something happens when the lease is over.
func (h *host) watch() {
	left := h.tenure.Left(h.clock())
	if left <= 0 {
		return
	}
	h.w.timer(&h.proc, time.Duration(float64(left)/h.rate)+time.Millisecond, func() {
		if !h.tenure.Holds(h.clock()) {
			h.plan(func() {})
		}
	})
}

// plan makes this host what it is to be, one action after the other; a newer plan ends an older one.
func (h *host) plan(done func()) {
	if h.order == nil {
		return
	}
	h.work++
	h.next(h.work, done)
}

func (h *host) next(work int, done func()) {
	if h.work != work {
		return
	}
	want := *h.order
	holds := h.tenure.Holds(h.clock())
	lapsed := len(want.Roles) > 0 && !holds
	if !holds {
		want.Roles = nil
		h.memory = agent.Memory{}
	}
	facts := agent.Facts{Writable: wire.TriOf(h.server.up && h.server.writable), Down: !h.server.up}
	if h.kernel.present {
		facts.Present = []netip.Addr{writer.IP}
	}
	plan := agent.Plan(h.site, want, facts, h.memory, lapsed)
	if len(plan) == 0 {
		done()
		return
	}
	d := h.w.between(time.Millisecond, 20*time.Millisecond)
	if plan[0].Kind == agent.Deny {
		d = h.w.between(time.Millisecond, 300*time.Millisecond)
	}
	h.w.timer(&h.proc, d, func() {
		if h.work != work {
			return
		}
		switch plan[0].Kind {
		case agent.Deny:
			h.server.writable = false
		case agent.Remove:
			h.remove()
		case agent.Allow:
			if !h.server.up {
				h.work++
				done()
				return
			}
			h.server.writable = true
			h.memory.Opened = true
		case agent.Add:
			h.w.note("%s: adds the address", h.name)
			h.set()
		case agent.CatchUp:
			h.server.writable = h.server.up
			h.memory.Opened = h.server.up
			if !h.server.up {
				h.work++
				done()
				return
			}
		}
		h.next(work, done)
	})
}

// report is the answer to an order.
func (h *host) report(ok bool) cluster.Answer {
	now := h.clock()
	a := cluster.Answer{Host: h.name, Reached: true, OK: ok, Text: "OK", Extended: true, Uptime: now.Seconds(),
		Writable: h.server.up && h.server.writable, Epoch: h.disk.Epoch, Live: h.tenure.Holds(now), Candidates: "db1,db2", Stamp: cluster.Stamp{Boot: h.bootID(), At: now}, ServerGone: !h.server.up}
	if h.kernel.present {
		a.Have = []cluster.RoleIP{writer}
	}
	a.PromisedTo, a.PromiseAge = h.tenure.PromiseAge(now)
	return a
}

// poll asks the other candidates.
func (h *host) poll() {
	h.w.timer(&h.proc, time.Duration(float64(lease.Poll())/h.rate), h.poll)
	q, whom, ok := h.tenure.Asks(h.clock())
	if !ok {
		return
	}
	for _, name := range whom {
		p := h.w.host(name)
		h.w.send(h.name, name, &p.proc, func() {
			if !p.promise(q) {
				return
			}
			h.w.send(name, h.name, &h.proc, func() {
				h.w.note("%s: promised by %s", h.name, name)
				h.tenure.Promised(h.clock(), name, q)
				if h.kernel.present && h.tenure.Holds(h.clock()) {
					h.set()
				}
				h.watch()
				h.plan(func() {})
			})
		})
	}
}

func (h *host) promise(q leases.Question) bool {
	ok := h.tenure.Promise(h.clock(), q)
	h.disk = h.tenure.Saved
	if ok && h.w.Rules.NoPromiseKept {
		h.tenure = leases.New(h.name, h.bootID(), append([]string{h.name}, h.others...), h.disk, lease, h.clock()-time.Hour)
	}
	return ok
}

func (w *World) host(name string) *host {
	return w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })]
}
