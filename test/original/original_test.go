package original

import (
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// nic is a Machine in memory that has nothing but addresses.
type nic struct{ has []netip.Addr }

func (n *nic) Addresses() ([]netip.Addr, error) { return n.has, nil }
func (n *nic) Announce(netip.Addr) error        { return nil }
func (n *nic) Block(bool) error                 { return nil }
func (n *nic) SetAddress(ip netip.Addr, on bool) error {
	n.has = slices.DeleteFunc(n.has, func(a netip.Addr) bool { return a == ip })
	if on {
		n.has = append(n.has, ip)
	}
	return nil
}

func site() Site {
	ip := netip.MustParseAddr
	return Site{Writer: "writer",
		Hosts: []Host{{Name: "db1", IP: ip("10.77.0.11"), Peer: "db2"},
			{Name: "db2", IP: ip("10.77.0.12"), Peer: "db1"},
			{Name: "db3", IP: ip("10.77.0.13"), Slave: true}},
		Roles: []Role{{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"},
			IPs: []netip.Addr{ip("10.77.0.100")}},
			{Name: "reader", Hosts: []string{"db1", "db2", "db3"},
				IPs: []netip.Addr{ip("10.77.0.101"), ip("10.77.0.102"), ip("10.77.0.103")}}}}
}

// TestAgentAnswers: the double answers and logs what an original agent was recorded to answer and log.
func TestAgentAnswers(t *testing.T) {
	var log strings.Builder
	n := &nic{}
	a := &Agent{Site: site(), Name: "db2", Machine: n, state: "UNKNOWN",
		Log: func(level, text string) { log.WriteString(level + " " + text + "\n") }}
	for _, c := range []struct{ line, answer string }{
		{"PING|1|db2", "OK: Pinged!"},
		{"PING|1|db1", "ERROR: Invalid hostname in command (db1)! My name is 'db2'"},
		{"PING|1", "ERROR: Invalid command 'PING|1'!"},
		{"BOO|1|db2", "ERROR: Invalid command 'BOO'!"},
		{"GET_AGENT_STATUS|1|db2", "OK: Returning status!|UNKNOWN||"},
		{"SET_STATUS|1|db2|ONLINE|reader(10.77.0.102),reader(10.77.0.103)|db1|v=1|seq=7",
			"OK: Status applied successfully!"},
		{"GET_AGENT_STATUS|1|db2", "OK: Returning status!|ONLINE|reader(10.77.0.102),reader(10.77.0.103)|db1"},
		{"SET_STATUS|1|db2|ONLINE|reader(10.77.0.101)|db1", "OK: Status applied successfully!"},
		{"CLEAR_BAD_ROLES|1|db2", "OK: Removed 0 roles"},
	} {
		if got := a.Handle(t.Context(), c.line); got != c.answer {
			t.Errorf("%s: %q, want %q", c.line, got, c.answer)
		}
	}
	if want := []netip.Addr{netip.MustParseAddr("10.77.0.101")}; !slices.Equal(n.has, want) {
		t.Errorf("it has %v, want %v", n.has, want)
	}
	n.has = append(n.has, netip.MustParseAddr("10.77.0.103"), netip.MustParseAddr("10.77.0.99"))
	if got := a.Handle(t.Context(), "CLEAR_BAD_ROLES|1|db2"); got != "OK: Removed 1 roles" || len(n.has) != 2 {
		t.Errorf("%q, it has %v", got, n.has)
	}
	const change = "INFO We have some new roles added or old rules deleted!\n"
	want := change + "INFO Added:   reader(10.77.0.102), reader(10.77.0.103)\n" +
		change + "INFO Deleted: reader(10.77.0.102), reader(10.77.0.103)\nINFO Added:   reader(10.77.0.101)\n"
	if log.String() != want {
		t.Errorf("it logs\n%s\nwant\n%s", log.String(), want)
	}
}

// TestMonitorSays: the double shows, and writes to its status file, what an original monitor does, and spreads the
// roles of a host that fails as that does.
func TestMonitorSays(t *testing.T) {
	m := &Monitor{Site: site(), StatusPath: filepath.Join(t.TempDir(), "status"), state: map[string]string{},
		up: map[string]bool{}, roles: map[string]string{}}
	for _, h := range m.Hosts {
		m.state[h.Name], m.up[h.Name] = "ONLINE", true
	}
	m.distribute()
	m.state["db1"], m.up["db1"] = "HARD_OFFLINE", false
	for role, holder := range m.roles {
		if holder == "db1" {
			m.roles[role] = ""
		}
	}
	m.distribute()
	want := "# Warning: agent on host db1 is not reachable\n" +
		"  db1(10.77.0.11) master/HARD_OFFLINE. Roles: \n" +
		"  db2(10.77.0.12) master/ONLINE. Roles: reader(10.77.0.101), writer(10.77.0.100)\n" +
		"  db3(10.77.0.13) slave/ONLINE. Roles: reader(10.77.0.102), reader(10.77.0.103)\n"
	if got := m.show(); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	if err := m.save(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(m.StatusPath)
	if want := "db1|HARD_OFFLINE|\ndb2|ONLINE|reader(10.77.0.101),writer(10.77.0.100)\n" +
		"db3|ONLINE|reader(10.77.0.102),reader(10.77.0.103)\n"; err != nil || string(text) != want {
		t.Errorf("it keeps (%v)\n%s\nwant\n%s", err, text, want)
	}
}
