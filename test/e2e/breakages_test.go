package e2e

import (
	"os"
	"strings"

	"mysql-mmm/pkg/doctor"
	"mysql-mmm/test/lab"
)

// on runs statements on a server.
func on(host string, statements ...string) func(b *bench) error {
	return func(b *bench) error { return b.Node(host).Server.Exec(b.ctx, statements...) }
}

// agentFile adds lines to an agent's file and restarts the agent.
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

// replaced changes the monitor's file, and back: the doctor reads it, the monitor that runs does not.
func replaced(old, new string) func(b *bench) error {
	return func(*bench) error {
		text, err := os.ReadFile(monitorFile)
		if err != nil {
			return err
		}
		return os.WriteFile(monitorFile, []byte(strings.Replace(string(text), old, new, 1)), 0o640)
	}
}

func nft(host, rules string) func(b *bench) error {
	return func(b *bench) error {
		_, err := b.Node(host).Run(b.ctx, "nft", rules)
		return err
	}
}

// address puts an address on an interface, or takes it off.
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

// breakages are those of hosts, files and the network.
func breakages() []breakage {
	return []breakage{
		{"config-readable", doctor.MonitorHost, monitorFile, "chmod o-rwx " + monitorFile,
			func(*bench) error { return os.Chmod(monitorFile, 0o644) }, func(*bench) error { return os.Chmod(monitorFile, 0o640) }},
		{"config-invalid", doctor.MonitorHost, "did you mean 'ping_ips'", "mmm_mond configtest", replaced(" ping_ips", " ping_ip"), replaced(" ping_ip", " ping_ips")},
		{"ping-ips", doctor.MonitorHost, "10.77.0.250", "ping_ips of mmm_mon.conf",
			replaced("ping_ips 10.77.0.11", "ping_ips 10.77.0.250"), replaced("ping_ips 10.77.0.250", "ping_ips 10.77.0.11")},
		{"monitor-login", "db2", "monitor_user mmm_monitor can't log in", "monitor_password in mmm_mon.conf", replaced(" monpw", " wrong"), replaced(" wrong", " monpw")},
		{"config-differs", "db2", "writer_lease and <host db3> mysql_port", "/run/lab/db2/mmm_agent.conf on db2",
			agentFile("db2", "writer_lease 9\n<host db3>\n mysql_port 3307\n</host>\n"), agentFile("db2", "")},
		{"agent-secret", "db3", "same agent_secret", "agent_secret in mmm_common.conf", agentFile("db3", "agent_secret abcdefabcdefabcdefabcdef\n"), agentFile("db3", "")},
		{"agent-login", "db3", "db1, db2 and db3", "agent_password in /run/lab/db3/mmm_agent.conf on db3",
			agentFile("db3", "<host default>\n agent_password wrong\n</host>\n"), agentFile("db3", "")},
		{"replication-login", "db3", "db1 and db2", "replication_password in /run/lab/db3/mmm_agent.conf on db3",
			agentFile("db3", "<host default>\n replication_password wrong\n</host>\n"), agentFile("db3", "")},
		{"agents-differ", "db3", "replication_password", "/run/lab/db3/mmm_agent.conf",
			agentFile("db3", "<host default>\n replication_password wrong\n</host>\n"), agentFile("db3", "")},
		{"interface-missing", "db3", "no interface eth9", "cluster_interface of <host db3>", agentFile("db3", "<host default>\n cluster_interface eth9\n</host>\n"), agentFile("db3", "")},
		{"interface-ip", "db3", "cluster_interface is lo", "cluster_interface eth0", agentFile("db3", "<host default>\n cluster_interface lo\n</host>\n"), agentFile("db3", "")},
		{"agent-down", "db3", "10.77.0.13:9989", "mmm_agentd", func(b *bench) error { return b.Node("db3").Agent.Kill() }, func(b *bench) error { return b.Node("db3").Agent.Start() }},
		{"address-conflict", doctor.MonitorHost, "answers for reader(10.77.0.102)", "ip addr del 10.77.0.102",
			address(client, "add", "10.77.0.102/32", "eth0"), address(client, "del", "10.77.0.102/32", "eth0")},
		{"address-elsewhere", "db3", "writer(10.77.0.100) on lo", "on db3: ip addr del 10.77.0.100/32 dev lo",
			address(node("db3"), "add", "10.77.0.100/32", "lo"), address(node("db3"), "del", "10.77.0.100/32", "lo")},
		{"address-twice", "db3", "db1 and db3", "mmm_control show",
			address(node("db3"), "add", "10.77.0.100/32", "lo"), address(node("db3"), "del", "10.77.0.100/32", "lo")},
		{"agent-cut", "db1", "can't vouch for each other", "TCP port 9989 of 10.77.0.12",
			nft("db2", "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in ip saddr 10.77.0.11 tcp dport 9989 reject"),
			nft("db2", "delete table inet cut")},
		{"ping", "db3", "does not answer pings", "ICMP",
			nft("db3", "add table inet cut; add chain inet cut in { type filter hook input priority 0; }; add rule inet cut in icmp type echo-request drop"),
			nft("db3", "delete table inet cut")},
		{"line-cut", "db3", "from db1 and db2 it is reached", "10.77.0.13",
			func(b *bench) error { return lab.CutLine(b.Mon, b.Node("db3").Host, true) }, func(b *bench) error { return lab.CutLine(b.Mon, b.Node("db3").Host, false) }},
		{"host-unreachable", "db3", "answers nothing", "ping 10.77.0.13",
			func(b *bench) error { return b.Node("db3").Cut(true) }, func(b *bench) error { return b.Node("db3").Cut(false) }},
	}
}

