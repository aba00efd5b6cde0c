package monitor

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// Server is a connection to a host's server, for its checks and surveys. *mysqlctl.Conn is one, and says what the
// methods promise. One goroutine uses it at a time.
type Server interface {
	check.Server
	check.ReplicaServer
	Survey(ctx context.Context) (mysqlctl.Survey, error)
}

// Connect makes a connection to a host's server, on which each question may take so long (timeout). Nothing is asked
// yet. brief says whether each question is to get a connection of its own.
type Connect func(h config.Host, timeout time.Duration, brief func() bool) Server

// login is the Connect of the programs.
func login(h config.Host, timeout time.Duration, brief func() bool) Server {
	a := account(h, timeout)
	a.Brief = brief
	return mysqlctl.NewConn(a)
}

// Links are how the monitor gets at the hosts and their servers.
type Links struct {
	Echo    check.Echoer
	Connect Connect
	// Resolve looks up the addresses of a server's name.
	Resolve func(ctx context.Context, name string) ([]netip.Addr, error)
}

// Direct are the Links of the programs.
func Direct(echo check.Echoer) Links {
	return Links{Echo: echo, Connect: login, Resolve: func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}}
}

// NewChecks makes the checks of a configuration. Nothing runs yet.
func NewChecks(c *config.Config, l Links) Checks {
	brief := map[string]*atomic.Bool{}
	var names []string
	for _, h := range c.Hosts {
		brief[h.Name] = new(atomic.Bool)
		names = append(names, h.Name)
	}
	connect := func(h config.Host, timeout time.Duration) Server { return l.Connect(h, timeout, brief[h.Name].Load) }
	registry := newRegistry(check.Known(), c, probes(c, l.Echo, connect))
	server := timing(c, check.MySQL)
	return Checks{
		Registry: registry,
		Network: func(doubt <-chan struct{}, emit func(bool)) Task {
			return &check.Network{Echo: l.Echo, IPs: c.Monitor.PingIPs, Interval: c.Monitor.PingInterval, Doubt: doubt,
				Emit: emit}
		},
		Hosts: runners(registry, names),
		Servers: func(emit func(Surveyed)) []Task {
			var tasks []Task
			for _, h := range c.Hosts {
				tasks = append(tasks, surveyor{host: h.Name, conn: connect(h, server.Timeout),
					resolve: l.Resolve, period: surveyEvery * server.Period, emit: emit})
			}
			return tasks
		},
		Lasting: server.Trap,
		Brief:   func(host string, on bool) { brief[host].Store(on) },
	}
}

// runners returns what runs the checks of hosts.
func runners(r check.Registry, hosts []string) func(emit func(check.Update)) []Task {
	return func(emit func(check.Update)) []Task {
		var tasks []Task
		for _, one := range r.Runners(hosts, emit) {
			tasks = append(tasks, one)
		}
		return tasks
	}
}

// prober makes the probe of a host; timeout is that of the check.
type prober func(h config.Host, timeout time.Duration) check.Probe

// probes says how the probe of each check is made.
func probes(c *config.Config, pinger check.Echoer,
	connect func(config.Host, time.Duration) Server) map[check.Name]prober {
	var beats *check.Heartbeat
	backlog := timing(c, check.RepBacklog)
	if backlog.Heartbeat != "" {
		beats = &check.Heartbeat{Table: backlog.Heartbeat, Stale: max(backlog.MaxBacklog, minStale)}
	}
	return map[check.Name]prober{
		check.Ping: func(h config.Host, _ time.Duration) check.Probe { return check.NewPing(pinger, h.IP) },
		check.MySQL: func(h config.Host, timeout time.Duration) check.Probe {
			return check.NewMySQL(connect(h, timeout))
		},
		check.RepThreads: func(h config.Host, timeout time.Duration) check.Probe {
			return check.NewRepThreads(connect(h, timeout), h.MonitorUser)
		},
		check.RepBacklog: func(h config.Host, timeout time.Duration) check.Probe {
			return check.NewRepBacklog(connect(h, timeout), h.MonitorUser, backlog.MaxBacklog, beats)
		},
	}
}

// newRegistry returns the known checks, each with its configured times and its probe. A check that probes lacks gets
// none: TestEveryCheckIsConfigured looks for that.
func newRegistry(known check.Registry, c *config.Config, probes map[check.Name]prober) check.Registry {
	registry := slices.Clone(known)
	for i := range registry {
		s := &registry[i]
		k := timing(c, s.Name)
		s.Period, s.Timeout, s.Trap = k.Period, k.Timeout, k.Trap
		probe, ok := probes[s.Name]
		if !ok {
			continue
		}
		s.New = func(host string) check.Probe {
			h, _ := c.Host(host)
			return probe(h, s.Timeout)
		}
	}
	return registry
}

// timing is what a configuration says of a check.
func timing(c *config.Config, name check.Name) config.Check { return c.Checks[string(name)] }

// surveyEvery is the time from one survey of a server to the next, in periods of its mysql check: 10 s where nothing
// else is configured.
const surveyEvery = 2

// minStale is how old the newest heartbeat may be, at least, before it counts as stale: pt-heartbeat can be told to
// beat seldom.
const minStale = 30 * time.Second

// account is how the monitor logs in to a host's server.
func account(h config.Host, timeout time.Duration) mysqlctl.Config {
	return mysqlctl.Config{
		Addr: netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String(),
		User: h.MonitorUser, Password: h.MonitorPassword.Reveal(), PasswordName: "monitor_password",
		Channel: h.ReplicationChannel, ConnectTimeout: timeout, Timeout: timeout,
		Encryption: mysqlctl.Encryption{Mode: mysqlctl.SSLMode(h.MySQLSSLMode), CA: h.MySQLCA},
	}
}

// Warnings returns a text for each protection that the configuration leaves out, and for each setting that is likely to
// be a mistake.
func Warnings(c *config.Config) []string {
	warnings := c.Warnings.Texts()
	if c.WriterLease == 0 {
		warnings = append(warnings,
			"writer_lease is 0: a writer that can't be reached may stay writer beside a new one, as in MMM 2.2")
	}
	if c.AgentSecret == "" && !c.Socket.SSL {
		warnings = append(warnings,
			"Agents obey anybody who can connect to them: set agent_secret, or <socket> type ssl")
	}
	return warnings
}

// StartMode turns the configured mode into the brain's.
func StartMode(m config.MonitorMode) cluster.Mode {
	switch m {
	case config.ModeActive:
		return cluster.Active
	case config.ModeManual:
		return cluster.Manual
	case config.ModeWait:
		return cluster.Wait
	case config.ModePassive:
		return cluster.Passive
	}
	panic(fmt.Sprintf("impossible mode %q", m))
}
