package config

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func mustBuild(t *testing.T, p Program, text string) *Config {
	t.Helper()
	c, errs := buildText(p, text)
	if len(errs) > 0 {
		t.Fatalf("%v:\n%v", p, errs)
	}
	return c
}

func addrs(texts ...string) []netip.Addr {
	var list []netip.Addr
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestMonitorDefaults(t *testing.T) {
	c := mustBuild(t, Monitor, valid)
	check := Check{Period: 5 * time.Second, Trap: 10 * time.Second, Timeout: 2 * time.Second, MaxBacklog: time.Minute}
	host := Host{Mode: Master, AgentPort: 9989, MySQLPort: 3306, MySQLSSLMode: "disabled", MonitorUser: "mmm_monitor",
		MonitorPassword: "monitor-secret"}
	db1, db2 := host, host
	db1.Name, db1.IP, db1.Peer = "db1", netip.MustParseAddr("192.168.100.51"), "db2"
	db2.Name, db2.IP, db2.Peer = "db2", netip.MustParseAddr("192.168.100.52"), "db1"
	want := &Config{
		File: "f.conf", ActiveMasterRole: "writer", MaxKillRetries: 10, WriterLease: 6 * time.Second,
		SwitchTimeout: 10 * time.Second,
		Monitor: MonitorConfig{
			IP: netip.MustParseAddr("192.168.100.49"), Port: 9988,
			PIDPath: "/run/mmm_mond.pid", BinPath: "/usr/lib/mysql-mmm",
			StatusPath:   "/var/lib/mysql-mmm/mmm_mond.status",
			PingInterval: time.Second, PingIPs: addrs("192.168.100.1"),
			FlapDuration: time.Hour, FlapCount: 3, KillHostBin: "/usr/lib/mysql-mmm/monitor/kill_host",
			CarefulStartup: true, Mode: ModeActive, WaitForOtherMaster: 2 * time.Minute, WriteTimeout: 10 * time.Second,
			FailoverLoss: "named",
		},
		Hosts: []Host{db1, db2},
		Roles: []Role{
			{Name: "reader", Hosts: []string{"db1", "db2"}, IPs: addrs("192.168.100.251", "192.168.100.252")},
			{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"}, IPs: addrs("192.168.100.250")},
		},
		Checks: Checks{"ping": check, "mysql": check, "rep_threads": check, "rep_backlog": check},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
	if c.ARPRefresh != 0 || c.Local() != (Host{}) {
		t.Error("the monitor got what only the agent reads")
	}
}

func TestAgentDefaults(t *testing.T) {
	c := mustBuild(t, Agent, valid)
	want := &Config{
		File: "f.conf", This: "db1", ActiveMasterRole: "writer", WriterLease: 6 * time.Second,
		CatchUpTimeout: 10 * time.Second, ARPRefresh: 30 * time.Second, MaxKillRetries: 10, Blocking: Soft,
		BlockCommand:   "iptables -I INPUT -p tcp --dport 3306 --syn -j REJECT",
		UnblockCommand: "iptables -D INPUT -p tcp --dport 3306 --syn -j REJECT",
		Hosts:          c.Hosts, Roles: c.Roles,
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
	local := Host{
		Name: "db1", IP: netip.MustParseAddr("192.168.100.51"), Mode: Master, Peer: "db2",
		PIDPath: "/run/mmm_agentd.pid", BinPath: "/usr/lib/mysql-mmm", StatePath: "/var/lib/mysql-mmm/mmm_agentd.state",
		ClusterInterface: "eth0", AgentPort: 9989, MySQLPort: 3306, MySQLSSLMode: "disabled",
		AgentUser: "mmm_agent", AgentPassword: "agent-secret", ReplicationUser: "replication",
		ReplicationPassword: "replication-secret",
	}
	if c.Local() != local {
		t.Errorf("local host %+v, want %+v", c.Local(), local)
	}
}

func TestControlDefaults(t *testing.T) {
	c := mustBuild(t, Control, valid)
	want := &Config{
		File:    "f.conf",
		Monitor: MonitorConfig{IP: netip.MustParseAddr("192.168.100.49"), Port: 9988},
		Hosts:   []Host{{Name: "db1"}, {Name: "db2"}}, Roles: []Role{{Name: "reader"}, {Name: "writer"}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c, want)
	}
}

// Every variable of the table that a program reads arrives in the Config of just the programs that read it.
func TestEveryVariableArrives(t *testing.T) {
	other := map[kind]string{
		textKind: "something-else", secretKind: "x", boolKind: "", countKind: "77", portKind: "7777",
		durationKind: "777", periodKind: "777", hostKind: "192.168.100.77",
		addrsKind: "192.168.100.78", hostsKind: "192.168.100.78",
		tableKind: "percona.heartbeat", listenKind: "192.168.100.77:7777",
		choiceKind: "", nameKind: "", namesKind: "", serverKind: "mail.example.com:25",
		urlKind: "https://example.com/x", choicesKind: "note",
	}
	secretFile := filepath.Join(t.TempDir(), "secret")
	write(t, secretFile, "something-else\n")
	other[secretFileKind] = secretFile
	other[certsFileKind] = certificate(t)
	special := map[string]string{ // where another value must make sense with the rest
		"this": "db2", "debug": "1", "log_format": "json", "log_timestamps": "rfc3339",
		"fast_failover": "1", "active_master_role": "lone", "blocking_type": "hard",
		"monitor careful_startup": "0", "host mysql_ssl_mode": "required", "host event_scheduler": "1",
		"monitor mode": "wait", "host mode": "slave", "host peer": "db1",
		"hook may_abort": "1", "alert mail_to": "me@example.com", "alert smtp_tls": "none",
		"role mode": "exclusive", "role hosts": "db2", "role prefer": "db1", "socket type": "ssl",
	}
	base := valid + "<role lone>\nhosts db1\nips 192.168.100.253\nmode exclusive\n</role>\n" +
		"<host db3>\nip 192.168.100.53\nmode slave\n</host>\n"
	names := map[string]string{"host": "db3", "role": "lone2", "check": "rep_backlog", "copy_method": "x", "hook": "x",
		"alert": "x"}
	role := "<role lone2>\nhosts db1\nips 192.168.100.254\n%s\n</role>\n"
	for _, s := range ruleset() {
		for _, r := range s.vars {
			for _, p := range []Program{Monitor, Agent, Control} {
				text, before := special[strings.TrimSpace(s.typ+" "+r.name)], base
				if text == "" {
					text = other[r.kind]
				}
				if r.kind == ignoredKind {
					text = "anything"
				}
				if s.typ == "role" {
					mode := "mode balanced"
					if r.name == "prefer" {
						mode = "mode exclusive"
					}
					before += strings.ReplaceAll(role, "%s", mode)
				}
				if s.typ == "socket" {
					before += "<socket>\ncert_file a\nkey_file b\nca_file c\n</socket>\n"
				}
				if s.typ == "host" && r.name == "mode" {
					before = strings.ReplaceAll(before, "mode slave", "")
					before = strings.ReplaceAll(before, "<host default>", "<host default>\nmode slave")
					text = "master\npeer db1" // is no valid cluster: only looked at below
				}
				after := before + r.name + " " + text + "\n"
				if s.typ != "" {
					after = before + tag(s.typ, names[s.typ]) + "\n" + r.name + " " + text + "\n</" + s.typ + ">\n"
				}
				if home := strings.TrimSuffix(r.name, fileSuffix); r.kind == secretFileKind {
					before, after = without(before, home), without(after, home)
				}
				old, changed := modelConfig(p, before), modelConfig(p, after)
				if arrived := !reflect.DeepEqual(old, changed); arrived != r.reads.has(p) {
					t.Errorf("%v, %s %s %q: arrived %v, read %v", p, s.tag(), r.name, text, arrived, r.reads.has(p))
				}
			}
		}
	}
}

// without leaves out the lines that set a variable.
func without(text, variable string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return strings.HasPrefix(strings.TrimSpace(line), variable+" ")
	}), "\n")
}

// modelConfig is the Config without the test of its meaning.
func modelConfig(p Program, text string) *Config {
	nodes, _ := parse("f.conf", []byte(text))
	return merge(p, pos{file: "f.conf", line: 1}, nodes).config("f.conf")
}

func TestRulesAreConsistent(t *testing.T) {
	for _, s := range ruleset() {
		seen := map[string]bool{}
		for _, r := range s.vars {
			if seen[r.name] {
				t.Errorf("%s: %s is there twice", s.tag(), r.name)
			}
			seen[r.name] = true
			if r.needs&^r.reads != 0 {
				t.Errorf("%s %s: needed but not read", s.tag(), r.name)
			}
			if r.needs != 0 && r.def != "" {
				t.Errorf("%s %s: needed, yet has a default", s.tag(), r.name)
			}
			if (r.kind == ignoredKind) != (r.reads == forNone) {
				t.Errorf("%s %s: read by nobody and not ignored, or ignored and read", s.tag(), r.name)
			}
			if (r.kind == choiceKind || r.kind == choicesKind) != (r.choices != nil) {
				t.Errorf("%s %s: choices do not fit the kind", s.tag(), r.name)
			}
			if r.doc == "" {
				t.Errorf("%s %s: no doc", s.tag(), r.name)
			}
			if r.def != "" {
				if _, err := r.interpret(r.def); err != nil {
					t.Errorf("default of %s %s: %v", s.tag(), r.name, err)
				}
			}
			if variable, _, ok := strings.Cut(r.when, " "); ok {
				if _, ok := s.variable(variable); !ok {
					t.Errorf("%s %s: needed where %s, which does not exist", s.tag(), r.name, r.when)
				}
			}
		}
	}
}

func TestTemplates(t *testing.T) {
	text := edit{
		10: "<host default>\nagent_port 1111\nmysql_port 3307",
		22: "ip 192.168.100.51\nagent_port 2222",
	}.apply() + "<host default>\nmysql_port 3308\n</host>\n<host db3>\nip 192.168.100.53\nmode slave\n</host>\n" +
		"<check mysql>\ntimeout 3\n</check>\n<check default>\ntimeout 7\ntrap_period 1m\n</check>\n"
	for _, p := range []Program{Monitor, Agent} {
		c := mustBuild(t, p, text)
		if names := hostNames(c); !slices.Equal(names, []string{"db1", "db2", "db3"}) {
			t.Fatalf("%v: hosts %v", p, names)
		}
		for _, h := range c.Hosts {
			want := 1111
			if h.Name == "db1" {
				want = 2222 // its own value beats the template's
			}
			// the later value of the template, though it stands behind the hosts
			if h.AgentPort != want || h.MySQLPort != 3308 {
				t.Errorf("%v %s: agent port %d, mysql port %d", p, h.Name, h.AgentPort, h.MySQLPort)
			}
		}
		if _, ok := c.Host("default"); ok {
			t.Errorf("%v: the template is a host", p)
		}
	}
	checks := mustBuild(t, Monitor, text).Checks
	if checks["mysql"].Timeout != 3*time.Second || checks["ping"].Timeout != 7*time.Second ||
		checks["mysql"].Trap != time.Minute || checks["mysql"].Period != 5*time.Second || len(checks) != 4 {
		t.Errorf("checks %+v", checks)
	}
}

func hostNames(c *Config) []string {
	var names []string
	for _, h := range c.Hosts {
		names = append(names, h.Name)
	}
	return names
}

func TestSectionsAddAndTheLastValueCounts(t *testing.T) {
	text := valid +
		"<host db1>\nmysql_port 4444\n</host>\n<host db1>\nmysql_port 5555\n</host>\n<monitor>\nport 1\nport 2\n</monitor>\ndebug wrong\ndebug ON\n"
	c := mustBuild(t, Monitor, text)
	h, ok := c.Host("db1")
	if !ok || h.MySQLPort != 5555 || h.IP != netip.MustParseAddr("192.168.100.51") || c.Monitor.Port != 2 || !c.Debug {
		t.Errorf("got %+v, monitor %+v, debug %v", h, c.Monitor, c.Debug)
	}
}

func TestLocalPortIsBlocked(t *testing.T) {
	c := mustBuild(t, Agent, edit{22: "ip 192.168.100.51\nmysql_port 3310"}.apply())
	if !strings.Contains(c.BlockCommand, " --dport 3310 ") || !strings.Contains(c.UnblockCommand, " --dport 3310 ") ||
		c.BlocksByCommand() {
		t.Errorf("block %q, unblock %q", c.BlockCommand, c.UnblockCommand)
	}
	c = mustBuild(t, Agent, edit{1: "this db1\niptables_block_cmd /bin/block now\niptables_unblock_cmd /bin/unblock",
		22: "ip 192.168.100.51\nmysql_port 3310"}.apply())
	if c.BlockCommand != "/bin/block now" || c.UnblockCommand != "/bin/unblock" || !c.BlocksByCommand() {
		t.Errorf("block %q, unblock %q", c.BlockCommand, c.UnblockCommand)
	}
}

func TestKillHostBin(t *testing.T) {
	for text, want := range map[string]string{
		"kill_host_bin /opt/kill":  "/opt/kill",
		"kill_host_bin my_kill":    "/usr/lib/mysql-mmm/monitor/my_kill",
		"# kill_host_bin /comment": "/usr/lib/mysql-mmm/monitor/kill_host",
	} {
		if got := mustBuild(t, Monitor, edit{9: text + "\n</monitor>"}.apply()).Monitor.KillHostBin; got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestRolesAndAddresses(t *testing.T) {
	c := mustBuild(t, Monitor, edit{
		34: "mode exclusive\nprefer db2",
		37: "hosts  db2 ,db1,db2,",
		38: "ips 2001:db8::51 , 192.168.100.251,2001:DB8:0::51,::ffff:192.168.100.252 ,",
	}.apply())
	want := []Role{
		{Name: "reader", Hosts: []string{"db2", "db1"}, IPs: addrs("2001:db8::51", "192.168.100.251",
			"192.168.100.252")},
		{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"}, IPs: addrs("192.168.100.250"), Prefer: "db2"},
	}
	if !reflect.DeepEqual(c.Roles, want) {
		t.Errorf("got\n%+v\nwant\n%+v", c.Roles, want)
	}
}

func TestBooleansAndDurations(t *testing.T) {
	for text, want := range map[string]bool{
		"0": false, "no": false, "Off": false, "FALSE": false, "1": true, "YES": true, "on": true, "True": true,
	} {
		if got, err := parseBool(text); got != want || err != nil {
			t.Errorf("boolean %q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]time.Duration{
		"0": 0, "1": time.Second, "0.5": time.Second / 2, ".25": time.Second / 4, "86400": 24 * time.Hour,
		"500ms": time.Second / 2, "2s": 2 * time.Second, "1m": time.Minute, "1h30m": 90 * time.Minute,
		"+3": 3 * time.Second,
	} {
		if got, err := parseDuration(text); got != want || err != nil {
			t.Errorf("duration %q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "s", "1 s", "1e3", "0x10", "inf", "NaN", "1_000", "1.2.3", "-", "1d"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("duration %q: %v", text, got)
		}
	}
	for text, want := range map[string]int{"0": 0, "0.2": 1, "2500ms": 3, "7": 7} {
		for _, p := range []Program{Agent, Monitor} {
			if got := mustBuild(t, p, edit{1: "this db1\nmax_kill_retries " +
				text}.apply()).MaxKillRetries; got != want {
				t.Errorf("%v: max_kill_retries %s: %d, want %d", p, text, got, want)
			}
		}
	}
}

func TestSSL(t *testing.T) {
	text := valid + "<socket>\ntype ssl\ncert_file /c.pem\nkey_file /k.pem\nca_file /ca.pem\n</socket>\n"
	want := Socket{SSL: true, CertFile: "/c.pem", KeyFile: "/k.pem", CAFile: "/ca.pem"}
	for _, p := range []Program{Monitor, Agent, Control} {
		if got := mustBuild(t, p, text).Socket; got != want {
			t.Errorf("%v: %+v", p, got)
		}
	}
}
