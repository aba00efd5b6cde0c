package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

// soon is how long before the end of a certificate there is a warning.
const soon = 30 * 24 * time.Hour

// audit judges a former writer that is back. It may have transactions that no other host has, which must not get into
// the cluster unseen: so the remedy is not to set it online at once.
func (j *judge) audit(h cluster.HostView) {
	if !h.Audit.Looked {
		j.add(Warning, "audit", h.Name,
			"start its server and its agent, which looks by itself; mmm_control show says what it finds",
			"it was the writer, and its log has not been looked at since")
		return
	}
	j.add(Error, "audit", h.Name,
		fmt.Sprintf("save its log with mysqlbinlog, and set it up anew from the writer; or, to let it in as it is: "+
			"mmm_control set_online %s", h.Name),
		"it was the writer, and its log is not what the others have: %s", h.Audit.Finding)
}

// configuration judges what the monitor's files say, and this machine.
func (j *judge) configuration() {
	c := j.facts.Config
	for _, w := range c.Warnings {
		j.add(Warning, "config-odd", MonitorHost,
			fmt.Sprintf("correct %s, then reload the programs that read it", w.File), "%s", w)
	}
	candidates := j.candidates()
	switch {
	case c.WriterLease == 0:
		j.add(Warning, "lease-off", MonitorHost,
			"writer_lease 6 in mmm_common.conf on all hosts, then reload the monitor",
			"writer_lease is 0: a writer that can't be reached may stay writer beside a new one, as in MMM 2.2")
	case len(candidates) < 2:
		j.add(Warning, "lease-alone", MonitorHost, fmt.Sprintf("name both masters in hosts of <role %s>",
			c.ActiveMasterRole),
			"only %s may be the writer: nobody can take over", list(candidates))
	default:
		j.ok("lease-off", MonitorHost, "writer_lease is %s", c.WriterLease)
	}
	for _, name := range candidates {
		if h, _ := c.Host(name); h.Mode == config.Slave {
			j.add(Warning, "writer-slave", MonitorHost,
				fmt.Sprintf("take %s out of hosts of <role %s>, or make it a master", name, c.ActiveMasterRole),
				"%s may be the writer, but is a slave: nobody replicates from it", name)
		}
	}
	if c.AgentSecret == "" && !c.Socket.SSL {
		j.add(Warning, "agents-open", MonitorHost,
			"agent_secret in mmm_common.conf on all hosts, made by: openssl rand -hex 32; or <socket> type ssl",
			"agents obey anybody who can connect to them: there is neither agent_secret nor TLS")
	} else {
		j.ok("agents-open", MonitorHost, "agents obey only the monitor")
	}
	if c.Socket.SSL {
		j.tls()
	}
	j.pingIPs()
	if j.facts.Status != nil {
		j.add(Error, "status-path", MonitorHost,
			"make the folder of status_path, let root write there: mkdir -p; df -h; mount",
			"the monitor can't keep its decisions: %s", plain(j.facts.Status))
	}
	if j.facts.Kill != nil {
		severity, why := Note, "a host that can't be told to give up its roles is waited for"
		if c.WriterLease == 0 {
			severity, why = Warning, "without a lease nothing else ends a writer that can't be reached"
		}
		j.add(severity, "kill-host", MonitorHost,
			fmt.Sprintf("write %s and chmod +x it: it is given a host's name and switches that host off",
				c.Monitor.KillHostBin),
			"kill_host_bin %s can't be run: %s; %s", c.Monitor.KillHostBin, plain(j.facts.Kill), why)
	}
}

func (j *judge) tls() {
	s, left := j.facts.Config.Socket, j.facts.TLS.Expires.Sub(j.facts.Now)
	switch {
	case j.facts.TLS.Err != nil:
		j.add(Error, "tls-files", MonitorHost, "correct cert_file, key_file and ca_file of <socket>",
			"TLS can't be used: %s", plain(j.facts.TLS.Err))
	case j.facts.TLS.Expires.IsZero():
	case left <= 0:
		j.add(Error, "tls-expired", MonitorHost, "make a new "+s.CertFile+
			" with the same authority, and restart the monitor", "the certificate %s was good until %s", s.CertFile,
			j.facts.TLS.Expires.Format(time.DateOnly))
	case left < soon:
		j.add(Warning, "tls-expired", MonitorHost, "make a new "+s.CertFile+
			" with the same authority, and restart the monitor", "the certificate %s is good until %s only", s.CertFile,
			j.facts.TLS.Expires.Format(time.DateOnly))
	default:
		j.ok("tls-expired", MonitorHost, "the certificate is good until %s", j.facts.TLS.Expires.Format(time.DateOnly))
	}
	if j.facts.TLS.Open {
		j.add(Error, "tls-key", MonitorHost, "chmod o-rwx "+s.KeyFile, "everybody on this machine can read the key %s",
			s.KeyFile)
	}
}

