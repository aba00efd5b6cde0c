package doctor

import (
	"bytes"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"mysql-mmm/docs/api/apitest"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

func TestAgents(t *testing.T) { run(t, agentRows()) }

func agentRows() []judged {
	reconfigured := func(f *Facts, host, lines string) {
		f.exam(host).Settings = reread(host, lines)
	}
	fault := func(name string) func(f *Facts) {
		return func(f *Facts) { f.exam("db3").Faults[name] = "why" }
	}
	two := func(password string) func(f *Facts) {
		return func(f *Facts) {
			reconfigured(f, "db3", "<host default>\n replication_password "+password+"\n</host>\n")
			delete(f.exam("db1").Settings[config.OwnSection], "replication_password")
		}
	}
	return []judged{
		{two("a"), "warning agents-differ db3", "what it is on db2"},
		{two("b"), "warning agents-differ db3", "what it is on db2"},
		{two("c"), "warning agents-differ db3", "what it is on db2"},
		{two("d"), "warning agents-differ db3", "what it is on db2"},
		{func(f *Facts) { reconfigured(f, "db3", "writer_lease 9\n<host db2>\n mysql_port 3307\n</host>\n") },
			"error config-differs db3", "mmm_agent.conf on db3"},
		{func(f *Facts) { reconfigured(f, "db3", "<host db4>\n ip 192.0.2.14\n mode slave\n</host>\n") },
			"error config-differs db3", ""},
		{func(f *Facts) { reconfigured(f, "db3", "<host default>\n replication_password other\n</host>\n") },
			"warning agents-differ db3", "replication_password"},
		{func(f *Facts) { reconfigured(f, "db3", "<host default>\n agent_user other\n</host>\n") },
			"warning agents-differ db3", "agent_user"},
		{func(f *Facts) { f.with("db3", func(h *HostFacts) { h.Agent.Ahead = -1500 * time.Millisecond }) },
			"warning clock db3", "chrony"},
		{func(f *Facts) {
			f.with("db3", func(h *HostFacts) {
				h.Agent.Ahead, h.Agent.Unsure = 1500*time.Millisecond,
					600*time.Millisecond
			})
		}, "", ""},
		{func(f *Facts) { f.exam("db3").Lacks = []string{"CAP_NET_ADMIN"} }, "error capability db3",
			"AmbientCapabilities"},
		{fault(wire.FaultState), "error state-path db3", "state_path"},
		{fault(wire.FaultNftables), "warning nftables db3", "modprobe nf_tables"},
		{fault(wire.FaultSockDiag), "warning sock-diag db3", "modprobe tcp_diag"},
		{fault(wire.FaultListen), "note listen db3", "modprobe tcp_diag"},
		{fault(wire.FaultFence), "warning fence-closed db3", "nft delete table inet mmm_fence_3306"},
		{fault(wire.FaultSource), "error replication-limit db3", "on db1: ALTER USER"},
		{fault(wire.FaultARP), "note arp db3", "cluster_interface"},
		{func(f *Facts) {
			f.logins("db3", "", wire.AgentAccount, wire.LoginDenied,
				"Error 1045: Access denied for user 'mmm_agent'@'192.0.2.13'")
		}, "error agent-login db3",
			"CREATE USER 'mmm_agent'@'192.0.2.13' IDENTIFIED BY '…'; GRANT PROCESS, CONNECTION ADMIN,"},
		{func(f *Facts) {
			f.logins("db3", "db1", wire.ReplicationAccount, wire.LoginDenied,
				"Error 1045: Access denied for user 'repl'@'192.0.2.13'")
		}, "error replication-login db3", "GRANT REPLICATION SLAVE ON *.* TO 'repl'@'192.0.2.13'"},
		{func(f *Facts) {
			f.logins("db3", "db1", wire.AgentAccount, wire.LoginDenied,
				"Error 3118 (HY000): Access denied for user 'mmm_agent'@'192.0.2.13'. Account is locked.; this mends it: ALTER USER 'mmm_agent'@'…' ACCOUNT UNLOCK")
		}, "error agent-login db3", "on db1: ALTER USER 'mmm_agent'@'…' ACCOUNT UNLOCK"},
		// The server's own agent reports all that is missing; reports of other agents, about a part of it, are left
		// out.
		{func(f *Facts) {
			f.logins("db3", "db3", wire.AgentAccount, wire.LoginGrant,
				"GRANT PROCESS, BINLOG MONITOR ON *.* TO 'mmm_agent'@'%'")
			f.logins("db1", "db3", wire.AgentAccount, wire.LoginGrant, "GRANT BINLOG MONITOR ON *.* TO 'mmm_agent'@'%'")
		}, "error agent-grant db3", "on db1: GRANT PROCESS, BINLOG MONITOR ON *.* TO 'mmm_agent'@'%';"},
		{func(f *Facts) {
			for _, at := range []string{"db2", "db3"} {
				f.logins(at, "db1", wire.ReplicationAccount, wire.LoginGrant,
					"GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%'")
			}
		}, "error replication-grant db1", "on db1: GRANT REPLICATION SLAVE ON *.* TO 'repl'@'%';"},
		{func(f *Facts) { f.logins("db2", "db3", wire.AgentAccount, wire.LoginFailed, "no route to host") },
			"error server-cut db2", "port 3306 of db3"},
		{func(f *Facts) { f.exam("db1").Agents["db2"] = "no answer" }, "error agent-cut db1",
			"TCP port 9989 of 192.0.2.12 be reached from 192.0.2.11"},
		{func(f *Facts) { f.exam("db3").Agents["db2"] = "no answer" }, "warning agent-cut db3", "TCP port 9989"},
	}
}

// reread returns the digests of an agent whose file has additional lines.
func reread(host, lines string) map[string]map[string]string {
	file, err := os.CreateTemp("", "mmm")
	if err == nil {
		defer os.Remove(file.Name())
		_, err = file.WriteString("this " + host + "\n" + common + lines)
	}
	if err != nil {
		panic(err)
	}
	c, err := config.Load(config.Agent, config.Source{File: file.Name()})
	if err != nil {
		panic(err)
	}
	return c.Digests(nonce)
}

func TestNetwork(t *testing.T) { run(t, networkRows()) }

func networkRows() []judged {
	writer := wire.HostAddress{Interface: "eth0", Prefix: netip.MustParsePrefix("192.0.2.100/32")}
	on := func(nic string) func(f *Facts) {
		return func(f *Facts) {
			e := f.exam("db3")
			a := writer
			a.Interface = nic
			e.Addresses = append(e.Addresses, a)
		}
	}
	return []judged{
		{func(f *Facts) { e := f.exam("db3"); e.Link, e.Addresses, e.Hardware = wire.LinkMissing, nil, "" },
			"error interface-missing db3", "ip -br addr"},
		{func(f *Facts) { f.exam("db3").Link = wire.LinkDown }, "error interface-down db3", "ip link set eth0 up"},
		{func(f *Facts) { f.exam("db3").Addresses[0].Interface = "eth1" }, "error interface-ip db3",
			"cluster_interface eth1"},
		{func(f *Facts) { f.exam("db3").Addresses = nil }, "error interface-ip db3", "<host db3>"},
		{func(f *Facts) { f.exam("db3").Addresses[0].Prefix = netip.MustParsePrefix("192.0.2.13/28") },
			"warning address-subnet db3, warning address-subnet db3", "<role reader>"},
		{on("lo"), "error address-elsewhere db3, error address-twice db3", "on db3: ip addr del 192.0.2.100/32 dev lo"},
		{on("eth0"), "error address-stray db3, error address-twice db3", "on db3: ip addr del 192.0.2.100/32 dev eth0"},
		{func(f *Facts) { f.exam("db2").State = cluster.Unknown }, "warning address-unordered db2",
			"start the monitor"},
		{func(f *Facts) { f.exam("db3").Seen[ip("192.0.2.100")] = mac(99) }, "error address-conflict monitor",
			"02:00:00:00:00:63"},
		{func(f *Facts) { f.exam("db3").Seen[ip("192.0.2.11")] = mac(99) }, "error address-conflict db1",
			"02:00:00:00:00:63"},
		{func(f *Facts) { f.exam("db1").Seen[ip("192.0.2.102")] = mac(3) }, "error address-conflict db3", "proxy_arp"},
		{func(f *Facts) {
			f.with("db2", func(h *HostFacts) { h.Agent = AgentFacts{Refusal: "ERROR: Invalid command 'EXAMINE'!"} })
		}, "warning agent-old db2, warning address-conflict db2", "start its agent"},
	}
}

func TestServers(t *testing.T) { run(t, serverRows()) }

func serverRows() []judged {
	mySQL := func(f *Facts) {
		for i, host := range []string{"db1", "db2", "db3"} {
			s := f.server(host)
			s.Version, s.MySQL, s.GTIDMode, s.UUID, s.RetryCount, s.RetryPause = "8.4.3", true, "ON",
				string(rune('a'+i)), 0, 60
		}
	}
	plugins := func(f *Facts, source, replica string) {
		for _, host := range []string{"db1", "db2", "db3"} {
			s := f.server(host)
			s.SemiSyncSourceName = "rpl_semi_sync_" + source + "_enabled"
			s.SemiSyncName = "rpl_semi_sync_" + replica + "_enabled"
		}
	}
	byPosition := func(f *Facts) {
		for _, host := range []string{"db1", "db2", "db3"} {
			f.server(host).Replica.UsesGTID = false
		}
	}
	return []judged{
		{mySQL, "", ""},
		{func(f *Facts) { f.server("db3").Supported = false }, "warning server-version db3", "MariaDB 10.2"},
		{func(f *Facts) { f.server("db3").ServerID = 1 }, "error server-id db3", "server_id = 3"},
		{func(f *Facts) { f.server("db3").ServerID = 0 }, "error server-id db3", "server_id = 3"},
		{func(f *Facts) { mySQL(f); f.server("db2").UUID = "a" }, "error server-uuid db2", "auto.cnf"},
		{func(f *Facts) { f.server("db3").MySQL = true }, "error server-mixed db3", "MariaDB on all"},
		{func(f *Facts) { f.server("db2").LogBin = false }, "error log-bin db2", "log_bin"},
		{func(f *Facts) { f.server("db3").LogBin = false }, "", ""},
		{func(f *Facts) { f.server("db2").LogSlaveUpdates = false }, "error log-slave-updates db2",
			"log_slave_updates = 1"},
		{func(f *Facts) { f.server("db2").AutoIncrementIncrement = 1 }, "warning auto-increment db2",
			"SET GLOBAL auto_increment_increment = 2"},
		{func(f *Facts) { f.server("db2").AutoIncrementIncrement = 4 }, "warning auto-increment db2",
			"SET GLOBAL auto_increment_increment = 2"},
		{func(f *Facts) { f.server("db2").AutoIncrementOffset = 1 }, "warning auto-increment db2",
			"SET GLOBAL auto_increment_offset = 2"},
		{func(f *Facts) { f.server("db2").AutoIncrementOffset = 3 }, "warning auto-increment db2",
			"auto_increment_offset = 2"},
		// Acknowledging begins with the next start of the I/O thread.
		{func(f *Facts) { f.server("db2").SemiSync = false }, "warning semi-sync db2",
			"on db2: SET GLOBAL rpl_semi_sync_master_enabled = 1, GLOBAL rpl_semi_sync_slave_enabled = 1; STOP SLAVE IO_THREAD; START SLAVE IO_THREAD; and in its my.cnf: rpl_semi_sync_master_enabled = 1, rpl_semi_sync_slave_enabled = 1"},
		{func(f *Facts) { f.server("db2").SemiSyncSource = false }, "warning semi-sync db2",
			"GLOBAL rpl_semi_sync_slave_enabled = 1; and in its my.cnf"},
		{func(f *Facts) { f.server("db2").SemiSync, f.server("db2").Replica.IORunning = false, "No" },
			"error replication-stopped db2, warning semi-sync db2",
			"GLOBAL rpl_semi_sync_slave_enabled = 1; and in its my.cnf"},
		{func(f *Facts) { mySQL(f); f.server("db2").SemiSync = false }, "warning semi-sync db2",
			"plugin_load_add = semisync_source.so"},
		{func(f *Facts) { mySQL(f); plugins(f, "source", "replica"); f.server("db2").SemiSync = false },
			"warning semi-sync db2",
			"on db2: SET GLOBAL rpl_semi_sync_source_enabled = 1, GLOBAL rpl_semi_sync_replica_enabled = 1; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD; and in its my.cnf: rpl_semi_sync_source_enabled = 1"},
		{func(f *Facts) { mySQL(f); plugins(f, "master", "slave"); f.server("db2").SemiSync = false },
			"warning semi-sync db2",
			"on db2: SET GLOBAL rpl_semi_sync_master_enabled = 1, GLOBAL rpl_semi_sync_slave_enabled = 1; STOP REPLICA IO_THREAD; START REPLICA IO_THREAD; and in its my.cnf: rpl_semi_sync_master_enabled = 1"},
		{func(f *Facts) { f.server("db3").SemiSync = false }, "", ""},
		{func(f *Facts) { f.server("db2").Acknowledges = false }, "warning semi-sync db2",
			"on db2: STOP SLAVE IO_THREAD; START SLAVE IO_THREAD;"},
		{func(f *Facts) {
			mySQL(f)
			f.server("db2").Acknowledges = false
			f.Config.Hosts[1].ReplicationChannel = "it's"
		}, "warning semi-sync db2",
			"on db2: STOP REPLICA IO_THREAD FOR CHANNEL 'it''s'; START REPLICA IO_THREAD FOR CHANNEL 'it''s';"},
		{func(f *Facts) {
			f.server("db2").Acknowledges = false
			f.Config.Hosts[1].ReplicationChannel = "it's"
		}, "warning semi-sync db2", "on db2: STOP SLAVE 'it''s' IO_THREAD; START SLAVE 'it''s' IO_THREAD;"},
		{func(f *Facts) { f.server("db2").Acknowledges, f.server("db2").Replica.IORunning = false, "Connecting" },
			"error replication-stopped db2", ""},
		// Its source does not wait for anybody: the finding about the source comes first.
		{func(f *Facts) { f.server("db2").Acknowledges, f.server("db1").SemiSyncSource = false, false },
			"warning semi-sync db1", ""},
		{func(f *Facts) { f.server("db3").Acknowledges = false }, "", ""},
		{func(f *Facts) { f.server("db2").ReadOnly = false }, "error read-only db2",
			"on db2: SET GLOBAL read_only = 1; and in its my.cnf: read_only = 1"},
		{func(f *Facts) { f.server("db3").ReadOnly = false }, "warning read-only db3", "on db3"},
		{func(f *Facts) { mySQL(f); f.server("db2").GTIDMode = "OFF" }, "error gtid-mode db2", "gtid_mode = ON"},
		{func(f *Facts) { f.server("db3").Replica.UsesGTID = false }, "warning gtid-mode db3",
			"use GTIDs on all; on db3: STOP SLAVE; CHANGE MASTER TO MASTER_USE_GTID=slave_pos; START SLAVE;"},
		{func(f *Facts) { f.server("db2").Replica = nil }, "error replication-missing db2",
			"CHANGE MASTER TO MASTER_HOST='192.0.2.11', MASTER_PORT=3306, MASTER_USER='…', MASTER_PASSWORD='…', MASTER_USE_GTID=slave_pos; START SLAVE;"},
		// The statement replicates by GTID or by position as the host does, or as the others do where the host does not
		// replicate, and names the host's channel.
		{func(f *Facts) { byPosition(f); f.server("db2").Replica.SourceHost = "192.0.2.13" },
			"error replication-source db2",
			"on db2, once it has the data of db1: STOP SLAVE; CHANGE MASTER TO MASTER_HOST='192.0.2.11', MASTER_PORT=3306, MASTER_LOG_FILE='…', MASTER_LOG_POS=…, MASTER_USE_GTID=no; START SLAVE;"},
		{func(f *Facts) { byPosition(f); f.server("db2").Replica = nil }, "error replication-missing db2",
			"MASTER_LOG_FILE='…', MASTER_LOG_POS=…, MASTER_USE_GTID=no; START SLAVE;"},
		{func(f *Facts) { mySQL(f); byPosition(f); f.server("db2").Replica = nil }, "error replication-missing db2",
			"SOURCE_LOG_FILE='…', SOURCE_LOG_POS=…, SOURCE_AUTO_POSITION=0"},
		{func(f *Facts) { f.server("db2").Replica.SourceHost, f.server("db2").GTIDPosition = "192.0.2.13", "" },
			"error replication-source db2",
			"STOP SLAVE; SET GLOBAL gtid_slave_pos='…'; CHANGE MASTER TO MASTER_HOST='192.0.2.11'"},
		{func(f *Facts) {
			f.Config.Hosts[1].ReplicationChannel = "mmm"
			f.server("db2").Replica.SQLRunning = "No"
		}, "error replication-stopped db2", "on db2: START SLAVE 'mmm';"},
		{func(f *Facts) {
			mySQL(f)
			f.Config.Hosts[1].ReplicationChannel = "mmm"
			f.server("db2").Replica.SQLRunning = "No"
		}, "error replication-stopped db2", "on db2: START REPLICA FOR CHANNEL 'mmm';"},
		{func(f *Facts) { r := f.server("db2").Replica; r.IORunning, r.SQLRunning, r.SourceID = "No", "No", 0 },
			"error replication-stopped db2",
			"on db2: START SLAVE; and take skip_slave_start out of its my.cnf"},
		{func(f *Facts) {
			mySQL(f)
			r := f.server("db2").Replica
			r.IORunning, r.SQLRunning, f.server("db2").SkipStart = "No", "No", true
		}, "error replication-stopped db2", "on db2: START REPLICA; and take skip_replica_start out of its my.cnf"},
		{func(f *Facts) { r := f.server("db2").Replica; r.IORunning, r.SQLRunning = "No", "No" },
			"error replication-stopped db2", "on db2: START SLAVE;"},
		{func(f *Facts) { mySQL(f); f.server("db2").Replica = nil }, "error replication-missing db2",
			"CHANGE REPLICATION SOURCE TO SOURCE_HOST='192.0.2.11', SOURCE_PORT=3306, SOURCE_USER='…', SOURCE_PASSWORD='…', SOURCE_AUTO_POSITION=1, SOURCE_RETRY_COUNT=86400, GET_SOURCE_PUBLIC_KEY=1; START REPLICA;"},
		{func(f *Facts) { f.server("db2").Replica.SourceHost = "192.0.2.13" }, "error replication-source db2",
			"MASTER_HOST='192.0.2.11'"},
		{func(f *Facts) { f.server("db3").Replica.SourceHost = "192.0.2.12" }, "error replication-source db3",
			"mmm_control show says why"},
		// A source with another address or a name is recognised as the right host or as another one.
		{func(f *Facts) {
			f.server("db2").Replica.SourceHost, f.Resolved = "db1.example.com",
				map[string][]netip.Addr{"db1.example.com": {ip("192.0.2.11")}}
		}, "", ""},
		{func(f *Facts) { r := f.server("db2").Replica; r.SourceHost, r.SourceID = "198.51.100.11", 1 }, "", ""},
		{func(f *Facts) { r := f.server("db2").Replica; r.SourceHost, r.SourceID = "198.51.100.13", 3 },
			"error replication-source db2", "MASTER_HOST='192.0.2.11'"},
		{func(f *Facts) { r := f.server("db2").Replica; r.SourceHost, r.SourceID = "203.0.113.9", 9 },
			"error replication-source db2", "MASTER_HOST='192.0.2.11'"},
		{func(f *Facts) {
			mySQL(f)
			r := f.server("db2").Replica
			r.SourceHost, r.SourceUUID, r.IORunning = "198.51.100.11", "a", "No"
		},
			"error replication-stopped db2", "START REPLICA"},
		// Without a writer a slave may follow either master.
		{func(f *Facts) {
			f.Monitor = MonitorFacts{}
			f.exam("db1").Addresses, f.exam("db1").Ordered = f.exam("db1").Addresses[:1], nil
			for _, h := range []string{"db2", "db3"} {
				delete(f.exam(h).Seen, ip("192.0.2.100"))
				delete(f.exam(h).Seen, ip("192.0.2.101"))
			}
			f.server("db1").ReadOnly = true
			f.server("db3").Replica.SourceHost = "192.0.2.12"
		}, "", ""},
		// No remedy starts replication where it is stopped for a reason.
		{func(f *Facts) { f.server("db2").Replica.IORunning = "No"; f.exam("db2").Embargo = "db1" },
			"note replication-embargo db2", "mmm_control show"},
		{func(f *Facts) {
			f.server("db2").Replica.IORunning = "No"
			f.Monitor.View.Hosts[0].Audit = &cluster.Finding{}
		}, "warning audit db1, note replication-embargo db2", "mmm_control show"},
		{func(f *Facts) { f.server("db2").Replica.SQLRunning = "No" }, "error replication-stopped db2",
			"on db2: START SLAVE;"},
		{func(f *Facts) {
			r := f.server("db2").Replica
			r.IORunning, r.IOError = "Connecting", "error\nconnecting"
		}, "error replication-stopped db2", "mend the cause of the error"},
		{func(f *Facts) {
			f.server("db3").Replica.SQLRunning = "No"
			f.Monitor.View.Hosts[2].State = cluster.AdminOffline
		},
			"warning host-state db3, note replication-stopped db3", "set_online db3"},
		{func(f *Facts) {
			f.Monitor.View.Hosts[1].Lacks = "'db2' did not replicate from 'db1' when 'db1' last answered"
		},
			"warning takeover-loss db2", "mmm_control checks db2"},
		// Servers that don't listen on the addresses of roles.
		{func(f *Facts) { f.server("db2").BindAddress = "192.0.2.12" }, "error bind-address db2",
			"my.cnf of db2, [mysqld]: bind-address = 0.0.0.0; then restart"},
		{func(f *Facts) { f.server("db3").BindAddress = "192.0.2.13,192.0.2.101" }, "error bind-address db3", ""},
		{func(f *Facts) {
			f.server("db1").BindAddress, f.server("db2").BindAddress, f.server("db3").BindAddress = "*", "0.0.0.0",
				"192.0.2.13, 192.0.2.101,192.0.2.102/blue"
		}, "", ""},
		{func(f *Facts) {
			six := netip.MustParseAddr("2001:db8::100")
			f.Config.Roles[0].IPs = append(f.Config.Roles[0].IPs, six)
			f.server("db1").BindAddress, f.server("db2").BindAddress = "0.0.0.0", "::"
		}, "error bind-address db1, warning address-subnet db1, warning address-subnet db2, warning address-subnet db3",
			"bind-address = *"},
		// Events run on the writer, and nowhere else.
		{func(f *Facts) { f.server("db2").Events, f.server("db2").EventScheduler = events(true), true },
			"warning event-running db2",
			"on db2: SET GLOBAL event_scheduler = OFF; and in its my.cnf: event_scheduler = OFF"},
		{func(f *Facts) { f.server("db2").Events = events(true) }, "", ""},
		{func(f *Facts) { f.server("db2").Events, f.server("db2").EventScheduler = events(false), true }, "", ""},
		{func(f *Facts) { f.server("db1").Events, f.server("db1").EventScheduler = events(true), true }, "", ""},
		{func(f *Facts) { f.server("db1").Events = events(true) }, "warning event-asleep db1",
			"on db1: SET GLOBAL event_scheduler = ON; for good: event_scheduler 1"},
		{func(f *Facts) { f.server("db1").Events, f.server("db1").EventScheduler = events(false), true },
			"warning event-asleep db1",
			"on db1: ALTER DEFINER=`u`@`%` EVENT `app`.`a` ENABLE; ALTER DEFINER=`u`@`%` EVENT `app`.`b` ENABLE; ALTER"},
		{func(f *Facts) {
			f.server("db1").Events, f.server("db1").EventScheduler = events(false)[:1], true
			f.Config.Hosts[0].EventScheduler = true
		}, "warning event-asleep db1", "on db1: SET sql_log_bin = 0; ALTER DEFINER=`u`@`%` EVENT `app`.`a` ENABLE;"},
		{func(f *Facts) {
			f.server("db2").EventScheduler, f.server("db2").EventGrant = true, "GRANT EVENT ON *.* TO 'mmm_monitor'@'%'"
		}, "note event-unseen db2", "on db1: GRANT EVENT ON *.* TO 'mmm_monitor'@'%';"},
		{func(f *Facts) { mySQL(f); f.server("db2").RetryCount = 10 }, "warning replication-retry db2",
			"STOP REPLICA; CHANGE REPLICATION SOURCE TO SOURCE_RETRY_COUNT=86400; START REPLICA;"},
	}
}

// events are four events, enabled if run, else disabled because they came by replication.
func events(run bool) (list []mysqlctl.Event) {
	for _, name := range []string{"a", "b", "c", "d"} {
		list = append(list, mysqlctl.Event{Schema: "app", Name: name, Definer: "u@%", Enabled: run, Asleep: !run})
	}
	return list
}

func TestUnusable(t *testing.T) {
	for _, tt := range []struct {
		err        error
		name, mend string
	}{
		{config.Errors{{File: "f", Msg: "mode 0644: the file is world-readable; run: chmod o-rwx f"}},
			"config-readable", "chmod o-rwx f"},
		{config.Errors{{File: "f", Line: 3, Msg: "unknown"}}, "config-invalid", "correct f, then: mmm_mond configtest"},
	} {
		if got := Unusable(tt.err); len(got) != 1 || got[0].Name != tt.name || got[0].Mend != tt.mend {
			t.Errorf("%+v", got)
		}
	}
}

// TestReferencePage: docs/doctor.md has every finding, and no others.
func TestReferencePage(t *testing.T) {
	text, err := os.ReadFile("../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z-]+)` \\|").FindAllStringSubmatch(string(text), -1) {
		if explained[m[1]] {
			t.Errorf("%s is explained twice", m[1])
		}
		explained[m[1]] = true
	}
	found := map[string]bool{"config-readable": true, "config-invalid": true} // these two are found in TestUnusable
	for _, rows := range [][]judged{configRows(), hostRows(), agentRows(), networkRows(), serverRows()} {
		for name := range run(t, rows) {
			found[name] = true
		}
	}
	for name := range found {
		if !explained[name] {
			t.Errorf("docs/doctor.md lacks %s", name)
		}
	}
	for name := range explained {
		if !found[name] {
			t.Errorf("docs/doctor.md has %s, which no test finds", name)
		}
	}
}

// TestJSONIsAsDescribed: the report in JSON fits docs/api/schema/doctor.json.
func TestJSONIsAsDescribed(t *testing.T) {
	full := NewReport([]Finding{
		{Severity: Error, Name: "config-invalid", Host: MonitorHost, What: "wrong", Mend: "mend"},
		{Severity: Warning, Name: "w", Host: "db1", What: "what"},
		{Severity: Note, Name: "n-1", Host: "db1", What: "what"},
		{Name: "o", Host: "db1", What: "what"}}, true)
	apitest.Full(t, full)
	f := healthy(t)
	for what, r := range map[string]Report{"of each severity": full, "of a healthy cluster": NewReport(Judge(*f), true),
		"without findings": NewReport(nil, false)} {
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		apitest.Check(t, "schema/doctor.json", "a report "+what, b.Bytes())
	}
}

func TestText(t *testing.T) {
	r := NewReport([]Finding{
		{Severity: Warning, Name: "w", Host: "db1", What: strings.Repeat("word ", 30), Mend: "on db1: " +
			strings.Repeat("GRANT ", 30)},
		{Severity: Error, Name: "e", Host: "db1", What: "short"},
		{Severity: OK, Name: "o", Host: "db1", What: "fine"},
		{Severity: Note, Name: "n", Host: MonitorHost, What: "first"},
	}, false)
	var b strings.Builder
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	want := "monitor\n  note     n: first\ndb1\n  error    e: short\n  warning  w: word word word word word word word word word word word word word word word word word\n" +
		"           word word word word word word word word word word word word word \n           mend: on db1: " +
		strings.Repeat("GRANT ", 30) + "\n1 error, 1 warning\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}
