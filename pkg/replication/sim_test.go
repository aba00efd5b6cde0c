package replication

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"

	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
)

// sim is a made-up local server, and its peers. Each operation can be made to fail or to block, by its name.
type sim struct {
	mu       sync.Mutex
	fail     map[string]error
	block    map[string]chan struct{}
	done     []string
	replica  mysqlctl.Replica
	position mysqlctl.Position
	log      []mysqlctl.Transaction
	peer     Remote   // the other host's server; nil: it is gone
	next     Remote   // the new writer's server; nil: it is gone
	applied  []string // the answers of Applied, one after the other; the last one repeats
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
	if name != "replica" && name != "position" {
		s.done = append(s.done, name)
	}
	f()
	return nil
}

func (s *sim) history() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.done, ", ")
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

func (s *sim) Addresses(source string) []netip.Addr {
	return identity.Known{Resolved: map[string][]netip.Addr{
		"db1.example.com":    {netip.MustParseAddr("10.0.0.1")},
		"writer.example.com": {netip.MustParseAddr("10.0.0.100"), netip.MustParseAddr("2001:db8::64")},
	}}.Addresses(source)
}

func (s *sim) Source(r mysqlctl.Replica) (string, Remote, bool) {
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
func (s *sim) ByName(name string) (string, Remote, bool) {
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
