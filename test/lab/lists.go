package lab

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// OpenClient returns a pool of one connection to an address (HOST:PORT), as an application on the client's host has it.
// answer is how long it waits for an answer; 0: without a limit.
func (c *Cluster) OpenClient(addr string, answer time.Duration) (*sql.DB, error) {
	return OpenClientOn(c.Client, addr, answer)
}

// OpenClientOn is OpenClient on host h.
func OpenClientOn(h *Host, addr string, answer time.Duration) (*sql.DB, error) {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName = "app", "apppw", "lab", addr, "app"
	if answer > 0 {
		cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = 100*time.Millisecond, answer, answer
	}
	cfg.InterpolateParams, cfg.Logger = true, &mysql.NopLogger{}
	cfg.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) { return h.Dial(ctx, addr) }
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db, nil
}

// Lists are the lists that a server has in app.lists, by their ids.
func (s *Server) Lists(ctx context.Context) (map[int64]string, error) {
	return lists(ctx, s.db)
}

type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func lists(ctx context.Context, q querier) (map[int64]string, error) {
	rows, err := q.QueryContext(ctx, "SELECT id, list FROM app.lists")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	all := map[int64]string{}
	for rows.Next() {
		var id int64
		var list string
		if err := rows.Scan(&id, &list); err != nil {
			return nil, err
		}
		all[id] = list
	}
	return all, rows.Err()
}

// insert is the statement that puts lists into an empty table; "" where there are none.
func insert(lists map[int64]string) string {
	var values []string
	for id, list := range lists {
		values = append(values, fmt.Sprintf("(%d,'%s')", id, list))
	}
	if len(values) == 0 {
		return ""
	}
	return "INSERT INTO app.lists VALUES " + strings.Join(values, ",")
}
