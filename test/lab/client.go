package lab

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// Load is a client that writes through the writer's address all the time, and remembers which rows were acknowledged.
type Load struct {
	cancel context.CancelFunc
	done   chan struct{}
	turn   sync.Mutex // held during a write

	mu     sync.Mutex
	acked  []ack
	errors int   // how many writes failed
	last   error // of the newest that failed
}

// ack is one acknowledged row.
type ack struct {
	id     int64
	server int       // server_id of the server that acknowledged it
	at     time.Time // when
}

// StartLoad starts a client that writes rate rows a second to the writer's address.
func (c *Cluster) StartLoad(ctx context.Context, rate int) (*Load, error) {
	return c.StartLoadAt(ctx, WriterIP+":3306", rate)
}

// StartLoadAt starts a client on the client's host that writes rate rows a second to an address (HOST:PORT) at which it
// reaches the writer.
func (c *Cluster) StartLoadAt(ctx context.Context, addr string, rate int) (*Load, error) {
	db, err := c.OpenClient(addr, time.Second)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	l := &Load{cancel: cancel, done: make(chan struct{})}
	go l.run(ctx, db, time.Second/time.Duration(rate))
	return l, nil
}

func (l *Load) run(ctx context.Context, db *sql.DB, pause time.Duration) {
	defer close(l.done)
	defer db.Close()
	next := time.Now()
	for id := int64(1); ctx.Err() == nil; id++ {
		next = next.Add(pause)
		if wait := time.Until(next); wait > 0 {
			time.Sleep(wait) // the pace of the load, not a synchronisation
		} else {
			next = time.Now()
		}
		l.write(ctx, db, id)
	}
}

// write asks the server for its server_id, and inserts one row on the same connection.
func (l *Load) write(ctx context.Context, db *sql.DB, id int64) {
	l.turn.Lock()
	defer l.turn.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	conn, err := db.Conn(ctx)
	server := 0
	if err == nil {
		defer conn.Close()
		err = conn.QueryRowContext(ctx, "SELECT @@server_id").Scan(&server)
	}
	if err == nil {
		_, err = conn.ExecContext(ctx, "INSERT INTO t VALUES (?, ?, ?)", id, server, float64(time.Now().UnixNano())/1e9)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errors++
		l.last = err
		var refused *mysql.MySQLError
		if asRefused(err, &refused) && conn != nil {
			// The server is closed for writes, or shuts down: the address may have moved to another host.
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // which ends the connection
		}
		return
	}
	l.acked = append(l.acked, ack{id, server, time.Now()})
}

// asRefused says whether the server has refused the statement as it is read-only (1290) or shuts down (1053).
func asRefused(err error, to **mysql.MySQLError) bool {
	e, ok := err.(*mysql.MySQLError)
	*to = e
	return ok && (e.Number == 1290 || e.Number == 1053)
}

// Between runs f between two writes: no write is on its way meanwhile.
func (l *Load) Between(f func() error) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	return f()
}

// Stop ends the load, and waits for the write that is on its way.
func (l *Load) Stop() {
	l.cancel()
	<-l.done
}

// Acked returns how many rows were acknowledged so far, and the server_id of the server that acknowledged the newest
// one (0: none was).
func (l *Load) Acked() (n, server int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.acked) > 0 {
		server = l.acked[len(l.acked)-1].server
	}
	return len(l.acked), server
}

// Errors returns how many writes failed so far, and the newest error.
func (l *Load) Errors() (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.errors, l.last
}

// WaitServer waits until the newest row was acknowledged by the server with this server_id.
func (l *Load) WaitServer(ctx context.Context, id int) error {
	return Wait(ctx, fmt.Sprintf("writes to reach server %d", id), func() (bool, string) {
		_, s := l.Acked()
		_, err := l.Errors()
		return s == id, fmt.Sprintf("server %d, last error: %v", s, err)
	})
}

// WaitMore waits until so many rows were acknowledged from now on.
func (l *Load) WaitMore(ctx context.Context, rows int) error {
	before, _ := l.Acked()
	return Wait(ctx, fmt.Sprintf("%d more writes", rows), func() (bool, string) {
		n, _ := l.Acked()
		return n-before >= rows, fmt.Sprint(n - before)
	})
}

// Gap is the longest time between two acknowledged writes, of which the second came after the moment since.
func (l *Load) Gap(since time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gap time.Duration
	for i := 1; i < len(l.acked); i++ {
		if l.acked[i].at.After(since) {
			gap = max(gap, l.acked[i].at.Sub(l.acked[i-1].at))
		}
	}
	return gap
}

// Silence is the longest time without an acknowledged write until the moment until. It counts as a whole where it began
// before the moment since and ended after it.
func (l *Load) Silence(since, until time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var gap time.Duration
	last := since
	for _, a := range l.acked {
		if a.at.After(until) {
			break
		}
		if a.at.After(since) {
			gap = max(gap, a.at.Sub(last))
		}
		last = a.at
	}
	return max(gap, until.Sub(last))
}

// Lost lists the rows that a server lacks, of those that were acknowledged before it is asked.
func (l *Load) Lost(ctx context.Context, s *Server) ([]int64, error) {
	asked, _ := l.Acked()
	there, err := s.ids(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var lost []int64
	for _, a := range l.acked[:min(asked, len(l.acked))] {
		if !there[a.id] {
			lost = append(lost, a.id)
		}
	}
	return lost, nil
}

// ids are the ids of the load's rows that a server has.
func (s *Server) ids(ctx context.Context) (map[int64]bool, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT id FROM app.t")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	there := map[int64]bool{}
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		there[id] = true
	}
	return there, rows.Err()
}

// Forget takes rows out of what was acknowledged, as it is known that they are lost.
func (l *Load) Forget(ids []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = slices.DeleteFunc(l.acked, func(a ack) bool { return slices.Contains(ids, a.id) })
}
