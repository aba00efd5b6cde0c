package identity

import (
	"net/netip"
	"testing"

	"mysql-mmm/pkg/mysqlctl"
)

func ip(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestOf(t *testing.T) {
	hosts := []Host{
		{Name: "db1", IP: ip("192.0.2.11"), Port: 3306, ID: 1, UUID: "u1"},
		{Name: "db2", IP: ip("192.0.2.12"), Port: 3306, ID: 2, UUID: "u2"},
		{Name: "db3", IP: ip("192.0.2.13"), Port: 3306},
	}
	db1 := Names{Resolved: []netip.Addr{ip("192.0.2.11")}}
	for _, row := range []struct {
		what   string
		source Source
		names  Names
		want   string
	}{
		{"its address", Source{Address: "192.0.2.12", Port: 3306}, Names{}, "db2"},
		{"its address in another notation", Source{Address: "::ffff:192.0.2.12", Port: 3306}, Names{}, "db2"},
		{"its address by another port, through a tunnel", Source{Address: "192.0.2.12", Port: 13306}, Names{}, "db2"},
		{"its address though it has another id now", Source{Address: "192.0.2.12", ID: 7, UUID: "u7", Live: true},
			Names{}, "db2"},
		{"another server on its machine, connected", Source{Address: "192.0.2.12", Port: 3307, ID: 99, Live: true}, Names{}, ""},
		{"another server on its machine, by uuid", Source{Address: "192.0.2.12", Port: 3307, UUID: "u9"}, Names{}, ""},
		{"another host's server, through its machine", Source{Address: "192.0.2.12", Port: 3307, ID: 1, Live: true}, Names{},
			"db1"},
		{"its address and port though it has another id now", Source{Address: "192.0.2.12", Port: 3306, ID: 7, UUID: "u7",
			Live: true}, Names{}, "db2"},
		{"another network, connected", Source{Address: "198.51.100.11", ID: 1, Live: true}, Names{}, "db1"},
		{"another network, uuid", Source{Address: "198.51.100.11", UUID: "u1"}, Names{}, "db1"},
		{"another network, not connected any more", Source{Address: "198.51.100.11", ID: 1}, Names{Met: "db1"}, "db1"},
		{"another network, with the id of a former connection", Source{Address: "198.51.100.11", ID: 1}, Names{}, ""},
		{"another network, after a restart", Source{Address: "198.51.100.11"}, Names{Met: "db1"}, "db1"},
		{"another network, never met", Source{Address: "198.51.100.11"}, Names{}, ""},
		{"a name that resolves", Source{Address: "db1.example.com"}, db1, "db1"},
		{"a name that resolves, of a host of which nothing else is known", Source{Address: "x"},
			Names{Resolved: []netip.Addr{ip("::ffff:192.0.2.13")}}, "db3"},
		{"a name that stands for two hosts", Source{Address: "db"},
			Names{Resolved: []netip.Addr{ip("192.0.2.11"), ip("192.0.2.12")}}, ""},
		{"a name that stands for two hosts, connected", Source{Address: "db", ID: 2, Live: true},
			Names{Resolved: []netip.Addr{ip("192.0.2.11"), ip("192.0.2.12")}}, "db2"},
		{"a new source, with the id of the one before", Source{Address: "db1.example.com", ID: 2}, db1, "db1"},
		{"a new source, with the id of the one before, met", Source{Address: "198.51.100.11", ID: 2}, Names{Met: "db1"},
			"db1"},
		{"a name that has moved, connected", Source{Address: "db1.example.com", ID: 2, Live: true},
			Names{Met: "db1", Resolved: db1.Resolved}, "db2"},
		{"a name that has moved, uuid", Source{Address: "db1.example.com", UUID: "u2"},
			Names{Met: "db1", Resolved: db1.Resolved}, "db2"},
		{"a stranger behind a name of ours", Source{Address: "db1.example.com", ID: 99, Live: true}, db1, ""},
		{"a stranger by uuid", Source{Address: "db1.example.com", ID: 1, UUID: "u9"}, db1, ""},
		{"a stranger", Source{Address: "203.0.113.9", ID: 99, UUID: "u9", Live: true}, Names{}, ""},
		{"nothing known", Source{Address: "203.0.113.9"}, Names{}, ""},
	} {
		if got, ok := Of(hosts, row.source, row.names); got != row.want || ok != (row.want != "") {
			t.Errorf("%s: %q, want %q", row.what, got, row.want)
		}
	}
}

// TestTwins: evidence that fits two hosts names neither of them, and the port tells hosts on one machine apart.
func TestTwins(t *testing.T) {
	hosts := []Host{{Name: "db1", IP: ip("192.0.2.11"), Port: 3306, ID: 1, UUID: "u"},
		{Name: "db2", IP: ip("192.0.2.11"), Port: 3307, ID: 1, UUID: "u"}}
	if got, ok := Of(hosts, Source{Address: "192.0.2.11", Port: 3307}, Names{}); got != "db2" || !ok {
		t.Errorf("by port: %q", got)
	}
	if got, ok := Of(hosts, Source{Address: "198.51.100.1", ID: 1, UUID: "u", Live: true}, Names{}); ok {
		t.Errorf("copied server: %q", got)
	}
}

func TestSourceOf(t *testing.T) {
	r := mysqlctl.Replica{SourceHost: "db1", SourcePort: 3307, SourceID: 4, SourceUUID: "u", IORunning: "Yes"}
	if got, want := SourceOf(r), (Source{Address: "db1", Port: 3307, ID: 4, UUID: "u", Live: true}); got != want {
		t.Errorf("%+v", got)
	}
	if r.IORunning = "Connecting"; SourceOf(r).Live {
		t.Error("a replica that is connecting counts as connected")
	}
}
