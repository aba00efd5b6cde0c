package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// host judges what can be seen of a host from this machine: pings, the server's port, the agent.
func (j *judge) host(h config.Host) {
	f := j.facts.Hosts[h.Name]
	if !f.reached() {
		reachedBy := j.reachedBy(h.Name)
		if len(reachedBy) > 0 {
			j.add(Error, "line-cut", h.Name, fmt.Sprintf("mend the line between the monitor and %s", h.IP),
				"the monitor does not reach %s; from %s it is reached", h.IP, list(reachedBy))
			return
		}
		j.add(Error, "host-unreachable", h.Name, fmt.Sprintf("ping %s; switch it on, or correct ip in <host %s>", h.IP,
			h.Name),
			"%s answers nothing: no ping, no connection to ports %d and %d", h.IP, h.MySQLPort, h.AgentPort)
		return
	}
	if f.Ping != nil {
		j.add(Error, "ping", h.Name,
			"let ICMP echo requests through: iptables -I INPUT -p icmp --icmp-type echo-request -j ACCEPT",
			"%s does not answer pings: the monitor would take it for dead", h.IP)
	} else {
		j.ok("ping", h.Name, "%s answers pings", h.IP)
	}
	j.login(h, f)
	j.agent(h, f.Agent)
}

// reachedBy lists the other hosts whose agents reach the server of host.
func (j *judge) reachedBy(host string) []string {
	var names []string
	for _, h := range j.facts.Config.Hosts {
		if e := j.exam(h.Name); e != nil && h.Name != host {
			if slices.ContainsFunc(e.Logins, func(l wire.Login) bool {
				return l.Host == host &&
					l.Outcome != wire.LoginFailed
			}) {
				names = append(names, h.Name)
			}
		}
	}
	return names
}

// login judges the server's port and the monitor's account.
func (j *judge) login(h config.Host, f HostFacts) {
	s := f.Server
	user := fmt.Sprintf("monitor_user %s", h.MonitorUser)
	switch {
	case s.Port != nil:
		j.port(h, f)
	case mysqlctl.SignOf(s.Login) == mysqlctl.Full:
		j.add(Error, "server-full", h.Name, "SET GLOBAL max_connections = …; on "+h.Name+
			", or end connections that nobody needs", "its server has no connection left")
	case mysqlctl.SignOf(s.Login) == mysqlctl.Denied:
		what, mend := j.refusal("monitor_password in mmm_mon.conf", s.Login.Error(), h.MonitorUser, h.Name,
			mysqlctl.ForMonitor)
		j.add(Error, "monitor-login", h.Name, mend, "%s can't log in: %s", user, what)
	case mysqlctl.SignOf(s.Login).Alive():
		j.serverError(h, s.Login)
	case s.Login != nil:
		j.add(Error, "server-silent", h.Name,
			"look at the server's error log, and at: SHOW PROCESSLIST; a server that hangs has to be restarted",
			"its server takes connections and does not answer as a server does: %s", plain(s.Login))
	case s.Grant != "":
		j.add(Error, "monitor-grant", h.Name, j.onWriter()+s.Grant+";", "%s lacks privileges on its server", user)
	case mysqlctl.SignOf(s.Err).Alive():
		j.serverError(h, s.Err)
	case s.Err != nil:
		j.add(Error, "server-silent", h.Name, "look at the server's error log, and at: SHOW PROCESSLIST",
			"its server can't be asked how it is set up: %s", plain(s.Err))
	default:
		j.ok("monitor-login", h.Name, "%s can log in and has its privileges", user)
	}
}

// serverError judges a server that lives and answers the monitor with an error that is not about the account. The error
// may name its remedy.
func (j *judge) serverError(h config.Host, err error) {
	what, mend := mysqlctl.CutMend(plain(err))
	if mend == "" {
		mend = "look at the error in the server's manual, and at its error log; it may pass by itself, as while it shuts down"
	}
	j.add(Error, "server-error", h.Name, mend, "its server answers monitor_user %s with an error: %s", h.MonitorUser,
		said(what))
}

// refusal splits the message of a server that refuses an account into the error and the remedy. password names the
// variable that has the account's password, server the host of the server.
func (j *judge) refusal(password, text, user, server string, p mysqlctl.Purpose) (what, mend string) {
	what, mend = mysqlctl.CutMend(text)
	err := mysqlctl.ReadError(what)
	if full := mysqlctl.Mend(err, "'"+user+"'@'…'", password); full != "" && user != "" {
		mend = full // the remedy in the text of an agent may have been cut
	}
	switch {
	case mend == "" || mysqlctl.IsWrongAccount(err):
		mend = j.account(password, what, user, server, p)
	case strings.HasPrefix(mend, "ALTER USER"):
		mend = j.onWriter() + mend
	case strings.HasPrefix(mend, "FLUSH"):
		mend = "on " + server + ": " + mend
	}
	return said(what), mend
}

