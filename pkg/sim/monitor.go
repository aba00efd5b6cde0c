package sim

import (
	"time"

	"mysql-mmm/pkg/cluster"
)

// monitor is the shell around the brain.
type monitor struct {
	w     *World
	proc  process
	rate  float64
	disk  cluster.Durable
	state cluster.State
	ready bool

	saving  int                      // serial of the newest save
	pending bool                     // orders wait for it
	out     map[string]cluster.Order // as released
	seq     uint64                   // of the released orders
	heard   map[string]time.Duration // last answer of each agent
	good    map[string]time.Duration // last good probe of each server
	echo    map[string]cluster.Stamp
}

func newMonitor(w *World) *monitor {
	return &monitor{w: w, rate: 0.99 + 0.02*w.rng.Float64()}
}

func (m *monitor) clock() time.Duration { return time.Hour + time.Duration(float64(m.w.now)*m.rate) }

const tick = 100 * time.Millisecond

// brain is the topology that the brain decides by.
func (m *monitor) brain() cluster.Topology {
	t := m.w.t
	if m.w.Rules.NoWait {
		t.Lease = 1
	}
	return t
}

// ordered is the lease that orders give.
func (m *monitor) ordered() cluster.Lease {
	if m.w.Rules.NoSlack {
		return lease + cluster.Lease(1250*time.Millisecond)
	}
	return lease
}

// begin starts the program: it looks, reads its disk, asks the agents, and decides.
func (m *monitor) begin() {
	m.ready, m.pending = false, false
	m.out, m.heard, m.good, m.echo = map[string]cluster.Order{}, map[string]time.Duration{}, map[string]time.Duration{}, map[string]cluster.Stamp{}
	m.w.timer(&m.proc, m.w.between(200*time.Millisecond, time.Second), func() {
		found := map[string]cluster.Found{}
		for _, h := range m.w.hosts {
			m.heard[h.name], m.good[h.name] = m.clock(), m.clock()-time.Hour
			f := cluster.Found{}
			if s, ok := m.disk.Hosts[h.name]; ok {
				f.Stored = &s
			}
			if m.w.reaches("mon", h.name) && h.proc.up && !h.proc.stopped {
				f.Agent = &cluster.StoredHost{State: cluster.Unknown}
				f.System = &cluster.SystemFound{Writable: h.server.writable}
				f.Epoch = h.disk.Epoch
				if h.kernel.present {
					f.System.Roles = []cluster.RoleIP{writer}
				}
			}
			found[h.name] = f
		}
		m.ready = true
		var out cluster.Output
		m.state, out = cluster.Start(m.brain(), cluster.Active, m.disk, found, m.verdicts(), m.clock())
		m.settle(out, true)
		m.tick()
		for _, h := range m.w.hosts {
			m.beat(h)
		}
	})
}

func (m *monitor) verdicts() map[string]cluster.Verdicts {
	all := map[string]cluster.Verdicts{}
	for _, h := range m.w.hosts {
		up := m.w.reaches("mon", h.name) && h.on && !h.paused
		if up && h.server.up {
			m.good[h.name] = m.clock()
		}
		alive := m.clock()-m.good[h.name] < time.Second
		all[h.name] = cluster.Verdicts{Ping: up, MySQL: alive, RepThreads: true, RepBacklog: true, Refused: up && !h.server.up}
	}
	return all
}

func (m *monitor) step(in cluster.Input) {
	if !m.ready {
		return
	}
	in.Now, in.NetworkUp, in.Verdicts = m.clock(), true, m.verdicts()
	last := m.state
	var out cluster.Output
	m.state, out = cluster.Step(m.brain(), last, in)
	m.settle(out, m.state.Seq != last.Seq || m.state.Epoch != last.Epoch)
}

// settle saves what was decided and releases it.
func (m *monitor) settle(out cluster.Output, changed bool) {
	for _, e := range out.Events {
		m.w.note("monitor: %s", e.Text)
	}
	for _, k := range out.Kills {
		m.kill(k)
	}
	if !changed {
		return
	}
	m.saving++
	serial, durable := m.saving, m.state.Durable()
	m.pending = true
	if m.w.Rules.SavedAfterSending {
		m.release()
	}
	m.w.timer(&m.proc, m.w.between(0, m.w.slowDisk), func() {
		if m.saving != serial {
			return
		}
		m.disk = durable
		m.pending = false
		m.release()
	})
}

func (m *monitor) release() {
	m.seq = m.state.Seq
	for _, o := range cluster.Orders(m.brain(), m.state) {
		if o.Lease > 0 {
			o.Lease = m.ordered()
		}
		m.out[o.Host] = o
		m.w.epoch(o.Epoch)
		m.refresh(o.Host)
		m.deliver(m.w.host(o.Host))
	}
}

// refresh takes the newest stamp that may be echoed with what is being told.
func (m *monitor) refresh(host string) {
	m.echo[host] = m.state.Echo(m.brain(), host, m.out[host].Epoch)
}

func (m *monitor) beat(h *host) {
	m.w.timer(&m.proc, lease.Heartbeat(), func() {
		m.beat(h)
		m.deliver(h)
	})
}

// deliver brings a host its order.
func (m *monitor) deliver(h *host) {
	o, told := m.out[h.name]
	if !told {
		return
	}
	seq, echo := m.seq, m.echo[h.name]
	life := m.proc.life
	m.w.send("mon", h.name, &h.proc, func() {
		h.obey(o, echo, func(a cluster.Answer) {
			a.Seq = seq
			m.w.send(h.name, "mon", &m.proc, func() {
				if m.proc.life != life {
					return
				}
				m.heard[h.name] = m.clock()
				m.step(cluster.Input{Answers: []cluster.Answer{a}})
				if _, told := m.out[h.name]; told {
					m.refresh(h.name)
				}
			})
		})
	})
}

func (m *monitor) tick() {
	m.w.timer(&m.proc, tick, m.tick)
	in := cluster.Input{}
	for _, h := range m.w.hosts {
		if m.clock()-m.heard[h.name] > time.Second {
			in.Answers = append(in.Answers, cluster.Answer{Host: h.name, Seq: m.seq, Text: "no answer in time"})
		}
	}
	m.step(in)
}

// kill runs kill_host, which works in half of the cases, and only where the machine can be reached.
func (m *monitor) kill(k cluster.Kill) {
	works := m.w.rng.IntN(2) == 0
	m.w.timer(&m.proc, 200*time.Millisecond, func() {
		result := cluster.KillResult{Host: k.Host, Err: "exit status 1"}
		if works {
			result.Err = ""
			h := m.w.host(k.Host)
			m.w.note("%s is switched off", k.Host)
			h.off()
			m.w.after(m.w.between(5*time.Second, 20*time.Second), h.boot)
		}
		m.step(cluster.Input{Killed: []cluster.KillResult{result}})
	})
}
