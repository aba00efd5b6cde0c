package replication

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/mysqlctl"
)

// ownLog is a binary log of the server with server_id 1. It begins at the first transaction in list and ends at end.
type ownLog struct {
	list []mysqlctl.Transaction
	end  mysqlctl.Position
}

func (l ownLog) Position(context.Context) (mysqlctl.Position, error) { return l.end, nil }
func (l ownLog) ServerID(context.Context) (uint32, error)            { return 1, nil }
func (l ownLog) Transactions(_ context.Context, start, _ mysqlctl.Position, limit int) (found []mysqlctl.Transaction,
	err error) {
	if !start.IsZero() && start.File < l.list[0].At.File {
		return nil, mysqlctl.ErrLogGone
	}
	for _, t := range l.list {
		if c, err := t.At.Compare(start); start.IsZero() || err == nil && c >= 0 {
			found = append(found, t)
		}
		if len(found) == limit {
			break
		}
	}
	return found, nil
}

func logged(file string, offset uint64, server uint32, gtid string) mysqlctl.Transaction {
	return mysqlctl.Transaction{At: mysqlctl.Position{File: file, Offset: offset}, ServerID: server, GTID: gtid}
}

// TestAudit: what is found in a former writer's log beyond the place up to which its successor has it.
func TestAudit(t *testing.T) {
	both := []mysqlctl.Transaction{logged("bin.000002", 4, 1, "0-1-1"), logged("bin.000002", 100, 1, "0-1-2"),
		logged("bin.000002", 200, 1, "0-1-3"), logged("bin.000002", 300, 2, "0-2-3")}
	foreign := both[3:]
	long := func(list []mysqlctl.Transaction, n int) []mysqlctl.Transaction { // as many more, replicated, before it
		var all []mysqlctl.Transaction
		for i := range n {
			all = append(all, logged("bin.000001", uint64(4+i), 2, ""))
		}
		return append(all, list...)
	}
	for name, c := range map[string]struct {
		list   []mysqlctl.Transaction
		end    uint64
		at     string
		beyond int
		want   string // in the finding; "": no finding
	}{
		"nothing beyond":              {both, 400, "bin.000002:400", 0, ""},
		"only what it has replicated": {both, 400, "bin.000002:300", 0, ""},
		"one of its own": {both, 400, "bin.000002:200", 1,
			"1 transaction that nobody else has: 0-1-3"},
		"two of its own": {both, 400, "bin.000002:100", 2,
			"2 transactions that nobody else has: 0-1-2 to 0-1-3"},
		"it has lost its tail": {both, 400, "bin.000002:900", 0,
			"it has lost transactions that they have"},
		"set up anew, with a younger log":           {foreign, 400, "bin.000009:900", 0, ""},
		"the place is purged":                       {both, 400, "bin.000001:900", 0, "is not known"},
		"purged, and nothing of its own in the log": {foreign, 400, "bin.000001:900", 0, "is not known"},
		"the first ones are not its own": {long(both, mostBeyond+1), 400, "bin.000001:4", 3,
			"3 transactions that nobody else has: 0-1-1 to 0-1-3"},
		"it has lost its tail, and replicated much before": {long(both, mostBeyond), 400, "bin.000002:900", 0,
			"it has lost transactions that they have"},
		"a younger log that is too long": {long(foreign, mostRead+mostBeyond), 400, "bin.000009:900", 0, "is not known"},
		"more than is read":              {long(foreign, mostRead+mostBeyond), 400, "bin.000001:4", 0, "is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := audit(t.Context(), ownLog{c.list, mysqlctl.Position{File: "bin.000002", Offset: c.end}}, c.at)
			if err != nil {
				t.Fatal(err)
			}
			if got.At != c.at || !got.Done || got.Beyond != c.beyond || (got.Finding == "") != (c.want == "") ||
				!strings.Contains(got.Finding, c.want) {
				t.Errorf("got %+v, want %d beyond, %q", got, c.beyond, c.want)
			}
		})
	}
	if _, err := audit(t.Context(), ownLog{both, mysqlctl.Position{}}, "rubbish"); err == nil {
		t.Error("rubbish is a place")
	}
}

