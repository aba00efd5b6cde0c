package bubble

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/monitor"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/store"
)

// brain is the monitor's machine. Its methods are called with the world locked.
type brain struct {
	w     *World
	dice  *dice
	disk  *disk
	setup setup
	life  *monitorProcess // nil: none runs
	mode  cluster.Mode    // in which the monitor starts
}

// monitorProcess is one life of the monitor.
type monitorProcess struct {
	*process
	m     *monitor.Monitor
	ended chan struct{}
	again func() // reports the newest result of a check once more; nil: there is none yet
}

const monitorState = "monitor.state"

func newBrain(w *World) *brain {
	return &brain{w: w, dice: newDice(w.Seed, monitorName), disk: newDisk(w, monitorName), mode: cluster.Active}
}

// topology is what the monitor's configuration says.
func (b *brain) topology() cluster.Topology {
	w := b.w
	t := cluster.Topology{ActiveMasterRole: writerRole, AutoSetOnline: w.autoOnline, WaitForOtherMaster: w.waitOther,
		Lease: b.setup.lease, FastFailover: w.fast, WriteTimeout: w.unwritten,
		FlapDuration: time.Hour, FlapCount: w.flaps, ReleaseTimeout: w.grace + 5*time.Second,
		SwitchTimeout: 10 * time.Second, NetworkGrace: w.trap + b.setup.period + w.timeout}
	if w.Without.Wait {
		t.Lease = cluster.Lease(300 * time.Millisecond)
	}
	for _, h := range w.hosts {
		host := cluster.Host{Name: h.name, IP: h.ip, Master: !h.slave}
		if host.Master {
			host.Peer = w.peer(h.name)
		}
		t.Hosts = append(t.Hosts, host)
	}
	if w.readers {
		var all []string
		for _, h := range w.hosts {
			all = append(all, h.name)
		}
		t.Roles = append(t.Roles, cluster.Role{Name: readerRole, Hosts: all, IPs: readerIPs})
	}
	t.Roles = append(t.Roles, cluster.Role{Name: writerRole, Exclusive: true, Hosts: slices.Clone(b.setup.candidates),
		IPs: []netip.Addr{writerIP}})
	return t
}

// start begins another life of the monitor.
func (b *brain) start() {
	if b.life != nil {
		return
	}
	b.run(nil)
}

// run begins a life of the monitor; after is the life before it in the same process, nil for a new process.
func (b *brain) run(after *monitorProcess) {
	w := b.w
	p := w.process(monitorName)
	p.secret = b.setup.secret
	life := &monitorProcess{process: p, ended: make(chan struct{})}
	b.life = life
	log := slog.New(logTo{w, p})
	top, period := b.topology(), b.setup.period
	hosts := slices.Clone(w.hosts)
	c := monitor.Config{Topology: top, Mode: b.mode, StatusPath: monitorState,
		Store:   store.NewFile(monitorState, filesOf{b.disk, p}),
		KillBin: os.DevNull, Kill: b.killer(p),
		AgentPorts: map[string]int{}, Agents: phone{w.network, p, monitorName, false},
		Repeats:  phone{w.network, p, monitorName, true},
		Observer: watcher{p}, History: history.Open("", log), Log: log,
		Behind: func(ctx context.Context, host string) time.Duration {
			ctx, cancel := context.WithTimeout(ctx, time.Second)
			defer cancel()
			r, err := connection{w.host(host).server, p, monitorName}.Replica(ctx)
			if err != nil || r.Lag == nil {
				return 0
			}
			return *r.Lag
		},
		Checks: monitor.Checks{
			Registry: check.Known(),
			Network: func(doubt <-chan struct{}, emit func(bool)) monitor.Task {
				return &check.Network{Echo: echo{w, p}, IPs: []netip.Addr{gatewayIP}, Interval: time.Second,
					Doubt: doubt, Emit: emit}
			},
			Hosts: func(emit func(check.Update)) []monitor.Task {
				remembered := func(u check.Update) {
					if u.Name == check.RepThreads {
						w.mu.Lock()
						life.again = func() { emit(u) }
						w.mu.Unlock()
					}
					emit(u)
				}
				var tasks []monitor.Task
				for _, h := range hosts {
					for _, name := range check.Known().Names() {
						look := probe{w, p, h, name}
						var how check.Probe = look
						if name == check.MySQL {
							how = watching{look}
						}
						tasks = append(tasks, &check.Runner{Host: h.name, Name: name, Probe: how, Period: period,
							Timeout: w.timeout, Trap: w.trap, Emit: remembered})
					}
				}
				return tasks
			},
		}}
	if after != nil {
		c.After = after.m
	}
	life.m = monitor.New(c)
	w.crowd.Go(func() {
		defer close(life.ended)
		if err := life.m.Run(p.ctx); err != nil && p.alive() {
			w.say(monitorName, "monitor ends: %v", err)
		}
	})
}

// kill ends the monitor as SIGKILL does.
func (b *brain) kill() {
	if b.life == nil {
		return
	}
	b.life.kill()
	b.life = nil
}

// stop makes the monitor stand still, as SIGSTOP does. The goroutine that owns its state stops in its observer
// (watcher), which is called for every result of a check: so a result is reported once more at once.
func (b *brain) stop() {
	if b.life == nil {
		return
	}
	b.life.stop()
	if b.life.again != nil {
		b.w.crowd.Go(b.life.again)
	}
}

