// Mmm_agentd is the agent: it makes its host what the monitor orders.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"time"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/fence"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/vip"
	"mysql-mmm/pkg/web"
	"mysql-mmm/pkg/wire"
)

var version = "dev" // set by the linker

// peerTimeout bounds connecting to another agent: on a network that works it takes no time.
const peerTimeout = 500 * time.Millisecond

func main() {
	// An agent does little at a time, often: a second processor brings less than it costs to wake it.
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(1)
	}
	// It has little garbage, and shares its machine with a server: memory is worth more there than the collector's
	// time.
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
	os.Exit(daemon.Main(daemon.Program{Name: "mmm_agentd", Version: version, Load: load}, os.Args[1:], os.Stdout,
		os.Stderr))
}

func load(inv daemon.Invocation) (daemon.Settings, error) {
	read := func() (*config.Config, error) {
		return config.Load(config.Agent, config.Source{Cluster: inv.Cluster, File: inv.ConfigFile, Dir: inv.ConfigDir})
	}
	c, err := read()
	if err != nil {
		return daemon.Settings{}, err
	}
	start := func(log *slog.Logger) (daemon.Service, error) {
		log.Info("STARTING...")
		daemon.KeepResponsive(log)
		clock, err := agent.NewMachineClock()
		if err != nil {
			return daemon.Service{}, err
		}
		return build(&instance{conf: c, read: read, log: log, clock: clock}, nil)
	}
	return daemon.Settings{PIDFile: c.Local().PIDPath, Debug: c.Debug, Log: daemon.LogStyle(c.Log),
		Warnings: c.Warnings.Texts(), Build: start}, nil
}

// instance is an agent with what it was made of.
type instance struct {
	conf *config.Config
	read func() (*config.Config, error)
	log  *slog.Logger
	port *wire.Port
	tls  string // digest of the files

	clock   *agent.MachineClock // one for all, which notices a pause of the machine between two of them
	running *agent.Agent
}

// build makes the service of an instance, which takes over from old; nil: from none.
func build(i, old *instance) (daemon.Service, error) {
	c, log, local := i.conf, i.log, i.conf.Local()
	for _, w := range c.Warnings {
		log.Warn(w.Error())
	}
	nic := vip.Open(local.ClusterInterface)
	announcer := vip.NewAnnouncer(local.ClusterInterface, log)
	announcer.Refresh = c.ARPRefresh
	server := mysqlctl.New(agent.Account(c, local))
	var before *wire.Port
	var after *agent.Agent
	if old != nil {
		before, after = old.port, old.running
	}
	peers := wire.Dialer{ConnectTimeout: peerTimeout, Secret: c.AgentSecret.Bytes()}
	var security *tls.Config
	var err error
	if s := c.Socket; s.SSL {
		if peers.TLS, err = wire.ClientTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return daemon.Service{}, err
		}
		if security, err = wire.ServerTLS(s.CertFile, s.KeyFile, s.CAFile); err != nil {
			return daemon.Service{}, err
		}
		i.tls = wire.TLSDigest(s.CertFile, s.KeyFile, s.CAFile)
	}
	port, site := agent.NewFence(c), agent.NewSite(c)
	var gate agent.Gate = server
	var scheduler []daemon.Task
	if local.EventScheduler {
		s := agent.NewScheduler(server, server, site.MayWrite, log)
		gate, scheduler = s, []daemon.Task{s}
	}
	who := agent.NewAcquaintance(c, server, log)
	others := agent.NewPeers(c, who)
	replicates := site.Replication()
	replicates.Local, replicates.Peers, replicates.Sources = server, others, agent.NewSources(c)
	replicates.Dumps, replicates.HangUp, replicates.Patience = server, vip.DestroyTo, c.CatchUpTimeout
	replicates.Disk, replicates.StatePath, replicates.Log = durable.Disk{}, local.StatePath, log
	a := agent.New(agent.Config{
		Clients: func(ctx context.Context) (int, error) { return vip.DestroyClients(ctx, port.Number, port.Peers) },
		Commits: server, Processes: os.DirFS("/proc"), Backups: server,
		Volume:  agent.Disks{Own: filepath.Dir(local.StatePath)},
		Sockets: vip.DestroySockets, Fence: port, Departures: fence.Departures{}, Lifetimes: nic, Conflict: nic,
		Listens: agent.Listeners(local.MySQLPort),
		Process: &agent.ServerProcess{PIDFile: server.PIDFile}, Leasing: agent.NewLeasing(c, i.clock, peers),
		Site: site, Address: nic, Watch: nic, Announce: announcer,
		Gate: gate, Spare: mysqlctl.New(agent.SpareAccount(c)), Local: server, Locks: server,
		Peers: others, Replication: replication.New(replicates), Blocking: agent.NewBlocking(c),
		Examiner: &agent.Examiner{Config: c, Version: version, Neighbourhood: nic, Fence: port,
			Sockets: vip.CanDestroySockets, Agents: peers},
		Uptime: daemon.Uptime, Version: version, After: after, Log: log,
	})
	i.running = a
	if i.port, err = wire.OpenPort(netip.AddrPortFrom(local.IP, uint16(local.AgentPort)).String(), before); err != nil {
		return daemon.Service{}, fmt.Errorf("listen for the monitor: %w", err)
	}
	orders := &wire.Server{
		Terminator: "\n", Log: log, Secret: c.AgentSecret.Bytes(),
		Refuse: a.Refuse,
		Handler: func(ctx context.Context, line string) (string, bool) {
			answer := a.Handle(ctx, line)
			if ctx.Err() != nil {
				// half an answer would say that this host has no lease: whoever asks may ask who comes next
				return "", true
			}
			return answer, false
		},
	}
	// Of all questions this is the one that the owner answers and that changes nothing.
	ping := func(ctx context.Context) { a.Handle(ctx, wire.NewRequest(wire.GetAgentStatus, local.Name).String()) }
	tasks := []daemon.Task{announcer, who, others, a, wire.Listening{Server: orders,
		Listener: i.port.Listener(security)}}
	tasks = append(tasks, scheduler...)
	if at := local.MetricsListen; at.IsValid() {
		tasks = append(tasks, web.Server{Addr: at, Handler: web.Agent(a, version), Log: log})
	}
	return daemon.Service{Ping: ping, Log: daemon.LogStyle(c.Log), Reload: func(ctx context.Context) (daemon.Service,
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
	if err := agent.MayBeFollowed(ctx, old.conf, c, vip.Open(old.conf.Local().ClusterInterface)); err != nil {
		return daemon.Service{}, err
	}
	return build(&instance{conf: c, read: old.read, log: old.log, clock: old.clock}, old)
}
