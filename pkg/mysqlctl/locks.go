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

// Waiter says whose waiting for a lock counts.
type Waiter uint8

const (
	// Replication counts: the server's own threads, which execute what it has received, and what this Server asks.
	Replication Waiter = iota
	// Anybody counts, where a lock on the whole server is waited for.
	Anybody
)

const (
	// heldUpFor is how long somebody has to wait until that is more than the ordinary.
	heldUpFor = 200 * time.Millisecond
	// letGo is how long a connection that was killed may take to let go of what it has.
	letGo = 300 * time.Millisecond
)

// EndLocks ends the connections that hold a lock which others wait for, such as that of a backup (FLUSH TABLES WITH
// READ LOCK, BACKUP STAGE, LOCK INSTANCE FOR BACKUP, LOCK TABLES), and says which; it does nothing while nobody waits.
// Whose lock it is the server tells where it can: MySQL in performance_schema.metadata_locks, if this user may read
// that, MariaDB in information_schema.METADATA_LOCK_INFO, if that plugin is there. Elsewhere it is tried: first who is
// at work on a lock, then who is idle and then who runs a statement, the longest first and more at a time, until nobody
// waits any more. Without a deadline it ends after Timeout.
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

// waiting lists who waits, and all that are connected.
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

// letsGo waits for a moment until nobody waits any more.
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

// The states in which a connection waits for a lock on the whole server ("General Thread States" in the MySQL manual
// and that of MariaDB), and for one on a table.
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

// locks: by its first words the statement takes a lock on the server or on tables.
func (p process) locks() bool {
	words := strings.Fields(strings.ToUpper(p.statement))
	if len(words) < 2 {
		return false
	}
	first, second := words[0], words[1]
	return first == "FLUSH" || first == "BACKUP" ||
		first == "LOCK" && slices.Contains([]string{"TABLES", "TABLE", "INSTANCE", "BINLOG"}, second)
}

// suspects are the connections of clients that may hold what others wait for, the likeliest first. Where holders are
// known it is those. The account of the agents, this one and others, takes no locks.
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
		case len(holders) == 0 && p.waits() && !p.locks(): // it is held up itself
		default:
			all = append(all, p)
		}
	}
	slices.SortStableFunc(all, func(a, b process) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(b.since(), a.since()))
	})
	return all
}

// batches of one, two, four and so on: the first is likely to be enough, and many are no long work.
func batches(all []process) [][]process {
	var parts [][]process
	for n := 1; len(all) > 0; n *= 2 {
		k := min(n, len(all))
		parts, all = append(parts, all[:k]), all[k:]
	}
	return parts
}

// holders are the connections of which the server says that they hold what these wait for; none where it does not tell.
func (s *Server) holders(ctx context.Context, waiting []process) (map[uint64]bool, error) {
	var f flavour
	rows, err := s.ask(ctx, func(now flavour) statement { f = now; return now.showLocks() })
	switch {
	case IsMissingPrivilege(err), IsMissingTable(err), isServerError(err, errUnknownTable):
		return nil, nil // the processes themselves are looked at then
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
	object     string // what it is on
	mode       string // in MySQL's words
	granted    bool
}

// readLocks reads what showLocks asks for.
func readLocks(f flavour, rows []row) []lock {
	var locks []lock
	for _, r := range rows {
		id, err := strconv.ParseUint(r["id"], 10, 64)
		if err != nil {
			continue // a thread that nobody is connected with
		}
		object := strings.Join([]string{r["type"], r["db"], r["name"]}, "\x00")
		l := lock{connection: id, object: object, mode: r["mode"], granted: r["status"] == "GRANTED"}
		if f.dialect == mariaDB { // it does not tell who waits
			l.mode, l.granted = strings.TrimPrefix(l.mode, "MDL_"), true
		}
		locks = append(locks, l)
	}
	return locks
}

// holders are the connections with a granted lock that one which these wait for does not go with.
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

// backupModes are those of BACKUP STAGE, BACKUP LOCK and FLUSH TABLES WITH READ LOCK on MariaDB (sql/mdl.h).
var backupModes = []string{
	"BACKUP_START", "BACKUP_FLUSH", "BACKUP_WAIT_FLUSH", "BACKUP_WAIT_DDL", "BACKUP_WAIT_COMMIT", "BACKUP_FTWRL1",
	"BACKUP_FTWRL2", "BACKUP_BLOCK_DDL",
}

// BackupLock names a connection that holds the lock of a backup on the whole server: LOCK INSTANCE FOR BACKUP, BACKUP
// STAGE, or FLUSH TABLES WITH READ LOCK; 0 is none. A server that does not tell has none: MariaDB does with the plugin
// metadata_lock_info, MySQL with performance_schema and the right to read it.
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

// barring are the connections with a lock that keeps others from writing, on the whole server or on a table, for
// MariaDB, which does not tell who waits for what. Those who write have a backup lock too, of other modes.
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

// collide says whether a lock of mode wanted can't be given beside one of mode had (the tables in sql/mdl.cc of MySQL).
func collide(wanted, had string) bool {
	const (
		share, intent, sole           = "SHARED", "INTENTION_EXCLUSIVE", "EXCLUSIVE"
		read, write, upgradable       = "SHARED_READ", "SHARED_WRITE", "SHARED_UPGRADABLE"
		readOnly, noWrite, noReadWite = "SHARED_READ_ONLY", "SHARED_NO_WRITE", "SHARED_NO_READ_WRITE"
	)
	if had == sole || wanted == sole {
		return true
	}
	return slices.Contains(map[string][]string{
		share:                   {intent},
		intent:                  {share},
		read:                    {noReadWite},
		write:                   {readOnly, noWrite, noReadWite},
		"SHARED_WRITE_LOW_PRIO": {readOnly, noWrite, noReadWite},
		upgradable:              {upgradable, noWrite, noReadWite},
		readOnly:                {write, noReadWite},
		noWrite:                 {write, upgradable, noWrite, noReadWite},
		noReadWite:              {read, write, upgradable, readOnly, noWrite, noReadWite},
	}[wanted], had)
}

// showLocks asks for metadata locks, with the connection of each. MariaDB tells only of those that are granted.
func (f flavour) showLocks() statement {
	if f.dialect == mariaDB {
		return statement{what: "list locks", sql: "SELECT THREAD_ID AS id, LOCK_TYPE AS type, TABLE_SCHEMA AS db, " +
			"TABLE_NAME AS name, LOCK_MODE AS mode FROM information_schema.METADATA_LOCK_INFO"}
	}
	return statement{what: "list locks", sql: "SELECT t.PROCESSLIST_ID AS id, l.OBJECT_TYPE AS type, " +
		"l.OBJECT_SCHEMA AS db, l.OBJECT_NAME AS name, l.LOCK_TYPE AS mode, l.LOCK_STATUS AS status FROM performance_schema.metadata_locks l " +
		"JOIN performance_schema.threads t ON t.THREAD_ID=l.OWNER_THREAD_ID"}
}
