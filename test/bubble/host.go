package bubble

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/replication"
)

// host is a database host: a machine with a kernel, a server, a disk and an agent. Its methods are called with the
// world locked.
type host struct {
	w      *World
	name   string
	slave  bool // follows the writer, whoever that is
	ip     netip.Addr
	dice   *dice
	on     bool
	frozen bool // nothing on it runs

	clock  *clock
	kernel *kernel
	disk   *disk
	server *server
	agent  *agentProcess // nil: none runs

	forgot bool // its agent was given an older state: it may not know that it has stopped receiving

	setup setup     // what its agent is configured with
	since time.Time // when the machine was booted
}

// setup is the part of the configuration in which the files of the monitor and of the agents may differ.
type setup struct {
	lease      cluster.Lease
	candidates []string
	period     time.Duration // of checks
	secret     int           // with which the program signs what it says; others must have the same
}

// agentProcess is one life of an agent.
type agentProcess struct {
	*process
	a       *agent.Agent
	ended   chan struct{}
	ordered bool // it has executed an order; before that it leaves addresses that it finds alone
	looked  bool // it has listed the addresses: those that it has not seen by then were not there at its start
}

const agentState = "agent.state"

func newHost(w *World, i int, name string) *host {
	h := &host{w: w, name: name, ip: ipOf(i), dice: newDice(w.Seed, name), clock: &clock{}}
	h.clock.rate = 0.99 + 0.02*h.dice.part()
	h.kernel = newKernel(h)
	h.disk = newDisk(w, name)
	h.server = newServer(h, uint32(i))
	return h
}

// answers says whether the machine's kernel answers packets.
func (h *host) answers() bool { return h.on && !h.frozen }

// unattended is the last moment at which no agent of the machine could remove an address: it did not run, or its calls
// to the kernel did not return.
func (h *host) unattended() time.Time {
	if h.agent == nil || !h.answers() {
		return time.Now()
	}
	idle := h.agent.idle()
	if stalled := h.kernel.stalled.Add(callTimeout); stalled.After(idle) {
		return stalled
	}
	return idle
}

// tended says whether the agent of the machine could have closed the server by now, had it wanted to.
func (h *host) tended() bool {
	able := h.unattended()
	for _, other := range []time.Time{h.server.since, h.kernel.unfenced} {
		if other.After(able) {
			able = other
		}
	}
	return time.Since(able) > tending
}

// boot switches the machine on. Its clock shows age then.
func (h *host) boot(age time.Duration) {
	if h.on {
		return
	}
	h.on, h.since = true, time.Now()
	h.clock.boot(h.name, age)
	h.w.note(h.name, "boots")
	h.server.start()
	h.startAgent()
}

// off switches the machine off, as a power cut does.
func (h *host) off() {
	if !h.on {
		return
	}
	h.resume()
	h.on = false
	h.killAgent()
	h.server.die()
	h.kernel.flush(netip.Addr{})
	h.kernel.flushRules()
	h.w.note(h.name, "is off")
	h.w.check()
}

// freeze stops everything that runs on the machine; with clockToo also its clock, as when a virtual machine is
// suspended.
func (h *host) freeze(clockToo bool) {
	if !h.on || h.frozen {
		return
	}
	h.frozen = true
	if h.agent != nil {
		h.agent.stop()
	}
	if clockToo {
		h.clock.suspend()
		h.kernel.suspend()
	}
	h.server.turn()
	h.w.check()
}

// resume ends freeze.
func (h *host) resume() {
	if !h.frozen {
		return
	}
	h.frozen = false
	if !h.clock.frozen.IsZero() {
		h.clock.resume()
		h.kernel.resume()
		h.w.forgive(h)
	}
	if h.agent != nil {
		h.agent.cont()
	}
	h.server.turn()
	h.w.check()
}

// startAgent begins another life of the agent.
func (h *host) startAgent() {
	if !h.on || h.agent != nil {
		return
	}
	h.run(nil)
}

