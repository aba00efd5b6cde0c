package bubble

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"mysql-mmm/pkg/cluster"
)

const (
	writerRole = "writer"
	readerRole = "reader"
	slaveName  = "db3"
)

var (
	writerIP  = netip.MustParseAddr("10.0.0.100")
	readerIPs = []netip.Addr{netip.MustParseAddr("10.0.0.101"), netip.MustParseAddr("10.0.0.102")}
	gatewayIP = netip.MustParseAddr("10.0.0.254")
)

// World is a cluster in a bubble, with everything that happens to it.
type World struct {
	Seed      uint64
	Abilities Abilities
	Single    bool                // it has one fault only, so that the time without a writer can be measured
	Told      bool                // its story is wanted, also where nothing is wrong
	Without   Ablation            // the rule that it leaves out
	Story     func(*World, *dice) // the mishap that it has; nil: chance decides

	mu      sync.Mutex
	story   story
	dice    *dice
	ctx     context.Context // ends with the world
	crowd   sync.WaitGroup  // all goroutines of the world's own
	lives   []*process      // all lives of all programs
	network *network
	hosts   []*host
	brain   *brain
	first   []string // the candidates at the start

	dialect    dialect
	semi       bool          // semi-synchronous replication
	readers    bool          // there is a reader role
	probes     bool          // agents look for other owners of an address
	killWorks  bool          // there is a kill_host that can work
	fast       bool          // fast_failover
	long       bool          // clients run long statements
	flaps      int           // flap_count
	grace      time.Duration // max_kill_retries
	trap       time.Duration // trap_period
	timeout    time.Duration // of checks
	autoOnline time.Duration // auto_set_online
	waitOther  time.Duration // wait_for_other_master
	unwritten  time.Duration // write_timeout

	ledger
	judge
}

// Outcome is what became of a world.
type Outcome struct {
	Seed     uint64
	Wrong    string         // the first thing that is wrong; "": nothing
	Story    string         // where something is wrong, or the story is wanted
	Faults   map[string]int // how many of each kind there were
	Gap      time.Duration  // longest time without a writer
	Open     time.Duration  // for how long two servers were open for writes at once, with the address or without
	Lost     int            // acknowledged writes that are not in the last writer
	Replaced bool           // a writer that could not write has been replaced
	Revived  bool           // an agent that was stopped while it added an address has added it too late
	Only     string         // kind of the fault of a world with only one
}

// newWorld makes the world of a seed. It has to be called in a bubble.
func newWorld(seed uint64, a Abilities, single bool, without Ablation) *World {
	w := &World{Seed: seed, Abilities: a, Single: single, Without: without, dice: newDice(seed, "world")}
	w.story.begin = time.Now()
	w.Without.prepare()
	w.ledger = newLedger()
	w.judge = newJudge(w)
	w.network = &network{w: w, dice: newDice(seed, "network"), cut: map[[2]string]bool{}}
	d := w.dice
	w.dialect = pick(d, positions, positions, mariaGTID, mysqlGTID)
	w.semi, w.readers, w.probes, w.fast, w.long = d.one(2), d.one(2), d.one(4), d.one(2), d.one(4)
	w.killWorks = a.Has(Operators) && d.one(4)
	w.flaps = pick(d, 0, 0, 0, 3)
	w.grace = pick(d, 0, time.Second, 10*time.Second)
	w.trap = d.between(500*time.Millisecond, 3*time.Second)
	w.timeout = pick(d, time.Second, 2*time.Second)
	w.autoOnline = time.Second
	w.unwritten = pick(d, 0, 4*time.Second, 4*time.Second, 6*time.Second)
	w.waitOther = d.between(20*time.Second, 40*time.Second)
	names := pick(d, []string{"db1", "db2"}, []string{"db1", "db2"}, []string{"db1", "db2", slaveName},
		[]string{"db1", "db2", slaveName})
	candidates := slices.Clone(names)
	if len(names) > 2 && d.one(2) {
		candidates = candidates[:2]
	}
	usual := setup{lease: cluster.Lease(pick(d, 1000, 2000, 3000, 3000, 3000, 3000,
		6000)) * cluster.Lease(time.Millisecond), candidates: candidates,
		period: pick[time.Duration](d, 250, 500, 1000) * time.Millisecond}
	for i, name := range names {
		h := newHost(w, i+1, name)
		h.setup, h.slave = usual, name == slaveName
		w.hosts = append(w.hosts, h)
	}
	for _, h := range w.hosts {
		r := &h.server.replica
		r.source, r.io, r.sql = w.peer(h.name), true, true
		r.received = w.host(r.source).server.log.end()
		r.executed = r.received
	}
	w.brain = newBrain(w)
	w.brain.setup, w.first = usual, candidates
	w.brain.disk.loses = without.Saved
	if a.Has(LateKernels) {
		for _, h := range w.hosts {
			h.kernel.late = time.Second
		}
	}
	return w
}

// lease is the lease that the monitor is configured with now; at the start all agents have the same.
func (w *World) lease() cluster.Lease { return w.brain.setup.lease }

// host finds a host by name.
func (w *World) host(name string) *host {
	return w.hosts[slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })]
}

// peer is the host from which a host replicates at the start: the masters from each other, the slave from db1.
func (w *World) peer(name string) string {
	if name == "db1" {
		return "db2"
	}
	return "db1"
}

// machines are the names of all machines on the network.
func (w *World) machines() []string {
	names := []string{monitorName, clientName, gatewayName}
	for _, h := range w.hosts {
		names = append(names, h.name)
	}
	return names
}

