package monitor

import (
	"net/netip"
	"time"

	"mysql-mmm/pkg/agentclient"
	"mysql-mmm/pkg/cluster"
)

// maxRelays is the number of other agents through which an order goes, at the same time, to an agent that the monitor
// can't reach directly.
const maxRelays = 3

// connectAgents makes a client for each agent. With a lease the clients renew orders at the pace of the lease, and have
// other agents as relays: first those of candidates.
func (m *Monitor) connectAgents() {
	t := m.cfg.Topology
	r, _ := t.Role(t.ActiveMasterRole)
	candidate := map[string]bool{}
	for _, h := range r.Hosts {
		candidate[h] = true
	}
	addr := func(h cluster.Host) netip.AddrPort { return netip.AddrPortFrom(h.IP, uint16(m.cfg.AgentPorts[h.Name])) }
	for _, h := range t.Hosts {
		c := agentclient.Config{Host: h.Name, Addr: addr(h), Agents: m.cfg.Agents, Repeats: m.cfg.Repeats,
			Answers: m.answers,
			Observe: func(took time.Duration, answered bool) { m.cfg.Observer.Asked(h.Name, took, answered) }}
		if t.Lease > 0 {
			c.Renewal = min(agentclient.RenewalPeriod, time.Duration(t.Lease)/4)
			if candidate[h.Name] {
				c.Renewal = t.Lease.Heartbeat()
			}
			for _, first := range []bool{true, false} {
				for _, other := range t.Hosts {
					if other.Name != h.Name && candidate[other.Name] == first && len(c.Relays) < maxRelays {
						c.Relays = append(c.Relays, agentclient.Relay{Host: other.Name, Addr: addr(other)})
					}
				}
			}
		}
		m.agents[h.Name] = agentclient.New(c)
	}
}
