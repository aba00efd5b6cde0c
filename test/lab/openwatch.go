package lab

import (
	"context"
	"database/sql"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

// openWatch asks every server again and again, from the client's host and at the server's own address, whether it is
// open for writes.
type openWatch struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	spans  [][]span // for each server
}

// span is a time in which a server was open for certain: from the first answer that it is, until the last question was
// asked that was answered so.
type span struct{ from, to time.Time }

const (
	openPeriod  = 25 * time.Millisecond  // between two questions to a server
	openTimeout = 250 * time.Millisecond // for connecting, and for an answer
)

// watchOpen starts to ask.
func (c *Cluster) watchOpen(ctx context.Context) *openWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &openWatch{cancel: cancel, spans: make([][]span, len(c.DBs))}
	for i, n := range c.DBs {
		w.wait.Go(func() { w.spans[i] = c.openSpans(ctx, n) })
	}
	return w
}

// stop ends the asking. It returns for how long two servers were open at once: in all, and after a moment.
func (w *openWatch) stop(moment time.Time) (all, after time.Duration) {
	w.cancel()
	w.wait.Wait()
	for i, a := range w.spans {
		for _, b := range w.spans[i+1:] {
			all += overlap(a, b, time.Time{})
			after += overlap(a, b, moment)
		}
	}
	return all, after
}

// openSpans asks the server of n until ctx ends, and returns the times in which it was open.
func (c *Cluster) openSpans(ctx context.Context, n *Node) []span {
	var spans []span
	db := c.asClient(n)
	defer db.Close()
	ticker := time.NewTicker(openPeriod)
	defer ticker.Stop()
	was := false
	for {
		select {
		case <-ctx.Done():
			return spans
		case <-ticker.C:
		}
		asked := time.Now()
		open := takesWrites(ctx, db)
		switch {
		case open && was:
			spans[len(spans)-1].to = asked
		case open:
			spans = append(spans, span{from: time.Now(), to: time.Now()})
		}
		was = open
	}
}

func takesWrites(ctx context.Context, db *sql.DB) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*openTimeout)
	defer cancel()
	closed := true
	err := db.QueryRowContext(ctx, "SELECT @@read_only").Scan(&closed)
	return err == nil && !closed
}

// asClient returns a pool of one connection to the server of n at its own address, from the client's host, as the
// application.
func (c *Cluster) asClient(n *Node) *sql.DB {
	cfg := mysql.NewConfig()
	cfg.User, cfg.Passwd, cfg.Net, cfg.Addr = "app", "apppw", "lab", n.IP.String()+":3306"
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = openTimeout, openTimeout, openTimeout
	cfg.InterpolateParams, cfg.Logger = true, &mysql.NopLogger{}
	cfg.DialFunc = func(ctx context.Context, _, addr string) (net.Conn, error) { return c.Client.Dial(ctx, addr) }
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		panic(err) // the configuration is a constant
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(1)
	return db
}

// overlap is for how long two servers were open at once after a moment.
func overlap(a, b []span, moment time.Time) time.Duration {
	var both time.Duration
	for _, x := range a {
		for _, y := range b {
			from := slices.MaxFunc([]time.Time{x.from, y.from, moment}, time.Time.Compare)
			to := slices.MinFunc([]time.Time{x.to, y.to}, time.Time.Compare)
			both += max(0, to.Sub(from))
		}
	}
	return both
}
