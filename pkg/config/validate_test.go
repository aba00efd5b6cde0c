package config

import (
	"slices"
	"strings"
	"testing"
)

// valid is a configuration for all three programs. Tests replace lines of it by their numbers: keep these.
const valid = `this db1
active_master_role writer
<monitor>
  ip 192.168.100.49
  pid_path /run/mmm_mond.pid
  bin_path /usr/lib/mysql-mmm
  status_path /var/lib/mysql-mmm/mmm_mond.status
  ping_ips 192.168.100.1
</monitor>
<host default>
  cluster_interface eth0
  pid_path /run/mmm_agentd.pid
  bin_path /usr/lib/mysql-mmm
  agent_user mmm_agent
  agent_password agent-secret
  monitor_user mmm_monitor
  monitor_password monitor-secret
  replication_user replication
  replication_password replication-secret
</host>
<host db1>
  ip 192.168.100.51
  mode master
  peer db2
</host>
<host db2>
  ip 192.168.100.52
  mode master
  peer db1
</host>
<role writer>
  hosts db1, db2
  ips 192.168.100.250
  mode exclusive
</role>
<role reader>
  hosts db1, db2
  ips 192.168.100.251, 192.168.100.252
  mode balanced
</role>
`

type edit map[int]string // line of valid: what stands there instead

func (e edit) apply() string {
	lines := strings.Split(valid, "\n")
	for n, text := range e {
		lines[n-1] = text
	}
	return strings.Join(lines, "\n")
}

// buildText is Load without files.
func buildText(p Program, text string) (*Config, Errors) {
	nodes, errs := parse("f.conf", []byte(text))
	c, errs := build(p, "f.conf", nodes, errs, true)
	return c, errs.sorted([]string{"f.conf"})
}

func TestValid(t *testing.T) {
	for _, p := range []Program{Monitor, Agent, Control} {
		if _, errs := buildText(p, valid); len(errs) > 0 {
			t.Errorf("%v:\n%v", p, errs)
		}
	}
}

