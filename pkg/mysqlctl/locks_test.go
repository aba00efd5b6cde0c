package mysqlctl

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestEndLocks: whatever lock holds replication up, the connection that has it is ended and named, and no other one is.
// While nothing waits, none is ended.
func TestEndLocks(t *testing.T) { each(t, testEndLocks) }

func testEndLocks(t *testing.T, kind string) {
	master, onMaster := server(t, mysqltest.Options{Server: kind, ServerID: 1})
	slave := mysqltest.Start(t, mysqltest.Options{Server: kind, ServerID: 2, Args: []string{"--performance-schema=ON"}})
	slave.Exec("DROP DATABASE test")
	slave.Follow(master)
	master.Exec("CREATE TABLE test.t (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
		"INSERT INTO test.t (n) VALUES (1), (2), (3)",
		"CREATE USER app@'%'", "GRANT ALL ON test.* TO app@'%'")
	ctx := within(t, 2*time.Minute)
	accounts := map[bool]Config{ // true: it may read who holds locks; MariaDB here lacks the plugin for that
		false: account(slave, "guesses", slave.Kind.AgentRights()),
		true:  account(slave, "told", slave.Kind.AgentRights()),
	}
	slave.Exec("GRANT SELECT ON performance_schema.* TO told@'%'",
		"CREATE USER backup@'%'", "GRANT ALL ON *.* TO backup@'%'")
	onSlave := New(accounts[false])
	end, err := onMaster.Position(ctx)
	fatal(t, err)
	fatal(t, onSlave.WaitExecuted(ctx, end)) // else these statements would wait for the first lock
	onSlave.Close()
	backups, apps := slave.DB("backup", ""), slave.DB("app", "")
	backups.SetMaxIdleConns(0)
	apps.SetMaxIdleConns(0)
	idleSince := func(id string) string {
		return slave.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE TIME>=1 AND COMMAND='Sleep' AND ID=" + id)
	}
	backup := map[bool]string{false: "BACKUP STAGE BLOCK_COMMIT", true: "LOCK INSTANCE FOR BACKUP"}[slave.Kind.MySQL]
	rows := 3
	for i, c := range []struct {
		told bool
		lock []string
		held string // the statement that is replicated meanwhile
	}{
		{false, []string{"FLUSH TABLES WITH READ LOCK"}, "INSERT INTO test.t (n) VALUES (1)"},
		{true, []string{"FLUSH TABLES WITH READ LOCK"}, "INSERT INTO test.t (n) VALUES (1)"},
		{false, []string{"BACKUP STAGE START", backup}, "ALTER TABLE test.t ADD COLUMN c0 INT"},
		{true, []string{"BACKUP STAGE START", backup}, "ALTER TABLE test.t ADD COLUMN c1 INT"},
		{false, []string{"LOCK TABLES test.t READ"}, "INSERT INTO test.t (n) VALUES (1)"},
		{true, []string{"LOCK TABLES test.t READ"}, "INSERT INTO test.t (n) VALUES (1)"},
	} {
		s := New(accounts[c.told])
		name := fmt.Sprintf("%d: %s", i, c.lock[len(c.lock)-1])
		holder, other := dbConn(t, backups), dbConn(t, apps)
		held, id := connectionID(t, holder), connectionID(t, other)
		// An account that has to guess ends the connection that is idle for longest; one that is told does not.
		told := c.told && slave.Kind.MySQL
		if told {
			eventually(t, "another one is idle", func() bool { return idleSince(id) == "1" })
			connectionID(t, holder)
		}
		for _, q := range c.lock {
			if slave.Kind.MySQL && strings.HasPrefix(q, "BACKUP") {
				continue
			}
			_, err := holder.ExecContext(ctx, q)
			fatal(t, err)
		}
		eventually(t, "the holder is idle", func() bool { return idleSince(held) == "1" })
		want := "0"
		if told && !strings.HasPrefix(c.lock[0], "LOCK TABLES") {
			want = held
		}
		if backup, err := s.BackupLock(ctx); err != nil || fmt.Sprint(backup) != want {
			t.Errorf("%s: connection %d holds the lock of a backup (%v), want %s", name, backup, err, want)
		}
		if ended, err := s.EndLocks(ctx, Replication); err != nil || len(ended) > 0 {
			t.Errorf("%s: nobody waits, and it ended %v (%v)", name, ended, err)
		}
		master.Exec(c.held)
		eventually(t, name+": replication waits", func() bool {
			if !told {
				connectionID(t, other)
			}
			return slave.Query("SELECT COUNT(*)>0 FROM information_schema.PROCESSLIST WHERE USER='system user' "+
				"AND STATE LIKE 'Waiting for % lock'") == "1"
		})
		ended, err := s.EndLocks(ctx, Replication)
		if err != nil || len(ended) != 1 || !strings.Contains(ended[0], "(backup, Sleep for ") {
			t.Errorf("%s: ended %v (%v)", name, ended, err)
		}
		if strings.HasPrefix(c.held, "INSERT") {
			rows++
		}
		eventually(t, name+": replication goes on", func() bool {
			const columns = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='test' AND TABLE_NAME='t'"
			return slave.Query("SELECT COUNT(*) FROM test.t") == fmt.Sprint(rows) &&
				slave.Query(columns) == master.Query(columns)
		})
		if connectionID(t, other) != id {
			t.Errorf("%s: another one was ended", name)
		}
		_ = holder.Close() // it has been ended
		fatal(t, other.Close())
		s.Close()
	}

	// Clients that wait for a lock on a table are left to the application; those that wait for one on the whole server
	// count.
	s := New(accounts[false])
	defer s.Close()
	for lock, counts := range map[string]bool{"LOCK TABLES test.t READ": false, "FLUSH TABLES WITH READ LOCK": true} {
		holder := dbConn(t, backups)
		_, err := holder.ExecContext(ctx, lock)
		fatal(t, err)
		wrote := make(chan error, 1)
		go func() {
			_, err := apps.ExecContext(ctx, "INSERT INTO test.t (id, n) VALUES (NULL, 1)")
			wrote <- err
		}()
		eventually(t, "the client waits", func() bool {
			return slave.Query("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='app' "+
				"AND STATE LIKE 'Waiting for % lock'") == "1"
		})
		ended, err := s.EndLocks(ctx, Anybody)
		if err != nil || counts != (len(ended) > 0) {
			t.Errorf("%s: ended %v (%v)", lock, ended, err)
		}
		if !counts {
			_, err = holder.ExecContext(ctx, "UNLOCK TABLES")
			fatal(t, err)
		}
		fatal(t, <-wrote)
	}
}

