package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestLogStyleInHCL: as in classic files.
func TestLogStyleInHCL(t *testing.T) {
	file := t.TempDir() + "/mmm.hcl"
	write(t, file, "log_format = \"json\"\nlog_timestamps = \"rfc3339\"\n"+validHCL)
	for _, p := range []Program{Monitor, Agent} {
		if got := mustLoad(t, p, Source{File: file}).Log; got != (Log{JSON: true, Zone: true}) {
			t.Errorf("%v: %+v", p, got)
		}
	}
}

func TestLookupOfHCL(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, b+"/mmm.hcl", validHCL)
	write(t, b+"/mmm_agent.hcl", validHCL)
	write(t, b+"/mmm_east.hcl", validHCL)
	write(t, c+"/mmm_mon.hcl", "rubbish")
	write(t, c+"/mmm_mon_west.hcl", validHCL)
	write(t, c+"/mmm_mon_north.conf", valid)
	tests := []struct {
		p    Program
		src  Source
		want string
	}{
		{Agent, Source{}, b + "/mmm_agent.hcl"},
		{Monitor, Source{}, b + "/mmm.hcl"},
		{Control, Source{}, b + "/mmm.hcl"},
		{Agent, Source{Cluster: "east"}, b + "/mmm_east.hcl"},
		{Monitor, Source{Cluster: "east"}, b + "/mmm_east.hcl"},
		{Monitor, Source{Cluster: "west"}, c + "/mmm_mon_west.hcl"},
		{Monitor, Source{Cluster: "north"}, c + "/mmm_mon_north.conf"},
		{Monitor, Source{Cluster: "west", Dir: c}, c + "/mmm_mon_west.hcl"},
		{Monitor, Source{File: b + "/mmm_agent.hcl"}, b + "/mmm_agent.hcl"},
	}
	for _, tt := range tests {
		if got := mustLoad(t, tt.p, tt.src, a, b, c).File; got != tt.want {
			t.Errorf("%v %+v: %s, want %s", tt.p, tt.src, got, tt.want)
		}
	}

	// A classic file beside the HCL file is an error, in whatever folder, readable or not.
	write(t, c+"/mmm_mon.conf", valid)
	mode(t, c+"/mmm_mon.conf", 0o644)
	_, err := load(Monitor, Source{}, []string{a, b, c})
	wantError(t, err,
		fmt.Sprintf("%s/mmm.hcl: %[2]s/mmm_mon.conf is there too, and only one of them can count; remove %[2]s/mmm_mon.conf to go over to HCL (or empty it, where a package brings it back), or %[1]s/mmm.hcl to stay with the classic file", b, c))
	write(t, a+"/mmm_agent.conf", valid)
	_, err = load(Agent, Source{}, []string{a, b, c})
	wantError(t, err,
		fmt.Sprintf("%s/mmm_agent.hcl: %[2]s/mmm_agent.conf is there too, and only one of them can count; remove %[2]s/mmm_agent.conf to go over to HCL (or empty it, where a package brings it back), or %[1]s/mmm_agent.hcl to stay with the classic file", b, a))
	write(t, a+"/mmm_agent.conf", "")
	if got := mustLoad(t, Agent, Source{}, a, b, c).File; got != b+"/mmm_agent.hcl" {
		t.Errorf("an empty file counts: %s", got)
	}

	mode(t, b+"/mmm_agent.hcl", 0o644)
	_, err = load(Agent, Source{Dir: b}, nil)
	wantError(t, err, b+
		"/mmm_agent.hcl: mode 0644: the file is world-readable, and it holds passwords; run: chmod o-rwx "+b+
		"/mmm_agent.hcl")
}

