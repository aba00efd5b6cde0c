package agent

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// TestHeldIsWhatIsThere: an agent that was started or reloaded has those addresses announced again that its host has
// and is to have, and no others.
func TestHeldIsWhatIsThere(t *testing.T) {
	for name, c := range map[string]struct {
		present []netip.Addr
		order   []cluster.RoleIP
		want    []netip.Addr
	}{
		"nobody has ordered anything": {[]netip.Addr{writer.IP, reader1.IP}, nil, nil},
		"adopted": {[]netip.Addr{writer.IP, reader1.IP}, []cluster.RoleIP{writer, reader1},
			[]netip.Addr{writer.IP, reader1.IP}},
		"one of them is to go": {[]netip.Addr{reader1.IP, reader2.IP}, []cluster.RoleIP{reader2},
			[]netip.Addr{reader2.IP}},
		"one has come": {[]netip.Addr{reader1.IP}, []cluster.RoleIP{reader1, reader2},
			[]netip.Addr{reader1.IP, reader2.IP}},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
				s.set(func() { s.present, s.open = c.present, slices.Contains(c.present, writer.IP) })
				if c.order != nil {
					say(order(c.order...))
				}
				time.Sleep(3500 * time.Millisecond) // for rounds without an order
				s.set(func() {
					for _, ip := range c.want {
						n := 0
						for _, h := range s.held {
							if h == ip {
								n++
							}
						}
						if n < 3 {
							t.Errorf("%s is held %d times in three seconds, want it in every round", ip, n)
						}
					}
					for _, ip := range s.held {
						if !slices.Contains(c.want, ip) {
							t.Errorf("%s is held", ip)
						}
					}
				})
			})
		})
	}
}
