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
		switch {
		case err != nil:
			return found, err
		case len(own.list) > 0:
			found.Finding = fmt.Sprintf("its binary log ends at %s, but the others have it up to %s: it has lost transactions that they have",
				end, from)
		case !own.whole:
			found.Finding = fmt.Sprintf("its binary log ends at %s, but the others have it up to %s, and is too long to be read whole: "+
				"whether it has lost what they have, or was set up anew, is not known", end, from)
		}
		return found, nil // nothing of its own in the whole log: it was set up anew, and began a new log
	}
	own, err := ownTransactions(ctx, log, from, end, self)
	if errors.Is(err, mysqlctl.ErrLogGone) {
		if own, err = ownTransactions(ctx, log, mysqlctl.Position{}, end, self); err == nil &&
			(len(own.list) > 0 || !own.whole || own.begins.File != "" && later(own.begins, from)) {
			found.Finding = fmt.Sprintf("its binary log no longer has %s, up to which the others have it: whether it has more than they is not known",
				from)
			return found, nil
		}
	}
	if err != nil {
		return found, err
	}
	switch found.Beyond = len(own.list); {
	case found.Beyond > 0:
		found.Finding = fmt.Sprintf("it has %s that nobody else has: %s", count(len(own.list), "transaction"),
			mysqlctl.Describe(own.list))
	case !own.whole:
		found.Finding = fmt.Sprintf("its binary log is too long behind %s, up to which the others have it: whether it has more than they is not known",
			from)
	}
	return found, nil
}

// later: the log begins in a file behind that of from. One that was begun anew begins with the first file.
func later(begins, from mysqlctl.Position) bool {
	c, err := mysqlctl.Position{File: begins.File}.Compare(mysqlctl.Position{File: from.File})
	return err != nil || c > 0
}

// mostRead is how many transactions of a log are looked at in an audit, at most.
const mostRead = 10 * mostBeyond

// ownPart is what a server has committed itself, and not replicated, in a part of its log.
type ownPart struct {
	list   []mysqlctl.Transaction // the first mostBeyond of these
	begins mysqlctl.Position      // the first transaction of the part, whoever committed it; zero: there is none
	whole  bool                   // the part was read to its end
}

// ownTransactions reads what the server self has committed between from and end, in the first mostRead transactions.
func ownTransactions(ctx context.Context, log OwnLog, from, end mysqlctl.Position, self uint32) (ownPart, error) {
	var own ownPart
	for read := 0; read < mostRead; {
		batch, err := log.Transactions(ctx, from, end, mostBeyond)
		if err != nil {
			return ownPart{}, err
		}
		more := len(batch) == mostBeyond
		if read == 0 && len(batch) > 0 {
			own.begins = batch[0].At
		} else if len(batch) > 0 {
			batch = batch[1:] // the last one of the batch before
		}
		read += len(batch)
		for _, t := range batch {
			if t.ServerID == self && len(own.list) < mostBeyond {
				own.list = append(own.list, t)
			}
		}
		if !more {
			own.whole = true
			return own, nil
		}
		from = batch[len(batch)-1].At
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