// TestEmbargo: an embargo outlives the agent, and the error about a broken file names the file.
func TestEmbargo(t *testing.T) {
	path := t.TempDir() + "/state.embargo"
	first := newEmbargo(path, durable.Disk{}, isDB1)
	if err := first.load(); err != nil {
		t.Fatal(err)
	}
	want := first.get()
	want.Host, want.At = "db1", "bin.000001:100"
	if err := first.set(want); err != nil {
		t.Fatal(err)
	}
	second := newEmbargo(path, durable.Disk{}, isDB1)
	if err := second.load(); err != nil || second.get() != want {
		t.Errorf("the next agent knows %v (%v), want %v", second.get(), err, want)
	}
	want.Host, want.At = "", ""
	if err := second.set(want); err != nil {
		t.Fatal(err)
	}
	third := newEmbargo(path, durable.Disk{}, isDB1)
	if err := third.load(); err != nil || third.get() != want {
		t.Errorf("after it was lifted: %v (%v)", third.get(), err)
	}
	for text, why := range map[string]string{
		"db1|bin.000001:4":    "want HOST|POSITION",
		"db1\n":               "want HOST|POSITION",
		"\x00\xff":            "want HOST|POSITION",
		"db9|bin.000001:4\n":  "host 'db9' is not in the configuration",
		"db1|bin.000001:-4\n": "parse",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		e := newEmbargo(path, durable.Disk{}, isDB1)
		if err := e.load(); err == nil || !strings.Contains(err.Error(), why) || !strings.Contains(err.Error(), path) ||
			e.get() != want || !e.doubtful() {
			t.Errorf("%q: %v, %v", text, e.get(), err)
		}
		if kept, err := os.ReadFile(path + ".unreadable"); err != nil || string(kept) != text {
			t.Errorf("%q was kept as %q (%v)", text, kept, err)
		}
		if err := e.set(cluster.Embargo{}); err != nil || e.doubtful() {
			t.Errorf("when it was lifted: %v, in doubt %v", err, e.doubtful())
		}
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if e := newEmbargo(path, durable.Disk{}, isDB1); e.load() != nil || !e.doubtful() {
		t.Error("an empty file is no reason for doubt")
	}
}

// TestEmbargoInDoubt: where the file of the embargo can't be read, receiving that stands still goes on once the monitor
// trusts the log of the source. A file that says that there is no embargo leaves it alone: a person has stopped it.
func TestEmbargoInDoubt(t *testing.T) {
	const lifted, spoilt = "|\n", "db1|bin.0"
	for name, c := range map[string]struct {
		file  string
		io    string
		state cluster.HostState
		trust string
		want  string
	}{
		"trusted":                    {spoilt, "No", cluster.Online, "db1@bin.000001:100", "start replication"},
		"an older version's file":    {"", "No", cluster.Online, "db1@bin.000001:100", "start replication"},
		"not trusted yet":            {spoilt, "No", cluster.Online, "", ""},
		"another host is trusted":    {spoilt, "No", cluster.Online, "db3@bin.000001:100", ""},
		"it receives":                {spoilt, "Yes", cluster.Online, "db1@bin.000001:100", ""},
		"offline":                    {spoilt, "No", cluster.AdminOffline, "db1@bin.000001:100", ""},
		"there is certainly no note": {lifted, "No", cluster.Online, "db1@bin.000001:100", ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/state.embargo"
			if err := os.WriteFile(path, []byte(c.file), 0o600); err != nil {
				t.Fatal(err)
			}
			e := newEmbargo(path, durable.Disk{}, isDB1)
			_ = e.load() // TestEmbargo has its errors
			s := &sim{peer: begunAnew{returned{end: at(100)}, true}, replica: mysqlctl.Replica{SourceHost: "10.0.0.1",
				IORunning: c.io, SQLRunning: "Yes", Received: at(100), Executed: at(100)}}
			f := newFollower(Config{Host: "db2", Local: s, Peers: s, Log: slog.New(slog.DiscardHandler)}, e, &stopped{})
			if err := f.keepAway(t.Context(), cluster.Order{State: c.state, Extended: true, Trust: c.trust}); err != nil {
				t.Fatal(err)
			}
			if did := s.history(); did != c.want {
				t.Errorf("it did %q, want %q", did, c.want)
			}
		})
	}
}

func isDB1(host string) bool { return host == "db1" }

// returned is the server of a host that is back.
type returned struct {
	deadRemote
	end   mysqlctl.Position
	gtids string
}

func (r returned) Position(context.Context) (mysqlctl.Position, error) { return r.end, nil }
func (r returned) GTIDs(context.Context) (string, error)               { return r.gtids, nil }
