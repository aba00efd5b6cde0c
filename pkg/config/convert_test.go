package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// Every configuration of the repository says the same in HCL, and when it is converted back to classic files.
func TestConversionKeepsTheMeaning(t *testing.T) {
	files, err := filepath.Glob("testdata/*/mmm_mon.conf")
	if err != nil || len(files) < 3 {
		t.Fatalf("configurations: %v, %v", files, err)
	}
	for _, file := range append(files, "../../etc/mysql-mmm/mmm_mon.conf") {
		from := filepath.Dir(file)
		classic := install(t, from)
		hcl, again := t.TempDir(), t.TempDir()
		convertAll(t, classic, hcl, ToHCL)
		convertAll(t, hcl, again, ToClassic)
		for _, p := range []Program{Monitor, Agent, Control} {
			if _, err := os.Stat(filepath.Join(classic, mainName(p, "")+classicSuffix)); err != nil {
				continue
			}
			want := mustLoad(t, p, Source{Dir: classic})
			for _, dir := range []string{hcl, again} {
				got := mustLoad(t, p, Source{Dir: dir})
				if got.File = want.File; !reflect.DeepEqual(got, want) {
					t.Errorf("%s, %v: got\n%+v\nwant\n%+v", from, p, got, want)
				}
			}
		}
	}
}

func convertAll(t *testing.T, from, to string, convert func(string) (Converted, error)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "mmm*"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of %s: %v, %v", from, files, err)
	}
	other := map[string]string{classicSuffix: hclSuffix, hclSuffix: classicSuffix}
	for _, file := range files {
		c, err := convert(file)
		if err != nil {
			t.Fatalf("%s:\n%v", file, err)
		}
		suffix := filepath.Ext(file)
		write(t, filepath.Join(to, strings.TrimSuffix(filepath.Base(file), suffix)+other[suffix]), c.Text)
	}
}

func convertText(t *testing.T, name, text string, convert func(string) (Converted, error)) (Converted, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	write(t, file, text)
	return convert(file)
}

func TestConvertToHCL(t *testing.T) {
	c, err := convertText(t, "f.conf", `# first # comment
include mmm_common # common
debug 1
debug 0
agent_secret_file /etc/mysql-mmm/secret
clone_dirs
<host default>
  agent_password a"b\c${d}%{e}\#f # why
  include /etc/x.conf
  mysql_port 0123
  replication_password 0123
</host>

<check mysql> # patience
  timeout .5
  trap_period 1.5
  restart_after 0
</check>
<role reader>
  hosts db1 , db2,
  mode balanced
  # end
</role>
`, ToHCL)
	const want = `# first # comment
include "mmm_common.hcl" {} # common
debug             = false
agent_secret_file = "/etc/mysql-mmm/secret"
clone_dirs        = ""
host "default" {
  agent_password = "a\"b\\c$${d}%%{e}#f" # why
}
include "/etc/x.hcl" {}
host "default" {
  mysql_port           = "0123"
  replication_password = "0123"
}

check "mysql" { # patience
  timeout       = ".5"
  trap_period   = 1.5
  restart_after = "0"
}
role "reader" {
  hosts = ["db1", "db2"]
  mode  = "balanced"
  # end
}
`
	if err != nil || c.Text != want || strings.Join(c.Includes, " ") != "mmm_common /etc/x.conf" {
		t.Errorf("%v, includes %v:\n%s", err, c.Includes, c.Text)
	}
}

func TestConvertToClassic(t *testing.T) {
	t.Setenv("MMM_TEST_NAME", "from # outside")
	c, err := convertText(t, "f.hcl", `/* one
 * two */
// three

include = ["common.hcl", "old.conf"] # four
debug = true
monitor { // five
  ping_ips = [
    "192.0.2.1", # six
    "192.0.2.2",
  ]
  ping_interval = 60 / 8
}
host "default" {
  agent_user     = env("MMM_TEST_NAME")
  agent_password = "a\\#b"

}
`, ToClassic)
	const want = `# one
# two
# three

include common.conf  # four
include old.conf
debug  1
<monitor>  # five
    ping_ips       192.0.2.1, 192.0.2.2
    # six
    ping_interval  7.5
</monitor>
<host default>
    agent_user      from \# outside
    agent_password  a\\#b

</host>
`
	if err != nil || c.Text != strings.Replace(want, "debug  1", "debug  true", 1) ||
		strings.Join(c.Includes, " ") != "common.hcl" {
		t.Errorf("%v, includes %v:\n%s", err, c.Includes, c.Text)
	}
}

