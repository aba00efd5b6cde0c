package bubble

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// Machines that are not database hosts.
const (
	monitorName = "mon"
	clientName  = "client"
	gatewayName = "gateway"
)

// network connects the machines.
type network struct {
	w     *World
	dice  *dice
	cut   map[[2]string]bool // one way
	loss  float64            // the part (0 to 1) of segments that are lost, and sent again
	tails float64            // the part that take up to 2 s
	late  float64            // the part of requests that also arrive a second time, up to 5 s later
}

// passes says whether the line is not cut in this direction. The world is locked.
func (n *network) passes(from, to string) bool { return !n.cut[[2]string{from, to}] }

// both says whether the line is cut in neither direction. The world is locked.
func (n *network) both(a, b string) bool { return n.passes(a, b) && n.passes(b, a) }

// line cuts or mends one direction of the line between two machines. The world is locked.
func (n *network) line(from, to string, cut bool) { n.cut[[2]string{from, to}] = cut }

// alone cuts a machine off from all others, or mends that. The world is locked.
func (n *network) alone(name string, cut bool) {
	for _, o := range n.w.machines() {
		if o != name {
			n.line(name, o, cut)
			n.line(o, name, cut)
		}
	}
}

// weather is how bad the network is at the moment.
func (n *network) weather() (loss, tails, late float64) {
	n.w.mu.Lock()
	defer n.w.mu.Unlock()
	return n.loss, n.tails, n.late
}

// dialTimeout is how long a program tries to connect.
const dialTimeout = time.Second

// travel waits until a segment has arrived that TCP sends again and again. It returns the error of ctx, or errDead,
// where that comes first.
func (n *network) travel(ctx context.Context, p *process, from, to string) error {
	again := 200 * time.Millisecond
	for {
		d := n.dice.between(100*time.Microsecond, 3*time.Millisecond)
		if _, tails, _ := n.weather(); n.dice.chance(tails) {
			d = n.dice.between(0, 2*time.Second)
		}
		if err := p.sleep(ctx, d); err != nil {
			return err
		}
		n.w.mu.Lock()
		ok, loss := n.passes(from, to) && n.w.answers(to), n.loss
		n.w.mu.Unlock()
		if ok && !n.dice.chance(loss) {
			return nil
		}
		if err := p.sleep(ctx, again); err != nil {
			return err
		}
		again *= 2
	}
}

// ask sends a line from a process to the agent of a host, and returns the agent's answer. kept says that the connection
// is there already.
func (n *network) ask(ctx context.Context, p *process, from string, to *host, line string, kept bool) (string, error) {
	if err := p.pass(); err != nil {
		return "", err
	}
	answer, err := n.exchange(ctx, p, from, to, line, kept)
	if dead := p.pass(); dead != nil {
		return "", dead
	}
	if instead, ok := n.w.Without.instead(from, line); ok && err != nil {
		return instead, nil
	}
	return answer, err
}

func (n *network) exchange(ctx context.Context, p *process, from string, to *host, line string, kept bool) (string,
	error) {
	if !kept {
		dialing, cancel := context.WithTimeout(ctx, dialTimeout)
		defer cancel()
		if err := n.travel(dialing, p, from, to.name); err != nil {
			return "", fmt.Errorf("connect to %s: %w", to.name, os.ErrDeadlineExceeded)
		}
	}
	n.w.mu.Lock()
	agent := to.agent
	n.w.mu.Unlock()
	if err := n.travel(ctx, p, to.name, from); err != nil {
		return "", ctxOr(ctx, err)
	}
	switch {
	case agent == nil:
		return "", fmt.Errorf("connect to %s: %w", to.name, syscall.ECONNREFUSED)
	case agent.secret != p.secret:
		return "", &wire.AuthError{Addr: to.name}
	}
	if _, _, late := n.weather(); n.dice.chance(late) {
		n.ghost(from, to, agent, line)
	}
	if err := n.travel(ctx, p, from, to.name); err != nil {
		if _, _, late := n.weather(); n.dice.chance(late * 10) {
			n.ghost(from, to, agent, line)
		}
		return "", ctxOr(ctx, err)
	}
	done := make(chan string, 1)
	n.w.crowd.Go(func() { done <- n.deliver(from, to, agent, line) })
	var answer string
	select {
	case answer = <-done:
	case <-ctx.Done():
		return "", ctx.Err()
	case <-p.dead:
		return "", errDead
	}
	if answer == "" {
		return "", errors.New("connection reset by peer")
	}
	if err := n.travel(ctx, p, to.name, from); err != nil {
		return "", ctxOr(ctx, err)
	}
	return n.w.Without.answer(n.w, from, to, answer, line), nil
}

func ctxOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// ghost delivers a request up to 5 s later, when nobody waits for the answer any more.
func (n *network) ghost(from string, to *host, agent *agentProcess, line string) {
	d := n.dice.between(0, 5*time.Second)
	n.w.crowd.Go(func() {
		if agent.sleep(n.w.ctx, d) != nil {
			return
		}
		n.w.mu.Lock()
		ok := n.w.answers(to.name) // it has passed the line, which may be cut by now
		if ok {
			n.w.note("network", "%s hears late from %s: %s", to.name, from, line)
		}
		n.w.mu.Unlock()
		if ok {
			n.deliver(from, to, agent, line)
		}
	})
}

// deliver gives a line to an agent and returns its answer; "": the agent has died.
func (n *network) deliver(from string, to *host, agent *agentProcess, line string) string {
	if agent.pass() != nil {
		return ""
	}
	line, answer := n.w.Without.request(n.w, from, to, line)
	n.w.readable(from, to.name, line)
	if answer == "" {
		answer = agent.a.Handle(agent.ctx, line)
	}
	if agent.pass() != nil {
		return ""
	}
	n.w.understood(from, to, line, answer)
	if strings.HasPrefix(line, wire.SetStatus+"|") && !strings.Contains(answer, "refused") {
		n.w.mu.Lock()
		agent.ordered = true
		n.w.mu.Unlock()
	}
	return answer
}

// phone is how the monitor asks agents, by their addresses.
type phone struct {
	n    *network
	p    *process
	from string // the machine of process p
	kept bool   // over a connection that is kept
}

func (f phone) Ask(ctx context.Context, addr, line string) (string, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "", err
	}
	i := slices.IndexFunc(f.n.w.hosts, func(h *host) bool { return h.ip == at.Addr() })
	if i < 0 {
		return "", errors.New("no route to host")
	}
	return f.n.ask(ctx, f.p, f.from, f.n.w.hosts[i], line, f.kept)
}

// readable: it is wrong where a program sends a line that can't be read.
func (w *World) readable(from, to, line string) {
	req, err := wire.ParseRequest(line)
	if err == nil {
		switch req.Command {
		case wire.SetStatus:
			var o cluster.Order
			if o, err = wire.ParseOrder(req); err == nil {
				w.ordered(to, o)
			}
		case wire.PeerStatus:
			_, err = wire.ParseQuestion(req)
		}
	}
	if err != nil {
		w.failed("what %s sends to %s can't be read: %v: %s", from, to, err, line)
	}
}

// understood: it is wrong where an agent's answer to a line can't be read.
func (w *World) understood(from string, to *host, line, answer string) {
	a, err := wire.ParseAnswer(answer)
	if err != nil {
		w.failed("the answer of %s to %s can't be read: %v: %s", to.name, from, err, answer)
		return
	}
	switch command, _, _ := strings.Cut(line, "|"); command {
	case wire.SetStatus:
		r := wire.ParseReport(a)
		if !r.Extended {
			w.failed("%s answers %s as an original agent does: %s", to.name, from, answer)
		}
		for _, p := range r.Problems {
			if strings.HasPrefix(p, "unreadable report") {
				w.failed("the report of %s to %s can't be read: %s: %s", to.name, from, p, answer)
			}
		}
	case wire.GetAgentStatus:
		_, err = wire.ParseAgentStatus(a)
	case wire.GetSystemStatus:
		_, err = wire.ParseSystemStatus(a)
	case wire.PeerStatus:
		if a.Text == wire.PromisedText {
			w.promised(line, to)
		}
	}
	if err != nil && a.OK() {
		w.failed("the answer of %s to %s can't be read: %v: %s", to.name, from, err, answer)
	}
}