// process begins a life of a program. The world is locked.
func (w *World) process(name string) *process {
	p := newProcess(name)
	w.lives = append(w.lives, p)
	return p
}

// answers says whether a machine's kernel answers packets.
func (w *World) answers(name string) bool {
	i := slices.IndexFunc(w.hosts, func(h *host) bool { return h.name == name })
	return i < 0 || w.hosts[i].answers()
}

// addresses are the addresses of all roles.
func (w *World) addresses() []cluster.RoleIP {
	list := []cluster.RoleIP{{Role: writerRole, IP: writerIP}}
	if w.readers {
		for _, ip := range readerIPs {
			list = append(list, cluster.RoleIP{Role: readerRole, IP: ip})
		}
	}
	return list
}

// later calls f after d, with the world locked, unless the world has ended by then.
func (w *World) later(d time.Duration, f func()) {
	time.AfterFunc(d, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.ctx.Err() == nil {
			f()
		}
	})
}

// Bounds of a world's life.
const (
	settleTime = 90 * time.Second // so soon there must be a writer: after the start, and after all was mended
	faultTime  = 30 * time.Second // in which faults strike
	lull       = 2 * time.Second  // from the end of the last fault until all is mended
	steady     = 3 * time.Second  // in the end a host must be the writer for so long
	young      = time.Second      // and at the start for so long
)

// run runs the world to its end.
func (w *World) run() Outcome {
	ctx, cancel := context.WithCancel(context.Background())
	w.ctx = ctx
	w.mu.Lock()
	for _, h := range w.hosts {
		age := h.dice.between(time.Second, time.Minute)
		if w.Abilities.Has(Old) {
			age = h.dice.between(time.Second, 90*24*time.Hour)
		}
		w.crowd.Go(func() { h.server.replicate(ctx) })
		h.boot(age)
	}
	w.brain.start()
	w.mu.Unlock()
	w.crowd.Go(func() { w.writeAll(ctx) })
	if w.settled("at the start", young) {
		w.trouble()
		if w.settled("after all was mended", steady) {
			w.receiving()
		}
		w.audit()
		w.bounded()
	}
	w.mu.Lock()
	o := w.outcome()
	brain := w.brain.life
	w.mu.Unlock()
	if (o.Wrong != "" || w.Told) && brain != nil {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		w.say(monitorName, "show:\n%s", brain.m.Handle(ctx, "show"))
		cancel()
		w.mu.Lock()
		w.describe()
		o.Story = w.story.String()
		w.mu.Unlock()
	}
	cancel()
	w.mu.Lock()
	for _, p := range w.lives { // also those before a reload, which may have been stopped in the middle of a call
		p.kill()
	}
	w.mu.Unlock()
	w.crowd.Wait()
	return o
}

// settled waits until there has been exactly one writer for so long. It returns false where that does not happen.
func (w *World) settled(when string, long time.Duration) bool {
	began, since := time.Now(), time.Time{}
	for time.Since(began) < settleTime {
		w.mu.Lock()
		n, wrong := len(w.writers()), w.wrong
		w.mu.Unlock()
		switch {
		case wrong != "":
			return false
		case n != 1:
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > long:
			return true
		}
		time.Sleep(200 * time.Millisecond)
	}
	w.failed("no writer within %v %s", settleTime, when)
	return false
}

// receiving waits until no host is left with its receiving stopped though nothing speaks against it: it and its source
// are ONLINE, and neither is named in a warning of show.
func (w *World) receiving() {
	idle := ""
	for began := time.Now(); time.Since(began) < settleTime; time.Sleep(time.Second) {
		show := w.command("show")
		w.mu.Lock()
		idle = w.idle(show)
		w.mu.Unlock()
		if idle == "" {
			return
		}
	}
	w.failed("%s, %v after all was mended", idle, settleTime)
}

// idle names a host that receives nothing for no reason; "" for none. The world is locked.
func (w *World) idle(show string) string {
	well := func(name string) bool {
		for line := range strings.Lines(show) {
			if strings.HasPrefix(line, "#") && strings.Contains(line, name) {
				return false
			}
		}
		_, after, _ := strings.Cut(show, "  "+name+"(")
		state, _, _ := strings.Cut(after, "\n")
		return strings.Contains(state, "/ONLINE. ")
	}
	for _, h := range w.hosts {
		r := h.server.replica
		if h.on && h.agent != nil && !h.forgot && r.source != "" && !r.io && !r.halted && r.ioError == "" && well(h.name) && well(r.source) {
			return fmt.Sprintf("%s receives nothing from %s", h.name, r.source)
		}
	}
	return ""
}

// describe notes in the story how everything is now.
func (w *World) describe() {
	w.note("world",
		"seed %d, abilities %s, lease %v, dialect %d, semi-synchronous %v, readers %v, probes %v, fast %v, grace %v, trap %v, period %v", w.Seed, w.Abilities,
		time.Duration(w.lease()), w.dialect, w.semi, w.readers, w.probes, w.fast, w.grace, w.trap, w.brain.setup.period)
	for _, h := range w.hosts {
		r := h.server.replica
		w.note(h.name,
			"on %v, server %d, read-only %v, port closed %v, writer's address %v, agent %v; replicates from %q (io %v, connected %v, sql %v, received %s, executed %s, relay %d, %s %s)",
			h.on, h.server.health, h.server.readOnly, h.kernel.closed, h.kernel.has(writerIP), h.agent != nil, r.source,
			r.io, r.connected, r.sql, r.received, r.executed, len(r.relay), r.ioError, r.sqlError)
		for name, v := range h.disk.files {
			w.note(h.name, "%s: %v", name, fmt.Sprintf("%q", v[max(0, len(v)-1):]))
		}
	}
}
