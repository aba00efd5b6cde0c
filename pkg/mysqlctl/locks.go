package mysqlctl

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Waiter says whose waiting makes EndLocks act.
type Waiter uint8

const (
	// Replication is the server's own replication threads, which execute what it has received, and the connections of
	// this Server.
	Replication Waiter = iota
	// Anybody is every client that waits for a lock on the whole server.
	Anybody
)

const (
	// heldUpFor is how long somebody has to wait for a lock until EndLocks acts: shorter waits are ordinary.
	heldUpFor = 200 * time.Millisecond
	// letGo is how long a killed connection may take to release its locks.
	letGo = 300 * time.Millisecond
)

// EndLocks ends the connections that hold a lock for which others wait, such as the lock of a backup (FLUSH TABLES WITH
// READ LOCK, BACKUP STAGE, LOCK INSTANCE FOR BACKUP, LOCK TABLES), and names those that it has ended. It does nothing
// while nobody that counts (who) waits.
//
// MySQL tells who holds the lock in performance_schema.metadata_locks, if this user may read that table; MariaDB tells
// it in information_schema.METADATA_LOCK_INFO, if that plugin is installed. Elsewhere EndLocks guesses, and ends more
// and more connections at a time until nobody waits any more: first those whose statement takes a lock, then idle ones,
// then those that run another statement, in each kind the longest first. Without a deadline it ends after Timeout.
func (s *Server) EndLocks(ctx context.Context, who Waiter) (ended []string, err error) {
	ctx, cancel := bounded(ctx, s.cfg.Timeout)
	defer cancel()
	before, _, err := s.waiting(ctx, who)
	if err != nil || len(before) == 0 {
		return nil, err
	}
	if err := pause(ctx, heldUpFor); err != nil {
		return nil, err
	}
	still, list, err := s.waiting(ctx, who)
	if err != nil {
		return nil, err
	}
	still = slices.DeleteFunc(still, func(p process) bool {
		return !slices.ContainsFunc(before, func(was process) bool { return was.id == p.id })
	})
	if len(still) == 0 {
		return nil, nil
	}
	holders, err := s.holders(ctx, still)
	if err != nil {
		return nil, err
	}
	for _, batch := range batches(suspects(list, holders, s.cfg.User)) {
		for _, p := range batch {
			n, err := s.killAll(ctx, []uint64{p.id})
			if err != nil {
				return ended, fmt.Errorf("end %s: %w", p, err)
			}
			if n > 0 {
				ended = append(ended, p.String())
			}
		}
		if free, err := s.letsGo(ctx, who); err != nil || free {
			return ended, err
		}
	}
	return ended, nil
}

// waiting returns the connections that wait and count (who), and all connections.
func (s *Server) waiting(ctx context.Context, who Waiter) (held, list []process, err error) {
	list, err = s.listProcesses(ctx)
	own := s.owns()
	for _, p := range list {
		if p.heldUp(who, own) {
			held = append(held, p)
		}
	}
	return held, list, err
}

// letsGo waits, for letGo at most, until nobody that counts (who) waits any more, and says whether that is so.
func (s *Server) letsGo(ctx context.Context, who Waiter) (free bool, err error) {
	for deadline := time.Now().Add(letGo); ; {
		held, _, err := s.waiting(ctx, who)
		if err != nil || len(held) == 0 || !time.Now().Before(deadline) {
			return len(held) == 0, err
		}
		if err := pause(ctx, letGo/15); err != nil {
			return false, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// The thread states in which a connection waits for a lock on the whole server, and for one on a table or a schema
// ("General Thread States" in both manuals).
var (
	serverLocks = []string{"Waiting for global read lock", "Waiting for commit lock", "Waiting for backup lock"}
	tableLocks  = []string{
		"Waiting for table metadata lock", "Waiting for table flush", "Waiting for table level lock",
		"Waiting for schema metadata lock",
	}
)

func (p process) waitsForServer() bool { return slices.Contains(serverLocks, p.state) }
func (p process) waits() bool          { return p.waitsForServer() || slices.Contains(tableLocks, p.state) }

func (p process) heldUp(who Waiter, own map[uint64]bool) bool {
	if who == Anybody {
		return p.waitsForServer() && p.fate() != ends
	}
	return p.waits() && (p.user == "system user" || own[p.id])
}

// locks says whether the statement, by its first words, takes a lock on the server or on tables.
func (p process) locks() bool {
	words := strings.Fields(strings.ToUpper(p.statement))
	if len(words) < 2 {
		return false
	}
	first, second := words[0], words[1]
	return first == "FLUSH" || first == "BACKUP" ||
		first == "LOCK" && slices.Contains([]string{"TABLES", "TABLE", "INSTANCE", "BINLOG"}, second)
}

// suspects returns the connections of clients that may hold the lock for which others wait, the likeliest first. Where
// the server has named holders it returns only those. Connections of the agents' account are left out: agents take no
// locks.
func suspects(list []process, holders map[uint64]bool, agents string) []process {
	var all []process
	rank := func(p process) int {
		switch {
		case p.locks():
			return 0
		case p.fate() == idle:
			return 1
		}
		return 2
	}
	for _, p := range list {
		f := p.fate()
		client := p.user != agents && (f == idle || f == works)
		switch {
		case !client, len(holders) > 0 && !holders[p.id]:
		case len(holders) == 0 && p.waits() && !p.locks(): // it waits itself
		default:
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b process) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.since(), a.since()))
	})
	return all
}

