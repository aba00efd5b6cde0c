package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"unicode"

	"mysql-mmm/pkg/doctor"
	"mysql-mmm/test/lab"
)

// on executes statements on the server of a host.
func on(host string, statements ...string) func(b *bench) error {
	return func(b *bench) error { return b.Node(host).Server.Exec(b.ctx, statements...) }
}

// agentFile puts further lines into the configuration file of an agent ("": none), and restarts the agent.
func agentFile(host, lines string) func(b *bench) error {
	return func(b *bench) error {
		text := "include ../mmm_common.conf\nthis " + host + "\n" + lines
		if err := os.WriteFile("/run/lab/"+host+"/mmm_agent.conf", []byte(text), 0o640); err != nil {
			return err
		}
		if err := b.Node(host).Agent.Kill(); err != nil {
			return err
		}
		return b.Node(host).Agent.Start()
	}
}

const monitorFile = "/run/lab/mmm_mon.conf"

// replaced replaces a text in the monitor's configuration file. The doctor reads the file; the monitor that runs does
// not.
func replaced(old, new string) func(b *bench) error {
	return func(*bench) error {
		text, err := os.ReadFile(monitorFile)
		if err != nil {
			return err
		}
		return os.WriteFile(monitorFile, []byte(strings.Replace(string(text), old, new, 1)), 0o640)
	}
}

// nft changes the firewall of a host.
func nft(host, rules string) func(b *bench) error {
	return func(b *bench) error {
		_, err := b.Node(host).Run(b.ctx, "nft", rules)
		return err
	}
}

// address adds an address to an interface of a host, or deletes it (what: "add", "del").
func address(host func(b *bench) *lab.Host, what, ip, nic string) func(b *bench) error {
	return func(b *bench) error {
		_, err := host(b).Run(b.ctx, "ip", "addr", what, ip, "dev", nic)
		return err
	}
}

func node(name string) func(b *bench) *lab.Host {
	return func(b *bench) *lab.Host { return b.Node(name).Host }
}

func client(b *bench) *lab.Host { return b.Client }

// breakages are the breakages of hosts, files and the network.
func breakages() []breakage {
	return []breakage{
		{"config-readable", doctor.MonitorHost, monitorFile, "chmod o-rwx " + monitorFile,
			func(*bench) error { return os.Chmod(monitorFile, 0o644) },
			func(*bench) error { return os.Chmod(monitorFile, 0o640) }},
		{"config-invalid", doctor.MonitorHost, "did you mean 'ping_ips'", "mmm_mond configtest",
			replaced(" ping_ips", " ping_ip"), replaced(" ping_ip", " ping_ips")},
		{"ping-ips", doctor.MonitorHost, "10.77.0.250", "ping_ips of mmm_mon.conf",
			replaced("ping_ips 10.77.0.11", "ping_ips 10.77.0.250"),
			replaced("ping_ips 10.77.0.250", "ping_ips 10.77.0.11")},
		{"monitor-login", "db2", "monitor_user mmm_monitor can't log in", "monitor_password in mmm_mon.conf",
			replaced(" monpw", " wrong"), replaced(" wrong", " monpw")},
		{"config-differs", "db2", "writer_lease and <host db3> mysql_port", "/run/lab/db2/mmm_agent.conf on db2",
			agentFile("db2", "writer_lease 9\n<host db3>\n mysql_port 3307\n</host>\n"), agentFile("db2", "")},
		{"agent-secret", "db3", "same agent_secret", "agent_secret in mmm_common.conf",
			agentFile("db3", "agent_secret abcdefabcdefabcdefabcdef\n"), agentFile("db3", "")},
		{"agent-login", "db3", "db1, db2 and db3", "agent_password in /run/lab/db3/mmm_agent.conf on db3",
			agentFile("db3", "<host default>\n agent_password wrong\n</host>\n"), agentFile("db3", "")},
		{"replication-login", "db3", "db1 and db2", "replication_password in /run/lab/db3/mmm_agent.conf on db3",
			agentFile("db3", "<host default>\n replication_password wrong\n</host>\n"), agentFile("db3", "")},
		{"agents-differ", "db3", "replication_password", "/run/lab/db3/mmm_agent.conf",
			agentFile("db3", "<host default>\n replication_password wrong\n</host>\n"), agentFile("db3", "")},
		{"interface-missing", "db3", "no interface eth9", "cluster_interface of <host db3>",
			agentFile("db3", "<host default>\n cluster_interface eth9\n</host>\n"), agentFile("db3", "")},
		{"interface-ip", "db3", "cluster_interface is lo", "cluster_interface eth0",
			agentFile("db3", "<host default>\n cluster_interface lo\n</host>\n"), agentFile("db3", "")},
		{"agent-down", "db3", "10.77.0.13:9989", "mmm_agentd",
			func(b *bench) error { return b.Node("db3").Agent.Kill() },
			func(b *bench) error { return b.Node("db3").Agent.Start() }},
		{"address-conflict", doctor.MonitorHost, "answers for reader(10.77.0.102)", "ip addr del 10.77.0.102",
			address(client, "add", "10.77.0.102/32", "eth0"), address(client, "del", "10.77.0.102/32", "eth0")},
		{"address-elsewhere", "db3", "writer(10.77.0.100) on lo", "on db3: ip addr del 10.77.0.100/32 dev lo",
			address(node("db3"), "add", "10.77.0.100/32", "lo"), address(node("db3"), "del", "10.77.0.100/32", "lo")},
		{"address-twice", "db3", "db1 and db3", "mmm_control show",
			address(node("db3"), "add", "10.77.0.100/32", "lo"), address(node("db3"), "del", "10.77.0.100/32", "lo")},
		{"agent-cut", "db1", "can't vouch for each other", "TCP port 9989 of 10.77.0.12",
			nft("db2",
				"add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in ip saddr 10.77.0.11 tcp dport 9989 reject"),
			nft("db2", "delete table inet cut")},
		{"ping", "db3", "does not answer pings", "ICMP",
			nft("db3",
				"add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in icmp type echo-request drop"),
			nft("db3", "delete table inet cut")},
		{"line-cut", "db3", "from db1 and db2 it is reached", "10.77.0.13",
			func(b *bench) error { return lab.CutLine(b.Mon, b.Node("db3").Host, true) },
			func(b *bench) error { return lab.CutLine(b.Mon, b.Node("db3").Host, false) }},
		{"host-unreachable", "db3", "answers nothing", "ping 10.77.0.13",
			func(b *bench) error { return b.Node("db3").Cut(true) },
			func(b *bench) error { return b.Node("db3").Cut(false) }},
	}
}

