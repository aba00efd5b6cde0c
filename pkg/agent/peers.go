package agent

import (
	"net/netip"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// servers reaches the servers of the configuration's hosts as the agent user.
type servers struct {
	hosts []config.Host
	all   map[string]*mysqlctl.Server
}

// NewPeers makes Peers of a configuration.
func NewPeers(c *config.Config) Peers {
	s := servers{hosts: c.Hosts, all: map[string]*mysqlctl.Server{}}
	for _, h := range c.Hosts {
		s.all[h.Name] = mysqlctl.New(Account(c, h))
	}
	return s
}

// Account is how the local agent logs in to a host's server.
func Account(c *config.Config, h config.Host) mysqlctl.Config {
	local := c.Local()
	return mysqlctl.Config{
		Addr: netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String(),
		User: local.AgentUser, Password: local.AgentPassword.Reveal(),
		Channel: h.ReplicationChannel, ConnectTimeout: remoteTimeout,
	}
}

func (s servers) ByIP(ip string) (string, Remote, bool) {
	for _, h := range s.hosts {
		if h.IP.String() == ip {
			return h.Name, s.all[h.Name], true
		}
	}
	return "", nil, false
}

func (s servers) ByName(name string) (string, Remote, bool) {
	for _, h := range s.hosts {
		if h.Name == name {
			return h.IP.String(), s.all[name], true
		}
	}
	return "", nil, false
}

// NewSources says how this host replicates from another.
func NewSources(c *config.Config) func(string) (Source, bool) {
	local := c.Local()
	return func(name string) (Source, bool) {
		h, ok := c.Host(name)
		return Source{Host: h.IP.String(), Port: h.MySQLPort, User: local.ReplicationUser, Password: local.ReplicationPassword.Reveal()}, ok
	}
}

// NewSite takes from the configuration what this host is.
func NewSite(c *config.Config) Site {
	local := c.Local()
	s := Site{Host: local.Name, Slave: local.Mode == config.Slave, MayWrite: local.Mode == config.Master, ActiveMasterRole: c.ActiveMasterRole}
	for _, r := range c.Roles {
		for _, ip := range r.IPs {
			s.Addresses = append(s.Addresses, cluster.RoleIP{Role: r.Name, IP: ip})
		}
	}
	return s
}