// pingIPs judges ping_ips, the addresses by which the monitor knows whether its own network works.
func (j *judge) pingIPs() {
	var silent, own []string
	for _, ip := range j.facts.Config.Monitor.PingIPs {
		if j.facts.PingIPs[ip] != nil {
			silent = append(silent, ip.String())
		}
		if ip.IsLoopback() || slices.Contains(j.facts.Local, ip) || j.isRole(ip) {
			own = append(own, ip.String())
		}
	}
	switch n := len(j.facts.Config.Monitor.PingIPs); {
	case len(silent) == n:
		j.add(Error, "ping-ips", MonitorHost,
			"ping_ips in mmm_mon.conf: gateways or other machines that always answer pings",
			"none of ping_ips answers (%s): the monitor thinks that its own network is down, and does nothing",
			list(silent))
	case len(silent) > 0:
		j.add(Warning, "ping-ips", MonitorHost, "replace them in ping_ips of mmm_mon.conf",
			"some of ping_ips answer no pings: %s", list(silent))
	default:
		j.ok("ping-ips", MonitorHost, "all of ping_ips answer")
	}
	if len(own) > 0 {
		j.add(Warning, "ping-ips-own", MonitorHost,
			"ping_ips in mmm_mon.conf: gateways or other machines that always answer pings",
			"some of ping_ips say nothing about the network, as they are this machine's own or addresses of roles: %s",
			list(own))
	}
}

func (j *judge) isRole(ip netip.Addr) bool {
	return slices.ContainsFunc(j.facts.Config.Roles, func(r config.Role) bool { return slices.Contains(r.IPs, ip) })
}

// monitor judges the monitor that runs, if one does.
func (j *judge) monitor() {
	port := fmt.Sprintf("%s:%d", j.facts.Config.Monitor.IP, j.facts.Config.Monitor.Port)
	switch m := j.facts.Monitor; {
	case j.facts.TLS.Err != nil: // nobody was asked
		return
	case m.Err != nil:
		j.add(Error, "monitor-port", MonitorHost, fmt.Sprintf("see who has the port: ss -ltnp 'sport = :%d'",
			j.facts.Config.Monitor.Port),
			"what listens on %s is no monitor, or hangs: %s", port, plain(m.Err))
		return
	case !m.Running:
		j.add(Note, "monitor-down", MonitorHost, "mmm_mond", "no monitor runs on %s", port)
		return
	}
	j.ok("monitor-down", MonitorHost, "a monitor answers on %s", port)
	v := j.facts.Monitor.View
	if v == nil {
		return
	}
	if v.Mode == cluster.Passive {
		j.add(Warning, "monitor-passive", MonitorHost,
			"mmm_control set_active, when mmm_control show is as it is to be",
			"the monitor is in passive mode and orders nothing: %s", strings.Join(strings.Fields(v.Cause), " "))
	}
	for _, h := range v.Hosts {
		if h.Audit != nil {
			j.audit(h)
			continue
		}
		switch h.State {
		case cluster.Online:
			j.ok("host-state", h.Name, "it is ONLINE")
		case cluster.AwaitingRecovery, cluster.AdminOffline:
			j.add(Warning, "host-state", h.Name, "mmm_control set_online "+h.Name,
				"it is %s: the monitor gives it no roles", h.State)
		default:
			j.add(Warning, "host-state", h.Name, "mmm_control checks "+h.Name,
				"it is %s: the monitor gives it no roles", h.State)
		}
		if h.Lacks != "" && h.State != cluster.HardOffline && h.State != cluster.AdminOffline {
			j.add(Warning, "takeover-loss", h.Name, "mmm_control checks "+h.Name+
				"; mend its replication, or see failover_loss", "it can't take the writer role over without loss: %s",
				h.Lacks)
		}
		for _, p := range h.Problems {
			j.add(Error, "agent-problem", h.Name, "mend what it names; the agent tries again every second",
				"its agent reports: %s", p)
		}
	}
	for _, r := range v.Roles {
		if r.Host == "" {
			j.add(Warning, "role-vacant", MonitorHost, "mmm_control show; mmm_control checks", "nobody has role %s(%s)",
				r.Role, r.IP)
		}
	}
}
