package lab

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OpenTransaction leaves a connection open that has written a row and does not commit. It stays until the server ends
// it.
func (s *Server) OpenTransaction(ctx context.Context) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	for _, q := range []string{"CREATE TABLE IF NOT EXISTS app.pending (i INT) ENGINE=InnoDB", "BEGIN",
		"INSERT INTO app.pending VALUES (1)"} {
		if _, err := conn.ExecContext(ctx, q); err != nil {
			return errors.Join(err, conn.Close())
		}
	}
	return nil
}

// Busy starts n clients, each of which sends one statement after the other until ctx ends or the server ends its
// connection.
func (s *Server) Busy(ctx context.Context, n int) error {
	for range n {
		conn, err := s.db.Conn(ctx)
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			for ctx.Err() == nil {
				if _, err := conn.ExecContext(ctx, "SELECT SLEEP(0.2)"); err != nil {
					return // killed, or the time is over
				}
			}
		}()
	}
	return nil
}

// Delay makes this slave execute each transaction only d (in whole seconds) after its source did (MASTER_DELAY).
func (s *Server) Delay(ctx context.Context, d time.Duration) error {
	return s.Exec(ctx, "STOP SLAVE", fmt.Sprintf("CHANGE MASTER TO MASTER_DELAY=%d", int(d.Seconds())), "START SLAVE")
}
