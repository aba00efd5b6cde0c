package lab

import (
	"context"
	"fmt"
	"time"
)

// Refresh brings a cluster that a fault has struck back to how it was in the beginning: the writer is on db1, the
// load's table is empty, and the other master acknowledges. An error says that this failed: a new cluster is needed.
func (c *Cluster) Refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := c.WaitWhole(ctx); err != nil {
		return err
	}
	show, _, err := c.Control(ctx, "show")
	if err != nil {
		return err
	}
	if first := c.DBs[0]; c.Writer(show) != first {
		if out, status, err := c.Control(ctx, "move_role", "writer", first.Name); err != nil || status != 0 {
			return fmt.Errorf("move_role: %s %w", out, err)
		}
		if err := c.WaitWhole(ctx); err != nil {
			return err
		}
	}
	if err := c.DBs[0].Server.Exec(ctx, "TRUNCATE TABLE app.t"); err != nil {
		return err
	}
	if err := c.WaitLevel(ctx, c.DBs...); err != nil {
		return err
	}
	return c.DBs[0].Server.WaitSemiSync(ctx)
}