// connectionID is the number of a connection, which is idle from now on.
func connectionID(t *testing.T, c *sql.Conn) string {
	t.Helper()
	var id string
	fatal(t, c.QueryRowContext(t.Context(), "SELECT CONNECTION_ID()").Scan(&id))
	return id
}

// TestHolders: the connections in the way by the server's own word: on MySQL those whose lock conflicts with the one
// that is waited for, on MariaDB those whose lock keeps others from writing.
func TestHolders(t *testing.T) {
	locks := []lock{
		{1, "GLOBAL", "SHARED", true}, {2, "GLOBAL", "INTENTION_EXCLUSIVE", true},
		{3, "GLOBAL", "INTENTION_EXCLUSIVE", false}, {4, "GLOBAL", "SHARED", false},
		{1, "t", "SHARED_READ", true}, {5, "t", "SHARED_READ_ONLY", true}, {3, "t", "SHARED_WRITE", false},
		{6, "u", "EXCLUSIVE", true},
	}
	for _, c := range []struct {
		waits uint64
		want  []uint64
	}{{3, []uint64{1, 5}}, {4, []uint64{2}}, {9, nil}} {
		if got := slices.Sorted(maps.Keys(holders(locks, []process{{id: c.waits}}))); !slices.Equal(got, c.want) {
			t.Errorf("%d waits for %v, want %v", c.waits, got, c.want)
		}
	}
	maria := readLocks(flavour{dialect: mariaDB}, []row{
		{"id": "1", "type": "Backup lock", "mode": "MDL_BACKUP_FTWRL2"},
		{"id": "2", "type": "Backup lock", "mode": "MDL_BACKUP_TRANS_DML"},
		{"id": "3", "type": "Table metadata lock", "db": "test", "name": "t", "mode": "MDL_SHARED_NO_READ_WRITE"},
		{"id": "4", "type": "Table metadata lock", "db": "test", "name": "t", "mode": "MDL_SHARED_READ"},
	})
	for server, want := range map[bool][]uint64{true: {1}, false: {3}} {
		if got := slices.Sorted(maps.Keys(barring(maria, server))); !slices.Equal(got, want) {
			t.Errorf("MariaDB, lock on the server %v: %v, want %v", server, got, want)
		}
	}
}

// TestSuspects: where the server does not name the holder, connections whose statement takes a lock come first, then
// idle ones, then those that run a statement, in each kind the longest first. Connections that wait themselves, or are
// no client's, are left out.
func TestSuspects(t *testing.T) {
	list := []process{
		{id: 1, user: "app", command: "Query", seconds: "50", statement: "SELECT ?"},
		{id: 2, user: "app", command: "Sleep", seconds: "3"},
		{id: 3, user: "app", command: "Sleep", seconds: "40"},
		{id: 4, user: "backup", command: "Query", seconds: "1", statement: "FLUSH TABLES WITH READ LOCK",
			state: serverLocks[2]},
		{id: 5, user: "app", command: "Query", seconds: "9", statement: "INSERT INTO t", state: serverLocks[2]},
		{id: 6, user: "system user", command: "Connect", seconds: "99"},
		{id: 7, user: "agent", command: "Sleep", seconds: "99"},
		{id: 8, user: "repl", command: "Binlog Dump", seconds: "99"},
	}
	for _, c := range []struct {
		holders map[uint64]bool
		want    []uint64
	}{{nil, []uint64{4, 3, 2, 1}}, {map[uint64]bool{2: true, 6: true, 7: true}, []uint64{2}}} {
		var got []uint64
		for _, batch := range batches(suspects(list, c.holders, "agent")) {
			for _, p := range batch {
				got = append(got, p.id)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("with holders %v: %v, want %v", c.holders, got, c.want)
		}
	}
	if n := len(batches(make([]process, 8))); n != 4 {
		t.Errorf("8 in %d batches, want 1, 2, 4 and 1", n)
	}
}
