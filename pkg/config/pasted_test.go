package config

import (
	"strings"
	"testing"
)

// TestPasted: what copying has done to a file gives one error that says so, and other mistakes are found all the same.
func TestPasted(t *testing.T) {
	const nbsp, wide, latin1 = "\u00a0", "\u3000", "\xa0"
	const blank = "a space that is no blank (a no-break space, as web pages and word processors have)"
	html := strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace
	for _, c := range []struct {
		name, text string
		want       string // beginnings of lines, without "f.conf:"; "" is none
	}{
		{"HTML", html(valid),
			"3: &lt; for <, or &nbsp; for a blank: the file was copied as HTML, here and in 11 other lines; this mends it: sed -i 's/&lt;/</g"},
		{"one tag", edit{3: "&lt;monitor&gt;"}.apply(),
			"3: &lt; for <, or &nbsp; for a blank: the file was copied as HTML; this mends it: "},
		{"blanks of HTML", edit{4: "&nbsp;&nbsp;ip 192.168.100.49", 5: "&nbsp; pid_path /run/mmm_mond.pid"}.apply(),
			"4: &lt; for <, or &nbsp; for a blank: the file was copied as HTML, here and in another line; "},
		{"HTML, and a slip", html(edit{8: "pign_ips 192.168.100.1"}.apply()),
			"3: &lt; for <\n8: unknown variable 'pign_ips'"},
		{"before a name", edit{4: nbsp + nbsp + "ip 192.168.100.49", 8: nbsp + "ping_ips 192.168.100.1"}.apply(),
			"4: " + blank + ", here and in another line; this mends it: sed -i 's/\\xc2\\xa0/ /g; "},
		{"behind a name", edit{4: "ip" + nbsp + "192.168.100.49"}.apply(), "4: " + blank + "; "},
		{"behind a value", edit{4: "ip 192.168.100.49" + nbsp}.apply(), "4: " + blank + "; "},
		{"before a comment", edit{4: "ip 192.168.100.49" + nbsp + "# the monitor's"}.apply(), "4: " + blank + "; "},
		{"in a tag", edit{21: "<host" + nbsp + "db1>"}.apply(), "21: " + blank + "; "},
		{"of East Asia", edit{4: "ip" + wide + "192.168.100.49"}.apply(), "4: " + blank + "; "},
		{"in Latin 1", edit{4: "ip" + latin1 + "192.168.100.49"}.apply(), "4: " + blank + "; "},
		{"in a comment", edit{4: "ip 192.168.100.49 # mine" + nbsp + wide, 5: "#" + nbsp +
			"\npid_path /run/mmm_mond.pid", 6: nbsp + "# bin\nbin_path /usr"}.apply(), ""},
		{"behind a password's name", edit{17: "monitor_password" + nbsp + "x"}.apply(), "17: " + blank + "; "},
		{"alone", valid + nbsp + "\n", ""},
	} {
		_, errs := buildText(Monitor, c.text)
		lines := strings.Split(strings.ReplaceAll(errs.Error(), "f.conf:", ""), "\n")
		wants := strings.Split(c.want, "\n")
		ok := len(lines) == len(wants) && (c.want != "" || lines[0] == "")
		for i := 0; ok && i < len(wants); i++ {
			ok = strings.HasPrefix(lines[i], wants[i])
		}
		if !ok {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(lines, "\n"), c.want)
		}
	}
	// Passwords and commands are left as they are.
	c, errs := buildText(Agent, edit{15: "agent_password a" + nbsp + "b" + nbsp,
		19: "replication_password &lt;x&gt;"}.apply()+"iptables_block_cmd echo"+nbsp+"x\n")
	if len(errs) > 0 || c.Local().AgentPassword.Reveal() != "a"+nbsp+"b"+nbsp ||
		c.Local().ReplicationPassword.Reveal() != "&lt;x&gt;" || c.BlockCommand != "echo"+nbsp+"x" {
		t.Errorf("%v %+v", errs, c)
	}
}

// TestFirstGeneration: a file of MMM 1 gives one error, which says that it is one.
func TestFirstGeneration(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/mmm_agent.conf",
		"debug no\nbind_port 9989\ncluster_interface eth0\nthis db1\nmode master\npeer db2\nhost db1\n  ip 10.0.0.1\n  port 3306\n  user rep\n"+
			"  password RepSecret\nhost db2\n  ip 10.0.0.2\nactive_role writer\nrole reader\n  mode balanced\n  servers db1, db2\n")
	_, err := load(Agent, Source{Dir: dir}, nil)
	wantError(t, err, dir+
		"/mmm_agent.conf:7: 'host db1' without < > is the syntax of MMM 1, which is not read: write <host db1>, then its lines, then </host>, "+
		"likewise for all hosts, roles and checks (docs/migration.md tells what else is called differently)")
	write(t, dir+"/mmm_agent.conf", strings.ReplaceAll(valid, "<host db1>", "host db1"))
	if _, err = load(Agent, Source{Dir: dir}, nil); err == nil ||
		!strings.Contains(err.Error(), ":21: 'host' is a section, not a variable; write <host NAME>") {
		t.Errorf("one slip: %v", err)
	}
}

// TestHostForThis: for a line with nothing but the name of a host the error asks whether 'this' was meant.
func TestHostForThis(t *testing.T) {
	_, errs := buildText(Agent, strings.TrimPrefix(valid, "this db1\n")+"db1\n")
	if got := errs.Error(); got != "f.conf:40: 'db1' is a host, not a variable; where this file is that host's, write: this db1" {
		t.Error(got)
	}
}
