package agent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// neighbourhood is what Identities asks: the servers, the local replica, and the resolver of names.
type neighbourhood struct {
	mu      sync.Mutex        // guards ids while Identities runs
	ids     map[string]uint32 // server_ids of the servers that answer
	names   map[string]netip.Addr
	replica mysqlctl.Replica
	asked   []string // hosts and names
}

func (n *neighbourhood) Replica(context.Context) (mysqlctl.Replica, error)     { return n.replica, nil }
func (n *neighbourhood) WaitExecuted(context.Context, mysqlctl.Position) error { return nil }
func (n *neighbourhood) WaitGTIDs(context.Context, string) error               { return nil }
func (n *neighbourhood) meets(path string, hosts ...identity.Host) *Identities {
	a := &Identities{path: path, disk: durable.Disk{}, local: n, log: slog.New(slog.NewTextHandler(io.Discard, nil)),
		due: map[string]time.Time{}, writing: make(chan struct{}, 1),
		ask: func(_ context.Context, host string) (uint32, string, error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.asked = append(n.asked, host)
			if id := n.ids[host]; id != 0 {
				return id, "", nil
			}
			return 0, "", errors.New("connection refused")
		},
		resolve: func(ctx context.Context, name string) ([]netip.Addr, error) {
			if _, bounded := ctx.Deadline(); !bounded {
				return nil, errors.New("it may take for ever")
			}
			n.mu.Lock()
			defer n.mu.Unlock()
			n.asked = append(n.asked, name)
			if ip, ok := n.names[name]; ok {
				return []netip.Addr{ip}, nil
			}
			return nil, errors.New("no such host")
		}}
	a.known.Store(&identity.Known{Hosts: hosts, Met: map[string]string{}, Resolved: map[string][]netip.Addr{}})
	return a
}

// TestIdentities: which host a source is stays known while the source is dead, also over a restart of the agent and of
// its own server, which has forgotten the source's id then. It is forgotten when another server is met at that address.
func TestIdentities(t *testing.T) {
	hosts := []identity.Host{{Name: "db1", IP: netip.MustParseAddr("10.0.0.1")},
		{Name: "db2", IP: netip.MustParseAddr("10.0.0.2")}}
	now := time.Now()
	connected := mysqlctl.Replica{SourceHost: "172.16.0.1", SourceID: 1, IORunning: "Yes"}
	n := &neighbourhood{ids: map[string]uint32{"db1": 1, "db2": 2}, replica: connected}
	path := t.TempDir() + "/state.servers"
	first := n.meets(path, hosts...)
	if name, ok := first.source(n.replica); ok {
		t.Errorf("nobody was asked, and it knows %q", name)
	}
	first.learn(t.Context(), now)
	if name, _ := first.source(n.replica); name != "db1" {
		t.Errorf("connected: %q", name)
	}
	if err := first.save(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.ids, n.asked = nil, nil
	first.learn(t.Context(), now.Add(time.Second))
	if len(n.asked) > 0 {
		t.Errorf("asked again at once: %v", n.asked)
	}

	second := n.meets(path, hosts...)
	if err := second.load(); err != nil {
		t.Fatal(err)
	}
	n.replica = mysqlctl.Replica{SourceHost: "172.16.0.1", IORunning: "Connecting"} // a restarted MariaDB knows no id
	second.learn(t.Context(), now)
	if name, _ := second.source(n.replica); name != "db1" {
		t.Errorf("after restarts, with everybody dead: %q", name)
	}
	n.ids, n.replica = map[string]uint32{"db1": 1, "db2": 2},
		mysqlctl.Replica{SourceHost: "172.16.0.1", SourceID: 99, IORunning: "Yes"}
	second.learn(t.Context(), now.Add(time.Hour))
	n.replica.IORunning, n.replica.SourceID = "Connecting", 0
	if name, ok := second.source(n.replica); ok {
		t.Errorf("a stranger was met there last, and it is taken for %q", name)
	}

	n.names = map[string]netip.Addr{"db2.example.com": netip.MustParseAddr("10.0.0.2")}
	n.replica = mysqlctl.Replica{SourceHost: "db2.example.com", IORunning: "Connecting"}
	n.asked = nil
	second.learn(t.Context(), now.Add(time.Hour+time.Second))
	n.names = nil // what was resolved stays known while the resolver fails
	second.learn(t.Context(), now.Add(2*time.Hour))
	if name, _ := second.source(n.replica); name != "db2" ||
		!strings.Contains(strings.Join(n.asked, " "), "db2.example.com") {
		t.Errorf("by name: %q, asked %v", name, n.asked)
	}
}

// hanging is a disk that hangs while something is written.
type hanging struct {
	durable.Disk
	goOn chan struct{}
}

func (h hanging) Replace(path string, content []byte) error {
	<-h.goOn
	return h.Disk.Replace(path, content)
}

// TestIdentitiesDisk: a disk that hangs holds up neither the learning nor the end of Run. That it hangs is logged once,
// and the file is written when the disk goes on.
func TestIdentitiesDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &neighbourhood{ids: map[string]uint32{"db1": 1}}
		path := t.TempDir() + "/state.servers"
		a := n.meets(path, identity.Host{Name: "db1"})
		disk := hanging{goOn: make(chan struct{})}
		var said strings.Builder
		a.disk, a.log = disk, slog.New(slog.NewTextHandler(&said, nil))
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- a.Run(ctx) }()
		time.Sleep(time.Minute)
		n.mu.Lock()
		n.ids = map[string]uint32{"db1": 7}
		n.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if k := a.known.Load(); k.Hosts[0].ID != 7 {
			t.Errorf("it knows %+v", k.Hosts)
		}
		close(disk.goOn)
		time.Sleep(10 * time.Second)
		if text, err := disk.ReadFile(path); err != nil || string(text) != "db1|7||\n" {
			t.Errorf("the file is %q (%v)", text, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if c := strings.Count(said.String(), "Couldn't save the servers' ids: the disk hangs"); c != 1 ||
			strings.Count(said.String(), "Couldn't") != 1 {
			t.Errorf("said %d times: %s", c, said.String())
		}
	})
}

