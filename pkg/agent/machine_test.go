package agent

import (
	"net/netip"
	"slices"
	"testing"

	"mysql-mmm/pkg/wire"
)

// TestMachine: the state and the addresses of interfaces, and the capabilities of this process, are as the kernel says.
func TestMachine(t *testing.T) {
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
