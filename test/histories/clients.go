package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
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
	writers = 12                    // clients of the writer's address
	pace    = 60 * time.Millisecond // between two statements of a client: the mean of random pauses
	active  = 6                     // lists that are appended to at a time
	perList = 60                    // about so many operations are made on a list; then another list takes its place
	retry   = 20 * time.Millisecond // pause after a failed attempt to connect
)

// clients append to lists and read them, and note each operation with its result.
type clients struct {
	cluster *lab.Cluster
	began   time.Time

	mu         sync.Mutex
	operations []operation
	readers    []operation
}

// run lets clients work until ctx ends: those of the writer's address, and one for each of the readers' addresses.
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

// list picks one of the lists that clients append to now.
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
			op.value = fmt.Sprintf("(%d.%d)", client, n) // valueForm finds it in a binary log
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

// execute sends the one statement of an operation and notes its result in op. It returns false where the statement was
// certainly not executed: such an operation is no part of the history.
func (c *clients) execute(ctx context.Context, db *sql.DB, op *operation) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	if err != nil {
		time.Sleep(retry)
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
		_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // ends the connection: the address may have moved
	}
	return !refused(err)
}

// refused says whether the server has answered that it has not executed the statement, and so never will: it is
// read-only (1290, 1836), or has rolled the statement back as it waited for a lock for too long (1205) or was part of a
// deadlock (1213).
func refused(err error) bool {
	var e *mysql.MySQLError
	return errors.As(err, &e) && slices.Contains([]uint16{1205, 1213, 1290, 1836}, e.Number)
}

// split makes the values out of a list as app.lists has it: with commas between them.
func split(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