// TestIdentitiesFile: the error names a file that can't be read, and hosts that are not configured any more are left
// out.
func TestIdentitiesFile(t *testing.T) {
	path := t.TempDir() + "/state.servers"
	for text, want := range map[string]string{
		"db1|1|u|172.16.0.1,db1\ndb9|9||\n": "", "db1|1|u\n": "want NAME|SERVER_ID|SERVER_UUID|ADDRESS",
		"db1|x||\n": "invalid syntax", "": "",
	} {
		if err := (durable.Disk{}).Replace(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		a := new(neighbourhood).meets(path, identity.Host{Name: "db1"})
		err := a.read(t.Context())
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path)) {
			t.Errorf("%q: %v", text, err)
		}
		if k := a.known.Load(); strings.HasPrefix(text, "db1|1|u|") &&
			(k.Hosts[0].ID != 1 || k.Hosts[0].UUID != "u" || k.Met["db1"] != "db1" || len(k.Hosts) != 1) {
			t.Errorf("%q: %+v", text, k)
		}
	}
}

// TestSourceByName: the new writer's source is recognised by its server_id, whatever the text of its address. The
// embargo names its host, and replication goes on when the monitor trusts that host.
func TestSourceByName(t *testing.T) {
	run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
		s.set(func() { s.replica.SourceHost, s.replica.SourceID = "db1.example.com", 1 })
		o := order(writer)
		say(o)
		settle()
		if e := a.replication.State().Embargo; e.Host != "db1" || e.At != "bin.000001:100" {
			t.Errorf("embargo %+v", e)
		}
		s.set(func() { s.peer = returned{end: at(150)} })
		o.Trust = "db1@bin.000001:100"
		say(o)
		settle()
		if e := a.replication.State().Embargo; e.Host != "" || !strings.Contains(s.history(), "start replication") {
			t.Errorf("trusted: embargo %+v, it did %s", e, s.history())
		}
		if got := a.Handle(context.Background(), "GET_SYSTEM_STATUS|1|db2"); !strings.Contains(got, "|10.0.0.1") {
			t.Errorf("monitors look for the address of a host: %s", got)
		}
	})
}

