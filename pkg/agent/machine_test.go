package agent

import (
	"net"
	"net/netip"
	"slices"
	"testing"

	"mysql-mmm/pkg/wire"
)

func TestListener(t *testing.T) {
	for _, tt := range []struct{ line, want string }{
		{"   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0", "127.0.0.1:3306"},
		{"   1: 00000000:0CEA 00000000:0000 0A 00000000:00000000", "0.0.0.0:3306"},
		{"   2: 00000000000000000000000000000000:0CEA 00000000000000000000000000000000:0000 0A", "[::]:3306"},
		{"   3: B80D0120000000000000000001000000:0CEA 00000000000000000000000000000000:0000 0A", "[2001:db8::1]:3306"},
		{"   4: 0100007F:0CEA 0100007F:9999 01", ""}, // a connection
		{"  sl  local_address rem_address   st", ""},
		{"   5: 0100:0CEA 0 0A", ""},
		{"", ""},
	} {
		got, ok := listener(tt.line)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("%q: %v, %v", tt.line, got, ok)
		}
	}
}

// What the kernel says of this machine.
func TestMachine(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	if got := listeners(at.Port()); !slices.Contains(got, at) {
		t.Errorf("%v listen, %v is missing", got, at)
	}
	local := netip.MustParseAddr("127.0.0.1")
	state, _, addresses := interfaces("lo", nil)
	has := slices.ContainsFunc(addresses, func(a wire.HostAddress) bool { return a.Prefix.Addr() == local })
	if state != wire.LinkUp || !has {
		t.Errorf("lo is %s with %v", state, addresses)
	}
	state, hardware, addresses := interfaces("none0", []netip.Addr{local})
	if state != wire.LinkMissing || hardware != "" || len(addresses) == 0 || addresses[0].Interface != "lo" {
		t.Errorf("none0 is %s, %q; %v", state, hardware, addresses)
	}
	if lacks := lackedCapabilities(); len(lacks) > 0 {
		t.Errorf("root lacks %v", lacks)
	}
}
