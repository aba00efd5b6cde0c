package agent

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// A host that is being backed up is slow, and its server may be locked: the monitor gives it roles only where no other
// host can have them.

// backupPrograms are what the kernel calls programs that back a server up: the first 15 bytes of their names
// (proc_pid_comm(5)).
var backupPrograms = []string{"mariadb-backup", "mariabackup", "xtrabackup", "mysqldump", "mariadb-dump", "mydumper",
	"mysqlpump", "mysqlbackup"}

const (
	// backupPeriod is how often backups are looked for: each look reads a small file for each process.
	backupPeriod = 10 * time.Second
	// backupRest is how long a backup still counts after its end: a series of dumps is not to move roles to and fro.
	backupRest = time.Minute
)

// backupWatch looks whether the host is being backed up.
type backupWatch struct {
	proc   fs.FS                  // as /proc; nil: backups are not looked for
	locks  BackupLock             // nil: the server is not asked
	newest atomic.Pointer[string] // the backup that counts, for people; "": none
}

// BackupLock returns the connection that holds the lock of a backup on the local server, as far as the server tells; 0:
// none. Such a backup may be made from another host, where no process of it is seen here.
type BackupLock interface {
	BackupLock(ctx context.Context) (uint64, error)
}

func newBackupWatch(proc fs.FS, locks BackupLock) *backupWatch {
	w := &backupWatch{proc: proc, locks: locks}
	none := ""
	w.newest.Store(&none)
	return w
}

// Run looks until ctx ends.
func (w *backupWatch) Run(ctx context.Context) error {
	if w.proc == nil {
		return nil
	}
	ticker := time.NewTicker(backupPeriod)
	defer ticker.Stop()
	var seen time.Time
	for {
		found := backups(w.proc)
		if found == "" {
			found = w.lock(ctx)
		}
		if found != "" {
			seen = time.Now()
			w.newest.Store(&found)
		} else if time.Since(seen) > backupRest {
			w.newest.Store(&found)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// lock names the connection that holds the lock of a backup, or "". Where the server does not answer it is "" too.
func (w *backupWatch) lock(ctx context.Context) string {
	if w.locks == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	id, err := w.locks.BackupLock(ctx)
	if err != nil || id == 0 {
		return ""
	}
	return fmt.Sprintf("a backup that holds its lock (connection %d)", id)
}

func (w *backupWatch) get() string { return *w.newest.Load() }

// backups names the first process that backs a server up on this host, or "".
func backups(proc fs.FS) string {
	processes, err := fs.ReadDir(proc, ".")
	if err != nil {
		return ""
	}
	for _, p := range processes {
		if name := p.Name(); name[0] < '1' || name[0] > '9' {
			continue
		}
		comm, err := fs.ReadFile(proc, p.Name()+"/comm")
		if err != nil {
			continue // it has ended
		}
		if program := strings.TrimSuffix(string(comm), "\n"); slices.Contains(backupPrograms, program) {
			return fmt.Sprintf("%s (process %s)", program, p.Name())
		}
	}
	return ""
}
