package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"agent": "agent from a file\n", "replication": " \trepl#1 # 2\r\nmore\n",
		"monitor": "mon", "secret": "0123456789abcdef"} {
		write(t, filepath.Join(dir, name), text)
	}
	classic := edit{1: "this db1\nagent_secret_file secret", 15: "agent_password_file agent",
		17: "monitor_password_file " + dir + "/monitor", 19: "replication_password_file ./replication"}
	hcl := edit{1: "this = \"db1\"\nagent_secret_file = \"secret\"", 15: `agent_password_file = "agent"`,
		17: `monitor_password_file = "` + dir + `/monitor"`, 19: `replication_password_file = "./replication"`}
	for name, text := range map[string]string{"f.conf": classic.apply(), "f.hcl": hcl.applyHCL()} {
		write(t, filepath.Join(dir, name), text)
		a := mustLoad(t, Agent, Source{File: filepath.Join(dir, name)})
		if h := a.Local(); h.AgentPassword.Reveal() != "agent from a file" ||
			h.ReplicationPassword.Reveal() != "repl#1 # 2" || a.AgentSecret.Reveal() != "0123456789abcdef" ||
			h.MonitorPassword.Reveal() != "" {
			t.Errorf("%s: %q, %q, %q, %q", name, h.AgentPassword.Reveal(), h.ReplicationPassword.Reveal(),
				a.AgentSecret.Reveal(), h.MonitorPassword.Reveal())
		}
		m := mustLoad(t, Monitor, Source{File: filepath.Join(dir, name)})
		if h := m.Hosts[1]; h.MonitorPassword.Reveal() != "mon" || h.AgentPassword.Reveal() != "" ||
			m.AgentSecret.Reveal() != "0123456789abcdef" {
			t.Errorf("%s: %q, %q, %q", name, h.MonitorPassword.Reveal(), h.AgentPassword.Reveal(),
				m.AgentSecret.Reveal())
		}
		// The file with the agent's password need not be there for the other programs.
		if err := os.Rename(filepath.Join(dir, "agent"), filepath.Join(dir, "gone")); err != nil {
			t.Fatal(err)
		}
		mustLoad(t, Monitor, Source{File: filepath.Join(dir, name)})
		mustLoad(t, Control, Source{File: filepath.Join(dir, name)})
		if err := os.Rename(filepath.Join(dir, "gone"), filepath.Join(dir, "agent")); err != nil {
			t.Fatal(err)
		}
	}
	// A host's own password goes before the template's file, and its own file before the template's password.
	text := edit{15: "agent_password_file agent", 22: "ip 192.168.100.51\nagent_password own",
		27: "ip 192.168.100.52\nreplication_password_file replication"}.apply()
	write(t, dir+"/f.conf", text)
	c := mustLoad(t, Agent, Source{File: dir + "/f.conf"})
	if one, two := c.Hosts[0], c.Hosts[1]; one.AgentPassword.Reveal() != "own" ||
		two.AgentPassword.Reveal() != "agent from a file" || two.ReplicationPassword.Reveal() != "repl#1 # 2" {
		t.Errorf("%q, %q, %q", one.AgentPassword.Reveal(), two.AgentPassword.Reveal(), two.ReplicationPassword.Reveal())
	}
}

func TestSecretFileErrors(t *testing.T) {
	const secret = "qhdks-123"
	dir := t.TempDir()
	write(t, dir+"/open", secret+"\n")
	mode(t, dir+"/open", 0o644)
	write(t, dir+"/empty", "\n"+secret)
	write(t, dir+"/binary", "a\x00b"+secret)
	write(t, dir+"/short", "short")
	if err := syscall.Mkfifo(dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"agent_password_file " +
			secret: "15: 'agent_password_file' names a file that can't be found: no such file or directory",
		"agent_password_file open":   "15: 'agent_password_file' names DIR/open: mode 0644: the file is world-readable, and it holds passwords; run: chmod o-rwx DIR/open",
		"agent_password_file empty":  "15: 'agent_password_file' names DIR/empty, whose first line is empty; write the secret there",
		"agent_password_file binary": "15: 'agent_password_file' names DIR/binary, which is no text",
		"agent_password_file pipe":   "15: 'agent_password_file' names DIR/pipe, which is no file",
		"agent_password_file .":      "15: 'agent_password_file' names DIR, which is no file",
		"agent_password_file":        "15: 'agent_password_file' lacks a value",
		"agent_password " + secret +
			"\nagent_password_file empty": "16: 'agent_password_file' and 'agent_password' (DIR/f.conf:15) are both set in <host default>; keep one",
		"agent_pasword_file " +
			secret: "15: unknown variable 'agent_pasword_file' in <host default>; did you mean 'agent_password_file'?",
		"agent_password x\n</host>\nagent_secret_file short\n<host default>": "17: 'agent_secret' must have at least 16 characters; this makes a good one: openssl rand -hex 32",
	} {
		write(t, dir+"/f.conf", edit{15: line}.apply())
		_, err := load(Agent, Source{File: dir + "/f.conf"}, nil)
		if got := fmt.Sprint(err); !strings.Contains(got, strings.ReplaceAll("DIR/f.conf:"+want, "DIR", dir)) ||
			strings.Contains(got, secret) {
			t.Errorf("%s:\n%s\nwant\n%s", line, got, want)
		}
	}
}
