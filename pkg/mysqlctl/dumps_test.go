package mysqlctl

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestDumpsFrom: a dump is that of the replica where its line in SHOW PROCESSLIST has one of the replica's addresses,
// in whatever form. A name is no address yet.
func TestDumpsFrom(t *testing.T) {
	for host, c := range map[string]struct {
		replica string
		found   bool
		name    string // to be looked up
	}{
		"10.0.0.1:50123":           {replica: "10.0.0.1", found: true},
		"10.0.0.2:50123":           {replica: "10.0.0.1"},
		"10.0.0.11:50123":          {replica: "10.0.0.1"},
		"10.0.0.1":                 {replica: "10.0.0.1", found: true},
		"::ffff:10.0.0.1:50123":    {replica: "10.0.0.1", found: true},
		"[::ffff:10.0.0.1]:50123":  {replica: "10.0.0.1", found: true},
		"fd00::1:50123":            {replica: "fd00::1", found: true},
		"[fd00::1]:50123":          {replica: "fd00::1", found: true},
		"fd00:0:0:0:0:0:0:1:50123": {replica: "fd00::1", found: true},
		"fd00::2:50123":            {replica: "fd00::1"},
		"fd00::1":                  {replica: "fd00::1", found: true},
		"fe80::1%eth0:50123":       {replica: "fe80::1", found: true},
		"db1.example.com:50123":    {replica: "10.0.0.1", name: "db1.example.com"},
		"db1:50123":                {replica: "fd00::1", name: "db1"},
		"localhost":                {replica: "10.0.0.1", name: "localhost"},
		"":                         {replica: "10.0.0.1"},
	} {
		list := []process{{id: 7, command: "Binlog Dump GTID", host: host}, {id: 8, command: "Sleep", host: host}}
		addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr(c.replica)}
		from, named := dumpsFrom(list, addresses)
		if got := slices.Equal(from, []uint64{7}); got != c.found || !got && len(from) > 0 {
			t.Errorf("%q: connections %v, want found %v", host, from, c.found)
		}
		if len(named) > 1 || c.name == "" && len(named) > 0 || c.name != "" && !slices.Equal(named[c.name], []uint64{7}) {
			t.Errorf("%q: names %v, want %q", host, named, c.name)
		}
	}
}

// TestDumpsByName: a dump that is listed by name is found by the addresses of the name. A resolver that does not answer
// is not waited for, and the other names count.
func TestDumpsByName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		resolve := func(ctx context.Context, name string) ([]netip.Addr, error) {
			switch name {
			case "db1":
				return []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("::ffff:10.0.0.1")}, nil
			case "db2":
				return []netip.Addr{netip.MustParseAddr("10.0.0.2")}, nil
			case "hangs":
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, errors.New("no such host")
		}
		named := map[string][]uint64{"db1": {7, 5}, "db2": {8}, "hangs": {9}, "unknown": {10}}
		began := time.Now()
		got := dumpsByName(t.Context(), named, []netip.Addr{netip.MustParseAddr("10.0.0.1")}, resolve)
		if took := time.Since(began); !slices.Equal(got, []uint64{5, 7}) || took > nameTimeout {
			t.Errorf("connections %v after %v", got, took)
		}
	})
}

// TestEndDumps: the connection by which the replica at that address reads the log is ended, and the replica, which
// lives, connects again. Replicas at other addresses are left alone. The server may list the replica by name.
func TestEndDumps(t *testing.T) {
	for name, args := range map[string][]string{"by address": {"--skip-name-resolve"}, "by name": nil} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, kind string) { endDumps(t, mysqltest.Options{Server: kind, Args: args}) })
		})
	}
}

func endDumps(t *testing.T, o mysqltest.Options) {
	source := mysqltest.Start(t, o)
	replica := mysqltest.Start(t, mysqltest.Options{Server: o.Server, ServerID: 2})
	replica.Follow(source)
	s := agent(t, source, "agent")
	ctx := within(t, 2*time.Minute)
	here := netip.MustParseAddr("127.0.0.1")
	resolve := func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{here}, nil }
	const dumps = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
	var id string
	eventually(t, "the replica to read", func() bool { id = source.Query(dumps); return id != "" })
	if n, err := s.EndDumps(ctx, []netip.Addr{netip.MustParseAddr("192.0.2.1")}, resolve); err != nil || n != 0 ||
		source.Query(dumps) != id {
		t.Errorf("of another address: %d, %v", n, err)
	}
	if n, err := s.EndDumps(ctx, []netip.Addr{here}, resolve); err != nil || n != 1 {
		t.Errorf("%d, %v", n, err)
	}
	eventually(t, "it to end", func() bool { return source.Query(dumps) != id })
}
