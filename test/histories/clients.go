package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"mysql-mmm/test/lab"
)

const (
	writers   = 12                    // clients of the writer's address
	pace      = 60 * time.Millisecond // between two statements of a client, at random up to twice that
	active    = 6                     // lists that are appended to at a time
	perList   = 60                    // operations on a list, about; then another one takes its place
	forgotten = 20 * time.Millisecond // before a client tries again to connect
)

// clients append to lists and read them, and write down what came of it.
type clients struct {
	cluster *lab.Cluster
	began   time.Time

	mu         sync.Mutex
	operations []operation
	readers    []operation
}

// run works until ctx ends: the writer's clients, and one for each reader's address.
func (c *clients) run(ctx context.Context, readers []string) error {
	var group sync.WaitGroup
	for i := range writers {
		from := c.cluster.Client
		if c.cluster.Second != nil && i%2 == 1 {
			from = c.cluster.Second
		}
		db, err := lab.OpenClientOn(from, lab.WriterIP+":3306", 2*time.Second)
		if err != nil {
			return err
		}
		defer db.Close()
		group.Go(func() { c.writes(ctx, db, i) })
	}
	for _, ip := range readers {
		db, err := c.cluster.OpenClient(ip+":3306", 2*time.Second)
		if err != nil {
			return err
		}
		defer db.Close()
		group.Go(func() { c.reads(ctx, db) })
	}
	group.Wait()
	return nil
}

// list is one that is appended to now.
func (c *clients) list() int64 {
	c.mu.Lock()
	done := len(c.operations)
	c.mu.Unlock()
	return int64(done/perList/active*active + rand.IntN(active))
}

func (c *clients) writes(ctx context.Context, db *sql.DB, client int) {
	for n := 1; ctx.Err() == nil; n++ {
		time.Sleep(rand.N(2 * pace)) // the pace of the load, not a synchronisation
		op := operation{client: client, list: c.list()}
		if rand.IntN(2) == 0 {
			op.value = fmt.Sprintf("%d.%d", client, n)
		}
		if c.execute(ctx, db, &op) {
			c.mu.Lock()
			c.operations = append(c.operations, op)
			c.mu.Unlock()
		}
	}
}

func (c *clients) reads(ctx context.Context, db *sql.DB) {
	for ctx.Err() == nil {
		time.Sleep(rand.N(4 * pace))
		op := operation{client: -1, list: max(0, c.list()-int64(rand.IntN(2*active)))}
		if c.execute(ctx, db, &op) && !op.unknown {
			c.mu.Lock()
			c.readers = append(c.readers, op)
			c.mu.Unlock()
		}
	}
}

// execute sends the one statement of an operation; false: it was never executed.
func (c *clients) execute(ctx context.Context, db *sql.DB, op *operation) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		time.Sleep(forgotten)
		return false
	}
	defer conn.Close()
	op.call = time.Since(c.began)
	if op.value != "" {
		const appends = "INSERT INTO lists VALUES (?, ?) ON DUPLICATE KEY UPDATE list = CONCAT(list, ?)"
		_, err = conn.ExecContext(ctx, appends, op.list, op.value, ","+op.value)
	} else {
		var text string
		err = conn.QueryRowContext(ctx, "SELECT list FROM lists WHERE id = ?", op.list).Scan(&text)
		if errors.Is(err, sql.ErrNoRows) {
			err = nil
		}
		op.read = split(text)
	}
	op.answer, op.unknown = time.Since(c.began), err != nil
	if err != nil {
		_ = conn.Raw(func(any) error { return errors.New("connect anew") }) // the address may be elsewhere by now
	}
	return !refused(err)
}

// refused: the server has said that it has not executed the statement, and will not: it is read-only, or has rolled the
// statement back for another one's sake.
func refused(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && slices.Contains([]uint16{1205, 1213, 1290, 1836}, e.Number)
}

func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
