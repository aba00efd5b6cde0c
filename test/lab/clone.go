package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mysql-mmm/test/servers"

	"github.com/go-sql-driver/mysql"
)

// snapshot is a server's application data, and the end of its binary log at the same moment.
type snapshot struct {
	rows   []appRow
	lists  map[int64]string
	file   string
	offset string
	gtids  string // MariaDB: gtid_binlog_pos; MySQL: the executed set
}

type appRow struct {
	id     int64
	server int
	at     float64
}

// SetUpAnew does what an operator does with a host that was set aside (docs/operations.md, "A copy of a host"): it
// restores host n with a copy of from. Where n is a master, from must be its peer, and is made to replicate from n
// again.
func (c *Cluster) SetUpAnew(ctx context.Context, n, from *Node) error {
	if err := c.Restore(ctx, n, from); err != nil || n.Server.id > 2 {
		return err
	}
	return c.FollowAnew(ctx, from, n)
}

// Restore throws away the data of host n, gives it the data of another host, and makes it replicate from that one.
func (c *Cluster) Restore(ctx context.Context, n, from *Node) error {
	if !n.Server.proc.Ended() {
		if err := n.Server.Kill(); err != nil { // its data is thrown away
			return err
		}
	}
	if err := os.RemoveAll(filepath.Join(n.Server.dir, "data")); err != nil {
		return err
	}
	if err := n.Server.kind.Lay(ctx, n.Server.dir); err != nil {
		return err
	}
	if err := n.Server.Start(ctx); err != nil {
		return err
	}
	if err := n.Server.Exec(ctx, slices.Concat([]string{"SET sql_log_bin=0"}, grants(n.Server.kind), schema,
		[]string{"SET sql_log_bin=1"})...); err != nil {
		return err
	}
	s, err := from.Server.snapshot(ctx)
	// An agent whose host has just taken over ends connections whose locks the first clients wait for: it may end this
	// one.
	if errors.Is(err, mysql.ErrInvalidConn) {
		err = Wait(ctx, "a copy of "+from.Name, func() (bool, string) {
			s, err = from.Server.snapshot(ctx)
			return err == nil, fmt.Sprint(err)
		})
	}
	if err != nil {
		return fmt.Errorf("copy %s: %w", from.Name, err)
	}
	if err := n.Server.fill(ctx, s); err != nil {
		return fmt.Errorf("fill %s: %w", n.Name, err)
	}
	return n.Server.continueFrom(ctx, from.Host, s)
}

// snapshot reads everything as it is at one moment: while FLUSH TABLES WITH READ LOCK holds off writes, a transaction
// with REPEATABLE READ makes its first read, and the end of the log is read.
func (s *Server) snapshot(ctx context.Context) (snapshot, error) {
	var snap snapshot
	lock, err := s.db.Conn(ctx)
	if err != nil {
		return snap, err
	}
	defer lock.Close()
	read, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true})
	if err != nil {
		return snap, err
	}
	defer func() { _ = read.Rollback() }() // it has only read
	if _, err := lock.ExecContext(ctx, "FLUSH TABLES WITH READ LOCK"); err != nil {
		return snap, err
	}
	rows, err := read.QueryContext(ctx, "SELECT id, server, at FROM app.t") // the first read makes the snapshot
	if err == nil {
		snap.file, snap.offset, snap.gtids, err = s.place(ctx)
	}
	if _, unlocked := lock.ExecContext(ctx, "UNLOCK TABLES"); err == nil {
		err = unlocked
	}
	if err != nil {
		return snap, err
	}
	defer rows.Close()
	for rows.Next() {
		var r appRow
		if err := rows.Scan(&r.id, &r.server, &r.at); err != nil {
			return snap, err
		}
		snap.rows = append(snap.rows, r)
	}
	if err := rows.Err(); err != nil {
		return snap, err
	}
	snap.lists, err = lists(ctx, read)
	return snap, err
}

// place is the end of the server's binary log: file and offset, and what that is in GTIDs (see snapshot).
func (s *Server) place(ctx context.Context) (file, offset, gtids string, err error) {
	status, err := s.row(ctx, "SHOW MASTER STATUS")
	if err != nil {
		return "", "", "", err
	}
	gtids = strings.ReplaceAll(status["Executed_Gtid_Set"], "\n", "")
	if !s.kind.MySQL {
		gtids, err = s.Value(ctx, "SELECT @@gtid_binlog_pos")
	}
	return status["File"], status["Position"], gtids, err
}

// fill inserts the data of a snapshot into an empty server, without writing it to the binary log.
func (s *Server) fill(ctx context.Context, snap snapshot) error {
	statements := []string{"SET sql_log_bin=0"}
	for chunk := range slices.Chunk(snap.rows, 1000) {
		var values []string
		for _, r := range chunk {
			values = append(values, fmt.Sprintf("(%d,%d,%.17g)", r.id, r.server, r.at))
		}
		statements = append(statements, "INSERT INTO app.t VALUES "+strings.Join(values, ","))
	}
	if st := insert(snap.lists); st != "" {
		statements = append(statements, st)
	}
	return s.Exec(ctx, append(statements, "SET sql_log_bin=1")...)
}

// continueFrom makes the server replicate from source, from the place on at which its snapshot was made.
func (s *Server) continueFrom(ctx context.Context, source *Host, snap snapshot) error {
	src := servers.Source{Host: source.IP.String(), Port: 3306, User: "repl", Password: "replpw", GTID: s.gtid}
	switch {
	case !s.gtid:
		src.File, src.Offset = snap.file, snap.offset
	case s.kind.MySQL:
		// gtid_purged can be set, as no GTID has been executed: the accounts were made without the binary log.
		if err := s.Exec(ctx, "SET GLOBAL gtid_purged='"+snap.gtids+"'"); err != nil {
			return err
		}
	default:
		if err := s.Exec(ctx, "SET GLOBAL gtid_slave_pos='"+snap.gtids+"'"); err != nil {
			return err
		}
	}
	return s.Exec(ctx, s.kind.Follow(src)...)
}

// FollowAnew makes master n replicate again from its peer clone, which has just been restored from n and has no
// transactions of its own.
func (c *Cluster) FollowAnew(ctx context.Context, n, clone *Node) error {
	s := n.Server
	switch {
	case s.gtid && s.kind.MySQL:
		return s.Exec(ctx, "STOP SLAVE", "START SLAVE") // MySQL finds the place by itself
	case s.gtid:
		_, _, gtids, err := s.place(ctx)
		if err != nil {
			return err
		}
		if err := Wait(ctx, clone.Name+" to have caught up", func() (bool, string) {
			v, err := clone.Server.Value(ctx, "SELECT MASTER_GTID_WAIT('"+gtids+"', 1)")
			return err == nil && v == "0", fmt.Sprint(v, err)
		}); err != nil {
			return err
		}
		src := servers.Source{Host: clone.IP.String(), Port: 3306, User: "repl", Password: "replpw", GTID: true}
		return s.Exec(ctx, slices.Concat([]string{"STOP SLAVE", "SET GLOBAL gtid_strict_mode=0",
			"SET GLOBAL gtid_slave_pos='" + gtids + "'", "SET GLOBAL gtid_strict_mode=1"},
			s.kind.Follow(src))...)
	}
	file, offset, _, err := clone.Server.place(ctx)
	if err != nil {
		return err
	}
	src := servers.Source{Host: clone.IP.String(), Port: 3306, User: "repl", Password: "replpw", File: file,
		Offset: offset}
	return s.Exec(ctx, slices.Concat([]string{"STOP SLAVE"}, s.kind.Follow(src))...)
}