// mariaDBBreakages are the breakages of servers, in MariaDB's words.
func mariaDBBreakages() []breakage {
	start := "on db2: START SLAVE; and take skip_slave_start out of its my.cnf"
	return []breakage{
		{name: "monitor-grant", host: "db2", what: "mmm_monitor",
			mend:   "on db1: GRANT SLAVE MONITOR ON *.* TO 'mmm_monitor'@'10.77.0.%';",
			strike: on("db1", "REVOKE SLAVE MONITOR ON *.* FROM mmm_monitor@'10.77.0.%'"),
			heal:   asSaid("")},
		{name: "agent-grant", host: "db3", what: "agent_user",
			mend:   "on db1: GRANT CONNECTION ADMIN, READ_ONLY ADMIN ON *.* TO 'mmm_agent'@'10.77.0.%';",
			strike: on("db1", "REVOKE CONNECTION ADMIN, READ_ONLY ADMIN ON *.* FROM mmm_agent@'10.77.0.%'"),
			heal:   asSaid("")},
		{name: "replication-grant", host: "db2", what: "replication_user",
			mend:   "on db1: GRANT REPLICATION SLAVE ON *.* TO 'repl'@'10.77.0.%';",
			strike: on("db1", "REVOKE REPLICATION SLAVE ON *.* FROM repl@'10.77.0.%'"),
			heal:   asSaid("")},
		{name: "replication-login", host: "db3", what: "db1 and db2", mend: "ALTER USER 'repl'@'…' IDENTIFIED BY '…';",
			strike: on("db1", "ALTER USER repl@'10.77.0.%' IDENTIFIED BY 'other'"),
			heal:   asSaid("ALTER USER", "10.77.0.%", "replpw")},
		{name: "server-id", host: "db3", what: "that of db2 too", mend: "my.cnf of db3, [mysqld]: server_id = 3",
			strike: on("db3", "SET GLOBAL server_id = 2"), heal: on("db3", "SET GLOBAL server_id = 3")},
		{name: "read-only", host: "db3", what: "the writer is db1", mend: "on db3: SET GLOBAL read_only = 1",
			strike: on("db3", "SET GLOBAL read_only = 0"),
			heal:   asSaid("")},
		{name: "auto-increment", host: "db2", what: "1", mend: "auto_increment_increment = 2",
			strike: on("db2", "SET GLOBAL auto_increment_increment = 1"),
			heal:   asSaid("")},
		{name: "semi-sync", host: "db2", what: "semi-synchronously", mend: "rpl_semi_sync_master_enabled = 1",
			strike: on("db2", "SET GLOBAL rpl_semi_sync_master_enabled = 0"),
			heal:   asSaid("")},
		{name: "semi-sync", host: "db2", what: "semi-synchronously",
			mend:   "rpl_semi_sync_slave_enabled = 1; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD;",
			strike: mute("slave", "0"), heal: asSaid("")},
		{name: "semi-sync", host: "db2", what: "does not acknowledge what it receives",
			mend:   "on db2: STOP SLAVE IO_THREAD; START SLAVE IO_THREAD;",
			strike: mute("slave", "1"), heal: asSaid("")},
		{name: "replication-stopped", host: "db2", what: "does not run", mend: "on db2: START SLAVE;",
			strike: on("db2", "STOP SLAVE"),
			heal:   asSaid("")},
		{name: "replication-source", host: "db2", what: "it replicates from 10.77.0.13:3306 (db3)",
			mend:   "STOP SLAVE; CHANGE MASTER TO MASTER_HOST='10.77.0.11'",
			strike: on("db2", "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='10.77.0.13'", "START SLAVE"),
			heal:   asSaid("")},
		{name: "gtid-mode", host: "db3", what: "it replicates by file and position",
			mend:   "on db3: STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE;",
			strike: on("db3", "STOP SLAVE", "CHANGE MASTER TO MASTER_USE_GTID=no", "START SLAVE"),
			heal:   asSaid("")},
		{name: "replication-missing", host: "db2", what: "replicate from db1",
			mend: "MASTER_USE_GTID=slave_pos; START SLAVE;", strike: on("db2", "STOP SLAVE", "RESET SLAVE ALL"),
			heal: asSaid("", "repl", "replpw")},
		{name: "replication-stopped", host: "db2", what: "not started with the server, as by skip_slave_start",
			mend: start, strike: restarted("db2", "--skip-slave-start"),
			heal: asSaid("")},
		{name: "bind-address", host: "db3", what: "127.0.0.1:3306",
			mend:   "my.cnf of db3, [mysqld]: bind-address = 0.0.0.0",
			strike: restarted("db3", "--bind-address=127.0.0.1"), heal: restarted("db3")},
		{name: "bind-address", host: "db3", what: "listens on 10.77.0.13 only: nobody can connect to reader(10.77.0.10",
			mend:   "my.cnf of db3, [mysqld]: bind-address = 0.0.0.0",
			strike: restarted("db3", "--bind-address=10.77.0.13"), heal: restarted("db3")},
		{name: "server-down", host: "db3", what: "no server listens on port 3306", mend: "start the server",
			strike: func(b *bench) error { return b.Node("db3").Server.Kill() },
			heal:   func(b *bench) error { return b.Node("db3").Server.Start(b.ctx) }},
	}
}