// TestUnknownSource: a host that replicates from an unknown server takes over from a dead writer as if that writer were
// its source, so that the writer's log is audited before anything more is replicated. It does not take over from a
// writer whose server answers. It replicates nothing more from the unknown server, even when the former writer is
// trusted.
func TestUnknownSource(t *testing.T) {
	taking := func() cluster.Order {
		o := order(writer)
		o.Switch = cluster.Switch{From: "db1", To: "db2"}
		return o
	}
	unknown := func(s *sim) {
		s.set(func() { s.replica.SourceHost, s.replica.SourceID = "203.0.113.9", 99 })
	}
	t.Run("the writer before is dead", func(t *testing.T) {
		run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
			unknown(s)
			o := taking()
			say(o)
			settle()
			if e := a.replication.State().Embargo; e.Host != "db1" || e.At != "bin.000001:100" {
				t.Errorf("embargo %+v", e)
			}
			s.set(func() { s.peer, s.replica.IORunning = returned{end: at(150)}, "Yes" }) // somebody has started it
			o.Trust = "db1@bin.000001:100"
			before := len(s.history())
			for range 2 {
				say(o)
				settle()
			}
			answer := say(o)
			if did := s.history()[before:]; !strings.Contains(did, "stop receiving") ||
				strings.Contains(did, "start replication") || a.replication.State().Embargo.Host != "db1" {
				t.Errorf("trusted, it did %s, embargo %+v", did, a.replication.State().Embargo)
			}
			if want := "this host replicates from 203.0.113.9:0 (server_id 99), no known host"; !strings.Contains(answer.Text, want) {
				t.Errorf("it says %s", answer.Text)
			}
		})
	})
	t.Run("the writer before answers", func(t *testing.T) {
		run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
			unknown(s)
			s.set(func() { s.peer = returned{end: at(150)} })
			answer := say(taking())
			if !strings.Contains(answer.Text, "it can't be told whether this host has all of 'db1'") ||
				strings.Contains(s.history(), "allow") {
				t.Errorf("it says %s and did %s", answer.Text, s.history())
			}
		})
	})
	t.Run("nobody was the writer before", func(t *testing.T) {
		run(t, false, func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
			unknown(s)
			say(order(writer))
			settle()
			if !strings.Contains(s.history(), "allow") {
				t.Errorf("it did %s", s.history())
			}
		})
	})
}

// TestUnknownSourceGoesOn: replication that was stopped for an attempt to take over which came to nothing goes on,
// whoever the source is.
func TestUnknownSourceGoesOn(t *testing.T) {
	runNoted(t, false, "db1|\n", func(s *sim, say func(cluster.Order) wire.Answer, a *Agent) {
		s.set(func() { s.replica.SourceHost, s.replica.IORunning = "203.0.113.9", "No" })
		s.set(func() { s.peer = returned{end: at(150)} })
		say(order())
		settle()
		if !strings.Contains(s.history(), "start replication") || a.replication.State().Embargo.Host != "" {
			t.Errorf("it did %s, embargo %+v", s.history(), a.replication.State().Embargo)
		}
	})
}

// TestFollowsByName: a slave that replicates from the active master by another address of that host stays as it is. One
// that replicates from the address of the writer role is moved to the host's own address.
func TestFollowsByName(t *testing.T) {
	for source, want := range map[string]bool{"db1.example.com": false, writer.IP.String(): true} {
		run(t, true, func(s *sim, say func(cluster.Order) wire.Answer, _ *Agent) {
			s.set(func() {
				s.replica.SourceHost, s.replica.SourceID, s.replica.UsesGTID = source, 1, true
				s.peer = returned{end: at(150)}
			})
			o := order()
			o.Master = "db1"
			say(o)
			settle()
			if got := strings.Contains(s.history(), "repoint"); got != want {
				t.Errorf("%s: it did %s", source, s.history())
			}
		})
	}
}

// settle lets so much virtual time pass that all that was begun has ended.
func settle() {
	time.Sleep(5 * time.Second)
	synctest.Wait()
}
