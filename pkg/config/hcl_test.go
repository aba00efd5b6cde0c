package config

import (
	"reflect"
	"strings"
	"testing"
)

// validHCL says the same as valid. Tests replace lines of it by their numbers: keep these.
const validHCL = `this = "db1"
active_master_role = "writer"
monitor {
  ip          = "192.168.100.49"
  pid_path    = "/run/mmm_mond.pid"
  bin_path    = "/usr/lib/mysql-mmm"
  status_path = "/var/lib/mysql-mmm/mmm_mond.status"
  ping_ips    = ["192.168.100.1"]
}
host "default" {
  cluster_interface    = "eth0"
  pid_path             = "/run/mmm_agentd.pid"
  bin_path             = "/usr/lib/mysql-mmm"
  agent_user           = "mmm_agent"
  agent_password       = "agent-secret"
  monitor_user         = "mmm_monitor"
  monitor_password     = "monitor-secret"
  replication_user     = "replication"
  replication_password = "replication-secret"
}
host "db1" {
  ip   = "192.168.100.51"
  mode = "master"
  peer = "db2"
}
host "db2" {
  ip   = "192.168.100.52"
  mode = "master"
  peer = "db1"
}
role "writer" {
  hosts = ["db1", "db2"]
  ips   = ["192.168.100.250"]
  mode  = "exclusive"
}
role "reader" {
  hosts = ["db1", "db2"]
  ips   = ["192.168.100.251", "192.168.100.252"]
  mode  = "balanced"
}
`

func (e edit) applyHCL() string {
	lines := strings.Split(validHCL, "\n")
	for n, text := range e {
		lines[n-1] = text
	}
	return strings.Join(lines, "\n")
}

// buildHCL is Load without files.
func buildHCL(p Program, text string) (*Config, Errors) {
	nodes, errs := parseHCL("f.hcl", []byte(text))
	c, errs := build(p, "f.hcl", nodes, errs, len(errs) == 0)
	return c, errs.sorted([]string{"f.hcl"})
}

func mustBuildHCL(t *testing.T, p Program, text string) *Config {
	t.Helper()
	c, errs := buildHCL(p, text)
	if len(errs) > 0 {
		t.Fatalf("%v:\n%v", p, errs)
	}
	return c
}

func TestHCLSaysTheSame(t *testing.T) {
	for _, p := range []Program{Monitor, Agent, Control} {
		want := mustBuild(t, p, valid)
		got := mustBuildHCL(t, p, validHCL)
		got.File = want.File
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got\n%+v\nwant\n%+v", p, got, want)
		}
	}
}

func TestHCLValues(t *testing.T) {
	t.Setenv("MMM_TEST_NAME", "db2")
	for line, want := range map[string]string{
		`ping_interval = 2`:                                      "ping_interval 2",
		`ping_interval = 0.5`:                                    "ping_interval 500ms",
		`ping_interval = "500ms"`:                                "ping_interval 0.5",
		`ping_interval = 60 * 2`:                                 "ping_interval 2m",
		`port = 1e4`:                                             "port 10000",
		`careful_startup = false`:                                "careful_startup no",
		`careful_startup = 0`:                                    "careful_startup no",
		`careful_startup = "off"`:                                "careful_startup no",
		`ping_ips = "192.0.2.1, 192.0.2.2"`:                      "ping_ips 192.0.2.1,192.0.2.2",
		`ping_ips = concat(["192.0.2.1"], ["192.0.2.2"])`:        "ping_ips 192.0.2.1,192.0.2.2",
		`ping_ips = [for n in ["1", "2"] : "192.0.2.${n}"]`:      "ping_ips 192.0.2.1,192.0.2.2",
		`kill_host_bin = format("/opt/%s_%d", lower("KILL"), 7)`: "kill_host_bin /opt/kill_7",
		`kill_host_bin = join("/", ["", upper("a"), "b"])`:       "kill_host_bin /A/b",
		`kill_host_bin = env("MMM_TEST_NAME")`:                   "kill_host_bin db2",
		`kill_host_bin = "/opt/${env("MMM_TEST_NAME")} # x"`:     "kill_host_bin /opt/db2 \\# x",
		`restart_after = 5`:                                      "",
		`mode = true ? "wait" : "active"`:                        "mode wait",
	} {
		block, classic := "monitor {\n"+line+"\n}\n", "<monitor>\n"+want+"\n</monitor>\n"
		if strings.HasPrefix(line, "restart_after") {
			block, classic = `check "ping" {`+"\n"+line+"\n}\n", ""
		}
		wanted, got := mustBuild(t, Monitor, valid+classic), mustBuildHCL(t, Monitor, validHCL+block)
		got.File = wanted.File
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", line, got, wanted)
		}
	}
}