// mySQLBreakages are the breakages of servers for which the doctor has other words with MySQL.
func mySQLBreakages() []breakage {
	return []breakage{
		{name: "agent-grant", host: "db3", what: "agent_user",
			mend:   "on db1: GRANT SYSTEM_USER ON *.* TO 'mmm_agent'@'10.77.0.%';",
			strike: on("db1", "REVOKE SYSTEM_USER ON *.* FROM mmm_agent@'10.77.0.%'"),
			heal:   asSaid("")},
		{name: "replication-login", host: "db3", what: "db1 and db2",
			mend: "CREATE USER 'repl'@'10.77.0.13' IDENTIFIED BY '…'; GRANT REPLICATION SLAVE ON *.* TO 'repl'@'10.77.0.13';",
			strike: on("db1", "CREATE USER repl@'10.77.0.11' IDENTIFIED BY 'replpw'",
				"GRANT REPLICATION SLAVE ON *.* TO repl@'10.77.0.11'",
				"CREATE USER repl@'10.77.0.12' IDENTIFIED BY 'replpw'",
				"GRANT REPLICATION SLAVE ON *.* TO repl@'10.77.0.12'", "DROP USER repl@'10.77.0.%'"),
			heal: asSaid("CREATE USER", "10.77.0.%", "-", "replpw")},
		{name: "replication-retry", host: "db2", what: "after 10 attempts",
			mend:   "CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=86400; START REPLICA;",
			strike: on("db2", "STOP SLAVE", "CHANGE MASTER TO MASTER_RETRY_COUNT=10", "START SLAVE"),
			heal:   asSaid("")},
		{name: "gtid-mode", host: "db2", what: "OFF_PERMISSIVE", mend: "gtid_mode = ON",
			strike: on("db2", "SET GLOBAL gtid_mode=ON_PERMISSIVE", "SET GLOBAL gtid_mode=OFF_PERMISSIVE"),
			heal:   on("db2", "SET GLOBAL gtid_mode=ON_PERMISSIVE", "SET GLOBAL gtid_mode=ON")},
		{name: "replication-source", host: "db2", what: "it replicates from 10.77.0.13:3306 (db3)",
			mend:   "STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_HOST='10.77.0.11'",
			strike: on("db2", "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='10.77.0.13'", "START SLAVE"),
			heal:   asSaid("")},
		{name: "semi-sync", host: "db2", what: "semi-synchronously",
			mend:   "rpl_semi_sync_replica_enabled = 1; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD;",
			strike: mute("replica", "0"), heal: asSaid("")},
		{name: "semi-sync", host: "db2", what: "does not acknowledge what it receives",
			mend:   "on db2: STOP REPLICA IO_THREAD; START REPLICA IO_THREAD;",
			strike: mute("replica", "1"), heal: asSaid("")},
		{name: "read-only", host: "db3", what: "the writer is db1", mend: "on db3: SET GLOBAL read_only = 1",
			strike: on("db3", "SET GLOBAL read_only = 0"),
			heal:   asSaid("")},
		{name: "bind-address", host: "db3", what: "listens on 10.77.0.13 only: nobody can connect to reader(10.77.0.10",
			mend:   "my.cnf of db3, [mysqld]: bind-address = 0.0.0.0",
			strike: restarted("db3", "--bind-address=10.77.0.13"), heal: restarted("db3")},
		{name: "replication-stopped", host: "db2", what: "does not run", mend: "on db2: START REPLICA;",
			strike: on("db2", "STOP SLAVE"),
			heal:   asSaid("")},
		{name: "replication-missing", host: "db2", what: "replicate from db1", mend: "SOURCE_AUTO_POSITION=1",
			strike: on("db2", "STOP SLAVE", "RESET SLAVE ALL"),
			heal:   asSaid("", "repl", "replpw")},
	}
}

