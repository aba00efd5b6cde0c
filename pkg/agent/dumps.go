package agent

import (
	"context"
	"maps"
	"net/netip"
	"slices"

	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
)

// DumpServer is the local server, which ends the connections by which a replica reads its binary log.
type DumpServer interface {
	EndDumps(ctx context.Context, replica []netip.Addr, resolve mysqlctl.Resolve) (int, error)
}

// LocalDumps ends the connections by which another host replicates from the local server, from whichever of its
// addresses it has come. It is the replication.Dumps of the real program.
type LocalDumps struct {
	server DumpServer
	who    *Identities
}

// NewLocalDumps makes the LocalDumps of a server; who knows at which addresses the other servers are.
func NewLocalDumps(server DumpServer, who *Identities) LocalDumps {
	return LocalDumps{server: server, who: who}
}

// EndDumps ends the connections of the host with that address in the configuration.
func (d LocalDumps) EndDumps(ctx context.Context, replica netip.Addr) (int, error) {
	return d.server.EndDumps(ctx, addressesOf(*d.who.known.Load(), replica), d.who.resolve)
}

// addressesOf returns all known addresses of the host with the address ip in the configuration: those at which this
// host's server has met the host's server, and those to which the name resolves by which it did.
func addressesOf(k identity.Known, ip netip.Addr) []netip.Addr {
	all := []netip.Addr{ip}
	for _, address := range slices.Sorted(maps.Keys(k.Met)) {
		if !slices.ContainsFunc(k.Hosts, func(h identity.Host) bool { return h.Name == k.Met[address] && h.IP == ip }) {
			continue
		}
		if other, err := netip.ParseAddr(address); err == nil {
			all = append(all, other)
		}
		all = append(all, k.Resolved[address]...)
	}
	return all
}
