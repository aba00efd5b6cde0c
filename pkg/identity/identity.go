// Package identity says which configured host a server replicates from. It knows a server by its server_id and its
// server_uuid, since an operator may have named a source by any of its addresses, or by a name. The package is pure:
// its caller asks servers and resolves names, and hands over the answers.
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
	UUID string // server_uuid; "": not known, or the server has none (MariaDB)
}

// Source is what a replica says of the server that it replicates from.
type Source struct {
	Address string // a name or an address, as the replica was told
	Port    int
	ID      uint32 // server_id; 0: not known
	UUID    string // server_uuid; "": not known

	// Live: the replica is connected, so that ID is certainly this source's. Until it connects MariaDB shows the ID of the
	// source that it had before.
	Live bool
}

// Names is what was learnt of the text of a source's address.
type Names struct {
	Met      string       // host that a replica last found when it was connected to that address; "": not known
	Resolved []netip.Addr // addresses to which that name resolves
}

// Known is all that is known of the servers of a cluster.
type Known struct {
	Hosts    []Host
	Met      map[string]string       // Names.Met by Source.Address
	Resolved map[string][]netip.Addr // Names.Resolved by Source.Address
}

// Clone is a copy that can be changed while the original is read.
func (k Known) Clone() Known {
	return Known{Hosts: slices.Clone(k.Hosts), Met: maps.Clone(k.Met), Resolved: maps.Clone(k.Resolved)}
}

// Of names the host that the source is, as the function Of does, by all that is known.
func (k Known) Of(s Source) (name string, ok bool) {
	return Of(k.Hosts, s, Names{Met: k.Met[s.Address], Resolved: k.Resolved[s.Address]})
}

// Addresses are those that the text of a source's address stands for: itself, or those to which the name was found to
// resolve.
func (k Known) Addresses(source string) []netip.Addr {
	if ip, err := netip.ParseAddr(source); err == nil {
		return []netip.Addr{ip.Unmap()}
	}
	var all []netip.Addr
	for _, ip := range k.Resolved[source] {
		all = append(all, ip.Unmap())
	}
	return all
}

// Introduce notes the server_id and server_uuid of a host's server.
func (k Known) Introduce(host string, id uint32, uuid string) {
	for i := range k.Hosts {
		if k.Hosts[i].Name == host {
			k.Hosts[i].ID, k.Hosts[i].UUID = id, uuid
		}
	}
}

// Meet notes which host answers at the source's address, where that address is not in the configuration and the replica
// is connected to it. Where it is no known host, Meet forgets which host was there before.
func (k Known) Meet(s Source) {
	if _, configured := Of(k.Hosts, Source{Address: s.Address, Port: s.Port}, Names{}); configured || !s.Live {
		return
	}
	if name, ok := Of(k.Hosts, s, Names{}); ok {
		k.Met[s.Address] = name
	} else if s.ID != 0 {
		delete(k.Met, s.Address) // an unknown server is there now, or one of several with this id
	}
}

// SourceOf is what a replica's status says of its source.
func SourceOf(r mysqlctl.Replica) Source {
	return Source{Address: r.SourceHost, Port: r.SourcePort, ID: r.SourceID, UUID: r.SourceUUID,
		Live: r.IORunning == "Yes"}
}

// Of names the host that the source is; ok is false where it is no known host, or where that can't be told. Evidence
// counts in this order: the host's own address and port; the uuid, which a replica drops when it is given another
// source; the id, while the replica is connected; the host that was met at this address before; the host's own address
// with another port, which may be a tunnel to its server, or another server on its machine; the addresses to which the
// name resolves. The id of a replica that is not connected proves nothing, as it may be a former source's. Evidence
// that fits more than one host proves nothing either.
func Of(hosts []Host, s Source, n Names) (name string, ok bool) {
	ip, err := netip.ParseAddr(s.Address)
	ip = ip.Unmap()
	if err == nil {
		if name, ok := at(hosts, ip, s.Port); ok {
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
		func(h Host) bool { return err == nil && h.IP == ip },
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

// at finds the host with this address and port. Where one of the ports is not known the address is enough; of several
// hosts with it that is the first.
func at(hosts []Host, ip netip.Addr, port int) (name string, ok bool) {
	for _, h := range hosts {
		if h.IP == ip && (h.Port == port || h.Port == 0 || port == 0) {
			return h.Name, true
		}
	}
	return "", false
}

// only names the host that fits; ok is false where none does, or more than one.
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
