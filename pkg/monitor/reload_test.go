package monitor

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

func TestReloadsThatAreRefused(t *testing.T) {
	ip := netip.MustParseAddr
	make := func(change func(*config.Config)) *config.Config {
		c := &config.Config{
			ActiveMasterRole: "writer", WriterLease: time.Second,
			Hosts: []config.Host{{Name: "db1", IP: ip("192.0.2.1"), Mode: config.Master, AgentPort: 9989},
				{Name: "db2", IP: ip("192.0.2.2")}, {Name: "db3", IP: ip("192.0.2.3")}},
			Roles: []config.Role{{Name: "reader", IPs: []netip.Addr{ip("192.0.2.11"), ip("192.0.2.12")}},
				{Name: "writer", Hosts: []string{"db1", "db2"}, IPs: []netip.Addr{ip("192.0.2.10")}}},
		}
		change(c)
		return c
	}
	at := func(role, addr, holder string) cluster.Address {
		return cluster.Address{RoleIP: cluster.RoleIP{Role: role, IP: ip(addr)}, Holder: holder}
	}
	rest := cluster.State{Mode: cluster.Active, Addresses: []cluster.Address{at("reader", "192.0.2.11", "db2"),
		at("reader", "192.0.2.12", ""), at("writer", "192.0.2.10", "db1")}}
	leaving := rest
	leaving.Addresses = []cluster.Address{{RoleIP: cluster.RoleIP{Role: "writer", IP: ip("192.0.2.10")}, Leaving: "db1",
		Next: "db2"}}
	passive := rest
	passive.Mode = cluster.Passive
	relayed := rest
	relayed.Hosts = map[string]cluster.HostInfo{"db3": {AgentUp: true, Via: "db1"}}
	tests := []struct {
		name   string
		state  cluster.State
		change func(*config.Config)
		want   string // "" for none
	}{
		{"nothing", rest, func(*config.Config) {}, ""},
		{"timings, peers and ports", rest, func(c *config.Config) {
			c.Checks = config.Checks{"ping": {Period: time.Second}}
			c.Monitor.AutoSetOnline, c.Monitor.Port, c.Hosts[0].MySQLPort = time.Minute, 1, 1
		}, ""},
		{"a new host", rest, func(c *config.Config) { c.Hosts = append(c.Hosts, config.Host{Name: "db4"}) }, ""},
		{"a host without roles goes", rest, func(c *config.Config) { c.Hosts = c.Hosts[:2] }, ""},
		{"a host with roles goes", rest, func(c *config.Config) { c.Hosts = c.Hosts[1:] },
			"host db1 is gone from the configuration, or has another ip, agent_port or mode there, and it has roles: first mmm_control set_offline db1"},
		{"a host with roles moves", rest, func(c *config.Config) { c.Hosts[1].IP = ip("192.0.2.9") },
			"host db2 is gone"},
		{"its agent moves", rest, func(c *config.Config) { c.Hosts[0].AgentPort = 1 }, "host db1 is gone"},
		{"a free address goes", rest, func(c *config.Config) { c.Roles[0].IPs = c.Roles[0].IPs[:1] }, ""},
		{"a held address goes", rest, func(c *config.Config) { c.Roles[0].IPs = c.Roles[0].IPs[1:] },
			"reader(192.0.2.11) is gone from the configuration, and db2 has it: first mmm_control set_offline db2"},
		{"on its way", leaving, func(*config.Config) {},
			"writer(192.0.2.10) is on its way: reload when it has arrived"},
		{"an agent that is asked by way of another", relayed, func(*config.Config) {},
			"the agent on host db3 is reached through db1 only"},
		{"passive", passive, func(*config.Config) {},
			"the monitor is in passive mode, and what it knows is not saved: first mmm_control set_active"},
		{"one more that may be the writer", rest, func(c *config.Config) {
			c.Roles[1].Hosts = []string{"db1", "db2",
				"db3"}
		}, ""},
		{"its writer may be the writer no more", rest, func(c *config.Config) { c.Roles[1].Hosts = []string{"db2"} },
			"host db1 has role writer and is not among its hosts any more: first mmm_control move_role writer HOST"},
		{"lease", rest, func(c *config.Config) { c.WriterLease = 0 }, ""},
		{"status file", rest, func(c *config.Config) { c.Monitor.StatusPath = "/x" },
			"status_path has changed: that needs a restart"},
	}
	old := make(func(*config.Config) {})
	for _, tt := range tests {
		next := make(tt.change)
		err := errors.Join(append(fixed(old, next), inUse(old, next, tt.state)...)...)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(fmt.Sprint(err), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

// TestWorse: a reload is refused if a check that is ok would fail or be refused with the new configuration. A check
// that fails or is refused already is no reason.
func TestWorse(t *testing.T) {
	good, bad := check.Verdict{Good: true}, check.Verdict{}
	ok, failed := check.Result{Message: "OK"}, check.Result{Status: check.Error, Message: "ERROR: x"}
	refused, full := check.Result{Status: check.Unknown, Message: "UNKNOWN: y", Refusal: "y"},
		check.Result{Status: check.Unknown, Message: "UNKNOWN: z"}
	for name, c := range map[string]struct {
		was, is checkEntry
		want    string
	}{
		"as it was": {checkEntry{good, ok}, checkEntry{good, ok}, ""},
		"it would fail": {checkEntry{good, ok}, checkEntry{bad, failed},
			"check 'mysql' on 'db1', which is ok, would fail: ERROR: x"},
		"it would be refused": {checkEntry{good, ok}, checkEntry{good, refused},
			"check 'mysql' on 'db1', which is ok, would fail: UNKNOWN: y"},
		"it would know nothing": {checkEntry{good, ok}, checkEntry{good, full}, ""},
		"it is refused already": {checkEntry{good, refused}, checkEntry{good, refused}, ""},
		"it fails already":      {checkEntry{bad, failed}, checkEntry{bad, failed}, ""},
		"it is mended":          {checkEntry{bad, refused}, checkEntry{good, ok}, ""},
	} {
		b := checkTable{checkKey{"db1", check.MySQL}: c.was}
		got := ""
		for _, err := range b.worse([]check.Update{{Host: "db1", Name: check.MySQL, Verdict: c.is.verdict,
			Result: c.is.result}, {Host: "db2", Name: check.MySQL, Verdict: bad}}) {
			got += err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
