package mysqlctl

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Resolve returns the addresses of a host name.
type Resolve func(ctx context.Context, name string) ([]netip.Addr, error)

// nameTimeout bounds the look-up of the names of clients: a resolver may be out of reach just when a host has died.
const nameTimeout = 200 * time.Millisecond

// EndDumps ends the connections by which a replica reads this server's binary log, and returns how many it has ended. A
// semi-synchronous source counts a replica for as long as its connection lasts, also a replica whose host is dead:
// commits wait for its acknowledgement. A replica that lives connects again.
//
// The replica is known by the addresses from which it may come. Servers know the server_id of each replica, but don't
// tell which connection is that replica's. Where the server lists its clients by name (skip_name_resolve is off) the
// names are looked up, unless a connection from one of the addresses was found.
func (s *Server) EndDumps(ctx context.Context, replica []netip.Addr, resolve Resolve) (int, error) {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	list, err := s.listProcesses(ctx)
	if err != nil {
		return 0, err
	}
	kill, named := dumpsFrom(list, replica)
	if len(kill) == 0 {
		kill = dumpsByName(ctx, named, replica, resolve)
	}
	return s.killAll(ctx, kill)
}

// dumpsFrom returns the connections that read the binary log from one of the addresses, and by name those whose address
// the server does not tell.
func dumpsFrom(list []process, replica []netip.Addr) (from []uint64, named map[string][]uint64) {
	named = map[string][]uint64{}
	for _, p := range list {
		if !strings.HasPrefix(p.command, "Binlog Dump") {
			continue
		}
		switch ip, name := clientOf(p.host); {
		case isOneOf(replica, ip):
			from = append(from, p.id)
		case name != "":
			named[name] = append(named[name], p.id)
		}
	}
	return from, named
}

// dumpsByName returns those of the connections whose name has one of the addresses. All names are looked up at the same
// time. A name that can't be looked up in time is left out.
func dumpsByName(ctx context.Context, named map[string][]uint64, replica []netip.Addr, resolve Resolve) []uint64 {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	var mu sync.Mutex // guards from
	var from []uint64
	var all sync.WaitGroup
	for name, ids := range named {
		all.Go(func() {
			ips, err := resolve(ctx, name)
			if err != nil || !slices.ContainsFunc(ips, func(ip netip.Addr) bool { return isOneOf(replica, ip) }) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			from = append(from, ids...)
		})
	}
	all.Wait()
	slices.Sort(from)
	return from
}

// clientOf reads the host of a client as SHOW PROCESSLIST gives it: ADDRESS:PORT, where an IPv6 address has no
// brackets, or NAME:PORT. One of the two results is set, or none where there is no host.
func clientOf(host string) (ip netip.Addr, name string) {
	client := host
	if at := strings.LastIndexByte(host, ':'); at >= 0 {
		client = host[:at]
	}
	client = strings.TrimSuffix(strings.TrimPrefix(client, "["), "]")
	if ip, err := netip.ParseAddr(client); err == nil {
		return ip, ""
	}
	if ip, err := netip.ParseAddr(host); err == nil { // without a port
		return ip, ""
	}
	return netip.Addr{}, client
}

// isOneOf compares addresses without regard to zones; IPv4 in IPv6 form is IPv4.
func isOneOf(all []netip.Addr, ip netip.Addr) bool {
	plain := func(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }
	return ip.IsValid() && slices.ContainsFunc(all, func(a netip.Addr) bool { return plain(a) == plain(ip) })
}
