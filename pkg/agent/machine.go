package agent

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/wire"
)

// What the kernel says of this machine, for an examination.

// interfaces tells of the cluster's interface, with all its addresses, and of those among known that are on others.
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
			continue // it went away meanwhile
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

// lackedCapabilities are those that the agent needs and its process has not (capabilities(7)).
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

// Listeners looks where something on this host listens on a TCP port.
func Listeners(port int) func() []netip.AddrPort {
	return func() []netip.AddrPort { return listeners(uint16(port)) }
}

// listeners are the addresses on which something on this host listens on a TCP port (proc_pid_net(5), tcp).
func listeners(port uint16) []netip.AddrPort {
	var found []netip.AddrPort
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // no IPv6
		}
		for line := range strings.Lines(string(text)) {
			if l, ok := listener(line); ok && l.Port() == port && !slices.Contains(found, l) {
				found = append(found, l)
			}
		}
	}
	return found
}

// listener reads a line: number, local address, remote address, state, of which 0A is LISTEN. The address is in words
// of four bytes in the order of the machine.
func listener(line string) (netip.AddrPort, bool) {
	fields := strings.Fields(line)
	if len(fields) < 4 || fields[3] != "0A" {
		return netip.AddrPort{}, false
	}
	host, port, _ := strings.Cut(fields[1], ":")
	b, err := hex.DecodeString(host)
	n, err2 := strconv.ParseUint(port, 16, 16)
	if err != nil || err2 != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	ip, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(ip.Unmap(), uint16(n)), ok
}
