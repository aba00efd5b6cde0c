package bubble

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/event"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/monitor"
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

// configuration is what the monitor's file says.
func (b *brain) configuration() *config.Config {
	w := b.w
	c := &config.Config{ActiveMasterRole: writerRole, MaxKillRetries: int(w.grace / time.Second),
		WriterLease: time.Duration(b.setup.lease), FastFailover: w.fast, SwitchTimeout: 10 * time.Second,
		Monitor: config.MonitorConfig{PingInterval: time.Second, PingIPs: []netip.Addr{gatewayIP},
			AutoSetOnline: w.autoOnline, FlapDuration: time.Hour, FlapCount: w.flaps, WaitForOtherMaster: w.waitOther,
			WriteTimeout: w.unwritten, FailoverLoss: string(cluster.LossNamed), StatusPath: monitorState},
		Checks: config.Checks{}}
	if w.Without.Fit {
		c.Monitor.FailoverLoss = string(cluster.LossAny)
	}
	if w.Without.Wait {
		c.WriterLease = 300 * time.Millisecond
	}
	for _, name := range check.Known().Names() {
		c.Checks[string(name)] = config.Check{Period: b.setup.period, Trap: w.trap, Timeout: w.timeout,
			MaxBacklog: maxBacklog}
	}
	var all []string
	for _, h := range w.hosts {
		host := config.Host{Name: h.name, IP: h.ip, Mode: config.Master, Peer: w.peer(h.name), MySQLPort: 3306,
			MonitorUser: "mmm_monitor"}
		if h.slave {
			host.Mode, host.Peer = config.Slave, ""
		}
		c.Hosts, all = append(c.Hosts, host), append(all, h.name)
	}
	if w.readers {
		c.Roles = append(c.Roles, config.Role{Name: readerRole, Hosts: all, IPs: readerIPs})
	}
	c.Roles = append(c.Roles, config.Role{Name: writerRole, Exclusive: true, Hosts: slices.Clone(b.setup.candidates),
		IPs: []netip.Addr{writerIP}})
	return c
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
	conf, links := b.configuration(), monitor.Links{Echo: echo{w, p}, Connect: w.connect(p), Resolve: w.resolve}
	checks := monitor.NewChecks(conf, links)
	hosts := checks.Hosts
	checks.Hosts = func(emit func(check.Update)) []monitor.Task {
		return hosts(func(u check.Update) {
			if u.Name == check.RepThreads {
				w.mu.Lock()
				life.again = func() { emit(u) }
				w.mu.Unlock()
			}
			emit(u)
		})
	}
	c := monitor.Config{Topology: monitor.Topology(conf), Mode: b.mode, StatusPath: monitorState,
		Store:   store.NewFile(monitorState, filesOf{b.disk, p}),
		KillBin: os.DevNull, Kill: b.killer(p),
		AgentPorts: map[string]int{}, Agents: phone{w.network, p, monitorName, false},
		Repeats:  phone{w.network, p, monitorName, true},
		Observer: watcher{p}, History: history.Open("", log), Log: log,
		Behind: monitor.NewBehind(conf, links),
		Checks: checks, Links: links, PingIPs: conf.Monitor.PingIPs}
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
		ok = ok || (h.ip == ip || h.kernel.has(ip)) && h.answers() && e.w.network.both(monitorName, h.name)
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

const maxBacklog = 10 * time.Second
