// Package agentclient is the monitor's side of the agent protocol: one Client for each agent brings it the newest order
// and asks it questions. It decides nothing. The agent's side is in package agent, what goes over the wire in package
// wire.
package agentclient

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// RenewalPeriod is how often an agent of ours hears its order again where Config.Renewal says nothing else.
const RenewalPeriod = time.Second

const (
	classicRenewal = 3 * time.Second         // of an original agent, which forks several processes for each order
	orderTimeout   = 3500 * time.Millisecond // an agent of ours answers within 2 s, whether the work is done or not
	classicTimeout = 20 * time.Second        // an original agent answers when the work is done
	queryTimeout   = 2 * time.Second
	busyPause      = 20 * time.Millisecond // after a busy answer: time for the monitor to echo its stamp in the next order
)

// Asker sends one line to the agent at addr (ip:port) and returns its answer.
type Asker interface {
	Ask(ctx context.Context, addr, line string) (string, error)
}

// Config is what a Client is made of.
type Config struct {
	Host    string         // the agent's
	Addr    netip.AddrPort // where it listens
	Agents  Asker
	Repeats Asker         // as Agents, for orders that the agent has answered before: it may keep connections; nil: Agents
	Renewal time.Duration // from one order to its repetition; 0: RenewalPeriod
	Relays  []Relay       // other hosts' agents, through which orders go where this agent does not answer
	Answers chan<- cluster.Answer

	// Observe hears of each order that was sent, how long its answer took and whether there was one; nil: nobody does.
	Observe func(took time.Duration, answered bool)
}

// Relay is the agent of another host, which passes lines on.
type Relay struct {
	Host string
	Addr netip.AddrPort
}

// Client brings one agent its orders: the newest at once, and again at each renewal. Run has its own goroutine, so that
// an agent that hangs delays nobody else.
type Client struct {
	cfg     Config
	mailbox chan Message // one slot; the newest wins

	// Run's own:
	last    *cluster.Order // the order that was last sent, if it was answered; nil: it was not
	relayed bool           // the last order went through another host's agent, or was tried so in vain
}

// Message is an order on its way to the agent, and how it is to be sent.
type Message struct {
	Order  *cluster.Order // nil: the agent is told nothing from now on, and the last order is not repeated
	Clear  bool           // send CLEAR_BAD_ROLES after the order, to an original agent
	Repeat bool           // only the echo is new: it is enough to send the order at the next renewal
}

// New makes a Client and starts nothing.
func New(c Config) *Client {
	if c.Repeats == nil {
		c.Repeats = c.Agents
	}
	if c.Renewal == 0 {
		c.Renewal = RenewalPeriod
	}
	return &Client{cfg: c, mailbox: make(chan Message, 1)}
}

// Post hands over the newest message. It never blocks; only one goroutine may call it. Where the message before was not
// taken yet, its Clear stays.
func (c *Client) Post(m Message) {
	select {
	case old := <-c.mailbox:
		m.Clear = m.Clear || old.Clear
		m.Repeat = m.Repeat && old.Repeat
	default:
	}
	c.mailbox <- m
}

// Run delivers orders until ctx ends: each new one at once, and the newest again at each renewal. It puts how each
// ended into Config.Answers.
func (c *Client) Run(ctx context.Context) error {
	var now Message
	timeout := classicTimeout
	timer := time.NewTimer(0)
	<-timer.C
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-c.mailbox:
			m.Clear = m.Clear || now.Clear
			now = m
			if m.Repeat {
				continue
			}
		case <-timer.C:
		}
		if now.Order == nil {
			timer.Stop()
			continue
		}
		answer, newer, err := c.deliver(ctx, &now, timeout)
		if ctx.Err() != nil {
			return nil
		}
		if newer != nil {
			newer.Clear = newer.Clear || now.Clear
			now = *newer
			timer.Reset(0)
			continue
		}
		period := c.cfg.Renewal
		timeout = orderTimeout
		if err == nil && !answer.Extended {
			period, timeout = classicRenewal, classicTimeout
		}
		if answer.Busy {
			period = busyPause
		}
		if answer.Reached && now.Clear && !answer.Busy {
			// An agent of ours needs no CLEAR_BAD_ROLES: it takes off by itself what its order does not have. And one that
			// was restarted since this answer would have no order yet, and take off all its addresses.
			now.Clear = !answer.Extended && c.clear(ctx) != nil
		}
		select {
		case c.cfg.Answers <- answer:
		case <-ctx.Done():
			return nil
		}
		timer.Reset(period)
	}
}

// deliver sends the order of m and waits for its answer. A message with another order ends the wait, and is returned.
// One with an equal order takes m's place, for the next renewal.
func (c *Client) deliver(ctx context.Context, m *Message, timeout time.Duration) (cluster.Answer, *Message, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	type result struct {
		line, via string
		err       error
	}
	o := m.Order
	direct := c.cfg.Agents
	if c.last != nil && c.last.Equal(*o) {
		direct = c.cfg.Repeats
	}
	c.last = nil
	done := make(chan result, 1)
	request := wire.OrderRequest(c.cfg.Host, *o).String()
	go func() {
		began := time.Now()
		line, via, err := c.send(ctx, direct, request)
		if c.cfg.Observe != nil {
			c.cfg.Observe(time.Since(began), err == nil)
		}
		done <- result{line, via, err}
	}()
	for {
		select {
		case r := <-done:
			a, err := read(r.line, r.err)
			a.Host, a.Seq, a.Via = c.cfg.Host, m.Order.Seq, r.via
			if err == nil {
				c.last = o
			}
			return a, nil, err
		case next := <-c.mailbox:
			if next.Order != nil && next.Order.Equal(*o) {
				next.Clear = next.Clear || m.Clear
				*m = next
				continue
			}
			cancel()
			<-done
			return cluster.Answer{}, &next, nil
		}
	}
}

// read turns the line that came back, or the error, into an Answer. A line that can't be understood counts as no
// answer.
func read(line string, err error) (cluster.Answer, error) {
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
		Switch: report.Switch, Problems: report.Problems, Conflicts: report.Conflicts,
		Epoch: report.Epoch, Stamp: report.Stamp,
		Live: report.Live, Candidates: report.Candidates,
		PromisedTo: report.PromisedTo, PromiseAge: report.PromiseAge, ServerGone: report.ServerGone,
		Embargo: report.Embargo, Audit: report.Audit, Across: report.Across,
		Backup: report.Backup, Astray: report.Astray,
		Writing: cluster.Writing{Stalled: report.Stalled, Stall: report.Stall, Fenced: report.Fenced},
	}, nil
}

// errLate is what people read where a deadline has passed.
var errLate = errors.New("no answer in time")

func plain(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return errLate.Error()
	}
	return err.Error()
}
