package config

import (
	"net/netip"
	"slices"
)

// An order to an agent may have maxOrder bytes. The other numbers bound what it has beside its addresses. An order that
// goes through another agent is inside another request, in which separators take more bytes; names have no characters
// that do.
const (
	maxOrder    = 8192 // a request that an agent reads
	orderWords  = 800  // words, numbers and their separators
	orderPlaces = 3    // how many places in binary logs
	orderNames  = 10   // how many names of hosts, each as long as the longest
	orderPerAll = 3    // how often every host that may be the writer is named, once with a place in its log
	placeSize   = 100  // a place: name of a binary log and a position in it
)

// validateOrders refuses more addresses than fit into an order to one host: the last host that is left may have to take
// all addresses of its roles.
func (m *model) validateOrders() {
	hosts, longest, rest := m.all("host"), 0, orderWords+orderPlaces*placeSize
	for _, h := range hosts {
		longest = max(longest, len(h.name))
		if m.mayHoldExclusive(h.name) {
			rest += placeSize + orderPerAll*(len(h.name)+1)
		}
	}
	rest += orderNames * longest
	for _, h := range hosts {
		size, count := rest, 0
		for _, r := range m.all("role") {
			if !slices.Contains(get[[]string](r, "hosts"), h.name) {
				continue
			}
			ips := get[[]netip.Addr](r, "ips")
			for _, ip := range ips {
				size += len(r.name) + len(ip.String()) + len("(),")
			}
			if count += len(ips); size > maxOrder {
				m.errs.add(r.where("ips"), "with %s an order to host %s can name %d addresses, and be %d bytes long, "+
					"but agents read at most %d; let the host have fewer addresses, or give its roles shorter names",
					r.label(), h.name, count, size, maxOrder)
				return
			}
		}
	}
}

// mayHoldExclusive says whether the host may have an exclusive role. The writer's role is one.
func (m *model) mayHoldExclusive(host string) bool {
	return slices.ContainsFunc(m.all("role"), func(r *section) bool {
		return get[string](r, "mode") == "exclusive" && slices.Contains(get[[]string](r, "hosts"), host)
	})
}
