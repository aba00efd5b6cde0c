package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/daemon"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/nstest"
	"mysql-mmm/pkg/store"
	"mysql-mmm/pkg/wire"
)

func TestMain(m *testing.M) {
	os.Exit(nstest.Main(m, func() error {
		eth0 := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "peer0"}
		if err := netlink.LinkAdd(eth0); err != nil {
			return err
		}
		for _, ip := range []string{"10.77.0.10/24", "10.77.0.11/24"} {
			a, err := netlink.ParseAddr(ip)
			if err != nil {
				return err
			}
			if err := netlink.AddrAdd(eth0, a); err != nil {
				return err
			}
		}
		return netlink.LinkSetUp(eth0)
	}))
}

// site is a folder with the configuration of a cluster whose servers are not there. Its db1 has an agent, if anybody
// starts it; nobody answers for db2.
type site struct {
	dir   string
	port  int // of the monitor
	lease int // seconds
}

func newSite(t *testing.T, port int) site {
	t.Helper()
	s := site{t.TempDir(), port, 3}
	s.write(t)
	return s
}

func (s site) file() string { return filepath.Join(s.dir, "mmm.conf") }

func (s site) write(t *testing.T) {
	t.Helper()
	text := fmt.Sprintf(`active_master_role writer
writer_lease %[3]d
this db1
<host default>
 cluster_interface eth0
 replication_user repl
 replication_password replpw
 agent_user mmm_agent
 agent_password agentpw
 monitor_user mmm_monitor
 monitor_password monpw
 state_path %[1]s/agent.state
 pid_path %[1]s/agent.pid
 bin_path /usr/libexec/mysql-mmm
</host>
<host db1>
 ip 10.77.0.11
 mode master
 peer db2
</host>
<host db2>
 ip 10.77.0.12
 mode master
 peer db1
</host>
<role writer>
 hosts db1, db2
 ips 10.77.0.100
 mode exclusive
</role>
<monitor>
 ip 127.0.0.1
 port %[2]d
 status_path %[1]s/status
 pid_path %[1]s/pid
 bin_path /usr/libexec/mysql-mmm
 ping_ips 10.77.0.10
</monitor>
<check mysql>
 check_period 1
 trap_period 1
 timeout 1
</check>
`, s.dir, s.port, s.lease)
	if err := os.WriteFile(s.file(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// options are those of a program of this site, of the kind that who says.
func (s site) options(t *testing.T, who config.Program) Options {
	t.Helper()
	read := func() (*config.Config, error) { return config.Load(who, config.Source{File: s.file()}) }
	c, err := read()
	if err != nil {
		t.Fatal(err)
	}
	return Options{Config: c, Read: read, Version: "1.2.3", Log: slog.New(slog.DiscardHandler)}
}

// show waits until the monitor's answer has a text.
func (s site) show(t *testing.T, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(s.port)).String()
	for {
		answer, err := wire.Dialer{}.Control(ctx, at, "show")
		if err == nil && strings.Contains(answer, text) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("show does not say %q: %s %v", text, answer, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// run runs services in this process until the test ends, and sees that nothing of them is left.
func run(t *testing.T, services ...daemon.Service) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	ctx, cancel := context.WithCancel(t.Context())
	var tasks []daemon.Task
	for _, s := range services {
		tasks = append(tasks, s)
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.Run(ctx, slog.New(slog.DiscardHandler), tasks...) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t, before)
	})
}

// One process holds the monitors of two clusters and an agent of the first. Each is reloaded by itself.
func TestManyInOneProcess(t *testing.T) {
	one, two := newSite(t, 19988), newSite(t, 19989)
	first, second := mustCluster(t, one.options(t, config.Monitor)), mustCluster(t, two.options(t, config.Monitor))
	agent, err := NewAgent(one.options(t, config.Agent))
	if err != nil {
		t.Fatal(err)
	}
	run(t, first, second, agent)
	for _, s := range []site{one, two} {
		s.show(t, "  db2(10.77.0.12) master/HARD_OFFLINE. Roles: ")
	}
	// The agent that is there is the only one that nobody misses.
	one.show(t, "# Warning: agent on host db2 is not reachable\n  db1(10.77.0.11) master/HARD_OFFLINE. Roles: ")

	for name, s := range map[string]daemon.Service{"first": first, "agent": agent} {
		s.Ping(t.Context())
		if err := s.Reload(t.Context()); !errors.Is(err, daemon.ErrUnchanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
	one.port, one.lease = 19991, 4
	one.write(t)
	for name, s := range map[string]daemon.Service{"first": first, "agent": agent} {
		if err := s.Reload(t.Context()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		s.Ping(t.Context())
	}
	one.show(t, "  db2(10.77.0.12) master/HARD_OFFLINE. Roles: ")
	if err := os.WriteFile(two.file(), []byte("active_master_role"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := second.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), two.file()) {
		t.Errorf("a wrong configuration: %v", err)
	}
	two.show(t, "  db2(10.77.0.12) master/HARD_OFFLINE. Roles: ")
}

// Every generation of a monitor keeps its decisions in the store that the options name. Who doesn't lead there opens
// nothing.
func TestStoreOfTheOptions(t *testing.T) {
	here, other := newSite(t, 19992), newSite(t, 19993)
	elsewhere := filepath.Join(t.TempDir(), "elsewhere")
	made := 0
	inStore := func(s site) Options {
		o := s.options(t, config.Monitor)
		o.Store = func(*config.Config) Store {
			made++
			return store.NewFile(elsewhere, durable.Disk{})
		}
		return o
	}
	c, err := NewCluster(inStore(here))
	if err != nil {
		t.Fatal(err)
	}
	const refusal = "another monitor works on this status file"
	if _, err := NewCluster(inStore(other)); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("a second monitor on one store: %v", err)
	}
	run(t, c, mustCluster(t, other.options(t, config.Monitor)))
	here.show(t, "  db2(10.77.0.12) master/HARD_OFFLINE. Roles: ")
	here.lease = 4
	here.write(t)
	if err := c.Reload(t.Context()); err != nil || made != 3 {
		t.Errorf("reloaded with %d stores, %v", made, err)
	}
	here.show(t, "  db2(10.77.0.12) master/HARD_OFFLINE. Roles: ")
	for began := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(elsewhere)
		if err == nil && strings.Contains(string(text), "db2|HARD_OFFLINE|") {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatalf("the store of the options holds %q, %v", text, err)
		}
	}
	if _, err := os.Stat(filepath.Join(here.dir, "status")); !os.IsNotExist(err) {
		t.Errorf("the status file of the configuration is there: %v", err)
	}
}

// ledger is a publisher that writes down what it publishes, and a task.
type ledger struct {
	mu      sync.Mutex
	list    []netip.Addr
	running bool
}

func (l *ledger) String() string { return "ledger" }

func (l *ledger) Run(ctx context.Context) error {
	l.mu.Lock()
	l.running = true
	l.mu.Unlock()
	<-ctx.Done()
	return nil
}

func (l *ledger) List(context.Context) ([]netip.Addr, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.list), nil
}

func (l *ledger) Publish(_ context.Context, r cluster.RoleIP, left endpoint.Lifetime) error {
	if _, err := left(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, r.IP)
	return nil
}

func (l *ledger) Renew(context.Context, cluster.RoleIP, endpoint.Lifetime) error { return nil }

func (l *ledger) Withdraw(_ context.Context, r cluster.RoleIP) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(ip netip.Addr) bool { return ip == r.IP })
	return nil
}

