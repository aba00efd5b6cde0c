package app

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"mysql-mmm/pkg/agent"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/fence"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/vip"
	"mysql-mmm/pkg/web"
	"mysql-mmm/pkg/wire"
)

// Agent is the agent of one host (mmm_agentd(8)).
type Agent struct {
	options     Options
	clock       *agent.MachineClock // one for all generations, which notices a pause of the machine between two of them
	generations *daemon.Generations
}

// NewAgent opens the agent's port. It starts nothing, and changes nothing on the host.
func NewAgent(o Options) (*Agent, error) {
	clock, err := agent.NewMachineClock()
	if err != nil {
		return nil, err
	}
	a := &Agent{options: o, clock: clock}
	first, err := a.build(&agentGeneration{conf: o.Config}, nil)
	if err != nil {
		return nil, err
	}
	a.generations = daemon.NewGenerations(a.String(), first, o.Log)
	return a, nil
}

// String names the task.
func (a *Agent) String() string { return "agent of " + a.options.Config.Local().Name }

// Run obeys the monitor until ctx ends. Addresses go off then, as far as the lease's rules ask for it.
func (a *Agent) Run(ctx context.Context) error { return a.generations.Run(ctx) }

// Reload is daemon.Service's. No address moves because of it.
func (a *Agent) Reload(ctx context.Context) error { return a.generations.Reload(ctx) }

// Ping returns when the goroutine that decides has answered, or ctx has ended.
func (a *Agent) Ping(ctx context.Context) { a.generations.Ping(ctx) }

// agentGeneration is a generation of an Agent, with what the next one takes over from it.
type agentGeneration struct {
	conf     *config.Config
	security security
	port     *wire.Port
	agent    *agent.Agent
}

// peerTimeout bounds connecting to another agent: on a network that works it takes no time.
const peerTimeout = 500 * time.Millisecond

// build makes the generation of g, which takes over from old; nil: from none.
func (a *Agent) build(g, old *agentGeneration) (daemon.Generation, error) {
	c, log, local, version := g.conf, a.options.Log, g.conf.Local(), a.options.Version
	for _, w := range c.Warnings {
		log.Warn(w.Error())
	}
	var err error
	if g.security, err = newSecurity(c.Socket); err != nil {
		return daemon.Generation{}, err
	}
	var before *wire.Port
	var after *agent.Agent
	if old != nil {
		before, after = old.port, old.agent
	}
	nic := vip.Open(local.ClusterInterface)
	listens := func(ctx context.Context) ([]netip.AddrPort, error) {
		return vip.Listeners(ctx, uint16(local.MySQLPort))
	}
	out := a.publishing(c, nic, listens)
	server := mysqlctl.New(agent.Account(c, local))
	peers := wire.Dialer{ConnectTimeout: peerTimeout, Secret: c.AgentSecret.Bytes(), TLS: g.security.client}
	port, site := agent.NewFence(c), agent.NewSite(c)
	var gate agent.Gate = server
	var scheduler []daemon.Task
	if local.EventScheduler {
		s := agent.NewScheduler(server, server, site.MayWrite, log)
		gate, scheduler = s, []daemon.Task{s}
	}
	who := agent.NewIdentities(c, server, log)
	others := agent.NewPeers(c, who)
	replicates := site.Replication()
	replicates.Local, replicates.Peers, replicates.Sources = server, others, agent.NewSources(c)
	replicates.Appliers = server
	replicates.Dumps, replicates.HangUp = agent.NewLocalDumps(server, who), vip.DestroyTo
	replicates.Patience = c.CatchUpTimeout
	replicates.Disk, replicates.StatePath, replicates.Log = durable.Disk{}, local.StatePath, log
	g.agent = agent.New(agent.Config{
		Clients: func(ctx context.Context) (int, error) { return vip.DestroyClients(ctx, port.Number, port.Peers) },
		Commits: server, Processes: os.DirFS("/proc"), Backups: server,
		Volume: agent.Disks{Own: filepath.Dir(local.StatePath)},
		Fence:  port, Lifetimes: out.lifetimes, Conflict: out.conflict,
		Listens: out.listens,
		Process: &agent.ServerProcess{PIDFile: server.PIDFile}, Leasing: agent.NewLeasing(c, a.clock, peers),
		Site: site, Endpoints: out.publisher, Watch: nic, Announce: out.announcer,
		Gate: gate, Spare: mysqlctl.New(agent.SpareAccount(c)), Local: server, Locks: server,
		Peers: others, Replication: replication.New(replicates), Blocking: agent.NewBlocking(c),
		Examiner: &agent.Examiner{Config: c, Version: version, Neighbourhood: nic, Fence: port,
			Sockets: vip.CanDestroySockets, Listens: listens, Agents: peers},
		Uptime: daemon.Uptime, Version: version, After: after, Log: log,
	})
	if g.port, err = wire.OpenPort(address(local.IP, local.AgentPort), before); err != nil {
		return daemon.Generation{}, fmt.Errorf("listen for the monitor: %w", err)
	}
	tasks := slices.Concat(out.tasks, []daemon.Task{who, others, g.agent,
		wire.Listening{Server: a.orders(g), Listener: g.port.Listener(g.security.server)}})
	tasks = append(tasks, scheduler...)
	if at := local.MetricsListen; at.IsValid() {
		tasks = append(tasks, web.Server{Addr: at, Handler: web.Agent(g.agent, version), Log: log})
	}
	return daemon.Generation{
		Tasks: tasks,
		Log:   daemon.LogStyle(c.Log),
		// Of all questions this is the one that the owner answers and that changes nothing.
		Ping: func(ctx context.Context) {
			g.agent.Handle(ctx, wire.NewRequest(wire.GetAgentStatus, local.Name).String())
		},
		Next: func(ctx context.Context) (daemon.Generation, error) { return a.next(ctx, g) },
	}, nil
}

