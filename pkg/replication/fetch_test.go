package replication

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// holder is the server of a slave that has received more of db1's log than db2.
type holder struct {
	returned
	replica mysqlctl.Replica
}

func (h holder) Replica(context.Context) (mysqlctl.Replica, error) { return h.replica, nil }

// trio are the peers of db2: db1, which is dead, and db3, which has received more of db1's log.
type trio struct {
	*sim
	db3 Remote
}

func (p trio) Names() []string { return []string{"db1", "db2", "db3"} }

func (p trio) Source(r mysqlctl.Replica) (string, Remote, bool) {
	if r.SourceHost == "10.0.0.3" {
		return "db3", p.db3, true
	}
	return p.sim.Source(r)
}

func (p trio) ByName(name string) (string, Remote, bool) {
	if name == "db3" {
		return "10.0.0.3", p.db3, true
	}
	return p.sim.ByName(name)
}

// TestFetch: what a slave has received more of the dead writer's log is fetched from the slave. The host is opened only
// when its replication is stopped and aimed at the dead writer again: from another host it would replicate its own
// transactions. What can't be fetched is lost, and a log line says so.
func TestFetch(t *testing.T) {
	const fetches = "stop receiving, repoint 10.0.0.3 , wait bin.000003:900, "
	for name, c := range map[string]struct {
		fail    map[string]error
		follows string // at the start
		did     string
		want    string // the error; "": none
		after   uint64
		lost    bool
	}{
		"as it should be": {follows: "10.0.0.1", did: fetches + "stop replication, aim 10.0.0.1", after: 200},
		"it can't follow the slave": {follows: "10.0.0.1", fail: map[string]error{"repoint 10.0.0.3 ": errGone},
			did: "stop receiving, aim 10.0.0.1", after: 100, lost: true},
		"it can't be stopped any more": {follows: "10.0.0.1",
			fail: map[string]error{"stop replication": context.DeadlineExceeded,
				"aim 10.0.0.1": context.DeadlineExceeded},
			did: strings.TrimSuffix(fetches, ", "), lost: true,
			want: "stop replication from another host than 'db1': context deadline exceeded"},
		"an attempt before was broken off": {follows: "10.0.0.3",
			did: "aim 10.0.0.1, " + fetches + "stop replication, aim 10.0.0.1", after: 200},
		"an attempt before was broken off, and it can't be stopped": {follows: "10.0.0.3",
			fail: map[string]error{"aim 10.0.0.1": errGone},
			want: "stop replication from another host than 'db1': connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				of := mysqlctl.Replica{SourceHost: "10.0.0.1", Received: at(200), Executed: at(200)}
				s := &sim{position: at(500), fail: c.fail, replica: mysqlctl.Replica{SourceHost: c.follows,
					UsesGTID:  true,
					IORunning: "Yes", SQLRunning: "Yes", Received: at(100), Executed: at(100)}}
				e := &embargo{}
				if c.follows == "10.0.0.3" {
					e.now = cluster.Embargo{Host: "db1"}
				}
				p := trio{s, holder{returned{end: mysqlctl.Position{File: "bin.000003", Offset: 900}}, of}}
				var said strings.Builder
				sw, err := catchUp{self: "db2", local: tracking{s}, own: s, peers: p, embargo: e, patience: time.Minute,
					log: slog.New(slog.NewTextHandler(&said, nil)), stopping: &sync.WaitGroup{},
					sources: func(host string) (Source, bool) {
						ip, _, ok := p.ByName(host)
						return Source{Host: ip, Port: 3306}, ok
					}}.run(t.Context(), cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
				noted := cluster.Embargo{Host: "db1", At: at(c.after).String()}
				switch {
				case c.want != "":
					if err == nil || err.Error() != c.want || e.get().At != "" {
						t.Errorf("took over at %+v, %v, want %q; embargo %+v", sw, err, c.want, e.get())
					}
				case err != nil || sw.From != "db1" || sw.After != noted.At || e.get() != noted:
					t.Errorf("took over at %+v, %v; embargo %+v", sw, err, e.get())
				}
				if s.history() != c.did {
					t.Errorf("it did %s, want %s", s.history(), c.did)
				}
				if strings.Contains(said.String(), "DATA LOSS") != c.lost {
					t.Errorf("it said %s", said.String())
				}
			})
		})
	}
}

// tracking is a server that has executed nothing of the log of the host from which it fetches.
type tracking struct{ *sim }

func (f tracking) WaitExecuted(ctx context.Context, p mysqlctl.Position) error {
	return f.op(ctx, "wait "+p.String(), func() {})
}

// stuck is a server whose replicated commits wait for an acknowledgement: until they are let go nothing is executed.
type stuck struct {
	tracking
	let chan struct{} // closed when they are let go
}

func (s stuck) Applier(context.Context) (mysqlctl.Applier, error) {
	select {
	case <-s.let:
		return mysqlctl.Applier{}, nil
	default:
		return mysqlctl.Applier{Busy: true, Unacknowledged: true}, nil
	}
}

