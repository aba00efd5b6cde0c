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

// PeerServers reaches the servers of the configuration's hosts with the account of the agents. It is the
// replication.Peers of the real program.
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

// peersRest is how long an unused connection to another host's server is kept: from one question of a role change to
// the next. A connection that stayed would count as a client there, and an original agent, or an admin, may wait until
// the server has none.
const peersRest = 2 * time.Second

// Run closes connections that are no longer used, until ctx ends, and then all.
func (s *PeerServers) Run(ctx context.Context) error {
	ticker := time.NewTicker(peersRest)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			for _, server := range s.all {
				server.CloseIdle(peersRest)
			}
		case <-ctx.Done():
			for _, server := range s.all {
				server.Close()
			}
			return nil
		}
	}
}

// Account is how the local agent logs in to the server of host h.
func Account(c *config.Config, h config.Host) mysqlctl.Config {
	local := c.Local()
	return mysqlctl.Config{
		Addr: netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String(),
		User: local.AgentUser, Password: local.AgentPassword.Reveal(), PasswordName: "agent_password",
		Channel: h.ReplicationChannel, ConnectTimeout: replication.PeerTimeout, Encryption: encryption(h),
	}
}

// SpareAccount is how the local agent logs in to its own server as the replication user, where its own account is
// refused: for what the server tells any account.
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

// Source names the host that a server replicates from (replication.Peers).
func (s *PeerServers) Source(r mysqlctl.Replica) (string, replication.Remote, bool) {
	name, ok := s.who.source(r)
	if !ok {
		return "", nil, false
	}
	return name, s.all[name], true
}

// ByName finds a host (replication.Peers).
func (s *PeerServers) ByName(name string) (string, replication.Remote, bool) {
	for _, h := range s.hosts {
		if h.Name == name {
			return h.IP.String(), s.all[name], true
		}
	}
	return "", nil, false
}

// Addresses are those that a source's address stands for (replication.Peers).
func (s *PeerServers) Addresses(source string) []netip.Addr { return s.who.addresses(source) }

// Names are the names of all hosts (replication.Peers).
func (s *PeerServers) Names() []string {
	names := make([]string, len(s.hosts))
	for i, h := range s.hosts {
		names[i] = h.Name
	}
	return names
}

// NewSources returns a function that says how this host's server replicates from the server of another host.
func NewSources(c *config.Config) func(string) (replication.Source, bool) {
	local := c.Local()
	return func(name string) (replication.Source, bool) {
		h, ok := c.Host(name)
		return replication.Source{Host: h.IP.String(), Port: h.MySQLPort, User: local.ReplicationUser,
			Password: local.ReplicationPassword.Reveal()}, ok
	}
}

// NewSite is what the configuration says of this host.
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

// Asker sends one line to the agent at addr (ip:port) and returns its answer.
type Asker interface {
	Ask(ctx context.Context, addr, line string) (string, error)
}

// NewLeasing makes the Leasing of a configuration. It is made where writer_lease is 0 too: the agent then still answers
// what others ask of it (PEER_STATUS, CHECK_HOST, RELAY), and obeys a monitor whose file has a lease.
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

// greeted connects to a server and waits for the first byte of its greeting. That it can connect is not enough: the
// kernel takes connections for a server that hangs too.
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

// NewBlocking is how the agent of a configuration keeps new clients away: by a firewall rule of its own that lets the
// cluster's hosts in, unless the configuration has commands for that.
func NewBlocking(c *config.Config) Blocking {
	b := Blocking{Soft: c.Blocking == config.Soft, Block: c.BlockCommand, Unblock: c.UnblockCommand,
		Grace: time.Duration(c.MaxKillRetries) * time.Second}
	if !c.BlocksByCommand() {
		f := NewFence(c)
		b.Newcomers = fence.Newcomers(f)
	}
	return b
}

// NewFence is the firewall around the local server's port. It lets the hosts of the configuration through, this one
// too, as the agent connects to the host's own address. It does not let the monitor through: the server may take
// writes, and a load balancer or a client on the monitor's machine would come in by the same address. Newcomers spares
// the monitor, since there read_only keeps the writes out.
func NewFence(c *config.Config) fence.Port {
	p := fence.Port{Number: uint16(c.Local().MySQLPort)}
	for _, h := range c.Hosts {
		p.Peers = append(p.Peers, h.IP)
	}
	return p
}
