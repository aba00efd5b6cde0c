package doctor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// mostAhead is how far clocks may differ, so that logs of different hosts can be read side by side.
const mostAhead = time.Second

func isAuth(err error) bool {
	_, ok := errors.AsType[*wire.AuthError](err)
	return ok
}

// examination judges what an agent found out about its host.
func (j *judge) examination(h config.Host, a AgentFacts) {
	e := a.Exam
	j.ok("agent-down", h.Name, "its agent answers; it is version %s", e.Version)
	if e.Version != j.facts.Version {
		j.add(Note, "agent-version", h.Name, "install the same version on all hosts",
			"its agent is version %s, this program %s", e.Version, j.facts.Version)
	}
	if differ := differences(j.facts.Digests, e.Settings); len(differ) > 0 {
		j.add(Error, "config-differs", h.Name,
			fmt.Sprintf("make them equal in %s here and %s on %s, then restart the program whose file was wrong",
				j.facts.Config.File, e.File, h.Name),
			"its configuration differs from the monitor's: %s", list(differ))
	} else {
		j.ok("config-differs", h.Name, "its configuration is the same as the monitor's")
	}
	if ahead := a.Ahead.Abs() - a.Unsure; ahead > mostAhead {
		way := "ahead of"
		if a.Ahead < 0 {
			way = "behind"
		}
		j.add(Warning, "clock", h.Name,
			"run chrony or ntpd on both hosts: systemctl enable --now chronyd; chronyc makestep",
			"its clock is %s %s the monitor's", a.Ahead.Abs().Round(100*time.Millisecond), way)
	} else {
		j.ok("clock", h.Name, "its clock is right to %s", (a.Ahead.Abs() + a.Unsure).Round(time.Millisecond))
	}
	j.machine(h, e)
	j.logins(h, e)
	j.lines(h, e)
}

// machine judges what the agent can do on its host.
func (j *judge) machine(h config.Host, e *wire.Examination) {
	if len(e.Lacks) > 0 {
		j.add(Error, "capability", h.Name,
			"run mmm_agentd as root, or with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in its systemd unit",
			"its agent lacks %s: it can't move addresses", list(e.Lacks))
	}
	faults := []struct {
		fault    string
		severity Severity
		name     string
		mend     string
		what     string
	}{
		{wire.FaultState, Error, "state-path",
			"make the folder of state_path there, and let its agent write in it: mkdir -p; df -h; mount",
			"its agent can't save decisions, so the host can't become the writer: %s"},
		{wire.FaultNftables, Warning, "nftables",
			"modprobe nf_tables, with a kernel that has CONFIG_NF_TABLES_INET and CONFIG_NFT_REJECT_INET; run the agent as root", "the port of a server that hangs can't be closed: %s"},
		{wire.FaultSockDiag, Warning, "sock-diag",
			"modprobe tcp_diag, with a kernel that has CONFIG_INET_DIAG_DESTROY; run the agent as root",
			"connections to an address that leaves the host can't be ended: %s"},
		{wire.FaultListen, Note, "listen", "modprobe tcp_diag, with a kernel that has CONFIG_INET_TCP_DIAG",
			"its agent could not find out where its server listens: %s"},
		{wire.FaultFence, Warning, "fence-closed",
			"see why the server does not answer; the agent opens the port when it does. Without an agent: nft delete table inet mmm_fence_" + fmt.Sprint(h.MySQLPort), "the server's port is %s to clients: the server did not answer when it was to be closed for writes"},
		{wire.FaultSource, Error, "replication-limit", "a shorter password or name for the account: " + j.onWriter() +
			"ALTER USER … IDENTIFIED BY '…'; then in the agents' files, and reload them",
			"its server could not follow a new writer: %s"},
		{wire.FaultARP, Note, "arp", "run the agent as root, with cluster_interface up",
			"its agent could not ask the network who has which address: %s"},
	}
	for _, f := range faults {
		if why, ok := e.Faults[f.fault]; ok {
			j.add(f.severity, f.name, h.Name, f.mend, f.what, why)
			continue
		}
		j.ok(f.name, h.Name, "%s is in order", f.fault)
	}
}

// differences names the variables for which two programs have read different values, and the sections that one of them
// lacks.
func differences(ours, theirs map[string]map[string]string) []string {
	var names []string
	for _, section := range slices.Sorted(maps.Keys(ours)) {
		if theirs[section] == nil {
			names = append(names, section+" is missing there")
			continue
		}
		for _, v := range slices.Sorted(maps.Keys(ours[section])) {
			if digest, ok := theirs[section][v]; ok && digest != ours[section][v] {
				names = append(names, strings.TrimSpace(section+" "+v))
			}
		}
	}
	for _, section := range slices.Sorted(maps.Keys(theirs)) {
		if ours[section] == nil && section != config.OwnSection {
			names = append(names, section+" is missing here")
		}
	}
	return names
}

