package monitor

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

// TestEveryOrderFits: for every configuration that is accepted, the longest possible order is short enough for agents
// to read, also where it is relayed by another agent.
func TestEveryOrderFits(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	accepted, refused, fullest := 0, 0, 0
	for range 200 {
		w := crowd{hosts: 2 + rng.IntN(8), roles: 1 + rng.IntN(6), addresses: rng.IntN(500), v6: rng.IntN(2) == 0,
			host: name(rng, 20), role: name(rng, 30)}
		c, err := w.load(t)
		if err != nil {
			if !strings.Contains(err.Error(), "agents read at most 8192") {
				t.Fatalf("%+v: %v", w, err)
			}
			refused++
			continue
		}
		accepted++
		for _, h := range c.Hosts {
			line := longestOrder(c, h.Name)
			size := len(wire.RelayRequest(h.Name, h.Name, line).String())
			if fullest = max(fullest, size); size > wire.MaxLine {
				t.Fatalf("%+v: an order of %d bytes:\n%s", w, size, line)
			}
		}
	}
	t.Logf("%d accepted, %d refused, the longest order has %d bytes", accepted, refused, fullest)
	if accepted < 50 || refused < 50 || fullest < wire.MaxLine*3/4 {
		t.Error("too few configurations are near the limit: this test proves nothing")
	}
	if _, err := (crowd{hosts: 3, roles: 1, addresses: 250, host: "db", role: "reader"}).load(t); err != nil {
		t.Errorf("250 reader addresses are refused: %v", err)
	}
	if _, err := (crowd{hosts: 200, roles: 1, addresses: 20, host: "host", role: "reader"}).load(t); err != nil {
		t.Errorf("200 hosts are refused, of which two may be the writer: %v", err)
	}
}

func name(rng *rand.Rand, most int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789-_."
	b := []byte{'a'}
	for range rng.IntN(most) {
		b = append(b, letters[rng.IntN(len(letters))])
	}
	return string(b)
}

// crowd is a configuration with many addresses.
type crowd struct {
	hosts, roles, addresses int
	v6                      bool
	host, role              string
}

func (w crowd) load(t *testing.T) (*config.Config, error) {
	t.Helper()
	var b strings.Builder
	b.WriteString("active_master_role writer\n<monitor>\nip 192.0.2.1\nping_ips 192.0.2.1\nbin_path /b\npid_path /p\nstatus_path /s\n</monitor>\n" +
		"<host default>\nmonitor_user m\nmonitor_password m\n</host>\n")
	var hosts []string
	for i := range w.hosts {
		hosts = append(hosts, fmt.Sprintf("%s%d", w.host, i))
	}
	for i, h := range hosts {
		mode := "slave"
		if i < 2 {
			mode = "master\npeer " + hosts[1-i]
		}
		fmt.Fprintf(&b, "<host %s>\nip 10.9.%d.%d\nmode %s\n</host>\n", h, i/200, 1+i%200, mode)
	}
	fmt.Fprintf(&b, "<role writer>\nhosts %s, %s\nips 192.0.2.100\nmode exclusive\n</role>\n", hosts[0], hosts[1])
	for r := range w.roles {
		var ips []string
		for i := range w.addresses / w.roles {
			format := "198.%d.%d.%d"
			if w.v6 {
				format = "2001:db8:1111:2222:3333:%d:%d:%x"
			}
			ips = append(ips, fmt.Sprintf(format, r+100, 100+i/200, 50+i%200))
		}
		if len(ips) > 0 {
			fmt.Fprintf(&b, "<role %s%d>\nhosts %s\nips %s\nmode balanced\n</role>\n", w.role, r,
				strings.Join(hosts, ", "), strings.Join(ips, ", "))
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mmm_mon.conf"), []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.Monitor, config.Source{Dir: dir})
}

// longestOrder is an order with every address, and with the longest value in every field.
func longestOrder(c *config.Config, to string) string {
	most := func(names []string) string {
		longest := ""
		for _, n := range names {
			if len(n) > len(longest) {
				longest = n
			}
		}
		return longest
	}
	var names, trust []string
	place := strings.Repeat("b", 79) + ":" + fmt.Sprint(uint64(math.MaxUint64))
	for _, h := range c.Hosts {
		names = append(names, h.Name)
		if len(trust) < 2 { // the first two hosts are the candidates
			trust = append(trust, h.Name+"@"+place)
		}
	}
	host := most(names)
	o := cluster.Order{State: cluster.AwaitingRecovery, Master: host, Extended: true, Seq: math.MaxUint64, Forced: true,
		Left:   place,
		Switch: cluster.Switch{From: host, After: place, To: host, Start: place}, Trust: strings.Join(trust, ","),
		Lease: cluster.Lease(24 * time.Hour), Epoch: cluster.Epoch{Number: math.MaxUint64, Holder: host,
			Since: math.MaxUint64, Gone: host},
		Echo: cluster.Stamp{Boot: "00000000-0000-0000-0000-000000000000+1000000000", At: math.MaxInt64}}
	for _, r := range c.Roles {
		for _, ip := range r.IPs {
			o.Roles = append(o.Roles, cluster.RoleIP{Role: r.Name, IP: netip.MustParseAddr(ip.String())})
		}
	}
	return wire.OrderRequest(to, o).String()
}