// Nothing is converted that would mean something else afterwards, and no error shows a password.
func TestConversionErrors(t *testing.T) {
	const secret = "qhdks-123"
	tests := []struct {
		name, text string
		convert    func(string) (Converted, error)
		want       string
	}{
		{"f.conf", "debg 1", ToHCL, "f.conf:1: unknown variable 'debg' in the top level; did you mean 'debug'?"},
		{"f.conf", "debug 7\n<host x>", ToHCL,
			"f.conf:1: 'debug' must be 0, no, off or false, or 1, yes, on or true; not \"7\"\nf.conf:2: section <host x> is never closed; add </host>"},
		{"f.conf", "agent_secret " + secret + "\xff", ToHCL,
			"f.conf:1: HCL is written in UTF-8, and this is another encoding; save the file as UTF-8"},
		// HCL normalizes text: it would make one character of an e and an accent.
		{"f.conf", "agent_secret " + secret + "e\u0301", ToHCL, "f.conf: line 1 can't be written in the other syntax"},
		{"f.conf", "agent_secret " + secret + "\x17", ToHCL, "f.conf: line 1 can't be written in the other syntax"},
		{"f.hcl", "debug = true", ToHCL, "f.hcl: is in that syntax already, as its name says"},
		{"f.conf", "debug 0", ToClassic, "f.conf: is in that syntax already, as its name says"},
		{"f.hcl", "agent_secret = \" " + secret + "\"", ToClassic,
			"f.hcl:1:1: 'agent_secret' begins or ends with a blank, which a classic file can't say; change the value"},
		{"f.hcl", "agent_secret = env(\"MMM_NOT_SET\")", ToClassic, "f.hcl:1:16: 'agent_secret' " + errNotSet.Error()},
		{"f.hcl", "include = [\"a b\"]", ToClassic,
			"f.hcl:1:1: a classic include can't have blanks in the file's name; rename the file"},
		{"f.hcl", "agent_secret = " + secret, ToClassic,
			"f.hcl:1:16: 'agent_secret' has a word that is no value; text is written in quotes"},
		{"f.hcl", "clone_dirs = x", ToClassic,
			"f.hcl:1:14: 'clone_dirs' has a word that is no value; text is written in quotes"},
	}
	for _, tt := range tests {
		_, err := convertText(t, tt.name, tt.text, tt.convert)
		var lines []string
		for _, line := range strings.Split(fmt.Sprint(err), "\n") {
			lines = append(lines, line[strings.LastIndexByte(strings.SplitN(line, ":", 2)[0], '/')+1:])
		}
		if got := strings.Join(lines, "\n"); got != tt.want || strings.Contains(got, secret) {
			t.Errorf("%q: got\n%s\nwant\n%s", tt.text, got, tt.want)
		}
	}
	file := filepath.Join(t.TempDir(), "f.conf")
	write(t, file, "debug 1\n")
	mode(t, file, 0o604)
	if _, err := ToHCL(file); err == nil || !strings.Contains(err.Error(), "world-readable") {
		t.Errorf("%v", err)
	}
	if _, err := ToHCL(file + "x"); err == nil {
		t.Error("a file that is not there was converted")
	}
}

// A value that is converted to HCL and back is the same to the letter, or the conversion is refused.
func FuzzConversion(f *testing.F) {
	for _, seed := range []string{"x", "a b", `\`, `\#`, "#", "# a", `"`, "${x}", "$${", "%{if}", "a#b", "007", "1e3",
		"true", "null", "é", "\xff", "<x>", "a,b"} {
		f.Add(seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, value string) {
		text, errs := writeClassic([]node{{kind: sectionNode, key: "host", value: "default",
			body: []node{{kind: variableNode, key: "agent_password", value: value}}}})
		if len(errs) > 0 || strings.ContainsAny(value, "\n\x00") || value == "" {
			return
		}
		classic := filepath.Join(dir, "f.conf")
		write(t, classic, text)
		h, err := ToHCL(classic)
		if err != nil {
			return
		}
		write(t, filepath.Join(dir, "f.hcl"), h.Text)
		c, err := ToClassic(filepath.Join(dir, "f.hcl"))
		if err != nil {
			t.Fatalf("%q became\n%s\nand that:\n%v", value, h.Text, err)
		}
		if nodes, _ := parse("", []byte(c.Text)); len(nodes) != 1 || len(nodes[0].body) != 1 ||
			nodes[0].body[0].value != value {
			t.Fatalf("%q became\n%s\nand\n%s", value, h.Text, c.Text)
		}
	})
}
