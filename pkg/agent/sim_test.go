package agent

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// sim is a host with its server, all in memory. A test can make each operation fail or block, by its name.
type sim struct {
	mu       sync.Mutex
	present  []netip.Addr
	open     bool
	fail     map[string]error
	block    map[string]chan struct{}
	done     []string
	replica  mysqlctl.Replica
	position mysqlctl.Position
	log      []mysqlctl.Transaction
	changed  chan<- struct{}
	peer     replication.Remote // the other host's server; nil: it is gone
	held     []netip.Addr       // addresses that the announcer was told to hold
	writes   time.Time          // until when a statement runs that writes
	applied  []string           // GTID sets that Applied returns, one after the other; the last one again and again
	next     replication.Remote // the new writer's server; nil: it is gone
	locked   func(mysqlctl.Waiter) ([]string, error)
	notes    notes           // the disk of the replication
	said     strings.Builder // log of the replication
}

func (s *sim) op(ctx context.Context, name string, f func()) error {
	s.mu.Lock()
	wait, err := s.block[name], s.fail[name]
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if name != "list" && name != "writable" && name != "replica" && name != "position" {
		s.done = append(s.done, name)
	}
	f()
	return nil
}

func (s *sim) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *sim) history() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.done, ", ")
}

func (s *sim) List(ctx context.Context) (ips []netip.Addr, err error) {
	err = s.op(ctx, "list", func() { ips = slices.Clone(s.present) })
	return ips, err
}
func (s *sim) Add(ctx context.Context, ip netip.Addr, _ time.Duration) error {
	return s.op(ctx, "add "+ip.String(), func() { s.present = append(s.present, ip) })
}
func (s *sim) Remove(ctx context.Context, ip netip.Addr) error {
	return s.op(ctx, "remove "+ip.String(), func() {
		s.present = slices.DeleteFunc(s.present, func(p netip.Addr) bool { return p == ip })
	})
}
func (s *sim) Renew(ctx context.Context, ip netip.Addr, _ time.Duration) error {
	return s.op(ctx, "list", func() {})
}
func (s *sim) Watch(ctx context.Context, changed chan<- struct{}) error {
	s.set(func() { s.changed = changed })
	<-ctx.Done()
	return nil
}
func (s *sim) Announce(netip.Addr) {}
func (s *sim) Hold(ip netip.Addr) {
	s.set(func() { s.held = append(s.held, ip) })
}
func (s *sim) Forget(netip.Addr) {}
func (s *sim) Writable(ctx context.Context) (open bool, err error) {
	err = s.op(ctx, "writable", func() { open = s.open })
	return open, err
}
func (s *sim) DenyWrites(ctx context.Context, d mysqlctl.Deny) error {
	if d.Ready != nil && s.fail["deny"] == nil {
		d.Ready()
	}
	if err := s.outlast(ctx, d.Grace); err != nil {
		return err
	}
	return s.op(ctx, "deny", func() { s.open = false })
}
func (s *sim) AllowWrites(ctx context.Context) error {
	return s.op(ctx, "allow", func() { s.open = true })
}
func (s *sim) EndClients(ctx context.Context, grace time.Duration) (int, error) {
	if err := s.outlast(ctx, grace); err != nil {
		return 0, err
	}
	return 0, s.op(ctx, "end clients", func() {})
}

// outlast waits for the end of the statement that writes, and kills it after the grace, as mysqlctl.Server does.
func (s *sim) outlast(ctx context.Context, grace time.Duration) error {
	s.mu.Lock()
	left := time.Until(s.writes)
	s.mu.Unlock()
	if left <= 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(left, grace)):
	}
	if left <= grace {
		return nil
	}
	return s.op(ctx, "kill", func() { s.writes = time.Time{} })
}
func (s *sim) Replica(ctx context.Context) (r mysqlctl.Replica, err error) {
	err = s.op(ctx, "replica", func() { r = s.replica })
	return r, err
}
func (s *sim) Position(ctx context.Context) (p mysqlctl.Position, err error) {
	err = s.op(ctx, "position", func() { p = s.position })
	return p, err
}
func (s *sim) WaitExecuted(ctx context.Context, p mysqlctl.Position) error {
	return s.op(ctx, "wait "+p.String(), func() {
		if c, _ := s.replica.Executed.Compare(p); c < 0 {
			s.replica.Executed = p
		}
	})
}
func (s *sim) CheckSource(context.Context, mysqlctl.Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fail["check source"]
}
func (s *sim) Repoint(ctx context.Context, src mysqlctl.Source) error {
	return s.op(ctx, "repoint "+src.Host+" "+src.Start.String(), func() { s.replica.SourceHost = src.Host })
}
func (s *sim) StopReplication(ctx context.Context) error {
	return s.op(ctx, "stop replication", func() { s.replica.IORunning, s.replica.SQLRunning = "No", "No" })
}
func (s *sim) StartReplication(ctx context.Context) error {
	return s.op(ctx, "start replication", func() { s.replica.IORunning, s.replica.SQLRunning = "Yes", "Yes" })
}

