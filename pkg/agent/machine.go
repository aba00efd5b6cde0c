package agent

import (
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/wire"
)

// What the kernel says of this machine, for an examination.

// interfaces tells the state of the interface with that name, its hardware address, and all its addresses; and those
// addresses of known that are on other interfaces.
func interfaces(name string, known []netip.Addr) (state wire.LinkState, hardware string, addresses []wire.HostAddress) {
	state = wire.LinkMissing
	all, err := net.Interfaces()
	if err != nil {
		return state, "", nil
	}
	for _, nic := range all {
		if nic.Name == name {
			state, hardware = wire.LinkDown, nic.HardwareAddr.String()
			if nic.Flags&net.FlagUp != 0 && nic.Flags&net.FlagRunning != 0 {
				state = wire.LinkUp
			}
		}
		list, err := nic.Addrs()
		if err != nil {
			continue // the interface went away meanwhile
		}
		for _, a := range list {
			p, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			if nic.Name == name || slices.Contains(known, p.Addr().Unmap()) {
				addresses = append(addresses, wire.HostAddress{Interface: nic.Name,
					Prefix: netip.PrefixFrom(p.Addr().WithZone(""), p.Bits())})
			}
		}
	}
	return state, hardware, addresses
}

// lackedCapabilities are the capabilities that the agent needs and that its process lacks (capabilities(7)).
func lackedCapabilities() []string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return nil
	}
	var lacks []string
	for name, bit := range map[string]int{"CAP_NET_ADMIN": unix.CAP_NET_ADMIN, "CAP_NET_RAW": unix.CAP_NET_RAW} {
		if data[bit/32].Effective&(1<<(bit%32)) == 0 {
			lacks = append(lacks, name)
		}
	}
	slices.Sort(lacks)
	return lacks
}