// batches parts the list into one, two, four and so on: the first is likely to be enough, and a long list is still done
// in a few steps.
func batches(all []process) [][]process {
	var parts [][]process
	for n := 1; len(all) > 0; n *= 2 {
		k := min(n, len(all))
		parts, all = append(parts, all[:k]), all[k:]
	}
	return parts
}

// holders returns the connections of which the server says that they hold the lock for which the others wait; none
// where the server does not tell.
func (s *Server) holders(ctx context.Context, waiting []process) (map[uint64]bool, error) {
	var f flavour
	rows, err := s.ask(ctx, func(now flavour) statement { f = now; return now.showLocks() })
	switch {
	case IsMissingPrivilege(err), IsMissingTable(err), isServerError(err, errUnknownTable):
		return nil, nil // then EndLocks guesses from the list of connections
	case err != nil:
		return nil, err
	}
	locks := readLocks(f, rows)
	if f.dialect == mariaDB {
		return barring(locks, slices.ContainsFunc(waiting, process.waitsForServer)), nil
	}
	return holders(locks, waiting), nil
}

// lock is a metadata lock ("Metadata Locking" in the MySQL manual).
type lock struct {
	connection uint64
	object     string // what is locked
	mode       string // in MySQL's words
	granted    bool
}

// readLocks reads what showLocks asks for.
func readLocks(f flavour, rows []row) []lock {
	var locks []lock
	for _, r := range rows {
		id, err := strconv.ParseUint(r["id"], 10, 64)
		if err != nil {
			continue // a thread of the server, which is no connection
		}
		object := strings.Join([]string{r["type"], r["db"], r["name"]}, "\x00")
		l := lock{connection: id, object: object, mode: r["mode"], granted: r["status"] == "GRANTED"}
		if f.dialect == mariaDB { // it lists granted locks only
			l.mode, l.granted = strings.TrimPrefix(l.mode, "MDL_"), true
		}
		locks = append(locks, l)
	}
	return locks
}

// holders returns the connections with a granted lock that conflicts with a lock for which one of waiting waits.
func holders(locks []lock, waiting []process) map[uint64]bool {
	found := map[uint64]bool{}
	for _, wanted := range locks {
		if wanted.granted || !slices.ContainsFunc(waiting, func(p process) bool { return p.id == wanted.connection }) {
			continue
		}
		for _, had := range locks {
			other := had.granted && had.object == wanted.object && had.connection != wanted.connection
			if other && collide(wanted.mode, had.mode) {
				found[had.connection] = true
			}
		}
	}
	return found
}

// backupModes are the modes of the locks of BACKUP STAGE, BACKUP LOCK and FLUSH TABLES WITH READ LOCK on MariaDB
// (sql/mdl.h in its source).
var backupModes = []string{
	"BACKUP_START", "BACKUP_FLUSH", "BACKUP_WAIT_FLUSH", "BACKUP_WAIT_DDL", "BACKUP_WAIT_COMMIT", "BACKUP_FTWRL1",
	"BACKUP_FTWRL2", "BACKUP_BLOCK_DDL",
}

