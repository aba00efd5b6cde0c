package wire

import (
	"context"
	"strings"
	"sync"
	"time"
)

// keptPatience is how long a kept connection may take to bring an answer. A connection that the network has forgotten
// would take minutes to fail; our agents answer a repeated order within milliseconds.
const keptPatience = 200 * time.Millisecond

// Pool asks like its Dialer, and keeps one connection to each agent of ours for the next question. An original agent
// serves one connection at a time, so no connection to it is kept. The zero value speaks plain TCP. A Pool can be used
// by many goroutines at once and starts none.
type Pool struct {
	Dialer Dialer

	mu   sync.Mutex
	kept map[string]*connection // by address; a connection is taken out while it is in use
}

// Ask sends one line as Dialer.Ask does. A kept connection that fails, or brings no answer within 200 ms, is given up,
// and the line is sent again on a new connection. So the line must be a request that may be carried out twice, and that
// may come 200 ms later.
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

// put keeps a connection for the next question, or ends it where it is not fit for that.
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

// fromOurs tells whether the answer to an order comes from an agent of ours.
func fromOurs(answer string) bool {
	pairs, _ := parseExtras(strings.Split(answer, "|"))
	return pairs.extended()
}