func (s *sim) StopReceiving(ctx context.Context) error {
	return s.op(ctx, "stop receiving", func() {
		s.replica.IORunning = "No"
		if s.replica.SQLRunning == "Yes" {
			s.replica.Executed = s.replica.Received
		}
	})
}
func (s *sim) Aim(ctx context.Context, src mysqlctl.Source) error {
	return s.op(ctx, "aim "+src.Host, func() { s.replica.SourceHost = src.Host })
}
func (s *sim) Transactions(ctx context.Context, start, end mysqlctl.Position, _ int) (list []mysqlctl.Transaction,
	err error) {
	err = s.op(ctx, "transactions", func() { list = s.log })
	return list, err
}
func (s *sim) ServerID(ctx context.Context) (id uint32, err error) {
	err = s.op(ctx, "server id", func() { id = 2 })
	return id, err
}
func (s *sim) WaitGTIDs(ctx context.Context, set string) error {
	return s.op(ctx, "wait "+set, func() {})
}
func (s *sim) Applied(ctx context.Context) (set string, err error) {
	err = s.op(ctx, "position", func() {
		if len(s.applied) > 0 {
			set = s.applied[0]
			s.applied = s.applied[min(1, len(s.applied)-1):]
		}
	})
	return set, err
}
func (s *sim) Names() []string { return []string{"db1", "db2"} }

func (s *sim) Source(r mysqlctl.Replica) (string, replication.Remote, bool) {
	hosts := []identity.Host{{Name: "db1", IP: netip.MustParseAddr("10.0.0.1"), ID: 1},
		{Name: "db2", IP: netip.MustParseAddr("10.0.0.2"), ID: 2}}
	names := map[string]identity.Names{"db1.example.com": {Resolved: []netip.Addr{hosts[0].IP}}}
	name, ok := identity.Of(hosts, identity.SourceOf(r), names[r.SourceHost])
	if !ok {
		return "", nil, false
	}
	if s.peer != nil {
		return name, s.peer, ok
	}
	return name, deadRemote{}, ok
}
func (s *sim) ByName(name string) (string, replication.Remote, bool) {
	ip, ok := map[string]string{"db1": "10.0.0.1", "db2": "10.0.0.2"}[name]
	if s.next != nil && name == "db2" {
		return ip, s.next, ok
	}
	if s.peer != nil {
		return ip, s.peer, ok
	}
	return ip, deadRemote{}, ok
}

// deadRemote is the server of a host that is gone.
type deadRemote struct{}

var errGone = errors.New("connection refused")

func (deadRemote) Replica(context.Context) (mysqlctl.Replica, error) {
	return mysqlctl.Replica{}, errGone
}
func (deadRemote) Position(context.Context) (mysqlctl.Position, error) {
	return mysqlctl.Position{}, errGone
}
func (deadRemote) GTIDs(context.Context) (string, error)         { return "", errGone }
func (deadRemote) Lost(context.Context, string) (string, error)  { return "", errGone }
func (deadRemote) Lacks(context.Context, string) (string, error) { return "", errGone }
func (deadRemote) Writable(context.Context) (bool, error)        { return false, errGone }
func (deadRemote) Transactions(context.Context, mysqlctl.Position, mysqlctl.Position, int) ([]mysqlctl.Transaction,
	error) {
	return nil, errGone
}

func at(offset uint64) mysqlctl.Position {
	return mysqlctl.Position{File: "bin.000001", Offset: offset}
}

// replicating is the replication of a sim's server.
func (s *sim) replicating(st Site) *replication.Replication {
	c := st.Replication()
	c.Local, c.Peers, c.Disk, c.StatePath, c.Log = s, s, &s.notes, "state", slog.New(slog.NewTextHandler(&s.said, nil))
	c.Sources = func(host string) (replication.Source, bool) {
		ip, _, ok := s.ByName(host)
		return replication.Source{Host: ip, Port: 3306}, ok
	}
	return replication.New(c)
}

// notes is a disk in memory.
type notes struct {
	mu      sync.Mutex
	content map[string]string
}

func (n *notes) ReadFile(path string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	text, ok := n.content[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(text), nil
}

func (n *notes) Replace(path string, content []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.content == nil {
		n.content = map[string]string{}
	}
	n.content[path] = string(content)
	return nil
}

// run gives f an agent of db2, in virtual time.
func run(t *testing.T, slave bool, f func(s *sim, say func(order cluster.Order) wire.Answer, a *Agent)) {
	runNoted(t, slave, "", f)
}

// runNoted is run where a former agent has left the note embargo: from whom this host replicates nothing more.
func runNoted(t *testing.T, slave bool, embargo string, f func(s *sim, say func(order cluster.Order) wire.Answer,
	a *Agent)) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{fail: map[string]error{}, block: map[string]chan struct{}{}, position: at(500),
			replica: mysqlctl.Replica{SourceHost: "10.0.0.1", IORunning: "Yes", SQLRunning: "Yes", Received: at(100),
				Executed: at(90)}}
		if embargo != "" {
			s.notes.content = map[string]string{"state.embargo": embargo}
		}
		st := site()
		st.Host, st.Slave, st.MayWrite = "db2", slave, !slave
		a := New(Config{Site: st, Endpoints: vips(s), Watch: s, Announce: s, Gate: s, Local: s, Locks: s, Peers: s,
			Replication: s.replicating(st),
			Uptime:      func() (float64, error) { return 77.5, nil }, Version: "1.0",
			Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- a.Run(ctx) }()
		synctest.Wait()
		f(s, func(o cluster.Order) wire.Answer {
			answer, err := wire.ParseAnswer(a.Handle(ctx, wire.OrderRequest("db2", o).String()))
			if err != nil {
				t.Error(err)
			}
			return answer
		}, a)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func order(roles ...cluster.RoleIP) cluster.Order {
	return cluster.Order{State: cluster.Online, Roles: roles, Master: "db2", Extended: true, Seq: 7}
}

func (s *sim) Addresses(source string) []netip.Addr {
	return identity.Known{Resolved: map[string][]netip.Addr{
		"db1.example.com":    {netip.MustParseAddr("10.0.0.1")},
		"writer.example.com": {netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("2001:db8::64")},
	}}.Addresses(source)
}
