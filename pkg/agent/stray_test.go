package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/wire"
)

// TestStrayAddress: an address that somebody else adds to a host that is not to have it goes at once, even where the
// host's server hangs. An address that this agent has added goes after the server was closed for writes.
func TestStrayAddress(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		say(order(reader1))
		s.set(func() {
			s.present, s.done = []netip.Addr{reader1.IP, writer.IP}, nil
			s.block["writable"] = make(chan struct{})
		})
		began := time.Now()
		s.changed <- struct{}{}
		synctest.Wait()
		if got := s.history(); got != "remove 10.0.0.100" || time.Since(began) > 0 {
			t.Errorf("after %v it did %q", time.Since(began), got)
		}
	})
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
		say(order(writer))
		s.set(func() { s.done = nil })
		say(order())
		if got, want := s.history(), "deny, end clients, remove 10.0.0.100"; got[:len(want)] != want {
			t.Errorf("it did %q, want %q", got, want)
		}
	})
}

// TestStrayBeforeTheFirstOrder: the writer's address goes from a host without a live lease, though nobody has ordered
// anything yet. Other addresses stay until the first order.
func TestStrayBeforeTheFirstOrder(t *testing.T) {
	underLease(t, lease.Saved{}, func(l *leasedTest) {
		time.Sleep(5 * time.Second) // until the lifetime of the address that it has found is over
		l.host.set(func() { l.host.present, l.host.ends = []netip.Addr{reader1.IP, writer.IP}, time.Time{} })
		time.Sleep(2 * time.Second)
		l.host.set(func() {
			if !slices.Equal(l.host.present, []netip.Addr{reader1.IP}) {
				t.Errorf("it has %v", l.host.present)
			}
		})
	})
}

// TestStrayAtStart: where an agent starts with a record that does not say that its host took the writer role in this
// boot, no agent of this host has added the writer's address that it finds, and the address goes. Without a record the
// former agent may have been an original one, and the address stays.
func TestStrayAtStart(t *testing.T) {
	theirs := cluster.Epoch{Number: 5, Holder: "db1", Since: 5, Terms: threeSeconds}
	for name, c := range map[string]struct {
		saved lease.Saved
		file  cluster.Lease
		stays bool
	}{
		"another host is the writer":            {lease.Saved{Epoch: theirs}, threeSeconds.Lease, false},
		"another is, and the file has no lease": {lease.Saved{Epoch: theirs}, 0, false},
		"another is, and nobody has a lease": {lease.Saved{Epoch: cluster.Epoch{Number: 5, Holder: "db1", Since: 5,
			Terms: cluster.Terms{Candidates: "db1,db2"}}}, 0, true},
		"taken before the boot": {lease.Saved{Epoch: ours(5), Taken: "boot before",
			Lease: threeSeconds.Lease}, threeSeconds.Lease, false},
		"taken in this boot": {lease.Saved{Epoch: ours(5), Taken: "boot",
			Lease: threeSeconds.Lease}, threeSeconds.Lease, true},
		"taken in this boot, the file has no lease": {lease.Saved{Epoch: ours(5), Taken: "boot",
			Lease: threeSeconds.Lease}, 0, true},
		"no record": {lease.Saved{}, threeSeconds.Lease, true},
	} {
		for _, hangs := range []bool{false, true} { // the kernel does not list addresses when the agent starts
			t.Run(fmt.Sprintf("%s, hangs %v", name, hangs), func(t *testing.T) {
				underFile(t, c.file, c.saved, func(l *leasedTest) {
					l.host.set(func() { l.host.ends = time.Time{} })
					if hangs {
						l.end()
						l.host.set(func() { l.host.present = []netip.Addr{writer.IP} })
						release := make(chan struct{})
						l.host.set(func() { l.host.block["list"] = release })
						go func() {
							time.Sleep(1500 * time.Millisecond)
							l.host.set(func() { delete(l.host.block, "list") })
							close(release)
						}()
						l.start()
					}
					time.Sleep(2500 * time.Millisecond)
					l.host.set(func() {
						if stays := slices.Contains(l.host.present, writer.IP); stays != c.stays {
							t.Errorf("it has %v", l.host.present)
						}
					})
				})
			})
		}
	}
}

// TestStrayBesideDamagedRecord: a record that can't be read says that an agent of ours was here. An address that it has
// added has a lifetime and stays for as long; an address without one is somebody else's and goes.
func TestStrayBesideDamagedRecord(t *testing.T) {
	for name, c := range map[string]struct {
		ends    time.Duration // lifetime of the address that the agent finds; 0: for ever
		reloads bool          // it is there after a reload, and was not before
		stays   bool
	}{
		"somebody else's":                {0, false, false},
		"somebody else's after a reload": {0, true, false},
		"its own":                        {3 * time.Second, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			underLease(t, lease.Saved{}, func(l *leasedTest) {
				l.end()
				l.disk.files[statePath] = "epoch=rubbish\n"
				if c.reloads {
					l.host.set(func() { l.host.present = nil })
					l.start()
					l.end()
					l.after = l.agent
				}
				l.host.set(func() {
					l.host.present, l.host.ends = []netip.Addr{writer.IP}, time.Time{}
					if c.ends > 0 {
						l.host.ends = time.Now().Add(c.ends)
					}
				})
				l.start()
				time.Sleep(2500 * time.Millisecond)
				l.host.set(func() {
					if stays := slices.Contains(l.host.present, writer.IP); stays != c.stays {
						t.Errorf("it has %v", l.host.present)
					}
				})
			})
		})
	}
}
