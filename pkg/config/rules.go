package config

import (
	"fmt"

	"mysql-mmm/pkg/event"
)

// programs is a set of Programs.
type programs uint8

const (
	forM    = programs(1) << Monitor
	forA    = programs(1) << Agent
	forC    = programs(1) << Control
	forNone = programs(0)
)

func (s programs) has(p Program) bool { return s>>p&1 == 1 }

// kind says how the text of a variable is read, and which Go type the value has.
type kind int

const (
	textKind       kind = iota // string
	secretKind                 // Secret
	choiceKind                 // string, one of the rule's choices
	choicesKind                // []string, of the rule's choices, without repetitions
	nameKind                   // string, the name of a section
	namesKind                  // []string, without repetitions
	boolKind                   // bool
	countKind                  // int, 0 or more
	portKind                   // int, 1 to 65535
	durationKind               // time.Duration, 0 or more
	periodKind                 // time.Duration, above 0
	addrsKind                  // []netip.Addr, without repetitions
	hostKind                   // netip.Addr; a name is looked up
	hostsKind                  // []netip.Addr, without repetitions; names are looked up
	tableKind                  // string, DB.TABLE
	listenKind                 // netip.AddrPort
	serverKind                 // string, HOST:PORT, where HOST may be a name
	urlKind                    // Secret, an http or https URL: it may have a token in it
	certsFileKind              // string, what is in the file: certificates
	secretFileKind             // a file whose first line is the value of the secret that is named before "_file"
	ignoredKind                // not looked at; may be empty
)

// rule describes one variable.
type rule struct {
	name    string
	kind    kind
	def     string   // default, as it would be written in a file; "" is none
	reads   programs // the programs that use it; the others do not look at its value
	needs   programs // the programs that don't start without it
	when    string   // "VARIABLE VALUE": needed only where that variable of the section has this value
	choices []string
	doc     string // one sentence for the reference page
}

// sectionRule describes one type of section. The top level is the section without a type.
type sectionRule struct {
	typ      string
	named    bool     // <type NAME> instead of <type>
	template bool     // a section named default fills what the others leave out
	names    []string // the only names there can be; each section exists, whether a file has it or not
	needs    programs // the programs that don't start without at least one
	doc      string
	vars     []rule
}

func (s sectionRule) variable(name string) (rule, bool) {
	for _, r := range s.vars {
		if r.name == name {
			return r, true
		}
	}
	return rule{}, false
}

func (s sectionRule) varNames() []string {
	names := make([]string, len(s.vars))
	for i, r := range s.vars {
		names[i] = r.name
	}
	return names
}

// tag says how a section of this type is written in classic files.
func (s sectionRule) tag() string { return classicNotation.any(s) }

// templateName is the name of the section that is the template of its type.
const templateName = "default"

// ruleset is the whole vocabulary of the configuration (of MMM 2.2, of the mysql-m3 fork, and what is new here). The
// tables of docs/configuration.md are generated from it.
func ruleset() []sectionRule {
	return []sectionRule{topRules(), monitorRules(), hostRules(), roleRules(), checkRules(), socketRules(), hookRules(),
		alertRules(), copyMethodRules()}
}

// sectionTypes are the words that can begin a section.
func sectionTypes() []string {
	var types []string
	for _, s := range ruleset()[1:] {
		types = append(types, s.typ)
	}
	return types
}

