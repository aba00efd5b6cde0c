package mysqlctl

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

func TestMissingGrant(t *testing.T) { each(t, testMissingGrant) }

// testMissingGrant takes the privileges of each account away, one at a time: MissingGrant names just that one, and its
// statement brings it back.
func testMissingGrant(t *testing.T, kind string) {
	i := mysqltest.Start(t, mysqltest.Options{Server: kind})
	for n, a := range []struct {
		purpose Purpose
		rights  string
	}{{ForMonitor, i.Kind.MonitorRights()}, {ForAgent, i.Kind.AgentRights()}, {ForReplication, "REPLICATION SLAVE"}} {
		user := fmt.Sprintf("u%d", n)
		s := New(account(i, user, a.rights))
		defer s.Close()
		ask := func() string {
			got, err := s.MissingGrant(within(t, 5*time.Second), a.purpose)
			fatal(t, err)
			return got
		}
		if got := ask(); got != "" {
			t.Errorf("%s: %s is missing", a.rights, got)
		}
		for right := range strings.SplitSeq(a.rights, ", ") {
			i.Exec(fmt.Sprintf("REVOKE %s ON *.* FROM %s@'%%'", right, user))
			want := fmt.Sprintf("GRANT %s ON *.* TO '%s'@'%%'", right, user)
			if got := ask(); got != want {
				t.Errorf("without %s: %q, want %q", right, got, want)
			}
			i.Exec(want)
			if got := ask(); got != "" {
				t.Errorf("after %s: %s is missing", want, got)
			}
		}
	}
	all := New(account(i, "everything", "ALL PRIVILEGES"))
	defer all.Close()
	if got, err := all.MissingGrant(within(t, 5*time.Second), ForAgent); got != "" || err != nil {
		t.Errorf("ALL PRIVILEGES: %q is missing, %v", got, err)
	}
}

// SUPER counts for the privileges that were split off it, as far as the server's version still includes them in SUPER.
func TestSuperIsEnough(t *testing.T) {
	i := mysqltest.Start(t, mysqltest.Options{})
	s := New(account(i, "old", "SUPER, PROCESS, READ_ONLY ADMIN"))
	defer s.Close()
	ctx := within(t, 20*time.Second)
	if got, err := s.MissingGrant(ctx, ForAgent); got != "" || err != nil {
		t.Errorf("%q is missing, %v", got, err)
	}
	fatal(t, s.DenyWrites(ctx, Deny{}))
	fatal(t, s.AllowWrites(ctx))
	_, err := s.Setup(ctx)
	fatal(t, err)
	_, err = s.Position(ctx)
	fatal(t, err)
	fatal(t, s.StopReplication(ctx))
}

func TestGrants(t *testing.T) {
	rows := []row{
		{"Grants for a@%": "GRANT PROCESS, SUPER ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*94BDCEBE19083CE2A1F959FD02F964C7AF4CFC29'"},
		{"Grants for a@%": "GRANT CONNECTION_ADMIN,SYSTEM_USER ON *.* TO `a`@`%` WITH GRANT OPTION"},
		{"Grants for a@%": "GRANT SELECT ON `x`.* TO `a`@`%`"},
		{"Grants for a@%": "GRANT `role`@`%` TO `a`@`%`"},
	}
	want := []string{"PROCESS", "SUPER", "CONNECTION_ADMIN", "SYSTEM_USER"}
	if got := grants(rows); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for _, tt := range []struct {
		version, comment string
		have             []string
		want             []string
	}{
		{"8.0.36", "", want, []string{"REPLICATION SLAVE"}},
		{"5.7.44", "", want, []string{"REPLICATION SLAVE"}},
		{"10.4.3-MariaDB", "", want, []string{"REPLICATION SLAVE"}},
		{"11.4.2-MariaDB", "", want, []string{"CONNECTION ADMIN", "READ_ONLY ADMIN", "BINLOG MONITOR", "SLAVE MONITOR",
			"REPLICATION SLAVE ADMIN"}},
	} {
		if diff := cmp.Diff(tt.want, detect(tt.version, tt.comment).missing(tt.have, ForAgent)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.version, diff)
		}
	}
}

// TestReadSemiSync: whether semi-synchronous replication is on in both halves, and by which variables, is read in the
// words of each dialect.
func TestReadSemiSync(t *testing.T) {
	for variables, want := range map[string]Setup{
		"version=10.11.14-MariaDB rpl_semi_sync_master_enabled=ON rpl_semi_sync_slave_enabled=OFF": {SemiSyncSource: true,
			SemiSyncSourceName: "rpl_semi_sync_master_enabled", SemiSyncName: "rpl_semi_sync_slave_enabled"},
		"version=9.7.0 rpl_semi_sync_source_enabled=OFF rpl_semi_sync_replica_enabled=ON": {SemiSync: true,
			SemiSyncSourceName: "rpl_semi_sync_source_enabled", SemiSyncName: "rpl_semi_sync_replica_enabled"},
		"version=8.0.39 rpl_semi_sync_slave_enabled=ON": {SemiSync: true, SemiSyncName: "rpl_semi_sync_slave_enabled"},
		"version=8.4.3": {},
	} {
		got, err := readSetup(assigned(variables + " server_id=1 auto_increment_increment=1 auto_increment_offset=1"))
		fatal(t, err)
		got = Setup{SemiSyncSource: got.SemiSyncSource, SemiSync: got.SemiSync,
			SemiSyncSourceName: got.SemiSyncSourceName, SemiSyncName: got.SemiSyncName}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", variables, diff)
		}
	}
}

func TestSetup(t *testing.T) { each(t, testSetup) }

func testSetup(t *testing.T, kind string) {
	a := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 4,
		Args: []string{"--auto-increment-increment=2", "--auto-increment-offset=2", "--read-only=1"}})
	s := New(account(a, "mon", a.Kind.MonitorRights()))
	defer s.Close()
	got, err := s.Setup(within(t, 5*time.Second))
	fatal(t, err)
	if got.ServerID != 4 || !got.LogBin || !got.LogSlaveUpdates || got.AutoIncrementIncrement != 2 ||
		got.AutoIncrementOffset != 2 ||
		!got.ReadOnly || got.Replica != nil || !got.Supported || got.MySQL != a.Kind.MySQL ||
		(got.UUID != "") != got.MySQL || (got.GTIDMode != "") != got.MySQL {
		t.Errorf("%+v", got)
	}
	b := mysqltest.Start(t, mysqltest.Options{Server: kind})
	b.Exec("SET GLOBAL read_only=0")
	a.Follow(b)
	got, err = s.Setup(within(t, 5*time.Second))
	fatal(t, err)
	if got.Replica == nil || got.Replica.SourcePort != b.Port || got.SourceUser != "repl" || got.RetryPause != 1 ||
		got.MySQL && got.RetryCount != 86400 {
		t.Errorf("a replica: %+v", got)
	}
}