// Every generation of an agent publishes what it is ordered to with the publisher that the options name, and nothing on
// its interface.
func TestPublisherOfTheOptions(t *testing.T) {
	s := newSite(t, 19994)
	reader := cluster.RoleIP{Role: "reader", IP: netip.MustParseAddr("10.77.0.101")}
	// Who is asked for this address has it, which matters only where it is to be on an interface.
	elsewhere(t, reader.IP)
	roles := func() {
		t.Helper()
		s.write(t)
		text, err := os.ReadFile(s.file())
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, "<role reader>\n hosts db1\n ips 10.77.0.101\n mode balanced\n</role>\n"...)
		if err := os.WriteFile(s.file(), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roles()
	l, made := &ledger{}, 0
	o := s.options(t, config.Agent)
	o.Publisher = func(*config.Config) (endpoint.Publisher, []daemon.Task) {
		made++
		return l, []daemon.Task{l}
	}
	a, err := NewAgent(o)
	if err != nil {
		t.Fatal(err)
	}
	run(t, a)
	seq := uint64(0)
	order := func(roles ...cluster.RoleIP) {
		t.Helper()
		seq++
		at := netip.AddrPortFrom(o.Config.Local().IP, uint16(o.Config.Local().AgentPort)).String()
		request := wire.OrderRequest("db1",
			cluster.Order{State: cluster.Online, Roles: roles, Extended: true, Seq: seq})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		line, err := wire.Dialer{}.Ask(ctx, at, request.String())
		if err != nil {
			t.Fatal(err)
		}
		answer, err := wire.ParseAnswer(line)
		if err != nil {
			t.Fatal(err)
		}
		published, _ := l.List(t.Context())
		if r := wire.ParseReport(answer); !slices.Equal(r.Have, roles) || len(published) != len(roles) {
			t.Errorf("ordered %v, published %v: %s", roles, published, line)
		}
	}
	order(reader)
	s.lease = 4
	roles()
	if err := a.Reload(t.Context()); err != nil || made != 2 {
		t.Errorf("reloaded with %d publishers, %v", made, err)
	}
	order(reader)
	order()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.running {
		t.Error("the publisher's task does not run")
	}
}

// elsewhere makes the other end of the network answer for an address.
func elsewhere(t *testing.T, ip netip.Addr) {
	t.Helper()
	peer, err := netlink.LinkByName("peer0")
	if err != nil {
		t.Fatal(err)
	}
	a, err := netlink.ParseAddr(ip.String() + "/32")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(netlink.LinkSetUp(peer), netlink.AddrAdd(peer, a)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.AddrDel(peer, a) })
}

func mustCluster(t *testing.T, o Options) *Cluster {
	t.Helper()
	c, err := NewCluster(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What can't be had is said, and no port is left open.
func TestCannotStart(t *testing.T) {
	const port = 19990
	newOptions := func() Options { return newSite(t, port).options(t, config.Monitor) }
	taken, err := wire.OpenPort(address(netip.MustParseAddr("127.0.0.1"), port), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewCluster(newOptions()); err == nil || !strings.HasPrefix(err.Error(), "listen for mmm_control: ") {
		t.Errorf("port taken: %v", err)
	}
	taken.Close()
	o := newOptions()
	o.Config.Socket = config.Socket{SSL: true, CertFile: "/nonexistent/cert.pem"}
	if _, err := NewCluster(o); err == nil || !strings.Contains(err.Error(), "/nonexistent/cert.pem") {
		t.Errorf("no certificate: %v", err)
	}
	run(t, mustCluster(t, newOptions()))
}