func topRules() sectionRule {
	return sectionRule{doc: "Outside any section.", vars: []rule{
		{name: "this", kind: nameKind, reads: forA, needs: forA, doc: "Name of the local host's section."},
		{name: "debug", kind: boolKind, def: "0", reads: forA | forM | forC,
			doc: "Stay in the foreground and log DEBUG to standard output too."},
		{name: "log_format", kind: choiceKind, def: "classic", reads: forA | forM, choices: []string{"classic", "json"},
			doc: "How monitor and agents write their logs: `classic`, the lines of MMM 2.2; `json`, one JSON object a line, with `time`, `level`, `msg` and what else belongs to it (see operations.md)."},
		{name: "log_timestamps", kind: choiceKind, def: "classic", reads: forA | forM,
			choices: []string{"classic", "rfc3339"},
			doc:     "How classic lines begin: `classic`, local time without its zone (`2026/11/21 05:07:36`); `rfc3339`, with its zone and milliseconds (`2026-11-21T05:07:36.512+01:00`), as JSON always has it."},
		{name: "active_master_role", kind: nameKind, reads: forA | forM, needs: forA | forM,
			doc: "Name of the exclusive role that makes a host the writer."},
		{name: "max_kill_retries", kind: durationKind, def: "10", reads: forA | forM,
			doc: "How long a writer that gives its role up waits for running statements before it kills them, at most until its lease is over; 0: not at all. Rounded up to whole seconds. The same on all hosts: the monitor waits 5 seconds longer."},
		{name: "blocking_type", kind: choiceKind, def: string(Soft), reads: forA,
			choices: []string{string(Soft), string(Hard)},
			doc:     "Whether new clients are kept away while a writer gives its role up. With both the server is made read-only, running statements may end (`max_kill_retries`), and then clients are disconnected. `soft`: new connections are refused until the writer's address has gone. `hard`: they are not, and find a server that is read-only."},
		{name: "iptables_block_cmd", kind: textKind, def: blockCommand("-I", 3306), reads: forA,
			doc: "Command that blocks new client connections for `blocking_type soft`. The default, which uses the local host's mysql_port, is not run: in its place the agent has a rule of its own (nftables, no command) that spares this host, the other hosts of the configuration and the monitor, and ends by itself. A command that does not spare them keeps the monitor's checks from the server."},
		{name: "iptables_unblock_cmd", kind: textKind, def: blockCommand("-D", 3306), reads: forA,
			doc: "Command that takes the block away again. It also runs when the agent of a host that may be the writer starts, since an agent that was killed may have left the block. The default, which uses the local host's mysql_port, is then repeated until no block is left."},
		{name: "writer_lease", kind: durationKind, def: "6", reads: forA | forM,
			doc: "How long a writer stays the writer when neither the monitor nor another host that may be the writer vouches for it; then its address goes by itself. 0, or from 1 second to 1 minute. The monitor's value counts for all hosts. 0: no lease, as in MMM 2.2: a writer that can't be reached may stay the writer beside the new one."},
		{name: "agent_secret", kind: secretKind, reads: forA | forM,
			doc: "Secret that the monitor and all agents share, of at least 16 characters: agents obey nobody who does not know it. Without it, and without `<socket>` type ssl, they obey anybody who can connect."},
		{name: "agent_secret_file", kind: secretFileKind, reads: forA | forM,
			doc: "File whose first line is `agent_secret`, in place of it. Nobody but its owner and group may read it; a relative name is looked for in the folder of the configuration file."},
		{name: "fast_failover", kind: boolKind, def: "0", reads: forM,
			doc: "Don't wait for trap_period where the evidence is unanimous: the server's port refuses and the host's own agent says that its process is gone."},
		{name: "switch_timeout", kind: periodKind, def: "10", reads: forM,
			doc: "How long the target of a planned move of a role may take; then the role goes back to the host that had it."},
		{name: "catch_up_timeout", kind: periodKind, def: "10", reads: forA,
			doc: "How long a new writer may take to fetch from another host what that host has received of the dead writer and the new writer has not; with GTIDs only. Then the new writer goes on without it."},
		{name: "arp_refresh", kind: durationKind, def: "30", reads: forA,
			doc: "How often a host announces the virtual addresses that it has; 0: only when it gets them."},
		{name: "default_copy_method", kind: ignoredKind, doc: toolsOnly},
		{name: "clone_dirs", kind: ignoredKind, doc: toolsOnly},
	}}
}

// blockCommand is the default of iptables_block_cmd (-I) and iptables_unblock_cmd (-D).
func blockCommand(action string, port int) string {
	return fmt.Sprintf("iptables %s INPUT -p tcp --dport %d --syn -j REJECT", action, port)
}

const toolsOnly = "For the tools of MMM 2.2 only; accepted and ignored."

