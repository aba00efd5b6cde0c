// Mmm_mond is the monitor: it checks the hosts, decides who holds which role, and tells the agents.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/monitor"
	"mysql-mmm/pkg/wire"
)

var version = "dev" // set by the linker

func main() {
	daemon.ExitWith(daemon.Program{Name: "mmm_mond", Version: version, Load: load})
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	c, err := config.Load(config.Monitor, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile, Dir: inv.ConfigDir})
	if err != nil {
		return daemon.Settings{}, err
	}
	tasks := func(log *slog.Logger) ([]daemon.Task, error) { return tasks(c, log) }
	return daemon.Settings{PIDFile: c.Monitor.PIDPath, Debug: c.Debug, Tasks: tasks}, nil
}

func tasks(c *config.Config, log *slog.Logger) ([]daemon.Task, error) {
	pinger, err := check.NewPinger()
	if err != nil {
		return nil, err
	}
	agents := wire.Dialer{ConnectTimeout: time.Second}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(c.Monitor.IP, uint16(c.Monitor.Port)).String())
	if err != nil {
		return nil, fmt.Errorf("listen for mmm_control: %w", err)
	}
	if s := c.Socket; s.SSL {
		if agents.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return nil, err
		}
		server, err := wire.ServerTLS(s.CertFile, s.KeyFile, s.CAFile)
		if err != nil {
			return nil, err
		}
		listener = tls.NewListener(listener, server)
	}
	ports := map[string]int{}
	for _, h := range c.Hosts {
		ports[h.Name] = h.AgentPort
	}
	m := monitor.New(monitor.Config{
		Topology: monitor.Topology(c), Mode: monitor.StartMode(c.Monitor.Mode),
		StatusPath: c.Monitor.StatusPath, KillBin: c.Monitor.KillHostBin,
		AgentPorts: ports, Agents: agents, Checks: monitor.NewChecks(c, pinger),
		Warnings: func(ctx context.Context) []string { return monitor.Warnings(ctx, c) },
		Log:      log,
	})
	control := &wire.Server{Log: log, Handler: func(ctx context.Context, line string) (string, bool) {
		if line == "quit" {
			return "", true
		}
		return m.Handle(ctx, line), false
	}}
	return []daemon.Task{pinger, m, wire.Listening{Server: control, Listener: listener}}, nil
}
