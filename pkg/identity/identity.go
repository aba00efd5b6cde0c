// Package identity says which configured host a server replicates from. A server is its server_id and its server_uuid:
// an operator may have named a source by any of its addresses, or by a name. It is pure: who asks servers and resolves
// names hands over what came of that.
package identity

import (
	"maps"
	"net/netip"
	"slices"

	"mysql-mmm/pkg/mysqlctl"
)

// Host is a configured host with what is known of its server.
type Host struct {
	Name string
	IP   netip.Addr
	Port int    // of its server; 0: not known
	ID   uint32 // server_id; 0: not known
	UUID string // server_uuid; "": not known, or it has none (MariaDB)
}

// Source is what a replica says of the server that it replicates from.
type Source struct {
	Address string // a name or an address, as the replica was told
	Port    int
	ID      uint32 // 0: not known
	UUID    string // "": not known

	// Live: the replica is connected, so that ID is of this very source. MariaDB keeps the ID of an older one until it
	// connects.
	Live bool
}

// Names are what was learnt of the text of a source's address.
type Names struct {
	Met      string       // host that answered there when a replica was last connected to it; "": not known
	Resolved []netip.Addr // addresses that the name stands for
}

// Known is all that is known of the servers of a cluster.
type Known struct {
	Hosts    []Host
	Met      map[string]string       // host by the address at which it was met
	Resolved map[string][]netip.Addr // by name
}

// Clone is a copy that can be changed while the other is read.
func (k Known) Clone() Known {
	return Known{Hosts: slices.Clone(k.Hosts), Met: maps.Clone(k.Met), Resolved: maps.Clone(k.Resolved)}
}

// Of is Of with all that is known.
func (k Known) Of(s Source) (name string, ok bool) {
	return Of(k.Hosts, s, Names{Met: k.Met[s.Address], Resolved: k.Resolved[s.Address]})
}

// Introduce notes who the server of a host is.
func (k Known) Introduce(host string, id uint32, uuid string) {
	for i := range k.Hosts {
		if k.Hosts[i].Name == host {
			k.Hosts[i].ID, k.Hosts[i].UUID = id, uuid
		}
	}
}

// Meet notes who answers at an address that is not in the configuration, while a replica is connected to it.
func (k Known) Meet(s Source) {
	if _, configured := Of(k.Hosts, Source{Address: s.Address, Port: s.Port}, Names{}); configured || !s.Live {
		return
	}
	if name, ok := Of(k.Hosts, s, Names{}); ok {
		k.Met[s.Address] = name
	} else if s.ID != 0 {
		delete(k.Met, s.Address) // somebody else is there now, or nobody knows
	}
}

// SourceOf reads a replica's status.
func SourceOf(r mysqlctl.Replica) Source {
	return Source{Address: r.SourceHost, Port: r.SourcePort, ID: r.SourceID, UUID: r.SourceUUID,
		Live: r.IORunning == "Yes"}
}

// Of names the host that the source is; ok is false where it is none, or where that can't be told. The evidence in its
// order: the host's own address; the uuid, which servers forget with the address; the id of a connection that stands;
// who answered there before; what the name stands for. An id from before says nothing, as it may be another source's;
// nor does what can be said of two hosts.
func Of(hosts []Host, s Source, n Names) (name string, ok bool) {
	if ip, err := netip.ParseAddr(s.Address); err == nil {
		if name, ok := at(hosts, ip.Unmap(), s.Port); ok {
			return name, true
		}
	}
	possible := func(h Host) bool {
		return !(s.UUID != "" && h.UUID != "" && s.UUID != h.UUID) &&
			!(s.Live && s.ID != 0 && h.ID != 0 && s.ID != h.ID)
	}
	for _, fits := range []func(Host) bool{
		func(h Host) bool { return s.UUID != "" && h.UUID == s.UUID },
		func(h Host) bool { return s.Live && s.ID != 0 && h.ID == s.ID },
		func(h Host) bool { return h.Name == n.Met },
		func(h Host) bool {
			return slices.ContainsFunc(n.Resolved, func(a netip.Addr) bool { return a.Unmap() == h.IP })
		},
	} {
		if name, ok := only(hosts, func(h Host) bool { return possible(h) && fits(h) }); ok {
			return name, true
		}
	}
	return "", false
}

// at finds the host with an address; of several on one machine the one with the port.
func at(hosts []Host, ip netip.Addr, port int) (name string, ok bool) {
	for _, h := range hosts {
		if h.IP != ip {
			continue
		}
		if h.Port == port {
			return h.Name, true
		}
		if !ok {
			name, ok = h.Name, true
		}
	}
	return name, ok
}

// only names the one host that fits.
func only(hosts []Host, fits func(Host) bool) (name string, ok bool) {
	for _, h := range hosts {
		if !fits(h) {
			continue
		}
		if ok {
			return "", false
		}
		name, ok = h.Name, true
	}
	return name, ok
}
