package doctor

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

// judged is a row of the tables: a change of the facts about a healthy cluster, and what Judge finds then.
type judged struct {
	change func(f *Facts)
	want   string // the findings, each as "SEVERITY NAME HOST"; notes are left out unless want has one
	mend   string // a part of one of their remedies
}

func run(t *testing.T, rows []judged) (names map[string]bool) {
	t.Helper()
	names = map[string]bool{}
	for _, row := range rows {
		f := healthy(t)
		row.change(f)
		var got []string
		mends := ""
		for _, x := range NewReport(Judge(*f), false).Findings {
			line := fmt.Sprintf("%s %s %s", x.Severity, x.Name, x.Host)
			if x.Severity == Note && !strings.Contains(row.want, "note ") {
				continue
			}
			got = append(got, line)
			mends += x.Mend + "\n"
			names[x.Name] = true
			if strings.Contains(x.What+x.Mend, "%!") || x.Mend == "" || strings.Contains(x.Mend, "\n") {
				t.Errorf("%s: %q, mend: %q", line, x.What, x.Mend)
			}
		}
		if g := strings.Join(got, ", "); g != row.want || !strings.Contains(mends, row.mend) {
			t.Errorf("want %s\n got %s\nmend %q is not %s", row.want, g, row.mend, mends)
		}
	}
	return names
}

// TestHealthy: a healthy cluster has no findings, and with --verbose those with severity OK.
func TestHealthy(t *testing.T) {
	f := healthy(t)
	if r := NewReport(Judge(*f), false); len(r.Findings) != 0 {
		t.Errorf("%+v", r.Findings)
	}
	if r := NewReport(Judge(*f), true); len(r.Findings) < 50 || !r.Healthy() {
		t.Errorf("%d lines with --verbose", len(r.Findings))
	}
}

func TestConfiguration(t *testing.T) { run(t, configRows()) }

func configRows() []judged {
	socket := func(f *Facts) {
		f.Config.Socket = config.Socket{SSL: true, CertFile: "c.pem", KeyFile: "k.pem", CAFile: "ca.pem"}
		f.TLS.Expires = f.Now.Add(1000 * time.Hour)
	}
	return []judged{
		{func(f *Facts) { f.Config.WriterLease = 0 }, "warning lease-off monitor", "writer_lease 6"},
		{func(f *Facts) { f.Config.Warnings = config.Errors{{File: "mmm_mon.conf", Line: 3, Msg: "odd"}} },
			"warning config-odd monitor", "correct mmm_mon.conf"},
		{func(f *Facts) { f.Config.Roles[1].Hosts = []string{"db1"} }, "warning lease-alone monitor", "<role writer>"},
		{func(f *Facts) { f.Config.Roles[1].Hosts = []string{"db1", "db2", "db3"} }, "warning writer-slave monitor",
			"take db3 out"},
		{func(f *Facts) { f.Config.AgentSecret = "" }, "warning agents-open monitor", "openssl rand -hex 32"},
		{func(f *Facts) { f.Status = syscall.EROFS }, "error status-path monitor", "status_path"},
		{func(f *Facts) { f.Kill = syscall.ENOENT }, "note kill-host monitor", "chmod +x"},
		{func(f *Facts) { f.Kill = syscall.ENOENT; f.Config.WriterLease = 0 },
			"warning lease-off monitor, warning kill-host monitor", "chmod +x"},
		{func(f *Facts) { f.PingIPs[ip("192.0.2.1")] = syscall.ETIMEDOUT }, "warning ping-ips monitor",
			"ping_ips of mmm_mon.conf"},
		{func(f *Facts) {
			f.PingIPs[ip("192.0.2.1")], f.PingIPs[ip("192.0.2.2")] = syscall.ETIMEDOUT, syscall.ETIMEDOUT
		}, "error ping-ips monitor", "gateways"},
		{func(f *Facts) { f.Local = append(f.Local, ip("192.0.2.2")) }, "warning ping-ips-own monitor", "gateways"},
		{socket, "", ""},
		{func(f *Facts) { socket(f); f.TLS.Expires = f.Now.Add(100 * time.Hour) }, "warning tls-expired monitor",
			"c.pem"},
		{func(f *Facts) { socket(f); f.TLS.Expires = f.Now }, "error tls-expired monitor", "c.pem"},
		{func(f *Facts) { socket(f); f.TLS.Open = true }, "error tls-key monitor", "chmod o-rwx k.pem"},
		{func(f *Facts) { socket(f); f.TLS.Err = syscall.ENOENT }, "error tls-files monitor", "cert_file"},
		{func(f *Facts) { f.Monitor = MonitorFacts{} }, "note monitor-down monitor", "mmm_mond"},
		{func(f *Facts) { f.Monitor = MonitorFacts{Err: errors.New("it hangs")} }, "error monitor-port monitor",
			"ss -ltnp 'sport = :9988'"},
		{func(f *Facts) { f.Monitor.View.Mode = cluster.Passive }, "warning monitor-passive monitor", "set_active"},
		{func(f *Facts) { f.Monitor.View.Hosts[2].State = cluster.AwaitingRecovery }, "warning host-state db3",
			"mmm_control set_online db3"},
		{func(f *Facts) { f.Monitor.View.Hosts[2].State = cluster.ReplicationFail }, "warning host-state db3",
			"mmm_control checks db3"},
		{func(f *Facts) {
			f.Monitor.View.Hosts[0].State = cluster.AwaitingRecovery
			f.Monitor.View.Hosts[0].Audit = &cluster.Finding{Looked: true, Beyond: 2,
				Finding: "it has 2 transactions that nobody else has"}
		}, "error audit db1", "mysqlbinlog"},
		{func(f *Facts) { f.Monitor.View.Hosts[2].Problems = []string{"Couldn't add"} }, "error agent-problem db3", ""},
		{func(f *Facts) { f.Monitor.View.Roles[0].Host = "" }, "warning role-vacant monitor", "mmm_control show"},
	}
}

