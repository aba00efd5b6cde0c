package monitor

import (
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

// releaseSlack is the time that a host has to give up an address, beyond the seconds of max_kill_retries.
const releaseSlack = 5 * time.Second

// Topology takes from the configuration what the brain needs.
func Topology(c *config.Config) cluster.Topology {
	t := cluster.Topology{
		ActiveMasterRole:   c.ActiveMasterRole,
		AutoSetOnline:      c.Monitor.AutoSetOnline,
		FlapDuration:       c.Monitor.FlapDuration,
		FlapCount:          c.Monitor.FlapCount,
		WaitForOtherMaster: c.Monitor.WaitForOtherMaster,
		FailoverLoss:       cluster.Loss(c.Monitor.FailoverLoss),
		WriteTimeout:       c.Monitor.WriteTimeout,
		Interruption:       timing(c, check.RepThreads).Trap,
		CarefulStartup:     c.Monitor.CarefulStartup,
		ReleaseTimeout:     time.Duration(c.MaxKillRetries)*time.Second + releaseSlack,
		SwitchTimeout:      c.SwitchTimeout,
		Lease:              cluster.Lease(c.WriterLease),
		FastFailover:       c.FastFailover,
	}
	for _, k := range c.Checks {
		t.NetworkGrace = max(t.NetworkGrace, k.Trap+k.Period+k.Timeout)
	}
	for _, h := range c.Hosts {
		t.Hosts = append(t.Hosts, cluster.Host{Name: h.Name, IP: h.IP, Port: h.MySQLPort,
			Master: h.Mode == config.Master, Peer: h.Peer})
	}
	for _, r := range c.Roles {
		t.Roles = append(t.Roles, cluster.Role{Name: r.Name, Exclusive: r.Exclusive, Hosts: r.Hosts, IPs: r.IPs,
			Prefer: r.Prefer})
	}
	return t
}
