package monitor

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"mysql-mmm/pkg/config"
)

// TestReleaseTimeout: the time that a host has to give a role up covers the time that its agent has to stop writes
// (max_kill_retries).
func TestReleaseTimeout(t *testing.T) {
	const text = `active_master_role writer
<monitor>
 ip 127.0.0.1
 pid_path p
 bin_path b
 status_path s
 ping_ips 192.0.2.254
</monitor>
<host default>
 monitor_user m
 monitor_password pw
</host>
<host db1>
 ip 192.0.2.1
 mode master
 peer db2
</host>
<host db2>
 ip 192.0.2.2
 mode master
 peer db1
</host>
<role writer>
 hosts db1, db2
 ips 192.0.2.100
 mode exclusive
</role>
`
	for line, want := range map[string]time.Duration{"": 15 * time.Second, "max_kill_retries 30\n": 35 * time.Second,
		"max_kill_retries 0\n": 5 * time.Second} {
		file := filepath.Join(t.TempDir(), "mmm_mon.conf")
		if err := os.WriteFile(file, []byte(line+text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Monitor, config.Source{File: file})
		if err != nil {
			t.Fatal(err)
		}
		if got := Topology(c).ReleaseTimeout; got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
