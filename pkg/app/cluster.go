package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/monitor"
	"mysql-mmm/pkg/store"
	"mysql-mmm/pkg/web"
	"mysql-mmm/pkg/wire"
)

// Options say what a program is made of.
type Options struct {
	Config *config.Config // to begin with
	// Read reads the configuration again, for Reload. Its error says what is wrong, line by line.
	Read func() (*config.Config, error)
	// Name is the cluster's, as in @CLUSTER, for events; "" for none.
	Name string
	// Store makes what keeps a monitor's decisions, anew for each configuration; nil: its status file.
	Store func(*config.Config) Store
	// Publisher makes what sends the clients of the roles to an agent's host, with the tasks that it needs to run, anew
	// for each configuration; nil: the virtual addresses.
	Publisher func(*config.Config) (endpoint.Publisher, []daemon.Task)
	Version   string // of the program, for metrics and answers
	Log       *slog.Logger
}

// Store keeps a monitor's decisions, and knows who may make them. A reload makes a new Store of the same place, on
// which Lead is not called: the process leads already. Where leadership can end before the process does, Run returns
// an error when it ends, so that the process ends too and another one leads.
type Store interface {
	monitor.Store
	// Lead makes this process the only one that decides, until the process ends. Where another one does, the error says
	// so. It is called once, before anything is opened.
	Lead() error
}

// statusFile is the Store of a configuration that names none other.
func statusFile(c *config.Config) Store { return store.NewFile(c.Monitor.StatusPath, durable.Disk{}) }

// Cluster is the monitor of one cluster (mmm_mond(8)).
type Cluster struct {
	options     Options
	history     *history.Book // one for all generations: what one writes down while the next is made is not missed
	generations *daemon.Generations
}

// NewCluster makes this process the one that decides for the cluster, until it ends, and opens the monitor's sockets.
// It starts nothing.
func NewCluster(o Options) (*Cluster, error) {
	if o.Store == nil {
		o.Store = statusFile
	}
	kept := o.Store(o.Config)
	if err := kept.Lead(); err != nil {
		return nil, err
	}
	c := &Cluster{options: o, history: history.Open(o.Config.Monitor.StatusPath+".history", o.Log)}
	first, err := c.build(&clusterGeneration{conf: o.Config, store: kept}, nil)
	if err != nil {
		return nil, err
	}
	c.generations = daemon.NewGenerations(c.String(), first, o.Log)
	return c, nil
}

// String names the task.
func (c *Cluster) String() string {
	if c.options.Name == "" {
		return "cluster"
	}
	return "cluster " + c.options.Name
}

// Run monitors until ctx ends. Roles stay where they are then.
func (c *Cluster) Run(ctx context.Context) error { return c.generations.Run(ctx) }

// Reload is daemon.Service's. No role moves because of it.
func (c *Cluster) Reload(ctx context.Context) error { return c.generations.Reload(ctx) }

// Ping returns when the goroutine that decides has answered, or ctx has ended.
func (c *Cluster) Ping(ctx context.Context) { c.generations.Ping(ctx) }

// clusterGeneration is a generation of a Cluster, with what the next one takes over from it.
type clusterGeneration struct {
	conf     *config.Config
	store    Store
	security security
	port     *wire.Port
	monitor  *monitor.Monitor
	known    []check.Update
}

// build makes the generation of m, which takes over from old; nil: from none.
func (c *Cluster) build(m, old *clusterGeneration) (daemon.Generation, error) {
	log, conf := c.options.Log, m.conf
	var err error
	if m.security, err = newSecurity(conf.Socket); err != nil {
		return daemon.Generation{}, err
	}
	out, err := newNotifications(conf, log)
	if err != nil {
		return daemon.Generation{}, err
	}
	var oldPort *wire.Port
	var after *monitor.Monitor
	if old != nil {
		oldPort, after = old.port, old.monitor
	}
	if m.port, err = wire.OpenPort(address(conf.Monitor.IP, conf.Monitor.Port), oldPort); err != nil {
		return daemon.Generation{}, fmt.Errorf("listen for mmm_control: %w", err)
	}
	pinger, err := check.NewPinger()
	if err != nil {
		m.port.Close()
		return daemon.Generation{}, err
	}
	ports := map[string]int{}
	for _, h := range conf.Hosts {
		ports[h.Name] = h.AgentPort
	}
	agents := wire.Dialer{ConnectTimeout: agentTimeout, Secret: conf.AgentSecret.Bytes(), TLS: m.security.client}
	metrics, links := web.NewMetrics(c.options.Version), monitor.Direct(pinger)
	mon := monitor.New(monitor.Config{
		Topology: monitor.Topology(conf), Mode: monitor.StartMode(conf.Monitor.Mode),
		StatusPath: conf.Monitor.StatusPath, Store: m.store, KillBin: conf.Monitor.KillHostBin,
		AgentPorts: ports, Agents: agents, Repeats: &wire.Pool{Dialer: agents},
		Checks: monitor.NewChecks(conf, links), Links: links,
		PingIPs:  conf.Monitor.PingIPs,
		Behind:   monitor.NewBehind(conf, links),
		Warnings: monitor.Warnings(conf),
		Known:    m.known, After: after,
		History:  c.history,
		Observer: metrics,
		Cluster:  c.options.Name, Subscribers: out.subscribers, Approver: out.approver,
		Log: log,
	})
	m.monitor = mon
	control := &wire.Server{Log: log, Handler: func(ctx context.Context, line string) (string, bool) {
		if line == "quit" {
			return "", true
		}
		return mon.Handle(ctx, line), false
	}}
	tasks := append(out.tasks, pinger, mon, wire.Listening{Server: control, Listener: m.port.Listener(m.security.server)})
	if at := conf.Monitor.MetricsListen; at.IsValid() {
		tasks = append(tasks, web.Server{Addr: at, Handler: web.Monitor(mon, metrics), Log: log})
	}
	return daemon.Generation{
		Tasks: tasks,
		Log:   daemon.LogStyle(conf.Log),
		// What is no command is for the owner to say, once it has started, and changes nothing.
		Ping: func(ctx context.Context) { mon.Handle(ctx, "watchdog") },
		Next: func(ctx context.Context) (daemon.Generation, error) { return c.next(ctx, m) },
	}, nil
}

// agentTimeout bounds connecting to an agent.
const agentTimeout = time.Second

// next makes the generation that is to follow old.
func (c *Cluster) next(ctx context.Context, old *clusterGeneration) (daemon.Generation, error) {
	conf, err := reread(c.options.Read, old.conf, old.security)
	if err != nil {
		return daemon.Generation{}, err
	}
	known, err := old.monitor.MayBeFollowed(ctx, old.conf, conf)
	if err != nil {
		return daemon.Generation{}, err
	}
	return c.build(&clusterGeneration{conf: conf, store: c.options.Store(conf), known: known}, old)
}