// logins judges to which servers an agent can log in with its accounts. Where a server itself does not answer, the
// findings of that server's host say so.
func (j *judge) logins(h config.Host, e *wire.Examination) {
	local := map[wire.Account]struct {
		variable string
		purpose  mysqlctl.Purpose
	}{
		wire.AgentAccount:       {"agent_user", mysqlctl.ForAgent},
		wire.ReplicationAccount: {"replication_user", mysqlctl.ForReplication},
	}
	for _, account := range []wire.Account{wire.AgentAccount, wire.ReplicationAccount} {
		a := local[account]
		var denied []string
		var text string
		fine := true
		for _, l := range slices.SortedFunc(slices.Values(e.Logins),
			func(a, b wire.Login) int { return strings.Compare(a.Host, b.Host) }) {
			if l.Account != account || l.Outcome == wire.LoginOK {
				continue
			}
			fine = false
			switch l.Outcome {
			case wire.LoginDenied:
				denied, text = append(denied, l.Host), l.Text
			case wire.LoginGrant:
				j.grant(h, string(account)+"-grant", a.variable, l)
			default:
				if f := j.facts.Hosts[l.Host].Server; f.Port == nil && f.Login == nil {
					j.add(Error, "server-cut", h.Name, fmt.Sprintf("let port %d of %s be reached from %s",
						j.serverPort(l.Host), l.Host, h.IP), "its agent does not reach the server of %s: %s", l.Host,
						l.Text)
				}
			}
		}
		if len(denied) > 0 {
			password := strings.Replace(a.variable, "user", "password", 1)
			user := strings.Trim(quotedUser(text), "'")
			what, mend := j.refusal(fmt.Sprintf("%s in %s on %s", password, e.File, h.Name), text, user, denied[0],
				a.purpose)
			j.add(Error, string(account)+"-login", h.Name, mend, "%s of %s can't log in to the server of %s: %s",
				a.variable, h.Name, list(denied), what)
		}
		if fine {
			j.ok(string(account)+"-login", h.Name, "%s can log in where it has to, and has its privileges", a.variable)
		}
	}
}

// quotedUser takes the user, in quotes, out of the message of a server: Access denied for user 'x'@'y'.
func quotedUser(text string) string {
	_, rest, _ := strings.Cut(text, "for user ")
	user, _, _ := strings.Cut(rest, "@")
	return user
}

func (j *judge) serverPort(host string) int {
	h, _ := j.facts.Config.Host(host)
	return h.MySQLPort
}

// grant adds one finding for each server and what an account lacks there. Where the server's own agent reports it too,
// only that agent's report counts, as it names all that is missing.
func (j *judge) grant(h config.Host, name, variable string, l wire.Login) {
	if l.Host != h.Name {
		own := j.exam(l.Host)
		if own != nil && name == "agent-grant" && slices.ContainsFunc(own.Logins, func(o wire.Login) bool {
			return o.Host == l.Host && o.Account == l.Account && o.Outcome == wire.LoginGrant &&
				grantee(o.Text) == grantee(l.Text)
		}) {
			return
		}
		if slices.ContainsFunc(j.findings, func(f Finding) bool {
			return f.Name == name && f.Host == l.Host && strings.HasSuffix(f.Mend, l.Text+";")
		}) {
			return
		}
	}
	j.add(Error, name, l.Host, j.onWriter()+l.Text+";", "%s lacks privileges on its server", variable)
}

func grantee(statement string) string {
	_, who, _ := strings.Cut(statement, " TO ")
	return who
}

// lines judges whether an agent reaches the other agents.
func (j *judge) lines(h config.Host, e *wire.Examination) {
	for _, other := range j.facts.Config.Hosts {
		why, asked := e.Agents[other.Name]
		if !asked || why == "" || j.exam(other.Name) == nil {
			continue // an agent that the doctor does not reach has a finding already
		}
		if strings.Contains(why, "signature") {
			continue // an agent with another agent_secret has a finding already
		}
		severity, harm := Warning, ""
		if c := j.candidates(); slices.Contains(c, h.Name) && slices.Contains(c, other.Name) {
			severity, harm = Error, ": they can't vouch for each other when the monitor is away"
		}
		j.add(severity, "agent-cut", h.Name, fmt.Sprintf("let TCP port %d of %s be reached from %s", other.AgentPort,
			other.IP, h.IP),
			"its agent does not reach the agent of %s (%s)%s", other.Name, why, harm)
	}
}

// agents compares the accounts that the agents have. The monitor's configuration has none to compare them with.
func (j *judge) agents() {
	for _, v := range []string{"agent_user", "agent_password", "replication_user", "replication_password"} {
		hosts := map[string][]string{} // by digest
		for _, h := range j.facts.Config.Hosts {
			if e := j.exam(h.Name); e != nil && e.Settings[config.OwnSection][v] != "" {
				digest := e.Settings[config.OwnSection][v]
				hosts[digest] = append(hosts[digest], h.Name)
			}
		}
		if len(hosts) < 2 {
			continue
		}
		most := ""
		for _, h := range j.facts.Config.Hosts { // of two digests that are as common, the first host's counts
			if e := j.exam(h.Name); e != nil && len(hosts[e.Settings[config.OwnSection][v]]) > len(hosts[most]) {
				most = e.Settings[config.OwnSection][v]
			}
		}
		for digest, names := range hosts {
			if digest == most {
				continue
			}
			for _, name := range names {
				j.add(Warning, "agents-differ", name,
					fmt.Sprintf("make %s in %s what it is on %s, unless it is meant to differ", v, j.exam(name).File,
						hosts[most][0]),
					"its %s differs from that of %s", v, list(hosts[most]))
			}
		}
	}
}