// BackupLock returns the number of a connection that holds the lock of a backup on the whole server (LOCK INSTANCE FOR
// BACKUP, BACKUP STAGE, or FLUSH TABLES WITH READ LOCK); 0 where there is none, and where the server does not tell.
// MariaDB tells with the plugin metadata_lock_info, MySQL with performance_schema and the right to read it.
func (s *Server) BackupLock(ctx context.Context) (uint64, error) {
	rows, err := s.ask(ctx, flavour.showBackupLock)
	if IsMissingPrivilege(err) || IsMissingTable(err) || isServerError(err, errUnknownTable) {
		return 0, nil
	}
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return strconv.ParseUint(rows[0]["id"], 10, 64)
}

func (f flavour) showBackupLock() statement {
	st := statement{what: "look for a backup's lock"}
	if f.dialect == mariaDB {
		st.sql = "SELECT MIN(THREAD_ID) AS id FROM information_schema.METADATA_LOCK_INFO WHERE LOCK_MODE IN ('MDL_" +
			strings.Join(backupModes, "', 'MDL_") + "') HAVING id IS NOT NULL"
		return st
	}
	st.sql = "SELECT MIN(t.PROCESSLIST_ID) AS id FROM performance_schema.metadata_locks l " +
		"JOIN performance_schema.threads t ON t.THREAD_ID=l.OWNER_THREAD_ID " +
		"WHERE l.OBJECT_TYPE IN ('BACKUP LOCK', 'GLOBAL') AND l.LOCK_TYPE='SHARED' " +
		"AND l.LOCK_STATUS='GRANTED' HAVING id IS NOT NULL"
	return st
}

// barring returns the connections with a lock that keeps others from writing, on the whole server or on a table. It is
// for MariaDB, which does not tell who waits for what. Connections that write hold a backup lock as well, but in modes
// that are not in backupModes.
func barring(locks []lock, server bool) map[uint64]bool {
	modes := []string{"SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE", "EXCLUSIVE"}
	if server {
		modes = backupModes
	}
	found := map[uint64]bool{}
	for _, l := range locks {
		if slices.Contains(modes, l.mode) {
			found[l.connection] = true
		}
	}
	return found
}

// collide says whether a lock of mode wanted conflicts with a granted lock of mode had, by the compatibility tables in
// sql/mdl.cc of MySQL's source.
func collide(wanted, had string) bool {
	const (
		share, intent, sole            = "SHARED", "INTENTION_EXCLUSIVE", "EXCLUSIVE"
		read, write, upgradable        = "SHARED_READ", "SHARED_WRITE", "SHARED_UPGRADABLE"
		readOnly, noWrite, noReadWrite = "SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE"
	)
	if had == sole || wanted == sole {
		return true
	}
	return slices.Contains(map[string][]string{
		share:                   {intent},
		intent:                  {share},
		read:                    {noReadWrite},
		write:                   {readOnly, noWrite, noReadWrite},
		"SHARED_WRITE_LOW_PRIO": {readOnly, noWrite, noReadWrite},
		upgradable:              {upgradable, noWrite, noReadWrite},
		readOnly:                {write, noReadWrite},
		noWrite:                 {write, upgradable, noWrite, noReadWrite},
		noReadWrite:             {read, write, upgradable, readOnly, noWrite, noReadWrite},
	}[wanted], had)
}

// showLocks asks for metadata locks, with the connection of each. MariaDB lists only the granted ones.
func (f flavour) showLocks() statement {
	if f.dialect == mariaDB {
		return statement{what: "list locks", sql: "SELECT THREAD_ID AS id, LOCK_TYPE AS type, TABLE_SCHEMA AS db, " +
			"TABLE_NAME AS name, LOCK_MODE AS mode FROM information_schema.METADATA_LOCK_INFO"}
	}
	return statement{what: "list locks", sql: "SELECT t.PROCESSLIST_ID AS id, l.OBJECT_TYPE AS type, " +
		"l.OBJECT_SCHEMA AS db, l.OBJECT_NAME AS name, l.LOCK_TYPE AS mode, l.LOCK_STATUS AS status FROM performance_schema.metadata_locks l " +
		"JOIN performance_schema.threads t ON t.THREAD_ID=l.OWNER_THREAD_ID"}
}
