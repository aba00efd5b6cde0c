package agentclient

import (
	"context"
	"errors"
	"syscall"
	"time"

	"mysql-mmm/pkg/wire"
)

// send brings a line to the agent: directly, and through other hosts' agents where that fails or failed last time. The
// first answer counts: an order may come twice. While others are at it the direct way is tried again: an agent that is
// reloaded ends a connection, and a relay may hang until the lease that the order prolongs is over.
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
			done <- result{line, "", err} // no more than one is on its way
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
			// A port that refuses says that the host can be reached and its agent does not run.
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
