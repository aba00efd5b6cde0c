package monitor

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
)

// NewChecks makes the checks of a configuration. Nothing runs yet.
func NewChecks(c *config.Config, pinger check.Echoer) Checks {
	return Checks{
		Network: func(emit func(bool)) Task {
			return &check.Network{Echo: pinger, IPs: c.Monitor.PingIPs, Interval: c.Monitor.PingInterval, Emit: emit}
		},
		Hosts: func(emit func(check.Update)) []Task {
			var tasks []Task
			add := func(host string, name check.Name, p check.Probe, k config.Check) {
				tasks = append(tasks, &check.Runner{Host: host, Name: name, Probe: p, Period: k.Period, Timeout: k.Timeout, Trap: k.Trap, Emit: emit})
			}
			for _, h := range c.Hosts {
				conn := func(k config.Check) *mysqlctl.Conn { return mysqlctl.NewConn(account(h, k.Timeout)) }
				k := c.Checks
				add(h.Name, check.Ping, check.NewPing(pinger, h.IP), k.Ping)
				add(h.Name, check.MySQL, check.NewMySQL(conn(k.MySQL)), k.MySQL)
				add(h.Name, check.RepThreads, check.NewRepThreads(conn(k.RepThreads), h.MonitorUser), k.RepThreads)
				add(h.Name, check.RepBacklog, check.NewRepBacklog(conn(k.RepBacklog), h.MonitorUser, k.RepBacklog.MaxBacklog), k.RepBacklog)
			}
			return tasks
		},
	}
}

// account is how the monitor logs in to a host's server.
func account(h config.Host, timeout time.Duration) mysqlctl.Config {
	return mysqlctl.Config{
		Addr: netip.AddrPortFrom(h.IP, uint16(h.MySQLPort)).String(),
		User: h.MonitorUser, Password: h.MonitorPassword.Reveal(),
		Channel: h.ReplicationChannel, ConnectTimeout: timeout, Timeout: timeout,
	}
}

// Warnings looks for settings of the masters that don't suit each other (monitor manual, "Start").
func Warnings(ctx context.Context, c *config.Config) []string {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	warnings := safetyWarnings(c)
	settings := map[string]mysqlctl.Settings{}
	sources := map[string]string{}
	for _, h := range c.Hosts {
		if h.Mode != config.Master {
			continue
		}
		server := mysqlctl.New(account(h, 2*time.Second))
		if s, err := server.Settings(ctx); err == nil {
			settings[h.Name] = s
		}
		if r, err := server.Replica(ctx); err == nil {
			sources[h.Name] = r.SourceHost
		}
		server.Close()
	}
	return append(warnings, masterWarnings(c, settings, sources)...)
}

// safetyWarnings says which protections the configuration leaves out.
func safetyWarnings(c *config.Config) []string {
	var warnings []string
	if c.WriterLease == 0 {
		warnings = append(warnings, "writer_lease is 0: a writer that can't be reached may stay writer beside a new one, as in MMM 2.2")
	}
	if c.AgentSecret == "" && !c.Socket.SSL {
		warnings = append(warnings, "Agents obey anybody who can connect to them: set agent_secret, or <socket> type ssl")
	}
	return warnings
}

// masterWarnings is the pure part of Warnings; a master that could not be asked is left out of both maps.
func masterWarnings(c *config.Config, settings map[string]mysqlctl.Settings, sources map[string]string) []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	for _, h := range c.Hosts {
		s, ok := settings[h.Name]
		if h.Mode != config.Master || !ok {
			continue
		}
		peer, _ := c.Host(h.Peer)
		if sources[h.Name] != peer.IP.String() {
			warn("Host '%s' does not replicate from its peer '%s' (%s) but from '%s'", h.Name, h.Peer, peer.IP, sources[h.Name])
		}
		if s.AutoIncrementIncrement < 2 {
			warn("auto_increment_increment of '%s' is %s: it should be at least 2, or both masters give out the same ids", h.Name, strconv.Itoa(s.AutoIncrementIncrement))
		}
		if s.AutoIncrementOffset > s.AutoIncrementIncrement {
			warn("auto_increment_offset of '%s' (%d) is above its auto_increment_increment (%d) and ignored by the server", h.Name, s.AutoIncrementOffset, s.AutoIncrementIncrement)
		}
		p, ok := settings[h.Peer]
		if !ok || h.Peer < h.Name {
			continue // said once for the pair
		}
		if s.AutoIncrementIncrement != p.AutoIncrementIncrement {
			warn("auto_increment_increment differs: %d on '%s', %d on '%s'", s.AutoIncrementIncrement, h.Name, p.AutoIncrementIncrement, h.Peer)
		}
		if s.AutoIncrementOffset == p.AutoIncrementOffset {
			warn("auto_increment_offset is %d on both '%s' and '%s': they give out the same ids", s.AutoIncrementOffset, h.Name, h.Peer)
		}
		if s.ServerID == p.ServerID {
			warn("server_id is %d on both '%s' and '%s': they can't replicate from each other", s.ServerID, h.Name, h.Peer)
		}
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
