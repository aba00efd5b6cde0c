package agent

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
)

// dumpServer notes for which addresses dumps are ended.
type dumpServer struct{ of []netip.Addr }

func (d *dumpServer) EndDumps(_ context.Context, replica []netip.Addr, _ mysqlctl.Resolve) (int, error) {
	d.of = replica
	return len(replica), nil
}

// TestLocalDumps: a host's connections are those from any address at which its server is known to be: the one of the
// configuration, one on a second network at which it was met, and those of the name by which it was met.
func TestLocalDumps(t *testing.T) {
	known := identity.Known{
		Hosts: []identity.Host{{Name: "db1", IP: netip.MustParseAddr("10.0.0.1")},
			{Name: "db2", IP: netip.MustParseAddr("10.0.0.2")}},
		Met: map[string]string{"192.168.7.1": "db1", "192.168.7.2": "db2", "db1.example.com": "db1", "fd00::1": "db1"},
		Resolved: map[string][]netip.Addr{"db1.example.com": {netip.MustParseAddr("172.16.0.1")},
			"db2.example.com": {netip.MustParseAddr("172.16.0.2")}},
	}
	who := &Identities{}
	who.known.Store(&known)
	for ip, want := range map[string][]string{
		"10.0.0.1": {"10.0.0.1", "192.168.7.1", "172.16.0.1", "fd00::1"},
		"10.0.0.2": {"10.0.0.2", "192.168.7.2"},
		"10.0.0.9": {"10.0.0.9"},
	} {
		s := &dumpServer{}
		n, err := NewLocalDumps(s, who).EndDumps(t.Context(), netip.MustParseAddr(ip))
		var got []string
		for _, a := range s.of {
			got = append(got, a.String())
		}
		if !slices.Equal(got, want) || n != len(want) || err != nil {
			t.Errorf("%s: %v (%d, %v), want %v", ip, got, n, err, want)
		}
	}
}