func TestErrorTexts(t *testing.T) {
	const m, a, c = Monitor, Agent, Control
	tests := []struct {
		name     string
		programs []Program
		edit     edit
		want     string // lines without "f.conf:"
	}{
		// Names.
		{"unknown variable", []Program{m, a, c}, edit{8: "pign_ips 192.168.100.1"},
			"8: unknown variable 'pign_ips' in <monitor>; did you mean 'ping_ips'?"},
		{"unknown variable in a named section", []Program{m, a, c}, edit{22: "IPs 192.168.100.51"},
			"22: unknown variable 'IPs' in <host db1>; did you mean 'ip'?"},
		{"a guess replaces nothing", []Program{m, a}, edit{22: "ip 192.168.100.51\nips x"},
			"23: unknown variable 'ips' in <host db1>; did you mean 'ip'?"},
		{"unknown variable at top level", []Program{m, a, c},
			edit{2: "active_master writer\nactive_master_role writer"},
			"2: unknown variable 'active_master' in the top level"},
		{"unknown variable, nothing close", []Program{m, a, c}, edit{34: "mode exclusive\ncolour blue"},
			"35: unknown variable 'colour' in <role writer>"},
		{"variable of another section", []Program{m, a, c}, edit{9: "peer db1\n</monitor>"},
			"9: variable 'peer' does not belong in <monitor> but in <host NAME>"},
		{"variable of the top level", []Program{m, a, c}, edit{9: "active_master_role writer\n</monitor>"},
			"9: variable 'active_master_role' does not belong in <monitor> but in the top level"},
		{"variable of several others", []Program{m, a, c}, edit{1: "this db1\npid_path /run/x"},
			"2: variable 'pid_path' does not belong in the top level but in <monitor> or <host NAME>"},
		{"unknown section", []Program{m, a, c}, edit{26: "<hots db2>", 30: "</hots>"},
			"26: unknown section <hots db2>; did you mean 'host'?"},
		{"unknown section, nothing close", []Program{m, a, c}, edit{1: "this db1\n<percona/>"},
			"2: unknown section <percona>"},
		{"variable where a section belongs", []Program{m, a, c}, edit{1: "this db1\nhost db3"},
			"2: 'host' is a section, not a variable; write <host NAME>"},
		{"variable where a unique section belongs", []Program{m, a, c}, edit{1: "this db1\nsocket ssl"},
			"2: 'socket' is a section, not a variable; write <socket>"},
		{"section where a variable belongs", []Program{m, a, c}, edit{1: "this db1\n<debug>\n</debug>"},
			"2: 'debug' is a variable, not a section; write: debug VALUE"},
		{"missing section name", []Program{m, a, c}, edit{1: "this db1\n<role>\nips x\n</role>"},
			"2: section <role> needs a name; write <role NAME>"},
		{"name on a unique section", []Program{m, a, c}, edit{3: "<monitor one>"},
			"3: section <monitor> takes no name; write <monitor>"},
		{"unknown check", []Program{m, a, c}, edit{1: "this db1\n<check pong>\n</check>"},
			"2: unknown check 'pong', must be default, ping, mysql, rep_threads or rep_backlog; did you mean 'ping'?"},
		{"unknown check, nothing close", []Program{m, a, c}, edit{1: "this db1\n<check disk>\ntimeout x\n</check>"},
			"2: unknown check 'disk', must be default, ping, mysql, rep_threads or rep_backlog"},
		{"syntax and rules together", []Program{m}, edit{8: "ping_ips=192.168.100.1", 36: "<role>"},
			"3: <monitor> lacks 'ping_ips', which mmm_mond needs\n8: no '=' between name and value; write: ping_ips VALUE\n36: section <role> needs a name; write <role NAME>"},

		// Values.
		{"missing value", []Program{m, a, c}, edit{24: "peer # who?"}, "24: 'peer' lacks a value"},
		{"password that is a comment", []Program{m, a, c}, edit{15: "agent_password #secret"},
			"15: 'agent_password' lacks a value; a '#' after a blank begins a comment, write \\# where it is part of the password"},
		{"boolean", []Program{m, a, c}, edit{1: "this db1\ndebug maybe"},
			`2: 'debug' must be 0, no, off or false, or 1, yes, on or true; not "maybe"`},
		{"choice", []Program{m, a}, edit{23: "mode Master"},
			`23: 'mode' must be master or slave, not "Master"; did you mean 'master'?`},
		{"choice, nothing close", []Program{m}, edit{9: "mode automatic\n</monitor>"},
			`9: 'mode' must be active, manual, wait or passive, not "automatic"`},
		{"role mode", []Program{m, a}, edit{39: "mode balance"},
			`39: 'mode' must be exclusive or balanced, not "balance"; did you mean 'balanced'?`},
		{"log format", []Program{m, a}, edit{1: "this db1\nlog_format JSON\nlog_timestamps iso"},
			"2: 'log_format' must be classic or json, not \"JSON\"; did you mean 'json'?\n" +
				"3: 'log_timestamps' must be classic or rfc3339, not \"iso\""},
		{"blocking type", []Program{a}, edit{1: "this db1\nblocking_type firm"},
			`2: 'blocking_type' must be soft or hard, not "firm"`},
		{"socket type", []Program{m, a, c}, edit{1: "this db1\n<socket>\ntype tls\n</socket>"},
			`3: 'type' must be plain or ssl, not "tls"`},
		{"choice in a template", []Program{a, m}, edit{10: "<host default>\nmode mastre", 28: ""},
			`11: 'mode' must be master or slave, not "mastre"; did you mean 'master'?`},
		{"port", []Program{m, a}, edit{22: "ip 192.168.100.51\nagent_port 0",
			27: "ip 192.168.100.52\nmysql_port 65536"},
			"23: 'agent_port' must be a port number from 1 to 65535, not \"0\"\n29: 'mysql_port' must be a port number from 1 to 65535, not \"65536\""},
		{"lease", []Program{m, a}, edit{1: "this db1\nwriter_lease 0.2"},
			"2: 'writer_lease' must be 0 or from 1s to 1m0s, not 200ms"},
		{"secret", []Program{m, a}, edit{1: "this db1\nagent_secret short"},
			"2: 'agent_secret' must have at least 16 characters; this makes a good one: openssl rand -hex 32"},
		{"secret of many bytes", []Program{m, a}, edit{1: "this db1\nagent_secret äöüäöüäöüäöüäöü"},
			"2: 'agent_secret' must have at least 16 characters; this makes a good one: openssl rand -hex 32"},
		{"switch timeout of zero", []Program{m}, edit{1: "this db1\nswitch_timeout 0"},
			`2: 'switch_timeout' must be above zero, not "0"`},
		{"switch timeout that is none", []Program{m}, edit{1: "this db1\nswitch_timeout never"},
			`2: 'switch_timeout' must be a number of seconds (10, 0.5) or a time with its unit (500ms, 2s, 1m, 1h; at most 292 years), not "never"`},
		{"count", []Program{m}, edit{9: "flap_count -1\n</monitor>"},
			`9: 'flap_count' must be a whole number from 0 to 2147483647, not "-1"`},
		{"duration", []Program{m}, edit{9: "flap_duration 1 hour\n</monitor>"},
			`9: 'flap_duration' must be a number of seconds (10, 0.5) or a time with its unit (500ms, 2s, 1m, 1h; at most 292 years), not "1 hour"`},
		{"duration below zero", []Program{m}, edit{9: "auto_set_online -1\n</monitor>"},
			`9: 'auto_set_online' must not be below zero: "-1"`},
		{"duration with a unit below zero", []Program{a}, edit{1: "this db1\nmax_kill_retries -2s"},
			`2: 'max_kill_retries' must not be below zero: "-2s"`},
		{"period of zero", []Program{m},
			edit{9: "ping_interval 0\n</monitor>\n<check default>\ntimeout 0\ncheck_period 0s\n</check>"},
			"9: 'ping_interval' must be above zero, not \"0\"\n12: 'timeout' must be above zero, not \"0\"\n13: 'check_period' must be above zero, not \"0s\""},
		{"duration too long", []Program{m}, edit{9: "flap_duration 10000000000\n</monitor>"},
			`9: 'flap_duration' must be a number of seconds (10, 0.5) or a time with its unit (500ms, 2s, 1m, 1h; at most 292 years), not "10000000000"`},
		{"address", []Program{m, c}, edit{4: "ip monitor.invalid"},
			`4: 'ip' must be an IP address such as 192.168.100.49, and "monitor.invalid" has none that could be looked up`},
		{"metrics_listen", []Program{m}, edit{9: "metrics_listen :9990\n</monitor>"},
			`9: 'metrics_listen' must be an IP address and a port such as 127.0.0.1:9990, 0.0.0.0:9990 or [::]:9990, not ":9990"`},
		{"metrics_listen without a port", []Program{a},
			edit{11: "metrics_listen 127.0.0.1:0\n  cluster_interface eth0"},
			`11: 'metrics_listen' must be an IP address and a port such as 127.0.0.1:9990, 0.0.0.0:9990 or [::]:9990, not "127.0.0.1:0"`},
		{"addresses", []Program{m, a}, edit{38: "ips 192.168.100.300, 192.168.100.252, x"},
			"38: 'ips' must be an IP address such as 192.168.100.49, not \"192.168.100.300\"\n38: 'ips' must be an IP address such as 192.168.100.49, not \"x\""},
		{"blanks for commas", []Program{m, a}, edit{38: "ips 192.168.100.251 192.168.100.252"},
			`38: 'ips' must be an IP address such as 192.168.100.49, not "192.168.100.251 192.168.100.252"`},
		{"no table", []Program{m}, edit{9: "</monitor>\n<check rep_backlog>\nheartbeat_table heartbeat\n</check>"},
			`11: 'heartbeat_table' must be DB.TABLE, of letters, digits, _, $ and -, such as percona.heartbeat, not "heartbeat"`},
		{"a table with quotes", []Program{m},
			edit{9: "</monitor>\n<check rep_backlog>\nheartbeat_table `percona`.`heart.beat`\n</check>"},
			"11: 'heartbeat_table' must be DB.TABLE, of letters, digits, _, $ and -, such as percona.heartbeat, not \"`percona`.`heart.beat`\""},
		{"hole in a list", []Program{m, a}, edit{37: "hosts db1,,db2"}, "37: 'hosts' has nothing between two commas"},
		{"empty list of hosts", []Program{m, a}, edit{37: "hosts ,"}, "37: 'hosts' must not be an empty list"},

		{"prefer, but no hosts to choose from", []Program{m}, edit{32: "hosts ,", 34: "mode exclusive\nprefer db1"},
			"32: 'hosts' must not be an empty list"},

		// What is needed.
		{"needed at top level", []Program{a}, edit{1: ""}, "1: the top level lacks 'this', which mmm_agentd needs"},
		{"needed at top level by two", []Program{m}, edit{2: ""},
			"1: the top level lacks 'active_master_role', which mmm_mond needs"},
		{"needed in a host", []Program{a}, edit{11: ""},
			"21: <host db1> lacks 'cluster_interface', which mmm_agentd needs; set it here or in <host default>\n" +
				"26: <host db2> lacks 'cluster_interface', which mmm_agentd needs; set it here or in <host default>"},
		{"needed in a role", []Program{m}, edit{39: ""}, "36: <role reader> lacks 'mode', which mmm_mond needs"},
		{"role without hosts", []Program{m}, edit{37: ""}, "36: <role reader> lacks 'hosts', which mmm_mond needs"},
		{"needed section", []Program{c}, edit{3: "", 4: "", 5: "", 6: "", 7: "", 8: "", 9: ""},
			"1: section <monitor> is missing; mmm_control needs it"},
		{"needed in the monitor", []Program{c}, edit{4: ""}, "3: <monitor> lacks 'ip', which mmm_control needs"},
		{"needed where", []Program{m, a}, edit{24: "", 29: ""},
			"21: <host db1> lacks 'peer', which PROGRAM needs where 'mode' is master\n26: <host db2> lacks 'peer', which PROGRAM needs where 'mode' is master"},
		{"files of ssl", []Program{m, a, c}, edit{1: "this db1\n<socket>\ntype ssl\ncert_file /c\n</socket>"},
			"2: <socket> lacks 'ca_file', which PROGRAM needs where 'type' is ssl\n2: <socket> lacks 'key_file', which PROGRAM needs where 'type' is ssl"},

		// References.
		{"unknown this", []Program{a}, edit{1: "this bd1"},
			"1: 'this' names the unknown host 'bd1'; did you mean 'db1'?"},
		{"template as this", []Program{a}, edit{1: "this default"},
			"1: 'this' names the unknown host 'default'; known are db1, db2"},
		{"unknown writer role", []Program{m, a}, edit{2: "active_master_role master"},
			"2: 'active_master_role' names the unknown role 'master'; known are reader, writer"},
		{"unknown peer", []Program{m, a}, edit{24: "peer other"},
			"24: 'peer' of <host db1> names the unknown host 'other'; known are db1, db2"},
		{"unknown host in a role", []Program{m, a}, edit{37: "hosts db1, db_2, other"},
			"37: 'hosts' of <role reader> names the unknown host 'db_2'; did you mean 'db2'?\n37: 'hosts' of <role reader> names the unknown host 'other'; known are db1, db2"},
		{"unknown prefer", []Program{m}, edit{34: "mode exclusive\nprefer bd1"},
			"35: 'prefer' of <role writer> must be one of its hosts (db1, db2), not 'bd1'; did you mean 'db1'?"},

		// Meaning.
		{"peer is itself", []Program{m, a}, edit{24: "peer db1"},
			"24: 'peer' of <host db1> is the host itself; name the other master"},
		{"peer points elsewhere", []Program{m, a},
			edit{30: "</host>\n<host db3>\nip 192.168.100.53\nmode master\npeer db1\n</host>"},
			"34: 'peer' of <host db3> is db1, but the peer of db1 is db2; two masters must name each other"},
		{"peer is a slave", []Program{m, a}, edit{28: "mode slave", 29: ""},
			"24: 'peer' of <host db1> is db2, a slave; name the other master"},
		{"exclusive role with two ips", []Program{m, a}, edit{33: "ips 192.168.100.250, 192.168.100.249"},
			"33: exclusive <role writer> has 2 ips, but only one can be moved as one; keep one, or make the role balanced"},
		{"ip in two roles", []Program{m, a}, edit{38: "ips 192.168.100.251, ::ffff:192.168.100.250"},
			"33: ip 192.168.100.250 of <role writer> is used by <role reader>"},
		{"ip of a host", []Program{m, a}, edit{38: "ips 192.168.100.51"},
			"38: ip 192.168.100.51 of <role reader> is used by <host db1> as its own address"},
		{"balanced role prefers", []Program{m}, edit{39: "mode balanced\nprefer db1"},
			"40: 'prefer' of <role reader>: only exclusive roles can prefer a host"},
		{"balanced writer", []Program{m, a}, edit{34: "mode balanced"},
			"2: 'active_master_role' names <role writer>, which is balanced; the writer's role must be exclusive"},

		// All in one go, in the order of the file.
		{"all", []Program{m}, edit{2: "activ_master_role writer", 5: "", 23: "mode boss", 38: "ips 192.168.100.51, y"},
			"2: unknown variable 'activ_master_role' in the top level; did you mean 'active_master_role'?\n" +
				"3: <monitor> lacks 'pid_path', which mmm_mond needs\n" +
				"23: 'mode' must be master or slave, not \"boss\"\n" +
				"38: 'ips' must be an IP address such as 192.168.100.49, not \"y\""},
	}
	for _, tt := range tests {
		for _, p := range tt.programs {
			t.Run(tt.name+"/"+p.String(), func(t *testing.T) {
				want := strings.ReplaceAll(tt.want, "PROGRAM", p.String())
				want = "f.conf:" + strings.ReplaceAll(want, "\n", "\nf.conf:")
				cfg, errs := buildText(p, tt.edit.apply())
				if errs.Error() != want {
					t.Errorf("got\n%v\nwant\n%s", errs, want)
				}
				if cfg != nil {
					t.Error("errors, and a Config too")
				}
			})
		}
	}
}

