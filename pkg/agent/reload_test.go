package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/config"
)

// listed is what List returns: the addresses that a host has.
type listed struct {
	ips []netip.Addr
	err error
}

func (l listed) List(context.Context) ([]netip.Addr, error) { return l.ips, l.err }

func TestMayBeFollowed(t *testing.T) {
	ip := netip.MustParseAddr
	make := func(change func(*config.Config)) *config.Config {
		c := &config.Config{
			This: "db1", ActiveMasterRole: "writer", WriterLease: time.Second,
			Hosts: []config.Host{{Name: "db1", IP: ip("192.0.2.1"), Mode: config.Master, ClusterInterface: "eth0"},
				{Name: "db2", IP: ip("192.0.2.2")}},
			Roles: []config.Role{{Name: "reader", IPs: []netip.Addr{ip("192.0.2.11"), ip("192.0.2.12")}},
				{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"}, IPs: []netip.Addr{ip("192.0.2.10")}}},
		}
		change(c)
		return c
	}
	old := make(func(*config.Config) {})
	all := []netip.Addr{ip("192.0.2.10"), ip("192.0.2.11")}
	tests := []struct {
		name    string
		present []netip.Addr
		change  func(*config.Config)
		want    string // a part of the error; "" for none
	}{
		{"nothing", all, func(*config.Config) {}, ""},
		{"others", all, func(c *config.Config) {
			c.Hosts[1].IP, c.MaxKillRetries, c.ARPRefresh = ip("192.0.2.3"), 7, time.Second
			c.Hosts[0].MySQLPort, c.Hosts[0].AgentPassword = 3307, "x"
		}, ""},
		{"address that is not here", all, func(c *config.Config) { c.Roles[0].IPs = c.Roles[0].IPs[:1] }, ""},
		{"address that is here", all, func(c *config.Config) { c.Roles[0].IPs = c.Roles[0].IPs[1:] },
			"reader(192.0.2.11) is gone from the configuration, and this host has it"},
		{"its role has another name", all, func(c *config.Config) { c.Roles[0].Name = "readers" },
			"reader(192.0.2.11) is gone"},
		{"who may be the writer", nil, func(c *config.Config) { c.Roles[1].Hosts = c.Roles[1].Hosts[1:] }, ""},
		{"the same in another order", all, func(c *config.Config) { c.Roles[1].Hosts = []string{"db2", "db1"} }, ""},
		{"lease", nil, func(c *config.Config) { c.WriterLease = 2 * time.Second }, ""},
		{"secret", nil, func(c *config.Config) { c.AgentSecret = "0123456789abcdef" },
			"agent_secret has changed: that needs a restart"},
		{"interface", nil, func(c *config.Config) { c.Hosts[0].ClusterInterface = "eth1" },
			"cluster_interface has changed"},
		{"this", nil, func(c *config.Config) { c.This = "db2" }, "this has changed"},
		{"own ip", nil, func(c *config.Config) { c.Hosts[0].IP = ip("192.0.2.9") }, "ip of this host has changed"},
	}
	for _, tt := range tests {
		err := MayBeFollowed(t.Context(), old, make(tt.change), listed{ips: tt.present})
		if (err == nil) != (tt.want == "") || !strings.Contains(fmt.Sprint(err), tt.want) && tt.want != "" {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	broken := errors.New("no netlink")
	if err := MayBeFollowed(t.Context(), old, old, listed{err: broken}); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
}
