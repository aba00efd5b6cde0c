// Mmm_mond is the monitor: it checks the hosts, decides who holds which role, and tells the agents.
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

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/monitor"
	"mysql-mmm/pkg/web"
	"mysql-mmm/pkg/wire"
)

var version = "dev" // set by the linker

func main() {
	os.Exit(daemon.Main(daemon.Program{Name: "mmm_mond", Version: version, Load: load}, os.Args[1:], os.Stdout, os.Stderr))
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	c, err := config.Load(config.Monitor, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile, Dir: inv.ConfigDir})
	if err != nil {
		return daemon.Settings{}, err
	}
	build := func(log *slog.Logger) (daemon.Service, error) { return build(c, log) }
	return daemon.Settings{PIDFile: c.Monitor.PIDPath, Debug: c.Debug, Build: build}, nil
}

func build(c *config.Config, log *slog.Logger) (daemon.Service, error) {
	log.Info("STARTING...")
	pinger, err := check.NewPinger()
	if err != nil {
		return daemon.Service{}, err
	}
	if err := daemon.LockState(c.Monitor.StatusPath); err != nil {
		return daemon.Service{}, err
	}
	agents := wire.Dialer{ConnectTimeout: time.Second, Secret: c.AgentSecret.Bytes()}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(c.Monitor.IP, uint16(c.Monitor.Port)).String())
	if err != nil {
		return daemon.Service{}, fmt.Errorf("listen for mmm_control: %w", err)
	}
	if s := c.Socket; s.SSL {
		if agents.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return daemon.Service{}, err
		}
		server, err := wire.ServerTLS(s.CertFile, s.KeyFile, s.CAFile)
		if err != nil {
			return daemon.Service{}, err
		}
		listener = tls.NewListener(listener, server)
	}
	ports := map[string]int{}
	for _, h := range c.Hosts {
		ports[h.Name] = h.AgentPort
	}
	metrics := web.NewMetrics(version)
	m := monitor.New(monitor.Config{
		Topology: monitor.Topology(c), Mode: monitor.StartMode(c.Monitor.Mode),
		StatusPath: c.Monitor.StatusPath, KillBin: c.Monitor.KillHostBin,
		AgentPorts: ports, Agents: agents, Repeats: &wire.Keeper{Dialer: agents}, Checks: monitor.NewChecks(c, pinger), Echo: pinger,
		Behind:   monitor.NewBehind(c),
		Warnings: monitor.Warnings(c),
		History:  history.Open(c.Monitor.StatusPath+".history", log),
		Observer: metrics,
		Log:      log,
	})
	control := &wire.Server{Log: log, Handler: func(ctx context.Context, line string) (string, bool) {
		if line == "quit" {
			return "", true
		}
		return m.Handle(ctx, line), false
	}}
	// What is no command is for the owner to say, once it has started, and changes nothing.
	ping := func(ctx context.Context) { m.Handle(ctx, "watchdog") }
	tasks := []daemon.Task{pinger, m, wire.Listening{Server: control, Listener: listener}}
	if at := c.Monitor.MetricsListen; at.IsValid() {
		tasks = append(tasks, web.Server{Addr: at, Handler: web.Monitor(m, metrics), Log: log})
	}
	return daemon.Service{Ping: ping, Tasks: tasks}, nil
}