// A program does not stop for what only another one reads.
func TestOthersMistakesAreNotChecked(t *testing.T) {
	tests := []struct {
		name string
		edit edit
		fine []Program
	}{
		{"monitor's numbers", edit{9: "ping_interval often\nport 9988\n</monitor>"}, []Program{Agent, Control}},
		{"monitor's address", edit{4: "ip nowhere"}, []Program{Agent}},
		{"no monitor", edit{3: "", 4: "", 5: "", 6: "", 7: "", 8: "", 9: ""}, []Program{Agent}},
		{"monitor's account", edit{16: "", 17: ""}, []Program{Agent, Control}},
		{"agent's variables", edit{1: "arp_refresh many", 11: "", 12: "", 13: "", 14: "", 15: "", 18: "", 19: ""},
			[]Program{Monitor, Control}},
		{"unknown this", edit{1: "this nobody"}, []Program{Monitor, Control}},
		{"checks", edit{1: "this db1\n<check default>\ntimeout long\n</check>"}, []Program{Agent, Control}},
		{"role without mode and hosts", edit{37: "", 39: ""}, []Program{Agent, Control}},
		{"prefer", edit{39: "mode balanced\nprefer x"}, []Program{Agent, Control}},
		{"hosts and roles", edit{22: "ip nowhere", 24: "", 33: "ips x", 34: "mode y", 37: "hosts nobody"},
			[]Program{Control}},
		{"tools",
			edit{10: "<copy_method default>\ntrue_copy perhaps\nbackup_command\n</copy_method>\n<host default>\nssh_port none\nssh_parameters"}, []Program{Monitor, Agent, Control}},
	}
	for _, tt := range tests {
		for _, p := range []Program{Monitor, Agent, Control} {
			_, errs := buildText(p, tt.edit.apply())
			if fine := slices.Contains(tt.fine, p); fine != (len(errs) == 0) {
				t.Errorf("%s, %v: fine should be %v, errors:\n%v", tt.name, p, fine, errs)
			}
		}
	}
}

