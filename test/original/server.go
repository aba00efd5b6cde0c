package original

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// denyWrites is blocking_type soft: new clients are refused, and those that are there have Retries seconds to go,
// whatever they do; then they are killed.
func (a *Agent) denyWrites(ctx context.Context) error {
	return a.with(a.host().IP, func(db *sql.DB) (err error) {
		conn, err := db.Conn(ctx) // before its own rule refuses it
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
					_, _ = conn.ExecContext(ctx, fmt.Sprintf("KILL %d", c.id)) // it may have gone meanwhile
				}
				break
			}
			time.Sleep(time.Second) // as the original does
		}
		_, err = conn.ExecContext(ctx, "SET GLOBAL read_only=1")
		return err
	})
}

// thread is a client of a server.
type thread struct {
	id  int64
	who string
}

// threads are the clients that soft blocking waits for: all but itself and the server's own.
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

// catchUp waits until this server has executed what its source has, or what it has itself received of a dead one.
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
				a.Log("DEBUG", err.Error()) // a dead one is no complaint of the original's
			}
		}
		return run(ctx, db, fmt.Sprintf("SELECT MASTER_POS_WAIT('%s', %s)", file, pos))
	})
}

// follow lets this slave replicate from a new master: from where that one's log ends at the moment.
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

// replica is SHOW SLAVE STATUS; empty where the server replicates from nobody.
func replica(ctx context.Context, db *sql.DB) (map[string]string, error) {
	return row(ctx, db, "SHOW SLAVE STATUS")
}

// row is the first row of an answer by the names of its columns.
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