// run begins a life of the agent; after is the life before it in the same process, nil for a new process.
func (h *host) run(after *agentProcess) {
	w := h.w
	p := w.process(h.name)
	p.secret = h.setup.secret
	life := &agentProcess{process: p, ended: make(chan struct{})}
	h.agent = life
	if h.frozen {
		p.stop()
	}
	local := connection{h.server, p, h.name}
	kernel := netlink{h.kernel, p}
	site := agent.Site{Host: h.name, Slave: h.slave, MayWrite: slices.Contains(h.setup.candidates, h.name),
		ActiveMasterRole: writerRole, Addresses: w.addresses()}
	leasing := &agent.Leasing{StatePath: agentState, Lease: h.setup.lease, Candidates: h.setup.candidates,
		Clock: newMachineClock(h, p),
		Ask: func(ctx context.Context, to, line string) (string, error) {
			return w.network.ask(ctx, p, h.name, w.host(to), line, false)
		},
		Reach: func(ctx context.Context, to string) error { return w.reach(ctx, p, h.name, w.host(to)) }}
	for _, o := range w.hosts {
		if o == h {
			continue
		}
		leasing.Everybody = append(leasing.Everybody, o.name)
	}
	replicates := site.Replication()
	replicates.Local, replicates.Peers, replicates.Sources, replicates.Patience = local, peers{w, p, h.name}, w.source,
		10*time.Second
	replicates.Disk, replicates.StatePath, replicates.Log = filesOf{h.disk, p}, agentState, slog.New(logTo{w, p})
	endpoints := &endpoint.VIP{Addresses: kernel, Announcer: kernel, Departures: farewell(kernel),
		Sockets: func(ctx context.Context, ip netip.Addr) (int, error) { return h.cut(p, ip == writerIP) },
		Log:     slog.New(logTo{w, p})}
	c := agent.Config{Site: site, Endpoints: endpoints, Lifetimes: kernel, Disk: filesOf{h.disk, p}, Watch: kernel,
		Announce: kernel,
		Gate:     local,
		Clients:  func(context.Context) (int, error) { return h.cut(p, true) }, Commits: local, Volume: roomy{},
		Fence:   firewall(kernel),
		Process: pidFile{h.server, p, new(chan struct{})}, Leasing: leasing, Local: local,
		Peers: peers{w, p, h.name}, Replication: replication.New(replicates), Blocking: agent.Blocking{Grace: w.grace},
		Uptime: func() (float64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return h.clock.now().Seconds(), p.ctx.Err()
		},
		Version: "bubble", Log: slog.New(logTo{w, p})}
	if w.probes {
		c.Conflict = kernel
	}
	if after != nil {
		c.After = after.a
	}
	life.a = agent.New(c)
	w.crowd.Go(func() { _ = endpoints.Run(p.ctx) })
	w.crowd.Go(func() {
		defer close(life.ended)
		if err := life.a.Run(p.ctx); err != nil && p.alive() {
			w.say(h.name, "agent ends: %v", err)
			w.mu.Lock()
			if h.agent == life {
				h.agent = nil
			}
			w.mu.Unlock()
		}
	})
}

// cut ends the connections of clients. writers says that the address is the writer's: all clients of a world use that
// one.
func (h *host) cut(p *process, writers bool) (int, error) {
	if err := p.pass(); err != nil || !writers {
		return 0, err
	}
	h.w.mu.Lock()
	defer h.w.mu.Unlock()
	h.server.cut()
	return 0, nil
}

// killAgent ends the agent as SIGKILL does.
func (h *host) killAgent() {
	if h.agent == nil {
		return
	}
	h.w.note(h.name, "agent: is killed")
	h.agent.kill()
	h.agent = nil
}

// source is what another host needs to replicate from a host.
func (w *World) source(name string) (replication.Source, bool) {
	h := w.host(name)
	return replication.Source{Host: h.ip.String(), Port: 3306, User: "replication", Password: "secret"}, true
}