func TestHCLErrorTexts(t *testing.T) {
	tests := []struct {
		edit edit
		want string // lines without "f.hcl:"
	}{
		{edit{8: `  pign_ips = ["192.168.100.1"]`},
			`8:3: unknown variable 'pign_ips' in monitor; did you mean 'ping_ips'?`},
		{edit{3: `monitor "x" {`}, `3:1: section monitor takes no name; write monitor { ... }`},
		{edit{21: `host {`},
			"21:1: section host needs a name; write host \"NAME\" { ... }\n29:3: 'peer' of host \"db2\" names the unknown host 'db1'; did you mean 'db2'?\n32:3: 'hosts' of role \"writer\" names the unknown host 'db1'; did you mean 'db2'?\n37:3: 'hosts' of role \"reader\" names the unknown host 'db1'; did you mean 'db2'?"},
		{edit{26: `hots "db2" {`}, `26:1: unknown section hots "db2"; did you mean 'host'?`},
		{edit{26: `host "db 2" {`}, `26:6: section name "db 2": only letters, digits, '_', '-' and '.' can be used`},
		{edit{26: `host "db1" "db2" {`},
			`26:1: a block takes one name at most; write TYPE { ... } or TYPE "NAME" { ... }`},
		{edit{8: "peer = \"a\"\nping_ips=[\"192.0.2.1\"]"},
			`8:1: variable 'peer' does not belong in monitor but in host "NAME"`},
		{edit{1: "this = \"db1\"\nhost = \"db1\""},
			`2:1: 'host' is a section, not a variable; write host "NAME" { ... }`},
		{edit{1: "this = \"db1\"\ndebug {\n}"}, `2:1: 'debug' is a variable, not a section; write: debug = VALUE`},
		{edit{1: "this = \"db1\"\ncheck \"pong\" {\n}"},
			`2:1: unknown check 'pong', must be default, ping, mysql, rep_threads or rep_backlog; did you mean 'ping'?`},
		{edit{24: `peer = ""`}, `24:1: 'peer' lacks a value`},
		{edit{24: `peer = null`}, `24:8: 'peer' is null; leave the variable out, or give it a value`},
		{edit{24: `peer = db2`}, `24:8: 'peer' has a word that is no value; text is written in quotes`},
		{edit{24: `peer = ["db2"]`}, `24:1: 'peer' takes one value, not a list`},
		{edit{24: `peer = 2`}, `24:1: 'peer' must be text in quotes`},
		{edit{24: `peer = {a=1}`},
			`24:8: 'peer' must be text, a number, true or false, or a list of texts: ["A", "B"]`},
		{edit{24: `peer = "a\nb"`}, `24:8: 'peer' must be one line, without control characters`},
		{edit{24: `peer = env("MMM_NOT_SET")`},
			`24:8: 'peer' needs an environment variable that is not set; set the one that env names, for the program's service too`},
		{edit{24: `peer = file("x")`},
			`24:8: 'peer' calls a function that is not there; known are concat, env, format, join, lower and upper`},
		{edit{24: `peer = upper("x", "y")`},
			`24:20: 'peer' has an expression that gives no value: too many function arguments`},
		{edit{24: `peer = format("%d", "x")`}, `24:8: 'peer' calls a function with values that it does not take`},
		{edit{24: `peer = upper("x"`}, `25:1: missing argument separator`},
		{edit{24: `peer "db2"`}, `24:11: invalid block definition; write NAME = VALUE, or TYPE "NAME" { ... }`},
		{edit{24: `peer db2`}, `24:9: invalid block definition; write NAME = VALUE, or TYPE "NAME" { ... }`},
		{edit{24: `peer = 'db2'`}, `24:8: invalid character; text is written in quotes`},
		{edit{24: `peer = "db2`}, `24:12: invalid multi-line string; close the quotes in the same line`},
		{edit{24: `"peer" = "db2"`}, `24:1: invalid argument name; names are written without quotes`},
		{edit{24: "peer = \"db2\"\npeer = \"db2\""},
			`25:1: attribute redefined; each variable can be set once in a block; keep one`},
		{edit{22: `ip = 192.168.100.51`},
			`22:6: invalid number literal; text, such as an address, is written in quotes`},
		{edit{22: `ip = "192.168.100"`}, `22:1: 'ip' must be an IP address such as 192.168.100.49, not "192.168.100"`},
		{edit{25: ``}, `21:12: unclosed configuration block; add the missing }`},
		{edit{25: `} }`}, `25:3: missing newline after block definition; begin the next statement in a new line`},
		{edit{21: `<host db1>`},
			`21:1: argument or block definition required; write NAME = VALUE, or TYPE "NAME" { ... }`},
		{edit{33: `ips = ["192.168.100.250", ""]`},
			`33:7: 'ips' has an empty element, or one with a comma; each element is one name or address`},
		{edit{33: `ips = ["192.168.100.250, 192.168.100.251"]`},
			`33:7: 'ips' has an empty element, or one with a comma; each element is one name or address`},
		{edit{33: `ips = ["192.168.100.250" "192.168.100.251"]`},
			`33:26: missing item separator; put a comma between the elements of a list`},
		{edit{33: `ips = []`}, `33:1: 'ips' lacks a value`},
		{edit{33: `ips = [1]`}, `33:7: 'ips' must be text, a number, true or false, or a list of texts: ["A", "B"]`},
		{edit{33: `ips = true`}, `33:1: 'ips' must be a list of texts: ["A", "B"]`},
		{edit{17: `monitor_password = 12345`}, `17:1: 'monitor_password' must be text in quotes`},
		{edit{17: `monitor_password = "a\bc"`}, "17:22: invalid escape sequence; write \\\\ for a backslash"},
		{edit{8: `ping_ips = ["192.168.100.1"]` + "\ncheck \"ping\" {\n}"},
			`9:1: a block can't be within another; put it behind the block monitor`},
		{edit{1: "include = 5\nthis = \"db1\""}, `1:1: include must be a list of files; write include = ["FILE"]`},
		{edit{1: "include {\n}\nthis = \"db1\""},
			`1:1: an include has the name of a file and nothing else; write include "FILE" {} or include = ["FILE"]`},
		{edit{3: "monitor {\n  include = [\"x\"]"},
			`4:3: an include can't be within a block; put it before the block monitor`},
	}
	for _, tt := range tests {
		_, errs := buildHCL(Monitor, tt.edit.applyHCL())
		if got := strings.ReplaceAll(errs.Error(), "f.hcl:", ""); got != tt.want {
			t.Errorf("%v: got\n%s\nwant\n%s", tt.edit, got, tt.want)
		}
	}
}

