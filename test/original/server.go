package original

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// denyWrites closes the server for writes as blocking_type soft does: new clients are refused, and those that are
// connected have Retries seconds to disconnect, also if they are idle; then they are killed.
func (a *Agent) denyWrites(ctx context.Context) error {
	return a.with(a.host().IP, func(db *sql.DB) (err error) {
		conn, err := db.Conn(ctx) // before the rule of Block refuses this agent too
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := a.Machine.Block(true); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.Machine.Block(false)) }()
		for round := 0; ; round++ {
			clients, err := a.threads(ctx, conn)
			if err != nil {
				return err
			}
			if len(clients) == 0 {
				break
			}
			if round == a.Retries {
				for _, c := range clients {
					a.Log("INFO", "Killing a client that did not go: "+c.who)
					_, _ = conn.ExecContext(ctx, fmt.Sprintf("KILL %d", c.id)) // the client may have gone meanwhile
				}
				break
			}
			time.Sleep(time.Second) // as the original does
		}
		_, err = conn.ExecContext(ctx, "SET GLOBAL read_only=1")
		return err
	})
}

// thread is a client's connection to a server.
type thread struct {
	id  int64
	who string
}

// threads are the connections for whose end denyWrites waits: all but conn, the test's own, and the server's own
// threads.
func (a *Agent) threads(ctx context.Context, conn *sql.Conn) ([]thread, error) {
	rows, err := conn.QueryContext(ctx, "SELECT ID, CONCAT(USER, '@', HOST, ' ', COMMAND, ' for ', TIME, ' s') "+
		"FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() "+
		"AND USER NOT IN ('system user', 'event_scheduler', ?) "+
		"AND COMMAND NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID')", a.Watcher)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []thread
	for rows.Next() {
		var t thread
		if err := rows.Scan(&t.id, &t.who); err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	return all, rows.Err()
}

func (a *Agent) allowWrites(ctx context.Context) error {
	return a.with(a.host().IP, func(db *sql.DB) error { return run(ctx, db, "SET GLOBAL read_only=0") })
}

// catchUp waits until this server has executed all that is in its source's log; where the source does not answer, all
// that it has received of it.
func (a *Agent) catchUp(ctx context.Context) error {
	return a.with(a.host().IP, func(db *sql.DB) error {
		replica, err := replica(ctx, db)
		if err != nil {
			return err
		}
		file, pos := replica["Master_Log_File"], replica["Read_Master_Log_Pos"]
		for _, h := range a.Hosts {
			if h.IP.String() != replica["Master_Host"] {
				continue
			}
			err := a.with(h.IP, func(source *sql.DB) error {
				status, err := row(ctx, source, "SHOW MASTER STATUS")
				if err == nil {
					file, pos = status["File"], status["Position"]
				}
				return err
			})
			if err != nil {
				a.Log("DEBUG", err.Error()) // the original does not complain of a source that does not answer
			}
		}
		return run(ctx, db, fmt.Sprintf("SELECT MASTER_POS_WAIT('%s', %s)", file, pos))
	})
}

// follow makes this slave replicate from a new master, from the end on that the master's log has at this moment. Where
// the master was opened before, the slave lacks what was written since then: a mistake of the original.
func (a *Agent) follow(ctx context.Context, master string) error {
	to := a.Site.host(master).IP
	return a.with(a.host().IP, func(db *sql.DB) error {
		old, err := replica(ctx, db)
		if err != nil {
			return err
		}
		if old["Master_Host"] == to.String() {
			return nil
		}
		if err := a.catchUp(ctx); err != nil {
			return err
		}
		if err := run(ctx, db, "STOP SLAVE"); err != nil {
			return err
		}
		return a.with(to, func(source *sql.DB) error {
			status, err := row(ctx, source, "SHOW MASTER STATUS")
			if err != nil {
				return err
			}
			return run(ctx, db,
				fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=3306, MASTER_LOG_FILE='%s', "+
					"MASTER_LOG_POS=%s", to, status["File"], status["Position"]), "START SLAVE")
		})
	})
}

func run(ctx context.Context, db *sql.DB, statements ...string) error {
	for _, s := range statements {
		if _, err := db.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}

// replica is SHOW SLAVE STATUS; it is empty where the server is no replica.
func replica(ctx context.Context, db *sql.DB) (map[string]string, error) {
	return row(ctx, db, "SHOW SLAVE STATUS")
}

// row is the first row of a statement's answer, by the names of the columns. It is empty where there is no row.
func row(ctx context.Context, db *sql.DB, statement string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, statement)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", statement, err)
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil || !rows.Next() {
		return nil, errors.Join(err, rows.Err())
	}
	values, into := make([]sql.NullString, len(names)), make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	if err := rows.Scan(into...); err != nil {
		return nil, err
	}
	all := map[string]string{}
	for i, n := range names {
		all[strings.TrimSpace(n)] = values[i].String
	}
	return all, nil
}
