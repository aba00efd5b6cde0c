package doctor

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

const nonce = "00112233445566778899aabbccddeeff"

const common = `active_master_role writer
agent_secret 0123456789abcdef0123456789abcdef
<host default>
 cluster_interface eth0
 pid_path /run/agent.pid
 bin_path /usr/libexec
 monitor_user mmm_monitor
 monitor_password monpw
 agent_user mmm_agent
 agent_password agentpw
 replication_user repl
 replication_password replpw
</host>
<host db1>
 ip 192.0.2.11
 mode master
 peer db2
</host>
<host db2>
 ip 192.0.2.12
 mode master
 peer db1
</host>
<host db3>
 ip 192.0.2.13
 mode slave
</host>
<role writer>
 hosts db1, db2
 ips 192.0.2.100
 mode exclusive
</role>
<role reader>
 hosts db1, db2, db3
 ips 192.0.2.101, 192.0.2.102
 mode balanced
</role>
`

const monitorSection = `<monitor>
 ip 127.0.0.1
 pid_path /run/mond.pid
 bin_path /usr/libexec
 status_path /run/mond.status
 ping_ips 192.0.2.1, 192.0.2.2
</monitor>
`

// loaded reads a configuration from a file, as the program p does.
func loaded(t *testing.T, p config.Program, text string) *config.Config {
	t.Helper()
	file := filepath.Join(t.TempDir(), "mmm.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(p, config.Source{File: file})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// healthy are the facts of a cluster with which nothing is wrong: the writer is db1, and db3 has no role.
func healthy(t *testing.T) *Facts {
	c := loaded(t, config.Monitor, monitorSection+common)
	f := &Facts{Config: c, Digests: c.Digests(nonce), Version: "1.0", Now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Local: []netip.Addr{ip("192.0.2.10")}, PingIPs: map[netip.Addr]error{}, Hosts: map[string]HostFacts{}}
	f.Monitor = MonitorFacts{Running: true, View: &cluster.View{Mode: cluster.Active}}
	roles := map[string][]cluster.RoleIP{
		"db1": {{Role: "reader", IP: ip("192.0.2.101")}, {Role: "writer", IP: ip("192.0.2.100")}},
		"db2": {{Role: "reader", IP: ip("192.0.2.102")}}}
	for i, h := range c.Hosts {
		f.Monitor.View.Hosts = append(f.Monitor.View.Hosts, cluster.HostView{Name: h.Name, State: cluster.Online})
		e := &wire.Examination{Version: "1.0", File: "/etc/mysql-mmm/mmm_agent.conf", Interface: "eth0",
			Link: wire.LinkUp, Hardware: mac(i + 1),
			Settings: loaded(t, config.Agent, "this "+h.Name+"\n"+common).Digests(nonce), Seen: map[netip.Addr]string{},
			Faults: map[string]string{},
			Agents: map[string]string{}, State: cluster.Online, Ordered: roles[h.Name],
			Listens:   []netip.AddrPort{netip.MustParseAddrPort("[::]:3306")},
			Addresses: []wire.HostAddress{{Interface: "eth0", Prefix: netip.PrefixFrom(h.IP, 24)}}}
		for _, r := range roles[h.Name] {
			e.Addresses = append(e.Addresses, wire.HostAddress{Interface: "eth0", Prefix: netip.PrefixFrom(r.IP, 32)})
			f.Monitor.View.Roles = append(f.Monitor.View.Roles,
				cluster.RoleView{Role: r.Role, IP: r.IP.String(), Host: h.Name})
		}
		for k, o := range c.Hosts {
			e.Logins = append(e.Logins, wire.Login{Host: o.Name, Account: wire.AgentAccount, Outcome: wire.LoginOK})
			if o.Name == h.Name {
				continue
			}
			e.Agents[o.Name] = ""
			e.Seen[o.IP] = mac(k + 1)
			for _, r := range roles[o.Name] {
				e.Seen[r.IP] = mac(k + 1)
			}
			if o.Mode == config.Master {
				e.Logins = append(e.Logins, wire.Login{Host: o.Name, Account: wire.ReplicationAccount,
					Outcome: wire.LoginOK})
			}
		}
		source := map[string]string{"db1": "192.0.2.12", "db2": "192.0.2.11", "db3": "192.0.2.11"}[h.Name]
		s := &mysqlctl.Setup{Version: "10.11.6-MariaDB", Supported: true, ServerID: uint32(i + 1), LogBin: true,
			LogSlaveUpdates:        true,
			AutoIncrementIncrement: 2, AutoIncrementOffset: i%2 + 1, ReadOnly: i > 0, SemiSyncSource: true,
			SemiSync: true, Acknowledges: true, RetryCount: -1, GTIDPosition: "0-1-7",
			Replica: &mysqlctl.Replica{SourceHost: source, SourcePort: 3306,
				SourceID: map[string]uint32{"192.0.2.11": 1, "192.0.2.12": 2}[source], IORunning: "Yes",
				SQLRunning: "Yes", UsesGTID: true}}
		f.Hosts[h.Name] = HostFacts{Server: ServerFacts{Setup: s}, Agent: AgentFacts{Exam: e, Unsure: time.Millisecond}}
	}
	return f
}

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func mac(n int) string { return fmt.Sprintf("02:00:00:00:00:%02x", n) }

// with changes the facts about a host.
func (f *Facts) with(host string, change func(*HostFacts)) {
	h := f.Hosts[host]
	change(&h)
	f.Hosts[host] = h
}

// exam and server return the facts about a host, so that they can be changed.
func (f *Facts) exam(host string) *wire.Examination { return f.Hosts[host].Agent.Exam }
func (f *Facts) server(host string) *mysqlctl.Setup { return f.Hosts[host].Server.Setup }

// logins changes the outcome of the logins of the agent at a host; to is the host of the server, "" for all.
func (f *Facts) logins(at, to string, account wire.Account, o wire.Outcome, text string) {
	for i, l := range f.exam(at).Logins {
		if l.Account == account && (to == "" || l.Host == to) {
			f.exam(at).Logins[i].Outcome, f.exam(at).Logins[i].Text = o, text
		}
	}
}

func denied(user string) error {
	return &mysqlctl.ConnectError{Addr: "192.0.2.12:3306", User: user,
		Err: &mysql.MySQLError{Number: 1045, Message: "Access denied for user '" + user +
			"'@'192.0.2.10' (using password: YES)"}}
}

// refusedLogin is a login that the server answers with an error.
func refusedLogin(number uint16, mend string) error {
	return &mysqlctl.ConnectError{Addr: "192.0.2.12:3306", User: "mmm_monitor",
		Err: &mysql.MySQLError{Number: number, Message: "x"}, Mend: mend}
}
