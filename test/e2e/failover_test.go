package e2e

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestStartFromNothing: a new cluster without any state. auto_set_online brings the hosts ONLINE, they get their roles,
// and the writer's server alone is open.
func TestStartFromNothing(t *testing.T) {
	b := start(t, lab.Options{})
	want := "  db1(10.77.0.11) master/ONLINE. Roles: reader, writer(10.77.0.100)\n" +
		"  db2(10.77.0.12) master/ONLINE. Roles: reader\n" +
		"  db3(10.77.0.13) slave/ONLINE. Roles: reader\n\n"
	// Which address a host gets depends on who is ONLINE first.
	if got := regexp.MustCompile(`reader\(10\.77\.0\.10[123]\)`).ReplaceAllString(b.show(), "reader"); got != want {
		t.Errorf("show:\n%s\nwant\n%s", got, want)
	}
	for host, want := range map[string]string{"db1": "0", "db2": "1", "db3": "1"} {
		if got, err := b.Node(host).Server.Value(b.ctx, "SELECT @@read_only"); err != nil || got != want {
			t.Errorf("read_only of %s is %s (%v), want %s", host, got, err, want)
		}
	}
	b.logged(b.Monitor,
		"FATAL State of host 'db2' changed from AWAITING_RECOVERY to ONLINE because of auto_set_online(1 seconds). It was in state AWAITING_RECOVERY for")
	b.logged(b.Node("db1").Agent, "writer(10.77.0.100)\n")
}

// TestServerStopped: a clean stop of the writer's server is a failover too, and the host is ONLINE again by itself
// after it has been started.
func TestServerStopped(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	b.must(b.Node("db1").Server.Stop(b.ctx))
	b.must(l.WaitServer(b.ctx, 2))
	b.must(b.Node("db1").Server.Start(b.ctx))
	b.state("db1", "ONLINE")
	b.logged(b.Monitor, "because it was down for only")
	b.balance(l)
}

// TestHostCutOff: the writer's host is cut off. The role moves once the lease is over for certain; by then the host's
// kernel has taken the address off. When the host is back its server is read-only.
func TestHostCutOff(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	b.must(l.Between(func() error { return b.Node("db1").Cut(true) })) // else a write on its way would be on db1 alone
	b.must(l.WaitServer(b.ctx, 2))
	b.logged(b.Monitor, "its lease is over")
	b.until("db1 to be without roles", func(show string) bool {
		return strings.Contains(show, "# Warning: agent on host db1 is not reachable\n") &&
			strings.Contains(show, "db1(10.77.0.11) master/HARD_OFFLINE. Roles: \n")
	})
	l.Stop()
	b.must(b.Node("db1").Cut(false))
	b.must(b.WaitWhole(b.ctx))
	if w := b.writer(); w != "db2" {
		t.Errorf("the writer is on %s", w)
	}
	if got, err := b.Node("db1").Server.Value(b.ctx, "SELECT @@read_only"); err != nil || got != "1" {
		t.Errorf("read_only of db1 is %s (%v)", got, err)
	}
}

// TestHungAgentOfSlave: a failover does not wait for a slave whose agent hangs.
func TestHungAgentOfSlave(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	b.must(b.Node("db3").Agent.Signal(stop))
	since := time.Now()
	b.must(l.Between(b.Node("db1").Server.Kill))
	b.must(l.WaitServer(b.ctx, 2))
	if gap := l.Gap(since); gap > 5*time.Second {
		t.Errorf("write gap %v behind a hung agent of a slave", gap)
	}
	b.must(b.Node("db3").Agent.Signal(cont))
	b.follows("db3", "db2")
	if b.rejoin("db1", l) {
		b.balance(l)
	}
}

// TestStoppedAgentOfSlave: other hosts get a slave's reader address once its agent has not answered for a lease, and
// the address is never on two hosts. The slave gets one again when its agent goes on.
func TestStoppedAgentOfSlave(t *testing.T) {
	b := start(t, lab.Options{})
	l := b.load()
	db3 := b.Node("db3")
	if show := b.show(); !strings.Contains(show, "db3(10.77.0.13) slave/ONLINE. Roles: reader(") {
		t.Fatal(show)
	}
	b.must(db3.Agent.Signal(stop))
	b.until("others to serve its readers", func(show string) bool {
		return strings.Contains(show,
			"db3(10.77.0.13) slave/ONLINE. Roles: \n")
	})
	b.must(db3.Agent.Signal(cont))
	b.until("it to serve readers again", func(show string) bool {
		return strings.Contains(show,
			"db3(10.77.0.13) slave/ONLINE. Roles: reader(")
	})
	if n, err := l.Errors(); n > 0 {
		t.Errorf("%d writes failed: %v", n, err)
	}
	b.balance(l)
}

// TestAddressByHand: an address of a role that somebody removes by hand is back within two seconds. One that somebody
// adds to another host, with another prefix length, goes.
func TestAddressByHand(t *testing.T) {
	b := start(t, lab.Options{})
	db1, writer := b.Node("db1"), netip.MustParsePrefix(lab.WriterIP+"/32")
	since := time.Now()
	b.must(db1.SetAddress(writer, false))
	b.until("the address to be back", func(string) bool { return true })
	if d := time.Since(since); d > 2*time.Second {
		t.Errorf("it took %v", d)
	}
	b.must(b.Node("db2").SetAddress(netip.MustParsePrefix("10.77.0.102/24"), true))
	b.until("the foreign address to go", func(string) bool { return true })
}
