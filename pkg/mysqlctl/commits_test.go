package mysqlctl

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mysql-mmm/pkg/mysqlctl/mysqltest"
)

// TestWaitingWrites: a statement that waits for an acknowledgement that nobody gives counts as committing; one that
// waits for a lock, or sleeps, does not.
func TestWaitingWrites(t *testing.T) {
	each(t, func(t *testing.T, kind string) {
		i := mysqltest.Start(t, mysqltest.Options{Server: kind, SemiSync: true})
		s := New(account(i, "agent", "PROCESS"))
		defer s.Close()
		ctx := within(t, 30*time.Second)
		wait := "rpl_semi_sync_master"
		if i.Kind.MySQL {
			wait = "rpl_semi_sync_source"
		}
		i.Exec("CREATE TABLE test.t (id INT PRIMARY KEY)",
			"SET GLOBAL "+wait+"_timeout=3600000", "SET GLOBAL "+wait+"_wait_no_"+
				map[bool]string{true: "replica", false: "slave"}[i.Kind.MySQL]+"=1",
			"SET GLOBAL "+wait+"_enabled=OFF")
		client := i.DB("root", "")
		commits := func() []WriteWait {
			t.Helper()
			found, err := s.WaitingWrites(ctx)
			if err != nil {
				t.Fatal(err)
			}
			return slices.DeleteFunc(found, func(w WriteWait) bool { return !w.Commits })
		}
		if found := commits(); len(found) > 0 {
			t.Errorf("of a server at rest: %v", found)
		}
		i.Exec("SET GLOBAL " + wait + "_enabled=ON")
		ended := make(chan error, 1)
		go func() {
			_, err := client.ExecContext(ctx, "INSERT INTO test.t VALUES (1)")
			ended <- err
		}()
		var found []WriteWait
		eventually(t, "the commit to wait", func() bool {
			found = commits()
			return len(found) == 1 && found[0].For >= time.Second
		})
		if found[0].ID == 0 || found[0].State == "" || found[0].Writes {
			t.Errorf("found %+v", found[0])
		}
		i.Exec("SET GLOBAL " + wait + "_enabled=OFF")
		if err := <-ended; err != nil {
			t.Error(err)
		}
		before, err := s.FileWrites(ctx)
		if err != nil || strings.Trim(before.Count, " 0123456789") != "" || strings.TrimSpace(before.Count) == "" {
			t.Errorf("InnoDB's writes: %+v, %v", before, err)
		}
		i.Exec("INSERT INTO test.t VALUES (2)", "FLUSH LOGS")
		eventually(t, "InnoDB to count a write", func() bool {
			now, err := s.FileWrites(ctx)
			return err == nil && now.Count != before.Count
		})
		holder := i.DB("root", "")
		tx, err := holder.BeginTx(ctx, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(ctx, "UPDATE test.t SET id=3 WHERE id=2"); err != nil {
			t.Fatal(err)
		}
		go func() {
			_, err := client.ExecContext(ctx, "UPDATE test.t SET id=4 WHERE id=2")
			ended <- err
		}()
		eventually(t, "who waits for a row to be seen at writing", func() bool {
			found, err := s.WaitingWrites(ctx)
			return err == nil && slices.ContainsFunc(found, func(w WriteWait) bool {
				return w.Writes && !w.Commits && w.For >= time.Second
			})
		})
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		folders, err := s.Folders(ctx)
		if err != nil || len(folders) != 1 || !filepath.IsAbs(folders[0]) {
			t.Errorf("folders %v, %v", folders, err)
		}
	})
}

// TestWriteWaits: only statements of clients count. A replication thread whose commit waits for an acknowledgement of
// the dead source does not make this server a writer that can't write.
func TestWriteWaits(t *testing.T) {
	line := func(id, user, command, seconds, state string) row {
		return row{"Id": id, "User": user, "Command": command, "Time": seconds, "State": state}
	}
	got := writeWaits([]row{
		line("7", "system user", "Slave_SQL", "42", "Waiting for semi-sync ACK from slave"),
		line("8", "system user", "Query", "42", "Waiting for semi-sync ACK from replica"),
		line("9", "app", "Sleep", "90", ""),
		line("10", "app", "Query", "3", "Waiting for semi-sync ACK from replica"),
		line("11", "app", "Execute", "4", "Update"),
		line("12", "app", "Query", "5", "Sending data"),
		line("13", "repl", "Binlog Dump", "500", "Master has sent all binlog to slave; waiting for more updates"),
		line("14", "app", "Query", "-1", "Commit"),
		line("x", "app", "Query", "1", "Commit"),
	})
	want := []WriteWait{
		{ID: 10, State: "Waiting for semi-sync ACK from replica", For: 3 * time.Second, Commits: true},
		{ID: 11, State: "Update", For: 4 * time.Second, Writes: true},
		{ID: 12, State: "Sending data", For: 5 * time.Second},
		{ID: 14, State: "Commit", Commits: true},
	}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
