package agentclient

import (
	"context"
	"errors"
	"net/netip"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// query asks the agent something beside its orders, within queryTimeout. It may be called from any goroutine.
func (c *Client) query(ctx context.Context, r wire.Request) (wire.Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	line, err := c.cfg.Agents.Ask(ctx, c.cfg.Addr.String(), r.String())
	if err != nil {
		return wire.Answer{}, err
	}
	return wire.ParseAnswer(line)
}

// Ping says whether the agent answers (PING).
func (c *Client) Ping(ctx context.Context) bool {
	a, err := c.query(ctx, wire.NewRequest("PING", c.cfg.Host))
	return err == nil && a.OK()
}

// Announce asks the agent to announce an address of its host that the monitor does not reach (ANNOUNCE). The error says
// that the agent did not answer; that it refused is none.
func (c *Client) Announce(ctx context.Context, ip netip.Addr) error {
	_, err := c.query(ctx, wire.NewRequest(wire.Announce, c.cfg.Host, ip.String()))
	if errors.Is(err, context.DeadlineExceeded) {
		return errLate
	}
	return err
}

// Reaches asks the agent whether it reaches the server of another host (CHECK_HOST). No answer counts as no.
func (c *Client) Reaches(ctx context.Context, host string) bool {
	a, err := c.query(ctx, wire.NewRequest(wire.CheckHost, c.cfg.Host, host))
	return err == nil && a.OK()
}

// Found asks what the agent was last ordered (GET_AGENT_STATUS) and what its host has (GET_SYSTEM_STATUS). It asks both
// at the same time, so that a host that is off costs the time of one question.
func (c *Client) Found(ctx context.Context) cluster.Found {
	system := make(chan *cluster.SystemFound, 1)
	go func() { system <- c.system(ctx) }()
	f := c.told(ctx)
	f.System = <-system
	return f
}

func (c *Client) told(ctx context.Context) cluster.Found {
	a, err := c.query(ctx, wire.NewRequest(wire.GetAgentStatus, c.cfg.Host))
	if err != nil {
		return cluster.Found{}
	}
	s, err := wire.ParseAgentStatus(a)
	if err != nil {
		return cluster.Found{}
	}
	return cluster.Found{Agent: &cluster.StoredHost{State: s.State, Roles: s.Roles},
		Epoch: s.Epoch, Stamp: s.Stamp, Live: s.Live, Uptime: a.Uptime}
}

func (c *Client) system(ctx context.Context) *cluster.SystemFound {
	a, err := c.query(ctx, wire.NewRequest(wire.GetSystemStatus, c.cfg.Host))
	if err != nil {
		return nil
	}
	s, err := wire.ParseSystemStatus(a)
	if err != nil {
		return nil
	}
	return &cluster.SystemFound{Writable: s.Writable, Roles: s.Roles, MasterIP: s.MasterIP}
}

// clear tells an original agent to take off what it was not ordered to have (CLEAR_BAD_ROLES).
func (c *Client) clear(ctx context.Context) error {
	_, err := c.query(ctx, wire.NewRequest("CLEAR_BAD_ROLES", c.cfg.Host))
	return err
}