func TestHCLIncludes(t *testing.T) {
	dir := t.TempDir()
	main := func(text string) Source {
		write(t, dir+"/mmm_agent.hcl", text)
		return Source{Dir: dir}
	}
	write(t, dir+"/common.hcl", validHCL)
	write(t, dir+"/port.conf", "max_kill_retries 7\n<host db1>\nmysql_port 7\n</host>\n")
	write(t, dir+"/port.hcl", "host \"db1\" {\nmysql_port = 8\n}\n")
	for text, want := range map[string]int{
		`include = ["common.hcl"]`:                                                        3306,
		`include = "common"`:                                                              3306,
		`include = ["common", "port.conf"]`:                                               7,
		`include = ["common", "port.conf", "port"]`:                                       8,
		`include = ["common", "port", "port.conf"]`:                                       7,
		`include = [format("%s/%s", "` + dir + `", "common"), "port.conf"]`:               7,
		"include \"common\" {}\nhost \"db1\" {\nmysql_port = 9\n}\ninclude \"port\" {}\n": 8,
		"include \"common\" {}\ninclude \"port\" {}\nhost \"db1\" {\nmysql_port = 9\n}\n": 9,
	} {
		if got := mustLoad(t, Agent, main(text)).Local().MySQLPort; got != want {
			t.Errorf("%s: port %d, want %d", text, got, want)
		}
	}
	// The classic syntax can include HCL.
	write(t, dir+"/classic.conf", "include common.hcl\ninclude port.hcl\ninclude port\n")
	if c := mustLoad(t, Agent, Source{File: dir + "/classic.conf"}); c.Local().MySQLPort != 7 || c.MaxKillRetries != 7 {
		t.Errorf("%+v", c)
	}

	_, err := load(Agent, main("\n  include = [\"common\", \"gone\"]"), nil)
	wantError(t, err,
		fmt.Sprintf("%s/mmm_agent.hcl:2:3: include gone: no readable configuration file; looked for %[1]s/gone.hcl",
			dir))
	_, err = load(Agent, main(`include "mmm_agent" {}`+"\n"+validHCL), nil)
	wantError(t, err,
		fmt.Sprintf("%s/mmm_agent.hcl:1:1: include mmm_agent: the file includes itself: %[1]s/mmm_agent.hcl -> %[1]s/mmm_agent.hcl", dir))
	// What is wrong in an included file does not make the rest look incomplete.
	write(t, dir+"/wrong.hcl", "peer = \n")
	_, err = load(Agent, main("include = [\"wrong\"]\ncolour = \"red\"\n"), nil)
	wantError(t, err,
		fmt.Sprintf("%[1]s/mmm_agent.hcl:2:1: unknown variable 'colour' in the top level\n%[1]s/wrong.hcl:1:8: invalid expression; text is written in quotes", dir))
	// Both syntaxes in one message.
	write(t, dir+"/hosts.conf", "<host db7>\nip 192.0.2.7\nmode master\npeer db8\n</host>\n")
	write(t, filepath.Join(dir, "mmm_mon.hcl"), "include = [\"common\", \"hosts.conf\"]")
	_, err = load(Monitor, Source{Dir: dir}, nil)
	wantError(t, err, dir+"/hosts.conf:4: 'peer' of <host db7> names the unknown host 'db8'; did you mean 'db1'?")
}

// The HCL sample says the same as the installed classic files, for all programs.
func TestHCLSample(t *testing.T) {
	text, err := os.ReadFile("../../etc/mysql-mmm/mmm.hcl.sample")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir+"/mmm.hcl", string(text))
	classic := install(t, "../../etc/mysql-mmm")
	for _, p := range []Program{Monitor, Agent, Control} {
		want, got := mustLoad(t, p, Source{Dir: classic}), mustLoad(t, p, Source{Dir: dir})
		if got.File = want.File; !reflect.DeepEqual(got, want) {
			t.Errorf("%v: got\n%+v\nwant\n%+v", p, got, want)
		}
	}
}

// The example of the reference page can be loaded.
func TestHCLExample(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```hcl mmm.hcl\n")
	example, _, ok := strings.Cut(rest, "```\n")
	if !ok {
		t.Fatalf("%s has no example", page)
	}
	dir := t.TempDir()
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for _, name := range []string{"agent", "monitor", "replication"} {
		write(t, filepath.Join(dir, name), name+"-password\n")
	}
	for _, p := range []Program{Monitor, Agent, Control} {
		c := mustBuildHCL(t, p, example)
		if p == Monitor && (len(c.Hosts) != 3 || c.Hosts[2].MonitorPassword.Reveal() != "monitor-password" ||
			len(c.Roles[0].IPs) != 3) {
			t.Errorf("%+v", c)
		}
	}
}
