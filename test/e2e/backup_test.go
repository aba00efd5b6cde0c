package e2e

import (
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// TestBackupLock: a backup holds its lock on the standby when the writer dies. The agent of the standby ends the
// backup's connection and names it in its log, both where the lock holds up replication and where it holds up only the
// first clients of the new writer.
func TestBackupLock(t *testing.T) {
	for _, c := range []struct {
		server  string
		writing bool // clients write when the writer dies, so that the standby has something to execute
	}{{"", true}, {"mysql-9.7", false}} {
		t.Run(map[bool]string{true: "something to execute", false: "nothing to execute"}[c.writing],
			func(t *testing.T) {
				b := start(t, lab.Options{Server: c.server})
				db2 := b.Node("db2")
				var l *lab.Load
				if c.writing {
					l = b.load()
				}
				b.must(db2.Server.Backup(b.ctx))
				if c.writing {
					b.must(lab.Wait(b.ctx, "replication to wait for the lock", func() (bool, string) {
						n,
							err := db2.Server.Value(b.ctx,
							"SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER='system user' AND STATE LIKE 'Waiting for % lock'")
						return err == nil && n == "1", n
					}))
				}
				since := time.Now()
				kill := b.Node("db1").Server.Kill
				if c.writing {
					b.must(l.Between(kill))
				} else {
					b.must(kill())
					b.until("db2 to be the writer", func(show string) bool {
						w := b.Writer(show)
						return w != nil &&
							w.Name == "db2"
					})
					l, _ = b.StartLoad(b.ctx, 200)
					b.Cleanup(l.Stop)
				}
				b.must(l.WaitServer(b.ctx, 2))
				if gap := time.Since(since); gap > 10*time.Second {
					t.Errorf("nobody was the writer for %v", gap)
				}
				b.logged(db2.Agent, "WARN Ended ")
				if log := db2.Agent.Log(); !strings.Contains(log, "(root, Sleep for ") {
					t.Errorf("the log does not name the backup:\n%s", log)
				}
				if c.writing {
					b.logged(b.Monitor, "Agent on host 'db2' reports: Ended ")
				}
				l.Stop()
				b.level(l, []*lab.Node{db2, b.Node("db3")})
			})
	}
}
