package monitor

import (
	"context"
	"errors"
	"net/netip"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

const (
	heartbeat        = time.Second             // how often one of our agents hears its order again
	classicHeartbeat = 3 * time.Second         // the same for an original agent, which forks several processes for each
	orderTimeout     = 3500 * time.Millisecond // our agents answer within 2 s, done or not
	classicTimeout   = 20 * time.Second        // an original one answers when it is done
	askTimeout       = 2 * time.Second
	busyPause        = 20 * time.Millisecond // so that the next order echoes what this answer said
)

// asker sends one line to an agent and returns its answer.
type asker interface {
	Ask(ctx context.Context, addr, line string) (string, error)
}

// courier brings one agent its orders: the newest at once, and again every heartbeat. It has its own goroutine, so that an
// agent that hangs delays nobody.
type courier struct {
	host    string
	addr    string
	ask     asker
	repeat  asker          // for an order that is being repeated; see Config.Repeats
	last    *cluster.Order // was answered last
	answers chan<- cluster.Answer
	posted  chan letter // one slot; the newest wins
	beat    time.Duration
	relays  []relay
	detour  bool // the direct way failed last time

	observer Observer
}

// letter is an order with its number; without an order nothing is sent.
type letter struct {
	order *cluster.Order
	seq   uint64
	clear bool // CLEAR_BAD_ROLES afterwards
	echo  cluster.Stamp
	calm  bool // nothing new but the echo: it goes with the next heartbeat
}

// relay is another host whose agent may pass lines on.
type relay struct{ host, addr string }

func newCourier(host string, ip netip.Addr, port int, ask, repeat asker, answers chan<- cluster.Answer) *courier {
	return &courier{host: host, addr: netip.AddrPortFrom(ip, uint16(port)).String(), ask: ask, repeat: repeat, answers: answers, posted: make(chan letter, 1), beat: heartbeat, observer: unobserved{}}
}

// post hands over the newest order; only the owner may call it. A demand to clear that was not yet met stays.
func (c *courier) post(l letter) {
	select {
	case old := <-c.posted:
		l.clear = l.clear || old.clear
		l.calm = l.calm && old.calm
	default:
	}
	c.posted <- l
}

// Run delivers until ctx ends.
func (c *courier) Run(ctx context.Context) error {
	var now letter
	period, timeout := heartbeat, classicTimeout
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case l := <-c.posted:
			l.clear = l.clear || now.clear
			now = l
			if l.calm {
				continue
			}
		case <-timer.C:
		}
		if now.order == nil {
			timer.Stop()
			continue
		}
		answer, newer, err := c.deliver(ctx, &now, timeout)
		if ctx.Err() != nil {
			return nil
		}
		if newer != nil {
			newer.clear = newer.clear || now.clear
			now = *newer
			timer.Reset(0)
			continue
		}
		period, timeout = c.beat, orderTimeout
		if err == nil && !answer.Extended {
			period, timeout = classicHeartbeat, classicTimeout
		}
		if answer.Busy {
			period = busyPause
		}
		if answer.Reached && now.clear && !answer.Busy {
			// Orders of ours clear by themselves. An agent that was restarted since it answered would have no roles yet, and
			// take all addresses for bad ones.
			now.clear = !answer.Extended && c.clear(ctx) != nil
		}
		select {
		case c.answers <- answer:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(period)
	}
}

// deliver sends one order. An order that says something else ends the wait for its answer.
func (c *courier) deliver(ctx context.Context, l *letter, timeout time.Duration) (cluster.Answer, *letter, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type result struct {
		line, via string
		err       error
	}
	o := l.order
	direct := c.ask
	if c.last != nil && c.last.Equal(*o) {
		direct = c.repeat
	}
	c.last = nil
	order := *o
	order.Extended, order.Seq, order.Echo = true, l.seq, l.echo
	done := make(chan result, 1)
	go func() {
		began := time.Now()
		line, via, err := c.bring(ctx, direct, wire.OrderRequest(c.host, order).String())
		c.observer.Asked(c.host, time.Since(began), err == nil)
		done <- result{line, via, err}
	}()
	for {
		select {
		case r := <-done:
			a, err := c.read(r.line, r.err)
			a.Host, a.Seq, a.Via = c.host, l.seq, r.via
			if err == nil {
				c.last = o
			}
			return a, nil, err
		case next := <-c.posted:
			if next.order != nil && next.order.Equal(*o) {
				next.clear = next.clear || l.clear
				*l = next
				continue
			}
			cancel()
			<-done
			return cluster.Answer{}, &next, nil
		}
	}
}

