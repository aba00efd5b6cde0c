package cluster

import (
	"fmt"
	"net/netip"
	"testing"
)

func TestExposed(t *testing.T) {
	ip := netip.MustParseAddr("10.0.0.100")
	top := Topology{ActiveMasterRole: "writer", Hosts: []Host{{Name: "db1"}, {Name: "db2"}, {Name: "db3"}},
		Roles: []Role{{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"}, IPs: []netip.Addr{ip}}}}
	up, mute, down := HostInfo{State: Online, AgentUp: true}, HostInfo{State: Online}, HostInfo{State: HardOffline}
	for _, c := range []struct {
		name     string
		db1, db2 HostInfo
		writer   Address
		mode     Mode
		want     string
		none     bool
	}{
		{name: "all well", db1: up, db2: up, writer: Address{Holder: "db1"}},
		{name: "no other host", db1: up, db2: down, writer: Address{Holder: "db1"},
			want: "Nobody could take role 'writer' over from 'db1': 'db2' is HARD_OFFLINE"},
		{name: "no agent", db1: up, db2: mute, writer: Address{Holder: "db1"},
			want: "Nobody could take role 'writer' over from 'db1': the agent on 'db2' can't be reached"},
		{name: "a slave does not help", db1: down, db2: up, writer: Address{Holder: "db2"},
			want: "Nobody could take role 'writer' over from 'db2': 'db1' is HARD_OFFLINE"},
		{name: "failover under way", db1: down, db2: up, writer: Address{Leaving: "db1"}},
		{name: "planned move under way", db1: up, db2: up, writer: Address{Leaving: "db1", Next: "db2"}},
		{name: "nobody", db1: down, db2: down, writer: Address{},
			want: "Nobody can be given role 'writer': 'db1' is HARD_OFFLINE, 'db2' is HARD_OFFLINE", none: true},
		{name: "passive", db1: down, db2: down, mode: Passive},
	} {
		c.writer.RoleIP = RoleIP{Role: "writer", IP: ip}
		s := State{Mode: c.mode, Hosts: map[string]HostInfo{"db1": c.db1, "db2": c.db2, "db3": up},
			Addresses: []Address{c.writer}}
		if got, none := s.Exposed(top); got != c.want || none != c.none {
			t.Errorf("%s: %q, %v", c.name, got, none)
		}
	}
	top.Roles[0].Hosts = []string{"db1"}
	if got, _ := (State{Addresses: []Address{{RoleIP: RoleIP{Role: "writer", IP: ip},
		Holder: "db1"}}}).Exposed(top); got != "" {
		t.Errorf("one candidate: %q", got)
	}
}

// TestExposureIsTold: a change of the exposure is told once, with a level and a fact, and not again after a start that
// takes the exposure over.
func TestExposureIsTold(t *testing.T) {
	w := newWorld(lab())
	w.do("after 11s")
	told := func() string {
		out := w.step(Input{})
		if out.Exposure == nil {
			return ""
		}
		return fmt.Sprintf("%d %T %s", out.Exposure.Level, out.Exposure.Fact, out.Exposure.Text)
	}
	db1, db2 := w.verdicts["db1"], w.verdicts["db2"]
	db1.MySQL, db2.MySQL = false, false
	if w.s.Exposure != Covered || w.s.ActiveMaster(w.t) != "db1" {
		t.Fatalf("it begins with exposure %d, writer '%s'", w.s.Exposure, w.s.ActiveMaster(w.t))
	}
	for _, c := range []struct {
		name string
		do   func()
		told string
		now  Exposure
	}{
		{"nothing", func() {}, "", Covered},
		{"no spare", func() { w.verdicts["db2"] = db2 },
			"1 cluster.NoSuccessor Nobody could take role 'writer' over from 'db1': 'db2' is HARD_OFFLINE", NoSpare},
		{"the same", func() {}, "", NoSpare},
		{"no writer", func() { w.verdicts["db1"] = db1 },
			"3 cluster.NoSuccessor Nobody can be given role 'writer': 'db1' is HARD_OFFLINE, 'db2' is HARD_OFFLINE",
			NoWriter},
		{"the same again", func() {}, "", NoWriter},
		{"passive", func() { w.s.Mode = Passive },
			"0 cluster.Successor Role 'writer' could be taken over again", Covered},
		{"active", func() { w.s.Mode, w.s.Exposure = Active, NoWriter }, "", NoWriter},
	} {
		c.do()
		if got := told(); got != c.told || w.s.Exposure != c.now {
			t.Errorf("%s: exposure %d, told %q, want %d, %q", c.name, w.s.Exposure, got, c.now, c.told)
		}
	}
}