// port judges a server that can't be connected to. Only the host's own agent knows on which addresses a server listens.
func (j *judge) port(h config.Host, f HostFacts) {
	addr := fmt.Sprintf("%s:%d", h.IP, h.MySQLPort)
	e := f.Agent.Exam
	fits := func(l netip.AddrPort) bool { return l.Addr().IsUnspecified() || l.Addr() == h.IP }
	switch {
	case e != nil && len(e.Listens) == 0 && e.Faults[wire.FaultListen] == "":
		j.add(Error, "server-down", h.Name,
			"start the server; if it runs, correct port in its my.cnf, and take out skip-networking",
			"no server listens on port %d", h.MySQLPort)
	case e != nil && len(e.Listens) > 0 && !slices.ContainsFunc(e.Listens, fits):
		j.add(Error, "bind-address", h.Name,
			fmt.Sprintf("my.cnf of %s, [mysqld]: bind-address = 0.0.0.0; then restart the server", h.Name),
			"its server listens on %s only, not on %s", e.Listens[0], addr)
	case refused(f.Server.Port) && e != nil && e.Faults[wire.FaultFence] != "":
		// The server runs. It is the agent's rule that refuses, and fence-closed says so.
	case refused(f.Server.Port):
		mend := "start the server; if it runs, my.cnf, [mysqld]: bind-address = 0.0.0.0, without skip-networking"
		if e == nil { // it may be the rule of an agent that is dead now
			mend += fmt.Sprintf("; where nft list tables shows mmm_fence_%d an agent has closed the port: start the agent",
				h.MySQLPort)
		}
		j.add(Error, "server-down", h.Name, mend, "%s refuses connections", addr)
	default:
		j.add(Error, "server-filtered", h.Name,
			fmt.Sprintf("let TCP port %d be reached from the monitor and from all hosts: iptables -L INPUT -n; nft list ruleset", h.MySQLPort),
			"%s can't be connected to: %s", addr, plain(f.Server.Port))
	}
}

// agent judges whether an agent can be asked.
func (j *judge) agent(h config.Host, a AgentFacts) {
	addr := fmt.Sprintf("%s:%d", h.IP, h.AgentPort)
	same := "make agent_secret in mmm_common.conf the same on all hosts, then restart this agent"
	switch {
	case j.facts.TLS.Err != nil: // nobody was asked
	case a.Exam != nil:
		j.examination(h, a)
	case a.Err != nil:
		j.silent(h, a.Err, addr, same)
	case strings.Contains(a.Refusal, "Not authenticated"):
		j.add(Error, "agent-secret", h.Name, same, "its agent has an agent_secret, the monitor has none")
	case strings.Contains(a.Refusal, "Invalid hostname"):
		_, name, _ := strings.Cut(a.Refusal, "My name is ")
		j.add(Error, "agent-name", h.Name,
			fmt.Sprintf("this %s in mmm_agent.conf of that host, or correct ip in <host %s> of mmm_common.conf", h.Name,
				h.Name),
			"the agent on %s says that its name is %s", addr, name)
	case strings.Contains(a.Refusal, "Invalid command"):
		j.add(Warning, "agent-old", h.Name, "install the mmm_agentd of this version there, and restart it",
			"its agent is older than this program and can't examine its host")
	default:
		j.add(Error, "agent-strange", h.Name, "install the mmm_agentd of this version there, and restart it",
			"its agent does not answer as an agent does: %.200q", a.Refusal)
	}
}

func (j *judge) silent(h config.Host, err error, addr, same string) {
	switch {
	case isAuth(err):
		j.add(Error, "agent-secret", h.Name, same, "its agent and the monitor don't have the same agent_secret")
	case refused(err):
		j.add(Error, "agent-down", h.Name, fmt.Sprintf("start it on %s: mmm_agentd", h.Name), "no agent listens on %s",
			addr)
	case timeout(err):
		j.add(Error, "agent-down", h.Name,
			fmt.Sprintf("let TCP port %d be reached from the monitor and from all hosts; where it is, restart mmm_agentd there", h.AgentPort),
			"its agent on %s does not answer in time", addr)
	default:
		j.add(Error, "agent-socket", h.Name,
			"make <socket> in mmm_common.conf the same on all hosts, with certificates of one authority",
			"its agent on %s can't be talked to: %s", addr, plain(err))
	}
}

// account says how to mend an account that can't log in. The message of the server names the machine that tried, which
// need not be the Host of the account: that may be a pattern for many machines.
func (j *judge) account(password, text, user, server string, p mysqlctl.Purpose) string {
	who := "'" + user + "'@'%'"
	if at := strings.Index(text, "'@'"); at >= 0 {
		if end := strings.Index(text[at+3:], "'"); end > 0 {
			who = "'" + user + "'@'" + text[at+3:at+3+end] + "'"
		}
	}
	at := strings.TrimSuffix(j.onWriter(), ": ")
	mend := fmt.Sprintf("make %s the account's; or %s, with the Host that mysql.user has: ALTER USER '%s'@'…' IDENTIFIED BY '…';", password, at, user)
	if s := j.facts.Hosts[server].Server.Setup; s != nil {
		return fmt.Sprintf("%s where there is none: CREATE USER %s IDENTIFIED BY '…'; GRANT %s ON *.* TO %s;", mend,
			who, strings.Join(mysqlctl.Privileges(s.Version, p), ", "), who)
	}
	return mend + fmt.Sprintf(" where there is none: CREATE USER %s IDENTIFIED BY '…';", who)
}

// said returns the error of a server without the words before it that name the server and the account.
func said(text string) string {
	if at := strings.Index(text, "Error "); at >= 0 {
		return text[at:]
	}
	return text
}