func (s stuck) ReleaseCommits(context.Context) error {
	close(s.let)
	return nil
}

func (s stuck) WaitExecuted(ctx context.Context, p mysqlctl.Position) error {
	select {
	case <-s.let:
		return s.tracking.WaitExecuted(ctx, p)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestFetchLetsCommitsGo: what is fetched from another host does not wait either for an acknowledgement that only the
// dead writer could give.
func TestFetchLetsCommitsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sim{position: at(500), replica: mysqlctl.Replica{SourceHost: "10.0.0.1", UsesGTID: true,
			IORunning: "Yes", SQLRunning: "Yes", Received: at(100), Executed: at(100)}}
		p := trio{s, holder{returned{end: mysqlctl.Position{File: "bin.000003", Offset: 900}},
			mysqlctl.Replica{SourceHost: "10.0.0.1", Received: at(200), Executed: at(200)}}}
		server := stuck{tracking{s}, make(chan struct{})}
		began := time.Now()
		sw, err := catchUp{self: "db2", local: server, appliers: server, own: s, peers: p, embargo: &embargo{},
			patience: time.Minute, log: slog.New(slog.DiscardHandler), stopping: &sync.WaitGroup{},
			sources: func(host string) (Source, bool) {
				ip, _, ok := p.ByName(host)
				return Source{Host: ip, Port: 3306}, ok
			}}.run(t.Context(), cluster.Order{Switch: cluster.Switch{From: "db1", To: "db2"}})
		if took := time.Since(began); err != nil || sw.After != at(200).String() || took > time.Second {
			t.Errorf("took over at %+v after %v, %v", sw, took, err)
		}
	})
}

// TestLeftAstray: a takeover that has come to nothing while it fetched from another host leaves no host there: it
// follows the former writer again. A host that still takes over, one by position, and a slave are left alone.
func TestLeftAstray(t *testing.T) {
	const back = "aim 10.0.0.1, start replication"
	for name, c := range map[string]struct {
		source  string
		gtid    bool
		slave   bool
		writer  bool
		at      string
		state   cluster.HostState
		did     string
		embargo string
	}{
		"astray":               {"10.0.0.3", true, false, false, "", cluster.Online, back, ""},
		"it still takes over":  {"10.0.0.3", true, false, true, "", cluster.Online, "", "db1"},
		"by position":          {"10.0.0.3", false, false, false, "", cluster.Online, "", ""},
		"a slave":              {"10.0.0.3", true, true, false, "", cluster.Online, "", ""},
		"offline":              {"10.0.0.3", true, false, false, "", cluster.AdminOffline, "", ""},
		"it was not away":      {"10.0.0.1", true, false, false, "", cluster.Online, "start replication", ""},
		"it has taken over":    {"10.0.0.3", true, false, false, "bin.000001:100", cluster.Online, "", "db1"},
		"nobody knows whom it": {"203.0.113.9", true, false, false, "", cluster.Online, "start replication", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sim{peer: begunAnew{returned{end: at(100)}, true}, replica: mysqlctl.Replica{SourceHost: c.source,
				UsesGTID: c.gtid, IORunning: "No", SQLRunning: "Yes", Received: at(100), Executed: at(100)}}
			p := trio{s, holder{}}
			e := &embargo{now: cluster.Embargo{Host: "db1", At: c.at}}
			f := newFollower(Config{Host: "db2", Slave: c.slave, Writer: func(cluster.Order) bool { return c.writer },
				Local: s, Peers: p, Log: slog.New(slog.DiscardHandler), Sources: func(host string) (Source, bool) {
					ip, _, ok := p.ByName(host)
					return Source{Host: ip, Port: 3306}, ok
				}}, e, &stopped{})
			err := f.keepAway(t.Context(), cluster.Order{State: c.state, Extended: true})
			if did := s.history(); err != nil || did != c.did || e.get().Host != c.embargo {
				t.Errorf("it did %q, %v; embargo %+v; want %q and %q", did, err, e.get(), c.did, c.embargo)
			}
		})
	}
}

// TestSameSource: known sources are the same by whatever address; unknown ones only where their addresses are equal.
func TestSameSource(t *testing.T) {
	from := func(host string, id uint32) mysqlctl.Replica {
		return mysqlctl.Replica{SourceHost: host, SourcePort: 3306, SourceID: id, IORunning: "Yes"}
	}
	for _, c := range []struct {
		a, b mysqlctl.Replica
		want bool
	}{
		{from("10.0.0.1", 1), from("db1.example.com", 1), true},
		{from("10.0.0.1", 1), from("172.16.0.1", 1), true},
		{from("10.0.0.1", 1), from("10.0.0.2", 2), false},
		{from("10.0.0.1", 1), from("203.0.113.9", 9), false},
		{from("203.0.113.9", 9), from("203.0.113.9", 9), true},
		{from("203.0.113.9", 9), from("203.0.113.8", 8), false},
	} {
		if got := sameSource(&sim{}, c.a, c.b); got != c.want {
			t.Errorf("%s and %s: %v", c.a.SourceHost, c.b.SourceHost, got)
		}
	}
}