// mute makes db2 acknowledge nothing: its I/O thread is started with the variable of the replica's half off, and the
// variable is then set to this value. The thread looks at the variable when it asks its source for events. Where it has
// connected anew meanwhile, so that it acknowledges after all, that is done again.
func mute(replica, value string) func(b *bench) error {
	enabled, table := "SET GLOBAL rpl_semi_sync_"+replica+"_enabled = ", "performance_schema.global_status"
	if replica == "slave" { // MariaDB
		table = "information_schema.GLOBAL_STATUS"
	}
	once := func(b *bench) error {
		if err := on("db2", enabled+"0", "STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD")(b); err != nil {
			return err
		}
		err := lab.Wait(b.ctx, "db2 to ask for events", func() (bool, string) {
			r, err := b.Node("db2").Server.Replica(b.ctx)
			return err == nil && strings.HasPrefix(r["Slave_IO_State"], "Waiting for "), fmt.Sprint(r, err)
		})
		return errors.Join(err, on("db2", enabled+value)(b))
	}
	return func(b *bench) error {
		return lab.Wait(b.ctx, "db2 to acknowledge nothing", func() (bool, string) {
			if err := once(b); err != nil {
				return false, err.Error()
			}
			status, err := b.Node("db2").Server.Value(b.ctx, "SELECT VARIABLE_VALUE FROM "+table+
				" WHERE VARIABLE_NAME = 'Rpl_semi_sync_"+replica+"_status'")
			return err == nil && status == "OFF", status + fmt.Sprint(err)
		})
	}
}

// asSaid executes the statements of the doctor's remedy on the server that it names: from the text beginning on, up to
// the first part that is no statement. Each … in the remedy is replaced by the next of fill.
func asSaid(beginning string, fill ...string) func(b *bench) error {
	return func(b *bench) error {
		before, text, _ := strings.Cut(b.said, ": ")
		at := strings.LastIndex(before, "on db")
		if at < 0 {
			return fmt.Errorf("no statement: %s", b.said)
		}
		host := b.Node(before[at+3 : at+6])
		for _, v := range fill {
			text = strings.Replace(text, "…", v, 1)
		}
		_, rest, found := strings.Cut(text, beginning)
		if !found {
			return fmt.Errorf("no %s: %s", beginning, b.said)
		}
		statements := strings.Split(strings.TrimSuffix(beginning+rest, ";"), "; ")
		if end := slices.IndexFunc(statements, func(s string) bool { return unicode.IsLower(rune(s[0])) }); end >= 0 {
			statements = statements[:end]
		}
		if err := host.Server.Say(b.ctx, statements...); err != nil {
			return fmt.Errorf("%w, of: %s", err, b.said)
		}
		return nil
	}
}

// restarted restarts a server with these arguments beyond the usual ones.
func restarted(host string, args ...string) func(b *bench) error {
	return func(b *bench) error {
		s := b.Node(host).Server
		if err := s.Stop(b.ctx); err != nil {
			return err
		}
		s.Arguments(args...)
		return s.Start(b.ctx)
	}
}