// mariaDBBreakages are those of servers.
func mariaDBBreakages() []breakage {
	return []breakage{
		{"monitor-grant", "db2", "mmm_monitor", "on db1: GRANT SLAVE MONITOR ON *.* TO 'mmm_monitor'@'10.77.0.%';",
			on("db1", "REVOKE SLAVE MONITOR ON *.* FROM mmm_monitor@'10.77.0.%'"), on("db1", "GRANT SLAVE MONITOR ON *.* TO mmm_monitor@'10.77.0.%'")},
		{"agent-grant", "db3", "agent_user", "on db1: GRANT CONNECTION ADMIN, READ_ONLY ADMIN ON *.* TO 'mmm_agent'@'10.77.0.%';",
			on("db1", "REVOKE CONNECTION ADMIN, READ_ONLY ADMIN ON *.* FROM mmm_agent@'10.77.0.%'"), on("db1", "GRANT CONNECTION ADMIN, READ_ONLY ADMIN ON *.* TO mmm_agent@'10.77.0.%'")},
		{"replication-grant", "db2", "replication_user", "on db1: GRANT REPLICATION SLAVE ON *.* TO 'repl'@'10.77.0.%';",
			on("db1", "REVOKE REPLICATION SLAVE ON *.* FROM repl@'10.77.0.%'"), on("db1", "GRANT REPLICATION SLAVE ON *.* TO repl@'10.77.0.%'")},
		{"server-id", "db3", "that of db2 too", "my.cnf of db3, [mysqld]: server_id = 3", on("db3", "SET GLOBAL server_id = 2"), on("db3", "SET GLOBAL server_id = 3")},
		{"read-only", "db3", "the writer is db1", "on db3: SET GLOBAL read_only = 1", on("db3", "SET GLOBAL read_only = 0"), on("db3", "SET GLOBAL read_only = 1")},
		{"auto-increment", "db2", "1", "auto_increment_increment = 2", on("db2", "SET GLOBAL auto_increment_increment = 1"), on("db2", "SET GLOBAL auto_increment_increment = 2")},
		{"semi-sync", "db2", "semi-synchronously", "rpl_semi_sync_master_enabled = 1",
			on("db2", "SET GLOBAL rpl_semi_sync_master_enabled = 0"), on("db2", "SET GLOBAL rpl_semi_sync_master_enabled = 1")},
		{"replication-stopped", "db2", "does not run", "on db2: START SLAVE;", on("db2", "STOP SLAVE"), on("db2", "START SLAVE")},
		{"replication-source", "db2", "it replicates from 10.77.0.13:3306", "CHANGE MASTER TO MASTER_HOST='10.77.0.11'",
			on("db2", "STOP SLAVE", "CHANGE MASTER TO MASTER_HOST='10.77.0.13'"), on("db2", "CHANGE MASTER TO MASTER_HOST='10.77.0.11'", "START SLAVE")},
		{"replication-missing", "db2", "replicate from db1", "MASTER_USE_GTID=slave_pos; START SLAVE;", on("db2", "STOP SLAVE", "RESET SLAVE ALL"),
			on("db2", "CHANGE MASTER TO MASTER_HOST='10.77.0.11', MASTER_USER='repl', MASTER_PASSWORD='replpw', MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1, MASTER_HEARTBEAT_PERIOD=1", "START SLAVE")},
		{"bind-address", "db3", "127.0.0.1:3306", "my.cnf of db3, [mysqld]: bind-address = 0.0.0.0", restarted("db3", "--bind-address=127.0.0.1"), restarted("db3")},
		{"server-down", "db3", "no server listens on port 3306", "start the server", func(b *bench) error { return b.Node("db3").Server.Kill() },
			func(b *bench) error { return b.Node("db3").Server.Start(b.ctx) }},
	}
}

// mySQLBreakages are those of servers with MySQL's words.
func mySQLBreakages() []breakage {
	return []breakage{
		{"agent-grant", "db3", "agent_user", "on db1: GRANT SYSTEM_USER ON *.* TO 'mmm_agent'@'10.77.0.%';",
			on("db1", "REVOKE SYSTEM_USER ON *.* FROM mmm_agent@'10.77.0.%'"), on("db1", "GRANT SYSTEM_USER ON *.* TO mmm_agent@'10.77.0.%'")},
		{"replication-retry", "db2", "after 10 attempts", "CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=86400; START REPLICA;",
			on("db2", "STOP SLAVE", "CHANGE MASTER TO MASTER_RETRY_COUNT=10", "START SLAVE"), on("db2", "STOP SLAVE", "CHANGE MASTER TO MASTER_RETRY_COUNT=86400", "START SLAVE")},
		{"gtid-mode", "db2", "OFF_PERMISSIVE", "gtid_mode = ON", on("db2", "SET GLOBAL gtid_mode=ON_PERMISSIVE", "SET GLOBAL gtid_mode=OFF_PERMISSIVE"),
			on("db2", "SET GLOBAL gtid_mode=ON_PERMISSIVE", "SET GLOBAL gtid_mode=ON")},
		{"replication-stopped", "db2", "does not run", "on db2: START REPLICA;", on("db2", "STOP SLAVE"), on("db2", "START SLAVE")},
	}
}

// restarted gives a server other arguments.
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