func TestHosts(t *testing.T) { run(t, hostRows()) }

func hostRows() []judged {
	gone := func(host string) func(f *Facts) {
		return func(f *Facts) {
			f.Hosts[host] = HostFacts{Ping: errors.New("no answer"), Server: ServerFacts{Port: syscall.EHOSTUNREACH},
				Agent: AgentFacts{Err: syscall.EHOSTUNREACH}}
		}
	}
	server := func(change func(*ServerFacts)) func(f *Facts) {
		return func(f *Facts) { f.with("db2", func(h *HostFacts) { change(&h.Server) }) }
	}
	port := func(listens ...string) func(f *Facts) {
		return func(f *Facts) {
			f.Hosts["db2"] = HostFacts{Server: ServerFacts{Port: syscall.ECONNREFUSED}, Agent: f.Hosts["db2"].Agent}
			f.exam("db2").Listens = nil
			for _, l := range listens {
				f.exam("db2").Listens = append(f.exam("db2").Listens, netip.MustParseAddrPort(l))
			}
			for _, h := range []string{"db1", "db2", "db3"} {
				f.logins(h, "db2", wire.AgentAccount, wire.LoginFailed, "connection refused")
			}
		}
	}
	closed := func(change func(*Facts)) func(*Facts) {
		return func(f *Facts) {
			change(f)
			f.exam("db2").Faults = map[string]string{wire.FaultFence: "closed"}
		}
	}
	agent := func(a AgentFacts) func(f *Facts) {
		return func(f *Facts) { f.with("db3", func(h *HostFacts) { h.Agent = a }) }
	}
	return []judged{
		{func(f *Facts) {
			gone("db3")(f)
			f.logins("db1", "db3", wire.AgentAccount, wire.LoginFailed, "no route")
			f.logins("db2", "db3", wire.AgentAccount, wire.LoginFailed, "no route")
		}, "error host-unreachable db3", "ping 192.0.2.13"},
		{gone("db3"), "error line-cut db3", "line between the monitor and 192.0.2.13"},
		{func(f *Facts) { f.with("db2", func(h *HostFacts) { h.Ping = errors.New("no answer") }) }, "error ping db2",
			"icmp"},
		{port(), "error server-down db2", "skip-networking"},
		{func(f *Facts) {
			port()(f)
			f.exam("db2").Faults = map[string]string{wire.FaultListen: "no sock_diag"}
			f.with("db2", func(h *HostFacts) { h.Server.Port = errors.New("no answer") })
		}, "error server-filtered db2, note listen db2", "TCP port 3306"},
		{port("127.0.0.1:3306"), "error bind-address db2", "my.cnf of db2, [mysqld]: bind-address = 0.0.0.0"},
		{port("192.0.2.12:3306"), "error server-down db2", "start the server"},
		// The server runs, and its agent keeps its port closed to this machine too.
		{closed(port("192.0.2.12:3306")), "warning fence-closed db2", "see why the server does not answer"},
		{closed(port()), "error server-down db2, warning fence-closed db2", "start the server"},
		{closed(port("127.0.0.1:3306")), "error bind-address db2, warning fence-closed db2", "bind-address = 0.0.0.0"},
		{func(f *Facts) {
			port("192.0.2.12:3306")(f)
			f.with("db2", func(h *HostFacts) { h.Agent = AgentFacts{Err: syscall.ECONNREFUSED} })
		}, "error server-down db2, error agent-down db2, warning address-conflict db2",
			"where nft list tables shows mmm_fence_3306"},
		{func(f *Facts) {
			port("0.0.0.0:3306")(f)
			f.with("db2", func(h *HostFacts) { h.Server.Port = errors.New("no answer") })
		}, "error server-filtered db2", "TCP port 3306"},
		{server(func(s *ServerFacts) {
			s.Login, s.Setup = &mysql.MySQLError{Number: 1040, Message: "Too many connections"}, nil
		}), "error server-full db2", "max_connections"},
		{server(func(s *ServerFacts) { s.Login, s.Setup = denied("mmm_monitor"), nil }), "error monitor-login db2",
			"on db1, with the Host that mysql.user has: ALTER USER 'mmm_monitor'@'…' IDENTIFIED BY '…'; where there is none: CREATE USER 'mmm_monitor'@'192.0.2.10' IDENTIFIED"},
		{server(func(s *ServerFacts) {
			s.Login, s.Setup = refusedLogin(4151, "ALTER USER 'mmm_monitor'@'…' ACCOUNT UNLOCK"), nil
		}),
			"error monitor-login db2", "on db1: ALTER USER 'mmm_monitor'@'…' ACCOUNT UNLOCK"},
		{server(func(s *ServerFacts) { s.Login, s.Setup = refusedLogin(1129, "FLUSH HOSTS"), nil }),
			"error monitor-login db2", "on db2: FLUSH HOSTS"},
		{server(func(s *ServerFacts) { s.Login, s.Setup = refusedLogin(3159, "mysql_ssl_mode required"), nil }),
			"error monitor-login db2", "mysql_ssl_mode required"},
		{server(func(s *ServerFacts) { s.Login, s.Setup = refusedLogin(1053, ""), nil }), "error server-error db2",
			"error log"},
		{server(func(s *ServerFacts) { s.Setup, s.Err = nil, refusedLogin(1226, "ALTER USER x") }),
			"error server-error db2", "ALTER USER x"},
		{server(func(s *ServerFacts) { s.Login, s.Setup = errors.New("nonsense"), nil }), "error server-silent db2",
			"SHOW PROCESSLIST"},
		{server(func(s *ServerFacts) { s.Err, s.Setup.Replica = errors.New("lost"), nil }), "error server-silent db2",
			"SHOW PROCESSLIST"},
		{server(func(s *ServerFacts) {
			s.Grant, s.Err, s.Setup.Replica = "GRANT x ON *.* TO 'm'@'%'", errors.New("denied"), nil
		}), "error monitor-grant db2", "on db1: GRANT x ON *.* TO 'm'@'%';"},
		{agent(AgentFacts{Err: syscall.ECONNREFUSED}), "error agent-down db3", "start it on db3: mmm_agentd"},
		{agent(AgentFacts{Err: os.ErrDeadlineExceeded}), "error agent-down db3", "TCP port 9989"},
		{agent(AgentFacts{Err: &wire.ConnectError{Err: &wire.AuthError{}}}), "error agent-secret db3", "agent_secret"},
		{agent(AgentFacts{Err: errors.New("unexpected EOF")}), "error agent-socket db3", "<socket>"},
		{agent(AgentFacts{Refusal: "ERROR: Not authenticated: agent_secret is set"}), "error agent-secret db3",
			"agent_secret"},
		{agent(AgentFacts{Refusal: "ERROR: Invalid hostname in command (db3)! My name is 'db2'"}),
			"error agent-name db3", "this db3"},
		{agent(AgentFacts{Refusal: "ERROR: Invalid command 'EXAMINE'!"}), "warning agent-old db3", "install"},
		{agent(AgentFacts{Refusal: "220 mail ESMTP"}), "error agent-strange db3", "install"},
		{func(f *Facts) { f.Version = "1.1" }, "note agent-version db1, note agent-version db2, note agent-version db3",
			"same version"},
	}
}