// bring sends a line to the agent, through others where the direct way fails or failed last time. The first answer counts: an
// order may come twice. While others are at it the direct way is tried again: an agent that is reloaded ends a connection,
// and one of the others may hang until the lease that the order prolongs is over.
func (c *courier) bring(ctx context.Context, direct asker, line string) (answer, via string, err error) {
	type result struct {
		line, via string
		err       error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan result, 1+len(c.relays))
	waiting := 0
	straight := func() {
		waiting++
		go func() {
			line, err := direct.Ask(ctx, c.addr, line)
			done <- result{line, "", err} // no more than one is on its way
		}()
	}
	straight()
	again := time.NewTimer(c.beat)
	again.Stop()
	defer again.Stop()
	around := func() {
		for _, r := range c.relays {
			waiting++
			go func() {
				text, err := c.through(ctx, r, line)
				done <- result{text, r.host, err}
			}()
		}
	}
	started := c.detour
	if started {
		around()
	}
	for waiting > 0 {
		var r result
		select {
		case r = <-done:
		case <-again.C:
			straight()
			continue
		}
		waiting--
		if r.err == nil {
			c.detour = r.via != ""
			return r.line, r.via, nil
		}
		if r.via == "" {
			err = r.err
			// A port that refuses says that the host can be reached and its agent does not run.
			if !started && !errors.Is(r.err, syscall.ECONNREFUSED) && ctx.Err() == nil {
				started = true
				around()
			}
			if waiting > 0 && ctx.Err() == nil {
				again.Reset(c.beat)
			}
		}
	}
	c.detour = started
	return "", "", err
}

func (c *courier) through(ctx context.Context, r relay, line string) (string, error) {
	text, err := c.ask.Ask(ctx, r.addr, wire.RelayRequest(r.host, c.host, line).String())
	if err != nil {
		return "", err
	}
	a, err := wire.ParseAnswer(text)
	if err != nil {
		return "", err
	}
	return wire.ParseRelayAnswer(a)
}

// read turns what came back into an Answer. An answer that can't be understood is no answer.
func (c *courier) read(line string, err error) (cluster.Answer, error) {
	var a wire.Answer
	if err == nil {
		a, err = wire.ParseAnswer(line)
	}
	if err != nil {
		return cluster.Answer{Text: plain(err)}, err
	}
	report := wire.ParseReport(a)
	return cluster.Answer{
		Reached: true, OK: a.OK(), Text: a.Text, Uptime: a.Uptime,
		Extended: report.Extended, Busy: report.Busy, Have: report.Have, Writable: report.Writable != wire.No,
		Switch: report.Switch, Problems: report.Problems, Conflict: report.Conflict, Epoch: report.Epoch, Stamp: report.Stamp,
		Live: report.Live, Candidates: report.Candidates,
		PromisedTo: report.PromisedTo, PromiseAge: report.PromiseAge, ServerGone: report.ServerGone,
		Embargo: report.Embargo, Audit: report.Audit, Across: report.Across,
		Backup: report.Backup, Astray: report.Astray,
		Writing: cluster.Writing{Stalled: report.Stalled, Stall: report.Stall, Fenced: report.Fenced},
	}, nil
}

func plain(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return "no answer in time"
	}
	return err.Error()
}

func (c *courier) clear(ctx context.Context) error {
	_, err := c.query(ctx, wire.NewRequest("CLEAR_BAD_ROLES", c.host))
	return err
}

// query asks the agent something beside its orders.
func (c *courier) query(ctx context.Context, r wire.Request) (wire.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	line, err := c.ask.Ask(ctx, c.addr, r.String())
	if err != nil {
		return wire.Answer{}, err
	}
	return wire.ParseAnswer(line)
}

// ping says whether the agent answers.
func (c *courier) ping(ctx context.Context) bool {
	a, err := c.query(ctx, wire.NewRequest("PING", c.host))
	return err == nil && a.OK()
}

// found asks what the agent was told and what its host has, both at once: a host that is off costs the time of one
// question.
func (c *courier) found(ctx context.Context) cluster.Found {
	system := make(chan *cluster.SystemFound, 1)
	go func() { system <- c.system(ctx) }()
	f := c.told(ctx)
	f.System = <-system
	return f
}

func (c *courier) told(ctx context.Context) cluster.Found {
	a, err := c.query(ctx, wire.NewRequest(wire.GetAgentStatus, c.host))
	if err != nil {
		return cluster.Found{}
	}
	s, err := wire.ParseAgentStatus(a)
	if err != nil {
		return cluster.Found{}
	}
	return cluster.Found{Agent: &cluster.StoredHost{State: s.State, Roles: s.Roles}, Epoch: s.Epoch, Stamp: s.Stamp, Live: s.Live, Uptime: a.Uptime}
}

func (c *courier) system(ctx context.Context) *cluster.SystemFound {
	a, err := c.query(ctx, wire.NewRequest(wire.GetSystemStatus, c.host))
	if err != nil {
		return nil
	}
	s, err := wire.ParseSystemStatus(a)
	if err != nil {
		return nil
	}
	return &cluster.SystemFound{Writable: s.Writable, Roles: s.Roles, MasterIP: s.MasterIP}
}

// reaches asks the agent whether it reaches the server of another host.
func (c *courier) reaches(ctx context.Context, host string) bool {
	a, err := c.query(ctx, wire.NewRequest(wire.CheckHost, c.host, host))
	return err == nil && a.OK()
}