// publishing is how the clients of the roles are sent to the host, with what only virtual addresses need.
type publishing struct {
	publisher endpoint.Publisher
	tasks     []daemon.Task
	announcer agent.Announcer
	conflict  agent.Conflict
	lifetimes agent.Lifetimes
	listens   agent.Listens
}

// publishing makes the publisher of the options, or else the virtual addresses on nic. Only these are announced; only
// of these the network is asked for another machine that has them; and only by these clients connect to the server.
func (a *Agent) publishing(c *config.Config, nic *vip.Interface, listens agent.Listens) publishing {
	if a.options.Publisher != nil {
		p, tasks := a.options.Publisher(c)
		return publishing{publisher: p, tasks: tasks, announcer: unannounced{}}
	}
	announcer := vip.NewAnnouncer(c.Local().ClusterInterface, a.options.Log)
	announcer.Refresh = c.ARPRefresh
	p := &endpoint.VIP{Addresses: nic, Announcer: announcer, Departures: fence.Departures{},
		Sockets: vip.DestroySockets, Log: a.options.Log}
	return publishing{publisher: p, tasks: []daemon.Task{announcer, p}, announcer: announcer, conflict: nic,
		lifetimes: nic, listens: listens}
}

// unannounced is the announcer of what the network need not be told.
type unannounced struct{}

func (unannounced) Announce(netip.Addr) {}
func (unannounced) Hold(netip.Addr)     {}

// orders answers monitor and other agents.
func (a *Agent) orders(g *agentGeneration) *wire.Server {
	return &wire.Server{
		Terminator: "\n", Log: a.options.Log, Secret: g.conf.AgentSecret.Bytes(),
		Refuse: g.agent.Refuse,
		Handler: func(ctx context.Context, line string) (string, bool) {
			answer := g.agent.Handle(ctx, line)
			if ctx.Err() != nil {
				// half an answer would say that this host has no lease: whoever asks may ask who comes next
				return "", true
			}
			return answer, false
		},
	}
}

// next makes the generation that is to follow old.
func (a *Agent) next(ctx context.Context, old *agentGeneration) (daemon.Generation, error) {
	c, err := reread(a.options.Read, old.conf, old.security)
	if err != nil {
		return daemon.Generation{}, err
	}
	if err := agent.MayBeFollowed(ctx, old.conf, c, vip.Open(old.conf.Local().ClusterInterface)); err != nil {
		return daemon.Generation{}, err
	}
	return a.build(&agentGeneration{conf: c}, old)
}
