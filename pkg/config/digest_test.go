package config

import (
	"strings"
	"testing"
)

const digested = `this db1
active_master_role writer
agent_secret 0123456789abcdef0123456789abcdef
<host default>
 cluster_interface eth0
 pid_path /run/a.pid
 bin_path /x
 agent_user a
 agent_password pw
 replication_user r
 replication_password pw2
</host>
<host db1>
 ip 192.0.2.1
 mode master
 peer db2
</host>
<host db2>
 ip 192.0.2.2
 mode master
 peer db1
</host>
<role writer>
 hosts db1, db2
 ips 192.0.2.100
 mode exclusive
</role>
`

// digestsOf gives the digests of an agent that has read the text above, with replacements.
func digestsOf(t *testing.T, nonce string, replacements ...string) map[string]map[string]string {
	t.Helper()
	nodes, errs := parse("f", []byte(strings.NewReplacer(replacements...).Replace(digested)))
	c, errs := build(Agent, "f", nodes, errs, true)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	return c.Digests(nonce)
}

// differing lists what is not the same, as SECTION VARIABLE.
func differing(a, b map[string]map[string]string) string {
	var names []string
	for section, vars := range a {
		for v, digest := range vars {
			if b[section][v] != digest {
				names = append(names, strings.TrimSpace(section+" "+v))
			}
		}
	}
	return strings.Join(names, ", ")
}

func TestDigests(t *testing.T) {
	base := digestsOf(t, "n1")
	for _, tt := range []struct {
		from, to string
		want     string
	}{
		{"", "", ""},
		{"hosts db1, db2", "hosts db2,db1", ""},
		{"this db1", "this db1\nwriter_lease 6s", ""}, // the default
		{"this db1", "this db1\nwriter_lease 7", "writer_lease"},
		{"this db1", "this db1\nmax_kill_retries 9.5", ""},
		{"this db1", "this db1\nmax_kill_retries 9", "max_kill_retries"},
		{"ip 192.0.2.2", "ip 192.0.2.3", "<host db2> ip"},
		{"ip 192.0.2.2", "ip 192.0.2.2\n mysql_port 3307", "<host db2> mysql_port"},
		{"ips 192.0.2.100", "ips 192.0.2.101", "<role writer> ips"},
		{"password pw\n", "password pw2\n", OwnSection + " agent_password"},
		{"user r\n", "user x\n", OwnSection + " replication_user"},
	} {
		if got := differing(base, digestsOf(t, "n1", tt.from, tt.to)); got != tt.want {
			t.Errorf("%q for %q: %q differ, want %q", tt.to, tt.from, got, tt.want)
		}
	}
	for section, vars := range digestsOf(t, "n2") {
		for v, digest := range vars {
			if base[section][v] == digest {
				t.Errorf("%s %s: the same digest with another nonce", section, v)
			}
		}
	}
}

// Without agent_secret there are no digests of passwords. With it they depend on the secret, so that nobody who does
// not know the secret can try passwords on them.
func TestDigestsOfPasswords(t *testing.T) {
	const line = "agent_secret 0123456789abcdef0123456789abcdef\n"
	for v := range digestsOf(t, "n1", line, "")[OwnSection] {
		if strings.Contains(v, "password") {
			t.Errorf("%s is there without a secret", v)
		}
	}
	other := digestsOf(t, "n1", line, "agent_secret another0123456789abcdef\n")
	if got := differing(digestsOf(t, "n1"), other); !strings.Contains(got, "agent_password") ||
		!strings.Contains(got, "replication_password") || strings.Contains(got, "user") {
		t.Errorf("with another secret %q differ", got)
	}
}
