package monitor

import (
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// NewChecks makes the checks of a configuration. Nothing runs yet.
func NewChecks(c *config.Config, pinger check.Echoer) Checks {
	brief := map[string]*atomic.Bool{}
	for _, h := range c.Hosts {
		brief[h.Name] = new(atomic.Bool)
	}
	login := func(h config.Host, timeout time.Duration) *mysqlctl.Conn {
		a := account(h, timeout)
		a.Brief = brief[h.Name].Load
		return mysqlctl.NewConn(a)
	}
	return Checks{
		Network: func(doubt <-chan struct{}, emit func(bool)) Task {
			return &check.Network{Echo: pinger, IPs: c.Monitor.PingIPs, Interval: c.Monitor.PingInterval, Doubt: doubt,
				Emit: emit}
		},
		Hosts: func(emit func(check.Update)) []Task {
			var tasks []Task
			var beats *check.Heartbeat
			if k := c.Checks.RepBacklog; k.Heartbeat != "" {
				beats = &check.Heartbeat{Table: k.Heartbeat, Stale: max(k.MaxBacklog, minStale)}
			}
			add := func(host string, name check.Name, p check.Probe, k config.Check) {
				tasks = append(tasks, &check.Runner{Host: host, Name: name, Probe: p, Period: k.Period,
					Timeout: k.Timeout, Trap: k.Trap, Emit: emit})
			}
			for _, h := range c.Hosts {
				conn := func(k config.Check) *mysqlctl.Conn { return login(h, k.Timeout) }
				k := c.Checks
				add(h.Name, check.Ping, check.NewPing(pinger, h.IP), k.Ping)
				add(h.Name, check.MySQL, check.NewMySQL(conn(k.MySQL)), k.MySQL)
				add(h.Name, check.RepThreads, check.NewRepThreads(conn(k.RepThreads), h.MonitorUser), k.RepThreads)
				add(h.Name, check.RepBacklog, check.NewRepBacklog(conn(k.RepBacklog), h.MonitorUser,
					k.RepBacklog.MaxBacklog, beats), k.RepBacklog)
			}
			return tasks
		},
		Servers: func(emit func(Surveyed)) []Task {
			var tasks []Task
			for _, h := range c.Hosts {
				tasks = append(tasks, surveyor{host: h.Name, conn: login(h, c.Checks.MySQL.Timeout),
					period: surveyEvery * c.Checks.MySQL.Period, emit: emit})
			}
			return tasks
		},
		Lasting: c.Checks.MySQL.Trap,
		Brief:   func(host string, on bool) { brief[host].Store(on) },
	}
}

// surveyEvery is the time from one survey of a server to the next, in periods of its mysql check: 10 s where nothing
// else is configured.
const surveyEvery = 2

// minStale is how long no heartbeat may come at all, at least, before that is found odd: pt-heartbeat can be told to
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

// Warnings says which protections the configuration leaves out, and what in it is likely not meant so.
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
