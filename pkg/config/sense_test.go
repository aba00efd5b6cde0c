package config

import (
	"strings"
	"testing"
)

// TestWhatCantWork: values that can be read and can't work are refused with their line and what to write instead.
func TestWhatCantWork(t *testing.T) {
	const m, a = Monitor, Agent
	long := strings.Repeat("x", 200)
	for _, c := range []struct {
		name     string
		programs []Program
		edit     edit
		want     string // lines without "f.conf:"; "" is none
	}{
		{"one host twice", []Program{m, a}, edit{27: "ip 192.168.100.51"},
			"27: <host db2> has the ip and mysql_port of <host db1>, 192.168.100.51:3306; give each host its own address"},
		{"two servers, one agent", []Program{m, a}, edit{27: "ip 192.168.100.51\nmysql_port 3307"},
			"27: <host db2> has the ip and agent_port of <host db1>, 192.168.100.51:9989; give each host its own address"},
		{"two of each on one machine", []Program{m, a}, edit{27: "ip 192.168.100.51\nmysql_port 3307\nagent_port 9990"},
			""},
		{"nobody's", []Program{m, a}, edit{33: "ips 0.0.0.0"},
			"33: ip 0.0.0.0 of <role writer> is no address of anybody; give an unused address of the hosts' network"},
		{"nobody's, IPv6", []Program{m, a}, edit{33: "ips ::"},
			"33: ip :: of <role writer> is no address of anybody; give an unused address of the hosts' network"},
		{"loopback", []Program{m, a}, edit{33: "ips 127.0.0.5"},
			"33: ip 127.0.0.5 of <role writer> is a loopback address, which every host has; give an unused address of the hosts' network"},
		{"loopback, IPv6", []Program{m}, edit{33: "ips ::1"},
			"33: ip ::1 of <role writer> is a loopback address, which every host has; give an unused address of the hosts' network"},
		{"multicast", []Program{m, a}, edit{38: "ips 224.0.0.18, ff02::1"},
			"38: ip 224.0.0.18 of <role reader> is a multicast address; give an unused address of the hosts' network\n" +
				"38: ip ff02::1 of <role reader> is a multicast address; give an unused address of the hosts' network"},
		{"broadcast", []Program{m, a}, edit{38: "ips 255.255.255.255"},
			"38: ip 255.255.255.255 of <role reader> is the broadcast address; give an unused address of the hosts' network"},
		{"zone", []Program{m, a}, edit{38: "ips fe80::5%eth0"},
			"38: ip fe80::5%eth0 of <role reader> is an address with a zone, which means something on one host only; give an unused address of the hosts' network"},
		{"link-local", []Program{m, a}, edit{38: "ips fe80::5, 169.254.3.4"}, ""},
		{"a host nowhere", []Program{m, a}, edit{22: "ip 0.0.0.0"},
			"22: ip 0.0.0.0 of <host db1> is no address of anybody; give the host's own address"},
		{"a host of one machine", []Program{m, a}, edit{22: "ip 127.0.0.1"}, ""},
		{"two interfaces", []Program{a}, edit{11: "cluster_interface eth0, eth1"},
			"11: 'cluster_interface' takes the name of one interface, the one that gets the virtual addresses; remove the others, not \"eth0, eth1\""},
		{"no interface", []Program{a}, edit{11: "cluster_interface /dev/eth0"},
			"11: 'cluster_interface' is no name of an interface, which has up to 15 characters; ip -br link shows them, not \"/dev/eth0\""},
		{"an interface is not the monitor's", []Program{m}, edit{11: "cluster_interface eth0, eth1"}, ""},
		{"a VLAN", []Program{a}, edit{11: "cluster_interface bond0.123"}, ""},
		{"password too long", []Program{a}, edit{19: "replication_password " + long[:97]},
			"19: 'replication_password' has 97 bytes, but replication takes at most 96 (MySQL: 32); choose a shorter one"},
		{"password that MariaDB takes", []Program{a}, edit{19: "replication_password " + long[:96]}, ""},
		{"user too long", []Program{a}, edit{18: "replication_user " + long[:129]},
			"18: 'replication_user' has 129 characters, but replication takes at most 128 (MySQL: 32); choose a shorter one"},
		{"channel too long", []Program{m, a}, edit{18: "replication_user x\nreplication_channel " + long[:192]},
			"19: 'replication_channel' has 192 bytes, but replication takes at most 191 (MySQL: 64); choose a shorter one"},
		{"this of all hosts", []Program{a}, edit{1: "this db1\nthis db2\nthis db1"},
			"3: 'this' is set to db2 and db1; it names the host that the file is on: keep that one"},
		{"this twice the same", []Program{a}, edit{1: "this db1\nthis db1"}, ""},
		{"this is not the monitor's", []Program{m}, edit{1: "this db1\nthis db2"}, ""},
	} {
		for _, p := range c.programs {
			_, errs := buildText(p, c.edit.apply())
			if got := strings.ReplaceAll(errs.Error(), "f.conf:", ""); got != c.want {
				t.Errorf("%s, %v:\n%s\nwant\n%s", c.name, p, got, c.want)
			}
			if strings.Contains(errs.Error(), long[:30]) {
				t.Errorf("%s: the value is shown", c.name)
			}
		}
	}
}

// TestOwnFileOverrules: as in the original, a file may set again what one that it includes has set.
func TestOwnFileOverrules(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/mmm_common.conf", valid)
	write(t, dir+"/mmm_agent.conf", "include mmm_common.conf\nthis db2\n")
	if c := mustLoad(t, Agent, Source{Dir: dir}); c.This != "db2" {
		t.Errorf("this is %s", c.This)
	}
}

// TestWarnings: what has no effect, or only works on one kind of server, is told and accepted.
func TestWarnings(t *testing.T) {
	const checks = "<check mysql>\n  max_backlog 900\n</check>\n<check rep_backlog>\n  max_backlog 30\n</check>\n<check default>\n  max_backlog 20\n</check>\n<check ping>\n  heartbeat_table a.b\n</check>\n"
	for _, p := range []Program{Monitor, Agent} {
		c, errs := buildText(p, edit{19: "replication_password " + strings.Repeat("x", 33)}.apply()+checks)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		want := "f.conf:42: 'max_backlog' has no effect in <check mysql>; write it in <check rep_backlog>\n" +
			"f.conf:51: 'heartbeat_table' has no effect in <check ping>; write it in <check rep_backlog>"
		if p == Agent {
			want = "f.conf:19: 'replication_password' has 33 bytes: MySQL takes at most 32, so slaves could not follow a new writer there\n" + want
		}
		if got := c.Warnings.sorted([]string{"f.conf"}).Error(); got != want {
			t.Errorf("%v:\n%s\nwant\n%s", p, got, want)
		}
	}
	for style, want := range map[string]string{
		"log_format json\nlog_timestamps classic": "f.conf:2: 'log_timestamps' has no effect where 'log_format' is json: its times have their zone; remove it",
		"log_format json\nlog_timestamps rfc3339": "", "log_format json": "", "log_timestamps classic": "",
	} {
		for _, p := range []Program{Monitor, Agent} {
			c, errs := buildText(p, style+"\n"+valid)
			if got := c.Warnings.Error(); got != want || len(errs) > 0 {
				t.Errorf("%q, %v: %v, %v", style, p, got, errs)
			}
		}
	}
	if c, _ := buildText(Monitor, valid); len(c.Warnings) > 0 {
		t.Errorf("a good configuration: %v", c.Warnings)
	}
}