// A variable that only another program reads may have a wrong value, or need an environment variable that is not set.
func TestHCLOthersValuesAreLeftAlone(t *testing.T) {
	text := edit{17: `monitor_password = env("MMM_NOT_SET")`, 8: `ping_ips = false`}.applyHCL()
	mustBuildHCL(t, Agent, text)
	mustBuildHCL(t, Control, text)
	if _, errs := buildHCL(Monitor, text); len(errs) != 2 {
		t.Errorf("the monitor's own: %v", errs)
	}
}

// No error shows a password, whatever block it was put into and however it was written there.
func TestHCLMisplacedSecretsAreNotShown(t *testing.T) {
	const secret = "qhdks-123"
	forms := []string{`NAME = "SECRET"`, `NAME = SECRET`, `NAME "SECRET"`, `NAME SECRET`, `NAME: SECRET`,
		`NAME = 'SECRET'`, `NAME = "SECRET`, `NAME = ["SECRET"]`,
		`NAME = {SECRET = 1}`, `NAME = SECRET("x")`, `NAME = env("SECRET")`, `NAME = upper(SECRET)`,
		`NAME = format("%d", "SECRET")`, `NAME = "SECRET" + 1`,
		`NAME = "\SECRET"`, `NAME = "${SECRET}"`, `NAME = "SECRET" "x"`, "NAME = <<SECRET\nx\nSECRET",
		"NAME = \"SECRET\"\nNAME = \"SECRET\"",
		"NAME \"SECRET\" {\n}", "NAME SECRET {\n}", "NAME \"SECRET x\" {\n}", `<NAME SECRET>`, `"SECRET" = NAME`,
		`NAME = "SECRET".x`, `NAME = ["a"]["SECRET"]`, `NAME = {a = 1}["SECRET"]`}
	opened := map[string]string{"": "", "monitor": "monitor {", "host": `host "db1" {`, "role": `role "writer" {`,
		"check": `check "ping" {`, "socket": "socket {", "copy_method": `copy_method "x" {`, "hook": `hook "x" {`,
		"alert": `alert "x" {`}
	shown := 0
	for _, home := range ruleset() {
		for _, r := range home.vars {
			if !r.kind.secret() {
				continue
			}
			half := len(r.name) / 2
			for _, name := range []string{r.name, strings.ToUpper(r.name), r.name + "s", r.name[1:], r.name[:half] +
				r.name[half+1:], strings.ReplaceAll(r.name, "_", "-")} {
				for _, form := range forms {
					line := strings.NewReplacer("NAME", name, "SECRET", secret).Replace(form)
					for _, s := range ruleset() {
						text := opened[s.typ] + "\n" + line + "\n"
						if s.typ != "" {
							text += "}\n"
						}
						for _, p := range []Program{Monitor, Agent, Control} {
							if _, errs := buildHCL(p, text); strings.Contains(strings.ToLower(errs.Error()), secret) {
								if shown++; shown < 20 {
									t.Errorf("%v, %q in %s:\n%v", p, line, s.tag(), errs)
								}
							}
						}
					}
				}
			}
		}
	}
}