func TestPassing(t *testing.T) {
	conflict := Finding{Severity: Error, Name: "address-conflict", Host: "db1"}
	other := Finding{Severity: Error, Name: "address-conflict", Host: "db2"}
	id := Finding{Severity: Error, Name: "server-id", Host: "db1"}
	if passing(id) || !passing(conflict) {
		t.Error("what may pass")
	}
	if got := settled([]Finding{conflict}, []Finding{conflict, other, id}); len(got) != 2 || got[0] != conflict ||
		got[1] != id {
		t.Errorf("%v", got)
	}
}

// TestSettled: a finding that may pass is left out unless both looks have it. An address that moves to the same host at
// the second look does not count as the one of the first look.
func TestSettled(t *testing.T) {
	conflict := func(role string) Finding {
		return Finding{Severity: Error, Name: "address-conflict", Host: "db3", What: "it answers for " + role}
	}
	problem := func(what string) Finding {
		return Finding{Severity: Error, Name: "agent-problem", Host: "db3", What: what}
	}
	login := Finding{Severity: Error, Name: "agent-login", Host: "db3"}
	list := func(f ...Finding) []Finding { return f }
	one, two := conflict("reader(10.0.0.1)"), conflict("reader(10.0.0.2)")
	for name, c := range map[string]struct{ earlier, later, want []Finding }{
		"it has passed":               {list(one), nil, nil},
		"it stays":                    {list(one), list(one), list(one)},
		"another address moves":       {list(one), list(two), nil},
		"a problem in other words":    {list(problem("for 1 s")), list(problem("for 2 s")), list(problem("for 2 s"))},
		"what can't pass by itself":   {nil, list(login), list(login)},
		"what was not there at first": {nil, list(problem("x")), nil},
	} {
		t.Run(name, func(t *testing.T) {
			if got := settled(c.earlier, c.later); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestOdd: of values that are equally common the first host's is the usual one, whatever the values are.
func TestOdd(t *testing.T) {
	for _, c := range []struct {
		values string // of db1, db2 and so on; a space: not known
		want   map[string]string
	}{
		{"ab", map[string]string{"db2": "db1"}},
		{"ba", map[string]string{"db2": "db1"}},
		{"\x00a", map[string]string{"db2": "db1"}},
		{"a\x00", map[string]string{"db2": "db1"}},
		{"abb", map[string]string{"db1": "db2"}},
		{" ba", map[string]string{"db3": "db2"}},
		{"aa", map[string]string{}},
		{"  ", map[string]string{}},
	} {
		var hosts []config.Host
		for i := range c.values {
			hosts = append(hosts, config.Host{Name: fmt.Sprintf("db%d", i+1)})
		}
		got := odd(hosts, func(h config.Host) (byte, bool) {
			v := c.values[h.Name[2]-'1']
			return v, v != ' '
		})
		if !maps.Equal(got, c.want) {
			t.Errorf("%q: %v, want %v", c.values, got, c.want)
		}
	}
}