func monitorRules() sectionRule {
	return sectionRule{typ: "monitor", needs: forM | forC, doc: "The monitor.", vars: []rule{
		{name: "ip", kind: hostKind, reads: forM | forC, needs: forM | forC,
			doc: "Address on which the monitor listens for mmm_control."},
		{name: "port", kind: portKind, def: "9988", reads: forM | forC,
			doc: "Port on which the monitor listens for mmm_control."},
		{name: "pid_path", kind: textKind, reads: forM, needs: forM, doc: "The monitor's pid file."},
		{name: "bin_path", kind: textKind, reads: forM, needs: forM,
			doc: "Folder of the helper programs; a relative kill_host_bin lives in its folder `monitor`."},
		{name: "status_path", kind: textKind, reads: forM, needs: forM,
			doc: "File in which the monitor keeps states and roles over a restart."},
		{name: "ping_interval", kind: periodKind, def: "1", reads: forM,
			doc: "Pause between rounds of network checks."},
		{name: "ping_ips", kind: hostsKind, reads: forM, needs: forM,
			doc: "Addresses outside the monitor; its own network counts as up while one of them answers."},
		{name: "flap_duration", kind: durationKind, def: "3600", reads: forM,
			doc: "Time in which flap_count failures make a host flapping."},
		{name: "flap_count", kind: countKind, def: "3", reads: forM,
			doc: "A host that fails more often than this within flap_duration is flapping; 0 turns this off."},
		{name: "auto_set_online", kind: durationKind, def: "0", reads: forM,
			doc: "Time a host spends in AWAITING_RECOVERY before it becomes ONLINE; 0: only by hand."},
		{name: "kill_host_bin", kind: textKind, def: "kill_host", reads: forM,
			doc: "Program that switches off a host that can't be told to give up its roles. A relative name lives under `BIN_PATH/monitor/`."},
		{name: "metrics_listen", kind: listenKind, reads: forM,
			doc: "Address and port of the monitor's status page, API and metrics over HTTP (see monitoring.md). Anybody who can connect can read them. Without it there are none."},
		{name: "hook_dir", kind: textKind, reads: forM,
			doc: "Folder whose programs are run on every event (see hooks.md)."},
		{name: "careful_startup", kind: boolKind, def: "1", reads: forM,
			doc: "Start in passive mode where the hosts disagree about who holds a role."},
		{name: "mode", kind: choiceKind, def: string(ModeActive), reads: forM,
			choices: []string{string(ModeActive), string(ModeManual), string(ModeWait), string(ModePassive)},
			doc:     "Mode in which the monitor starts."},
		{name: "wait_for_other_master", kind: durationKind, def: "120", reads: forM,
			doc: "How long a master that is missing is waited for; 0: for ever. In mode `wait`: before one ONLINE master is enough. After a power cut, or where nobody has all that a dead writer had: before another host becomes the writer."},
		{name: "write_timeout", kind: durationKind, def: "10", reads: forM,
			doc: "How long the writer may answer and write nothing, because its disk hangs or is full or nobody acknowledges what it commits, before another host that is fit becomes the writer; 0: for ever. Choose more than your longest commit takes."},
		{name: "failover_loss", kind: choiceKind, def: "named", reads: forM, choices: []string{"any", "named", "none"},
			doc: "Which data a host may lack when it becomes the writer because the writer is dead. `named`: a host that had received nothing for `trap_period` or longer while the writer lived gets the role only after `wait_for_other_master`, and the log says what it lacks. `none`: only a host whose acknowledgement all commits waited for (semi-synchronous replication) gets the role. `any`: what a host lacks is not looked at, as in MMM 2.2."},
	}}
}

