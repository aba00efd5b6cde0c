// Mmm_agentd is the agent: it makes its host what the monitor orders.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/fence"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/vip"
	"mysql-mmm/pkg/web"
	"mysql-mmm/pkg/wire"
)

var version = "dev" // set by the linker

// peerTimeout bounds connecting to another agent: on a network that works it takes no time.
const peerTimeout = 500 * time.Millisecond

func main() {
	os.Exit(daemon.Main(daemon.Program{Name: "mmm_agentd", Version: version, Load: load}, os.Args[1:], os.Stdout, os.Stderr))
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	c, err := config.Load(config.Agent, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile, Dir: inv.ConfigDir})
	if err != nil {
		return daemon.Settings{}, err
	}
	build := func(log *slog.Logger) (daemon.Service, error) { return build(c, log) }
	return daemon.Settings{PIDFile: c.Local().PIDPath, Debug: c.Debug, Build: build}, nil
}

func build(c *config.Config, log *slog.Logger) (daemon.Service, error) {
	log.Info("STARTING...")
	daemon.KeepResponsive(log)
	local := c.Local()
	nic := vip.Open(local.ClusterInterface)
	announcer := vip.NewAnnouncer(local.ClusterInterface, log)
	announcer.Refresh = c.ARPRefresh
	server := mysqlctl.New(agent.Account(c, local))
	clock, err := agent.NewMachineClock()
	if err != nil {
		return daemon.Service{}, err
	}
	peers := wire.Dialer{ConnectTimeout: peerTimeout, Secret: c.AgentSecret.Bytes()}
	if s := c.Socket; s.SSL {
		if peers.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return daemon.Service{}, err
		}
	}
	a := agent.New(agent.Config{
		Sockets: vip.DestroySockets, Fence: agent.NewFence(c), Departures: fence.Departures{}, Conflict: nic,
		Process: &agent.ServerProcess{PIDFile: server.PIDFile}, Leasing: agent.NewLeasing(c, clock, peers),
		Site: agent.NewSite(c), Address: nic, Watch: nic, Announce: announcer,
		Gate: server, Local: server, Patience: c.CatchUpTimeout, Peers: agent.NewPeers(c), Sources: agent.NewSources(c),
		Blocking: agent.Blocking{
			Soft: c.Blocking == config.Soft, Block: c.BlockCommand, Unblock: c.UnblockCommand,
			Grace: time.Duration(c.MaxKillRetries) * time.Second,
		},
		Examiner: &agent.Examiner{Config: c, Version: version, Neighbourhood: nic, Fence: agent.NewFence(c), Sockets: vip.CanDestroySockets, Agents: peers},
		Uptime:   daemon.Uptime, Version: version, Log: log,
	})
	listener, err := net.Listen("tcp", netip.AddrPortFrom(local.IP, uint16(local.AgentPort)).String())
	if err != nil {
		return daemon.Service{}, fmt.Errorf("listen for the monitor: %w", err)
	}
	if s := c.Socket; s.SSL {
		server, err := wire.ServerTLS(s.CertFile, s.KeyFile, s.CAFile)
		if err != nil {
			return daemon.Service{}, err
		}
		listener = tls.NewListener(listener, server)
	}
	orders := &wire.Server{
		Terminator: "\n", Log: log, Secret: c.AgentSecret.Bytes(),
		Refuse:  a.Refuse,
		Handler: func(ctx context.Context, line string) (string, bool) { return a.Handle(ctx, line), false },
	}
	// Of all questions this is the one that the owner answers and that changes nothing.
	ping := func(ctx context.Context) { a.Handle(ctx, wire.NewRequest(wire.GetAgentStatus, local.Name).String()) }
	tasks := []daemon.Task{announcer, a, wire.Listening{Server: orders, Listener: listener}}
	if at := local.MetricsListen; at.IsValid() {
		tasks = append(tasks, web.Server{Addr: at, Handler: web.Agent(a, version), Log: log})
	}
	return daemon.Service{Ping: ping, Tasks: tasks}, nil
}
