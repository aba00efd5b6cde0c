package agent

import (
	"context"
	"io/fs"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"
)

// changing is a /proc whose content can be replaced.
type changing struct{ atomic.Pointer[fstest.MapFS] }

func (c *changing) Open(name string) (fs.File, error) { return c.Load().Open(name) }

// TestBackup: a program that backs a server up is seen while it runs.
func TestBackup(t *testing.T) {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	quiet := fstest.MapFS{"1/comm": file("systemd\n"), "77/comm": file("mariadbd\n"),
		"78/comm": file("mysqldumpslow\n"), "self/comm": file("mysqldump\n"), "uptime": file("1")}
	for want, program := range map[string]string{
		"": "mysqldump-split", "mysqldump (process 512)": "mysqldump", "mariadb-backup (process 512)": "mariadb-backup",
		"xtrabackup (process 512)": "xtrabackup"} {
		host := fstest.MapFS{"512/comm": file(program + "\n"), "513/status": file("it has ended\n")}
		for name, f := range quiet {
			host[name] = f
		}
		if got := backups(host); got != want {
			t.Errorf("with %s: %q, want %q", program, got, want)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		var host changing
		host.Store(&fstest.MapFS{"512/comm": file("mysqldump\n")})
		w := newBackupWatch(&host, nil)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		synctest.Wait()
		if w.get() != "mysqldump (process 512)" {
			t.Errorf("at the start: %q", w.get())
		}
		host.Store(&quiet)
		time.Sleep(backupRest)
		if w.get() == "" {
			t.Error("the backup is forgotten as soon as it has ended")
		}
		time.Sleep(2 * backupPeriod)
		if w.get() != "" {
			t.Errorf("it has ended: %q", w.get())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// lockedBy is a server that does not answer the first question, names a connection with the lock of a backup at the
// second, and none after that.
type lockedBy struct{ asked int }

func (l *lockedBy) BackupLock(context.Context) (uint64, error) {
	l.asked++
	switch l.asked {
	case 1:
		return 0, errGone
	case 2:
		return 12, nil
	}
	return 0, nil
}

// TestBackupFromElsewhere: a backup that runs on another host is known by its lock.
func TestBackupFromElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newBackupWatch(fstest.MapFS{}, &lockedBy{})
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		for _, c := range []struct {
			at   time.Duration
			want string
		}{{time.Second, ""}, {backupPeriod, "a backup that holds its lock (connection 12)"},
			{backupRest, "a backup that holds its lock (connection 12)"}, {2 * backupPeriod, ""}} {
			time.Sleep(c.at)
			if got := w.get(); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
