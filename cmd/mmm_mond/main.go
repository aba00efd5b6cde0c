// Mmm_mond is the monitor: it checks the hosts, decides who holds which role, and tells the agents.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"reflect"
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
	os.Exit(daemon.Main(daemon.Program{Name: "mmm_mond", Version: version, Load: load}, os.Args[1:], os.Stdout,
		os.Stderr))
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	read := func() (*config.Config, error) {
		return config.Load(config.Monitor, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile,
			Dir: inv.ConfigDir})
	}
	c, err := read()
	if err != nil {
		return daemon.Settings{}, err
	}
	start := func(log *slog.Logger) (daemon.Service, error) {
		log.Info("STARTING...")
		if err := daemon.LockState(c.Monitor.StatusPath); err != nil {
			return daemon.Service{}, err
		}
		return build(&instance{conf: c, read: read, cluster: inv.Cluster, log: log,
			book: history.Open(c.Monitor.StatusPath+".history", log)}, nil)
	}
	return daemon.Settings{PIDFile: c.Monitor.PIDPath, Debug: c.Debug, Log: daemon.LogStyle(c.Log),
		Warnings: c.Warnings.Texts(), Build: start}, nil
}

// instance is a monitor with what it was made of.
type instance struct {
	conf    *config.Config
	read    func() (*config.Config, error)
	cluster string // of @CLUSTER
	log     *slog.Logger
	port    *wire.Port
	running *monitor.Monitor
	tls     string // digest of the files
	known   []check.Update
	book    *history.Book // one for all: what one writes down while the next is made is not missed
}

// build makes the service of an instance, which takes over from old; nil: from none.
func build(i, old *instance) (daemon.Service, error) {
	agents := wire.Dialer{ConnectTimeout: time.Second, Secret: i.conf.AgentSecret.Bytes()}
	var server *tls.Config
	if s := i.conf.Socket; s.SSL {
		var err error
		if agents.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return daemon.Service{}, err
		}
		if server, err = wire.ServerTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return daemon.Service{}, err
		}
		i.tls = wire.TLSDigest(s.CertFile, s.KeyFile, s.CAFile)
	}
	out, err := newNotifications(i.conf, i.log)
	if err != nil {
		return daemon.Service{}, err
	}
	var oldPort *wire.Port
	var after *monitor.Monitor
	if old != nil {
		oldPort, after = old.port, old.running
	}
	if i.port, err = wire.OpenPort(netip.AddrPortFrom(i.conf.Monitor.IP, uint16(i.conf.Monitor.Port)).String(),
		oldPort); err != nil {
		return daemon.Service{}, fmt.Errorf("listen for mmm_control: %w", err)
	}
	pinger, err := check.NewPinger()
	if err != nil {
		i.port.Close()
		return daemon.Service{}, err
	}
	ports := map[string]int{}
	for _, h := range i.conf.Hosts {
		ports[h.Name] = h.AgentPort
	}
	metrics := web.NewMetrics(version)
	m := monitor.New(monitor.Config{
		Topology: monitor.Topology(i.conf), Mode: monitor.StartMode(i.conf.Monitor.Mode),
		StatusPath: i.conf.Monitor.StatusPath, KillBin: i.conf.Monitor.KillHostBin,
		AgentPorts: ports, Agents: agents, Repeats: &wire.Keeper{Dialer: agents},
		Checks: monitor.NewChecks(i.conf, pinger), Echo: pinger,
		PingIPs:  i.conf.Monitor.PingIPs,
		Behind:   monitor.NewBehind(i.conf),
		Warnings: monitor.Warnings(i.conf),
		Known:    i.known, After: after,
		History:  i.book,
		Observer: metrics,
		Cluster:  i.cluster, Subscribers: out.subscribers, Approver: out.approver,
		Log: i.log,
	})
	i.running = m
	control := &wire.Server{Log: i.log, Handler: func(ctx context.Context, line string) (string, bool) {
		if line == "quit" {
			return "", true
		}
		return m.Handle(ctx, line), false
	}}
	// What is no command is for the owner to say, once it has started, and changes nothing.
	ping := func(ctx context.Context) { m.Handle(ctx, "watchdog") }
	tasks := append(out.tasks, pinger, m, wire.Listening{Server: control, Listener: i.port.Listener(server)})
	if at := i.conf.Monitor.MetricsListen; at.IsValid() {
		tasks = append(tasks, web.Server{Addr: at, Handler: web.Monitor(m, metrics), Log: i.log})
	}
	return daemon.Service{Ping: ping, Log: daemon.LogStyle(i.conf.Log), Reload: func(ctx context.Context) (daemon.Service,
		error) {
		return reload(ctx, i)
	}, Tasks: tasks}, nil
}

// reload makes the service that is to follow that of old.
func reload(ctx context.Context, old *instance) (daemon.Service, error) {
	c, err := old.read()
	if err != nil {
		return daemon.Service{}, err
	}
	if s := c.Socket; reflect.DeepEqual(c, old.conf) && (!s.SSL ||
		wire.TLSDigest(s.CertFile, s.KeyFile, s.CAFile) == old.tls) {
		return daemon.Service{}, daemon.ErrUnchanged
	}
	known, err := old.running.MayBeFollowed(ctx, old.conf, c)
	if err != nil {
		return daemon.Service{}, err
	}
	return build(&instance{conf: c, read: old.read, cluster: old.cluster, log: old.log, known: known, book: old.book},
		old)
}