func (b *brain) cont() {
	if b.life != nil {
		b.life.cont()
	}
}

// watcher is the monitor's observer. It keeps a monitor that is stopped from going on: each call waits until it is not.
type watcher struct{ p *process }

func (o watcher) Probed(check.Update)               { _ = o.p.pass() }
func (o watcher) Asked(string, time.Duration, bool) { _ = o.p.pass() }
func (o watcher) Killed(string, bool)               { _ = o.p.pass() }
func (o watcher) Happened(event.Event)              { _ = o.p.pass() }

// killer is kill_host: it works, fails, or says that it has worked and has not.
func (b *brain) killer(p *process) func(context.Context, cluster.Kill) cluster.KillResult {
	return func(ctx context.Context, k cluster.Kill) cluster.KillResult {
		r := cluster.KillResult{Host: k.Host}
		if err := p.call(ctx, b.dice.between(50*time.Millisecond, 3*time.Second)); err != nil {
			r.Err = err.Error()
			return r
		}
		w := b.w
		w.mu.Lock()
		defer w.mu.Unlock()
		switch {
		case w.killWorks && b.dice.one(2):
			h := w.host(k.Host)
			w.note(monitorName, "kill_host %s works", k.Host)
			h.off()
			w.later(b.dice.between(5*time.Second, 20*time.Second),
				func() { h.boot(h.dice.between(time.Second, 20*time.Second)) })
		case w.Abilities.Has(Liars) && b.dice.one(2):
			w.note(monitorName, "kill_host %s lies", k.Host)
			w.lied = true
		default:
			w.note(monitorName, "kill_host %s fails", k.Host)
			r.Err = "exit status 1"
		}
		return r
	}
}

// echo sends pings for the monitor.
type echo struct {
	w *World
	p *process
}

const pingTimeout = 500 * time.Millisecond

func (e echo) Ping(ctx context.Context, ip netip.Addr) error {
	if err := e.p.call(ctx, e.w.network.dice.between(100*time.Microsecond, 2*time.Millisecond)); err != nil {
		return err
	}
	e.w.mu.Lock()
	ok := ip == gatewayIP && e.w.network.both(monitorName, gatewayName)
	for _, h := range e.w.hosts {
		ok = ok || h.ip == ip && h.answers() && e.w.network.both(monitorName, h.name)
	}
	loss := e.w.network.loss
	e.w.mu.Unlock()
	if ok && !e.w.network.dice.chance(loss/4) {
		return nil
	}
	if err := e.p.call(ctx, pingTimeout); err != nil {
		return err
	}
	return os.ErrDeadlineExceeded
}

// probe is one check of one host.
type probe struct {
	w    *World
	p    *process
	h    *host
	name check.Name
}

func (probe) Close() {}

func (c probe) Probe(ctx context.Context) check.Result {
	if c.name == check.Ping {
		if err := (echo{c.w, c.p}).Ping(ctx, c.h.ip); err != nil {
			return check.Result{Status: check.Error, Message: "ERROR: no answer"}
		}
		return check.Result{Status: check.OK, Message: "OK"}
	}
	r, err := connection{c.h.server, c.p, monitorName}.Replica(ctx)
	refused := isRefused(err)
	switch {
	case c.name == check.MySQL && (err == nil || isNoReplica(err)):
		return check.Result{Status: check.OK, Message: "OK"}
	case c.name == check.MySQL:
		return check.Result{Status: check.Error, Message: "ERROR: " + err.Error(), Refused: refused}
	case isNoReplica(err):
		return check.Result{Status: check.Error, Message: "ERROR: Replication is not set up"}
	case err != nil:
		return check.Result{Status: check.Unknown, Message: "UNKNOWN: " + err.Error()}
	case c.name == check.RepThreads && (r.IORunning != "Yes" || r.SQLRunning != "Yes"):
		return check.Result{Status: check.Error, Message: "ERROR: Replication is broken: " + r.IOError + r.SQLError}
	case c.name == check.RepBacklog && r.Lag != nil && *r.Lag > maxBacklog:
		return check.Result{Status: check.Error, Message: "ERROR: Backlog is too big", Lag: *r.Lag, Measured: true}
	}
	return check.Result{Status: check.OK, Message: "OK"}
}

const maxBacklog = 10 * time.Second

// watching is a probe that keeps a connection to the server, and so learns at once when the server dies.
type watching struct{ probe }

// Broken waits until the server has died. Where the monitor can't learn of that, it waits until ctx ends.
func (c watching) Broken(ctx context.Context) error {
	c.w.mu.Lock()
	died := c.h.server.died
	c.w.mu.Unlock()
	select {
	case <-died:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.w.mu.Lock()
	heard := c.h.answers() && c.w.network.both(monitorName, c.h.name)
	c.w.mu.Unlock()
	if heard {
		return c.p.pass()
	}
	<-ctx.Done()
	return ctx.Err()
}

func isRefused(err error) bool   { return errors.Is(err, syscall.ECONNREFUSED) }
func isNoReplica(err error) bool { return errors.Is(err, mysqlctl.ErrNotReplica) }
