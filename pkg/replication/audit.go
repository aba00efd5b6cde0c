package replication

import (
	"context"
	"errors"
	"fmt"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// OwnLog is the local server's binary log.
type OwnLog interface {
	Position(ctx context.Context) (mysqlctl.Position, error)
	Transactions(ctx context.Context, start, end mysqlctl.Position, limit int) ([]mysqlctl.Transaction, error)
	ServerID(ctx context.Context) (uint32, error)
}

// audit looks in a former writer's binary log for transactions of its own beyond at, the place up to which its
// successor has that log (FILE:OFFSET).
func audit(ctx context.Context, log OwnLog, at string) (cluster.Audit, error) {
	found := cluster.Audit{At: at, Done: true}
	from, err := mysqlctl.ParsePosition(at)
	if err != nil {
		return found, err
	}
	end, err := log.Position(ctx)
	if err != nil {
		return found, err
	}
	self, err := log.ServerID(ctx)
	if err != nil {
		return found, err
	}
	if c, err := end.Compare(from); err == nil && c < 0 {
		// A server skips its own transactions when it replicates, so it never gets back what it has lost of them.
		own, err := ownTransactions(ctx, log, mysqlctl.Position{}, end, self)
		if err != nil {
			return found, err
		}
		if len(own) > 0 {
			found.Finding = fmt.Sprintf("its binary log ends at %s, but the others have it up to %s: it has lost transactions that they have", end, from)
		}
		return found, nil // nothing of its own in the whole log: it was set up anew, and began a new log
	}
	own, err := ownTransactions(ctx, log, from, end, self)
	if errors.Is(err, mysqlctl.ErrLogGone) {
		if own, err = ownTransactions(ctx, log, mysqlctl.Position{}, end, self); err == nil && len(own) > 0 {
			found.Finding = fmt.Sprintf("its binary log no longer has %s, up to which the others have it: whether it has more than they is not known", from)
			return found, nil
		}
	}
	if err != nil {
		return found, err
	}
	if found.Beyond = len(own); found.Beyond > 0 {
		found.Finding = fmt.Sprintf("it has %s that nobody else has: %s", count(len(own), "transaction"),
			mysqlctl.Describe(own))
	}
	return found, nil
}

// ownTransactions returns, of the first mostBeyond transactions between from and end, those that the server self has
// committed itself, and not replicated.
func ownTransactions(ctx context.Context, log OwnLog, from, end mysqlctl.Position, self uint32) ([]mysqlctl.Transaction,
	error) {
	all, err := log.Transactions(ctx, from, end, mostBeyond)
	if err != nil {
		return nil, err
	}
	var own []mysqlctl.Transaction
	for _, t := range all {
		if t.ServerID == self {
			own = append(own, t)
		}
	}
	return own, nil
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case n >= mostBeyond:
		return fmt.Sprintf("more than %d %ss", n-1, what)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
