package agent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/fence"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
)

// PeerServers reaches the servers of the configuration's hosts as the agent user: they are the Peers of a real cluster.
type PeerServers struct {
	who   *Identities
	hosts []config.Host
	all   map[string]*mysqlctl.Server
}

// NewPeers makes the PeerServers of a configuration; who knows the servers.
func NewPeers(c *config.Config, who *Identities) *PeerServers {
	s := &PeerServers{who: who, hosts: c.Hosts, all: map[string]*mysqlctl.Server{}}
	for _, h := range c.Hosts {
		s.all[h.Name] = mysqlctl.New(Account(c, h))
	}
	return s
}

// String names the task.
func (s *PeerServers) String() string { return "connections to the other servers" }

// peersRest is how long a connection to another host's server is kept: from one question of a role change to the next.
// It would count as a client there, which an original agent, or an admin, waits for.
const peersRest = 2 * time.Second

// Run closes connections that are no longer used, until ctx ends, and then all.
func (s *PeerServers) Run(ctx context.Context) error {
	ticker := time.NewTicker(peersRest)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, server := range s.all {
				server.Rest(peersRest)
			}
		case <-ctx.Done():
			for _, server := range s.all {
				server.Close()
			}
			return nil
		}
	}
}

// Account is how the local agent logs in to a host's server.
func Account(c *config.Config, h config.Host) mysqlctl.Config {
	local := c.Local()
	return mysqlctl.Config{
		Addr: netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String(),
		User: local.AgentUser, Password: local.AgentPassword.Reveal(), PasswordName: "agent_password",
		Channel: h.ReplicationChannel, ConnectTimeout: replication.PeerTimeout, Encryption: encryption(h),
	}
}

// SpareAccount is the replication user on the local server, for what every account is told.
func SpareAccount(c *config.Config) mysqlctl.Config {
	local := c.Local()
	spare := Account(c, local)
	spare.User, spare.Password, spare.PasswordName = local.ReplicationUser, local.ReplicationPassword.Reveal(),
		"replication_password"
	return spare
}

func encryption(h config.Host) mysqlctl.Encryption {
	return mysqlctl.Encryption{Mode: mysqlctl.SSLMode(h.MySQLSSLMode), CA: h.MySQLCA}
}

// Source names the host that a server replicates from (Peers).
func (s *PeerServers) Source(r mysqlctl.Replica) (string, replication.Remote, bool) {
	name, ok := s.who.source(r)
	if !ok {
		return "", nil, false
	}
	return name, s.all[name], true
}

// ByName finds a host (Peers).
func (s *PeerServers) ByName(name string) (string, replication.Remote, bool) {
	for _, h := range s.hosts {
		if h.Name == name {
			return h.IP.String(), s.all[name], true
		}
	}
	return "", nil, false
}

// Names are those of all hosts (Peers).
func (s *PeerServers) Names() []string {
	names := make([]string, len(s.hosts))
	for i, h := range s.hosts {
		names[i] = h.Name
	}
	return names
}

// NewSources says how this host replicates from another.
func NewSources(c *config.Config) func(string) (replication.Source, bool) {
	local := c.Local()
	return func(name string) (replication.Source, bool) {
		h, ok := c.Host(name)
		return replication.Source{Host: h.IP.String(), Port: h.MySQLPort, User: local.ReplicationUser,
			Password: local.ReplicationPassword.Reveal()}, ok
	}
}

// NewSite takes from the configuration what this host is.
func NewSite(c *config.Config) Site {
	local := c.Local()
	s := Site{Host: local.Name, Slave: local.Mode == config.Slave,
		MayWrite: slices.Contains(c.Candidates(), local.Name), ActiveMasterRole: c.ActiveMasterRole}
	for _, r := range c.Roles {
		for _, ip := range r.IPs {
			s.Addresses = append(s.Addresses, cluster.RoleIP{Role: r.Name, IP: ip})
		}
	}
	return s
}

// Asker sends one line to the agent at an address.
type Asker interface {
	Ask(ctx context.Context, addr, line string) (string, error)
}

// NewLeasing makes what a lease needs of a configuration; nil where it asks for none.
func NewLeasing(c *config.Config, clock Clock, agents Asker) *Leasing {
	local := c.Local()
	l := &Leasing{StatePath: local.StatePath, Lease: cluster.Lease(c.WriterLease), Clock: clock}
	addresses, servers := map[string]string{}, map[string]string{}
	for _, h := range c.Hosts {
		addresses[h.Name] = netip.AddrPortFrom(h.IP, uint16(h.AgentPort)).String()
		servers[h.Name] = netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String()
		if h.Name != local.Name {
			l.Everybody = append(l.Everybody, h.Name)
		}
	}
	l.Candidates = c.Candidates()
	l.Ask = func(ctx context.Context, host, line string) (string, error) {
		return agents.Ask(ctx, addresses[host], line)
	}
	l.Reach = func(ctx context.Context, host string) error { return greeted(ctx, servers[host]) }
	return l
}

// greeted connects and waits for the first byte of the server's greeting: a server that hangs is connected to by the
// kernel alone.
func greeted(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetReadDeadline(deadline); err != nil {
			return err
		}
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// NewBlocking is how the agent of a configuration keeps new clients away: by a rule of its own that spares the cluster,
// unless an admin has other commands for that.
func NewBlocking(c *config.Config) Blocking {
	b := Blocking{Soft: c.Blocking == config.Soft, Block: c.BlockCommand, Unblock: c.UnblockCommand,
		Grace: time.Duration(c.MaxKillRetries) * time.Second}
	if !c.BlocksByCommand() {
		f := NewFence(c)
		b.Newcomers = fence.Newcomers(f)
	}
	return b
}

// NewFence is the firewall around the local server: the hosts of the configuration are let through, this one too, as
// its agent connects by its address.
func NewFence(c *config.Config) fence.Port {
	p := fence.Port{Number: uint16(c.Local().MySQLPort)}
	for _, h := range c.Hosts {
		p.Peers = append(p.Peers, h.IP)
	}
	return p
}
