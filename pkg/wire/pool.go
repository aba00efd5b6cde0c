package wire

import (
	"context"
	"strings"
	"sync"
	"time"
)

// keptPatience is how long a kept connection may take to bring an answer. One that the network has forgotten would take
// minutes to fail; our agents answer a repeated order within milliseconds.
const keptPatience = 200 * time.Millisecond

// Pool asks like its Dialer, and keeps the connection for the next question to the same agent: one to each agent of
// ours that answers orders. An original agent serves one connection at a time, so none to it is kept. The zero value
// speaks plain TCP. It can be used by many goroutines at once and starts none.
type Pool struct {
	Dialer Dialer

	mu   sync.Mutex
	kept map[string]*connection // by address; who asks takes it out
}

// Ask sends one line as Dialer.Ask does. A kept connection that fails, or brings no answer within 200 ms, is given up,
// and the line is sent again on a new one: it must be one that may be carried out twice, and no order that must not
// lose these 200 ms.
func (p *Pool) Ask(ctx context.Context, addr, line string) (string, error) {
	if err := checkRequest(ctx, line); err != nil {
		return "", err
	}
	if c := p.get(addr); c != nil {
		answer, err := p.ask(ctx, c, line)
		if err == nil || ctx.Err() != nil {
			return answer, err
		}
	}
	c, err := p.Dialer.open(ctx, addr, line)
	if err != nil {
		return "", err
	}
	began := time.Now()
	answer, err := c.ask(ctx, line)
	p.put(c, err == nil && time.Since(began) < keptPatience && fromOurs(answer))
	return answer, err
}

// ask uses a kept connection.
func (p *Pool) ask(ctx context.Context, c *connection, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, keptPatience)
	defer cancel()
	answer, err := c.ask(ctx, line)
	p.put(c, err == nil && fromOurs(answer))
	return answer, err
}

func (p *Pool) get(addr string) *connection {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.kept[addr]
	delete(p.kept, addr)
	return c
}

// put takes a connection back, or ends it.
func (p *Pool) put(c *connection, fit bool) {
	if !fit || !c.idle {
		c.end()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.kept == nil {
		p.kept = map[string]*connection{}
	}
	if p.kept[c.addr] != nil {
		c.end()
		return
	}
	p.kept[c.addr] = c
}

// Close ends the kept connections. The Pool can still be used.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.kept {
		c.end()
	}
	p.kept = nil
}

// fromOurs tells that the answer to an order comes from an agent of ours.
func fromOurs(answer string) bool {
	pairs, _ := parseExtras(strings.Split(answer, "|"))
	return pairs.extended()
}