// No error shows a password, whatever section it was put into and however it was written there.
func TestErrorsShowNoSecrets(t *testing.T) {
	const secret = "qhdks-123"
	for _, line := range []string{"agent_password=" + secret, "agent_pasword " + secret, "<agent_password " + secret,
		"=" + secret, "agent_password #" + secret,
		"password " + secret, "monitor_password= " + secret, "ip: " + secret} {
		_, errs := buildText(Agent, edit{15: line}.apply())
		if len(errs) == 0 || strings.Contains(errs.Error(), secret) {
			t.Errorf("%s:\n%v", line, errs)
		}
	}
}

// No error shows a password either where its variable stands in a section that does not have it: each secret is tried
// in every section, for every program.
func TestMisplacedSecretsAreNotShown(t *testing.T) {
	const secret = "qhdks-123"
	opened := map[string]string{"": "", "monitor": "<monitor>", "host": "<host db1>", "role": "<role writer>",
		"check": "<check ping>", "socket": "<socket>", "copy_method": "<copy_method x>", "hook": "<hook x>",
		"alert": "<alert x>"}
	secrets := 0
	for _, home := range ruleset() {
		for _, r := range home.vars {
			if !r.kind.secret() {
				continue
			}
			secrets++
			half := len(r.name) / 2
			for _, name := range []string{r.name, strings.ToUpper(r.name), r.name + "s", r.name[1:], r.name[:half] +
				r.name[half+1:], strings.ReplaceAll(r.name, "_", "-")} {
				for _, form := range []string{"NAME SECRET", "NAME=SECRET", "NAME = SECRET", "NAME: SECRET",
					"NAME SECRET more", "<NAME SECRET>\n</NAME>", "<NAME SECRET/>", "<NAME SECRET", "<NAME> SECRET"} {
					line := strings.NewReplacer("NAME", name, "SECRET", secret).Replace(form)
					for _, s := range ruleset() {
						open, known := opened[s.typ]
						if !known {
							t.Fatalf("how is a section %s opened?", s.tag())
						}
						text := valid + open + "\n" + line + "\n"
						if s.typ != "" {
							text += "</" + s.typ + ">\n"
						}
						for _, p := range []Program{Monitor, Agent, Control} {
							if _, errs := buildText(p, text); strings.Contains(errs.Error(), secret) {
								t.Errorf("%v, %q in %s:\n%v", p, line, s.tag(), errs)
							}
						}
					}
				}
			}
		}
	}
	if secrets < 4 {
		t.Errorf("the rules have %d secrets", secrets)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"ping", "mysql", "rep_threads", "rep_backlog"}
	for word, want := range map[string]string{
		"pnig": "ping", "PING": "ping", "rep_thread": "rep_threads", "repbacklog": "rep_backlog",
		"rep_backlgo": "rep_backlog",
		"":            "", "disk": "", "xxxx": "", "rep": "", "pi": "",
	} {
		if got := nearest(word, known); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