func hostRules() sectionRule {
	s := sectionRule{typ: "host", named: true, template: true, needs: forA | forM, doc: "One database host each.",
		vars: []rule{
			{name: "ip", kind: hostKind, reads: forA | forM, needs: forA | forM, doc: "The host's own address."},
			{name: "mode", kind: choiceKind, reads: forA | forM, needs: forA | forM,
				choices: []string{string(Master), string(Slave)}, doc: "Part the host plays in replication."},
			{name: "peer", kind: nameKind, reads: forA | forM, needs: forA | forM, when: "mode master",
				doc: "The other master, which must name this one as its peer."},
			{name: "pid_path", kind: textKind, reads: forA, needs: forA, doc: "The agent's pid file."},
			{name: "bin_path", kind: textKind, reads: forA, needs: forA, doc: "Folder of the agent's helper programs."},
			{name: "state_path", kind: textKind, def: "/var/lib/mysql-mmm/mmm_agentd.state", reads: forA,
				doc: "File in which the agent keeps what was decided about the writer role, over a restart."},
			{name: "cluster_interface", kind: textKind, reads: forA, needs: forA,
				doc: "Network interface that gets the virtual addresses."},
			{name: "agent_port", kind: portKind, def: "9989", reads: forA | forM,
				doc: "Port on which the agent listens for the monitor."},
			{name: "metrics_listen", kind: listenKind, reads: forA,
				doc: "Address and port of the agent's metrics and of the health checks for load balancers, over HTTP (see monitoring.md). Without it there are none."},
			{name: "mysql_port", kind: portKind, def: "3306", reads: forA | forM, doc: "Port of the database server."},
			{name: "mysql_ssl_mode", kind: choiceKind, def: "disabled", reads: forA | forM,
				choices: []string{"disabled", "preferred", "required", "verify_ca"},
				doc:     "Whether connections of monitor and agents to the database server are encrypted (TLS): `preferred`, where it offers that; `required`; `verify_ca`, and its certificate comes from `mysql_ca_file`. How slaves connect to masters is set on the servers (MASTER_SSL, SOURCE_SSL …), and stays as it is when they are pointed elsewhere."},
			{name: "mysql_ca_file", kind: certsFileKind, reads: forA | forM, needs: forA | forM,
				when: "mysql_ssl_mode verify_ca",
				doc:  "Certificates of the authorities that the database server's certificate must come from, PEM; a relative name is looked for in the folder of the configuration file."},
			{name: "event_scheduler", kind: boolKind, def: "0", reads: forA | forM,
				doc: "Hand the server's event scheduler over with the writer role: the agent sets `event_scheduler` ON where writes are allowed, and OFF where they are denied. For events that are enabled on all hosts that may be the writer (see replication.md)."},
			{name: "agent_user", kind: textKind, reads: forA, needs: forA, doc: "Database account of the agent."},
			{name: "agent_password", kind: secretKind, reads: forA, needs: forA, doc: "Password of `agent_user`."},
			{name: "agent_password_file", kind: secretFileKind, reads: forA,
				doc: "File whose first line is `agent_password`, in place of it. Nobody but its owner and group may read it; a relative name is looked for in the folder of the configuration file."},
			{name: "monitor_user", kind: textKind, reads: forM, needs: forM, doc: "Database account of the monitor."},
			{name: "monitor_password", kind: secretKind, reads: forM, needs: forM, doc: "Password of `monitor_user`."},
			{name: "monitor_password_file", kind: secretFileKind, reads: forM,
				doc: "File whose first line is `monitor_password`, in place of it. Nobody but its owner and group may read it; a relative name is looked for in the folder of the configuration file."},
			{name: "replication_user", kind: textKind, reads: forA, needs: forA,
				doc: "Database account with which slaves replicate."},
			{name: "replication_password", kind: secretKind, reads: forA, needs: forA, doc: "Password of `replication_user`."},
			{name: "replication_password_file", kind: secretFileKind, reads: forA,
				doc: "File whose first line is `replication_password`, in place of it. Nobody but its owner and group may read it; a relative name is looked for in the folder of the configuration file."},
			{name: "replication_channel", kind: textKind, reads: forA | forM,
				doc: "Name of the replication channel (MariaDB: connection) that MMM owns, where a server replicates from several sources."},
		}}
	for _, name := range []string{"mysql_pidfile", "mysql_rcscript", "mysql_cnf",
		"ssh_user", "ssh_port", "ssh_parameters", "tools_user", "tools_password", "backup_dir", "restore_dir",
		"lvm_bin_lvcreate", "lvm_bin_lvremove", "lvm_snapshot_size", "lvm_logical_volume", "lvm_volume_group",
		"lvm_mount_dir", "lvm_mount_opts"} {
		s.vars = append(s.vars, rule{name: name, kind: ignoredKind, doc: toolsOnly})
	}
	return s
}

func roleRules() sectionRule {
	return sectionRule{typ: "role", named: true, doc: "What is given to hosts: one or more virtual addresses each.",
		vars: []rule{
			{name: "mode", kind: choiceKind, reads: forA | forM, needs: forM,
				choices: []string{"exclusive", "balanced"},
				doc:     "`exclusive`: one address, on one host at a time; `balanced`: the addresses are spread evenly."},
			{name: "hosts", kind: namesKind, reads: forA | forM, needs: forM, doc: "Hosts that may take the role."},
			{name: "ips", kind: addrsKind, reads: forA | forM, needs: forA | forM,
				doc: "Virtual addresses. All that one host may have to take, some 250, have to fit into one order; configurations with more are refused."},
			{name: "prefer", kind: nameKind, reads: forM,
				doc: "Exclusive roles only: the one of `hosts` that holds the role whenever it can."},
		}}
}

func checkRules() sectionRule {
	return sectionRule{typ: "check", named: true, template: true,
		names: []string{"ping", "mysql", "rep_threads", "rep_backlog"},
		doc:   "How hosts are checked. All four checks exist, also where the file names none.", vars: []rule{
			{name: "check_period", kind: periodKind, def: "5", reads: forM,
				doc: "Time between two runs of the check on a host."},
			{name: "trap_period", kind: durationKind, def: "10", reads: forM,
				doc: "How long a check must keep failing before it counts as failed."},
			{name: "timeout", kind: periodKind, def: "2", reads: forM,
				doc: "Time after which an unfinished check has failed."},
			{name: "restart_after", kind: ignoredKind,
				doc: "For the check processes of MMM 2.2 only; accepted and ignored."},
			{name: "max_backlog", kind: durationKind, def: "60", reads: forM,
				doc: "rep_backlog only: how far a host may be behind its master."},
			{name: "heartbeat_table", kind: tableKind, reads: forM,
				doc: "rep_backlog only: table that pt-heartbeat keeps, by which to tell how far a host is behind; without it the server is asked (see replication.md). The monitor's account needs SELECT on it."},
		}}
}

