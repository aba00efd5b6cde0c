package agentclient

import (
	"context"
	"errors"
	"syscall"
	"time"

	"mysql-mmm/pkg/wire"
)

// send brings a line to the agent: directly, and through all other hosts' agents too where the direct way fails, or
// failed last time. The first answer counts; the agent may get the order more than once. While the relays are asked the
// direct way is tried again at each renewal: an agent that is reloaded ends the connection, and a relay that hangs must
// not cost so much time that the lease ends which the order prolongs.
func (c *Client) send(ctx context.Context, direct Asker, line string) (answer, via string, err error) {
	type result struct {
		line, via string
		err       error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan result, 1+len(c.cfg.Relays))
	waiting := 0
	askDirectly := func() {
		waiting++
		go func() {
			line, err := direct.Ask(ctx, c.cfg.Addr.String(), line)
			done <- result{line, "", err} // never blocks: one direct question at a time is on its way
		}()
	}
	askRelays := func() {
		for _, r := range c.cfg.Relays {
			waiting++
			go func() {
				text, err := c.through(ctx, r, line)
				done <- result{text, r.Host, err}
			}()
		}
	}
	askDirectly()
	again := time.NewTimer(c.cfg.Renewal)
	again.Stop()
	defer again.Stop()
	relaying := c.relayed
	if relaying {
		askRelays()
	}
	for waiting > 0 {
		var r result
		select {
		case r = <-done:
		case <-again.C:
			askDirectly()
			continue
		}
		waiting--
		if r.err == nil {
			c.relayed = r.via != ""
			return r.line, r.via, nil
		}
		if r.via == "" {
			err = r.err
			// Where the port refuses, the host is reached and its agent does not run: no relay could reach the agent.
			if !relaying && !errors.Is(r.err, syscall.ECONNREFUSED) && ctx.Err() == nil {
				relaying = true
				askRelays()
			}
			if waiting > 0 && ctx.Err() == nil {
				again.Reset(c.cfg.Renewal)
			}
		}
	}
	c.relayed = relaying
	return "", "", err
}

// through asks another host's agent to pass a line on.
func (c *Client) through(ctx context.Context, r Relay, line string) (string, error) {
	text, err := c.cfg.Agents.Ask(ctx, r.Addr.String(), wire.RelayRequest(r.Host, c.cfg.Host, line).String())
	if err != nil {
		return "", err
	}
	a, err := wire.ParseAnswer(text)
	if err != nil {
		return "", err
	}
	return wire.ParseRelayAnswer(a)
}