func socketRules() sectionRule {
	all := forA | forM | forC
	return sectionRule{typ: "socket", doc: "How monitor, agents and mmm_control talk to each other.", vars: []rule{
		{name: "type", kind: choiceKind, def: "plain", reads: all, choices: []string{"plain", "ssl"},
			doc: "`plain`: unprotected TCP; `ssl`: TLS, both sides show a certificate."},
		{name: "cert_file", kind: textKind, reads: all, needs: all, when: "type ssl", doc: "Own certificate, PEM."},
		{name: "key_file", kind: textKind, reads: all, needs: all, when: "type ssl", doc: "Private key of `cert_file`, PEM."},
		{name: "ca_file", kind: textKind, reads: all, needs: all, when: "type ssl",
			doc: "Certificates of the authorities that the other side's certificate must come from, PEM."},
	}}
}

func hookRules() sectionRule {
	return sectionRule{typ: "hook", named: true, doc: "A program that the monitor runs on events (see hooks.md).",
		vars: []rule{
			{name: "program", kind: textKind, reads: forM, needs: forM,
				doc: "The program, an absolute path. It gets no arguments; what happened is in its environment and, as JSON, on its standard input."},
			{name: "events", kind: choicesKind, reads: forM, choices: event.Selectors(),
				doc: "When it is run. Without it: on all events; with may_abort on `before_planned_move` only."},
			{name: "timeout", kind: periodKind, def: "10", reads: forM,
				doc: "How long it may run, at most 2 minutes; then it is killed."},
			{name: "may_abort", kind: boolKind, def: "0", reads: forM,
				doc: "Whether it is asked before `move_role` of the active master role: an exit status other than 0 stops the move."},
		}}
}

func alertRules() sectionRule {
	const fileOf = "File whose first line is `%s`, in place of it. Nobody but its owner and group may read it; a relative name is looked for in the folder of the configuration file."
	return sectionRule{typ: "alert", named: true,
		doc: "Somebody whom the monitor tells of events, over HTTP, by mail or both (see hooks.md).", vars: []rule{
			{name: "events", kind: choicesKind, def: string(event.Fatal), reads: forM, choices: event.Selectors(),
				doc: "What is told."},
			{name: "min_interval", kind: durationKind, def: "60", reads: forM,
				doc: "Least time between two messages; what happens meanwhile is in the next one."},
			{name: "webhook", kind: urlKind, reads: forM,
				doc: "URL to which messages are posted as JSON. It is never shown, as such URLs often hold a key."},
			{name: "webhook_file", kind: secretFileKind, reads: forM, doc: fmt.Sprintf(fileOf, "webhook")},
			{name: "webhook_token", kind: secretKind, reads: forM,
				doc: "Sent with each message to `webhook` as `Authorization: Bearer TOKEN`."},
			{name: "webhook_token_file", kind: secretFileKind, reads: forM, doc: fmt.Sprintf(fileOf, "webhook_token")},
			{name: "smtp", kind: serverKind, reads: forM,
				doc: "Mail server, by name or address, with its port. It needs mail_from and mail_to."},
			{name: "smtp_tls", kind: choiceKind, def: "starttls", reads: forM,
				choices: []string{"starttls", "tls", "none"},
				doc:     "`starttls`: only where the server offers it; `tls`: from the first byte (port 465); `none`: unprotected. Certificates must be valid for the server's name."},
			{name: "smtp_user", kind: textKind, reads: forM,
				doc: "Account on the mail server; without it there is no login."},
			{name: "smtp_password", kind: secretKind, reads: forM, doc: "Password of `smtp_user`."},
			{name: "smtp_password_file", kind: secretFileKind, reads: forM, doc: fmt.Sprintf(fileOf, "smtp_password")},
			{name: "mail_from", kind: textKind, reads: forM, doc: "Sender's mail address."},
			{name: "mail_to", kind: namesKind, reads: forM, doc: "Mail addresses of the recipients."},
		}}
}

func copyMethodRules() sectionRule {
	s := sectionRule{typ: "copy_method", named: true, template: true, doc: "For the tools of MMM 2.2 only."}
	for _, name := range []string{"backup_command", "restore_command", "incremental_command", "incremental",
		"single_run", "true_copy"} {
		s.vars = append(s.vars, rule{name: name, kind: ignoredKind, doc: toolsOnly})
	}
	return s
}
