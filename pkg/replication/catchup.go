package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// Replicating reads the state of the local server's replication, and waits for it.
type Replicating interface {
	Replica(ctx context.Context) (mysqlctl.Replica, error)
	WaitExecuted(ctx context.Context, p mysqlctl.Position) error
	WaitGTIDs(ctx context.Context, set string) error
}

// Steering changes the local server's replication.
type Steering interface {
	StopReceiving(ctx context.Context) error
	StopReplication(ctx context.Context) error
	StartReplication(ctx context.Context) error
	Repoint(ctx context.Context, s mysqlctl.Source) error
	Aim(ctx context.Context, s mysqlctl.Source) error
}

// Remote is another host's server.
type Remote interface {
	Log
	Replica(ctx context.Context) (mysqlctl.Replica, error)
	Writable(ctx context.Context) (bool, error)
	Lacks(ctx context.Context, applied string) (string, error)
	Lost(ctx context.Context, applied string) (string, error)
}

// Log is what a server has committed.
type Log interface {
	Position(ctx context.Context) (mysqlctl.Position, error)
	Transactions(ctx context.Context, start, end mysqlctl.Position, limit int) ([]mysqlctl.Transaction, error)
	GTIDs(ctx context.Context) (string, error) // "" where GTIDs don't tell what was committed
}

// Peers are the servers of the other hosts.
type Peers interface {
	// Source returns the host that a server with this state replicates from, without asking anybody. ok is false where
	// the source is not known to be a host of the configuration.
	Source(r mysqlctl.Replica) (name string, server Remote, ok bool)
	ByName(name string) (ip string, server Remote, ok bool)
	// Addresses are those that the text of a source's address stands for, without asking anybody: itself, or those to
	// which the name was last found to resolve.
	Addresses(source string) []netip.Addr
	Names() []string
}

// unheardTimeout is used instead of PeerTimeout for the server of a former writer whose agent has not said that it has
// given the role up, or says that its server does not run: that server will hardly answer, and clients are waiting.
const unheardTimeout = 250 * time.Millisecond

// catchUpTimeout bounds one attempt to catch up.
const catchUpTimeout = 10 * time.Minute

// catchUp brings a server that is about to be opened for writes up to date with the former writer.
type catchUp struct {
	self     string
	local    Following
	own      OwnLog
	peers    Peers
	sources  func(string) (Source, bool)
	embargo  *embargo
	patience time.Duration // bounds the fetching of what others have received ("catch_up_timeout")
	log      *slog.Logger

	stopping *sync.WaitGroup // attempts to stop receiving, which may go on after run has returned
	appliers Appliers        // nil: nobody can tell whether they are at work
	dumps    Dumps           // nil: the connections by which a former writer replicates from here are left alone
	// connections ends this host's TCP connections to an address; nil: they are left alone.
	connections func(ctx context.Context, to netip.AddrPort) (int, error)
	progress    *atomic.Pointer[string] // what run waits for, for people; "" for nothing
}

// run waits until the local server has executed all that the former writer wrote or, where that one's server does not
// answer, all that this host and others have received of it (docs/replication.md). It returns the places in both logs
// at which this host takes over. Under a forced order it does not wait: what has not been executed is lost, and a FATAL
// line says so.
func (c catchUp) run(ctx context.Context, o cluster.Order) (cluster.Switch, error) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	defer c.say("")
	sw := cluster.Switch{To: c.self}
	replica, err := c.local.Replica(ctx)
	if err == nil && c.strayed(replica, o) {
		if err := c.aimBack(ctx, c.embargo.get().Host); err != nil {
			return sw, err
		}
		replica, err = c.local.Replica(ctx)
	}
	switch {
	case errors.Is(err, mysqlctl.ErrNotReplica) && o.Lacks && !o.Forced:
		return sw, cantConfirm(o.Switch.From, "this host replicates from nobody")
	case errors.Is(err, mysqlctl.ErrNotReplica):
		c.log.Warn("This host replicates from nobody: there is nothing to catch up with")
	case err != nil:
		return sw, err
	default:
		if sw.From, err = c.takesOverFrom(ctx, replica, o); err != nil {
			return sw, err
		}
		after, err := c.level(ctx, replica, sw.From, o)
		if err != nil {
			return sw, err
		}
		sw.After = after.String()
	}
	start, err := c.own.Position(ctx)
	if errors.Is(err, mysqlctl.ErrNoBinlog) {
		return sw, nil // a server without a binary log has no slaves that would need the place
	}
	if err != nil {
		return sw, err
	}
	sw.Start = start.String()
	return sw, nil
}

// takesOverFrom returns the name of the host that this one replicates from. A source that is no known host is taken for
// the former writer, so that nothing more comes in from it before the former writer's log has been looked at. Unless
// the order is forced, takesOverFrom fails where the former writer answers: this host could catch up with the wrong
// log.
func (c catchUp) takesOverFrom(ctx context.Context, r mysqlctl.Replica, o cluster.Order) (string, error) {
	if name, _, known := c.peers.Source(r); known {
		return name, nil
	}
	former := o.Switch.From
	if o.Switch.To != c.self || former == "" || former == c.self {
		return "", nil // nobody is known to have been the writer
	}
	if _, server, ok := c.peers.ByName(former); ok && !o.Forced {
		asking, cancel := context.WithTimeout(ctx, PeerTimeout)
		_, err := server.Position(asking)
		cancel()
		if ctx.Err() != nil {
			return "", ctx.Err()
		}
		if err == nil {
			return "",
				fmt.Errorf("%s: it can't be told whether this host has all of '%s' (move_role --force takes over all the same)",
					stranger(r), former)
		}
	}
	if o.Lacks && !o.Forced {
		return "", cantConfirm(former, stranger(r))
	}
	c.log.Log(ctx, levelFatal,
		fmt.Sprintf("Taking over from '%s', though %s: DATA LOSS of what '%s' has written and this host has not",
			former, stranger(r), former))
	return former, nil
}

// cantConfirm is why a host that is known to lack something is not opened: only the former writer has what is lacking,
// and it has not said how far its log goes.
func cantConfirm(former, why string) error {
	return fmt.Errorf("%s, and only '%s' has what this host lacks: this host is not opened before the server of '%s' has answered it (move_role --force opens it all the same)",
		why, former, former)
}

// stranger says that this server replicates from a source that is no known host.
func stranger(r mysqlctl.Replica) string {
	return fmt.Sprintf("this host replicates from %s:%d (server_id %d), no known host",
		mysqlctl.Printable(r.SourceHost), r.SourcePort, r.SourceID)
}

// level executes what this host can get of the source's log, and returns the position up to which it is executed. A
// source that does not answer is put under an embargo: nothing more of it comes in before the monitor trusts it again.
func (c catchUp) level(ctx context.Context, r mysqlctl.Replica, from string, o cluster.Order) (mysqlctl.Position,
	error) {
	if o.Forced {
		return c.force(ctx, r, from)
	}
	if old := c.tookOver(o, from); old.At != "" && r.IORunning == "No" {
		return c.again(ctx, r, old)
	}
	limit := PeerTimeout
	if o.Lacks {
		if from != o.Switch.From {
			return mysqlctl.Position{}, cantConfirm(o.Switch.From, fmt.Sprintf("this host replicates from '%s'", from))
		}
	} else if o.Lease > 0 && o.Switch.From == from && (o.Epoch.Gone != from || o.Down) {
		limit = unheardTimeout
	}
	var target mysqlctl.Position
	set, known := "", false
	if o.Cut && !o.Lacks && o.Switch.From == from {
		c.log.Warn(fmt.Sprintf("The server of '%s' can't be closed for writes, and no client reaches it: catching up with what was received", from))
		if err := c.quiet(ctx, quietMost); err != nil {
			return mysqlctl.Position{}, err
		}
	} else {
		var err error
		target, set, known, err = c.source(ctx, r, limit)
		if ctx.Err() != nil {
			return mysqlctl.Position{}, ctx.Err() // a newer order is no sign of the former writer's
		}
		gaveUp := o.Switch.From == from && o.Epoch.Gone == from && !o.Down
		sign := mysqlctl.SignOf(err)
		refused := gaveUp && sign.Alive() && sign != mysqlctl.Passing
		if refused && r.IORunning != "Yes" {
			return mysqlctl.Position{}, fmt.Errorf("the server of '%s' is alive, and does not say how far its log goes, "+
				"so what it has written may not be here yet: %w", from, err)
		}
		if refused { // all that it has written still comes in, as it sends it
			if err := c.quiet(ctx, catchUpTimeout); err != nil {
				return mysqlctl.Position{}, err
			}
		}
		if err != nil {
			c.log.Warn(fmt.Sprintf("Couldn't get the position of the former writer %s (%v): catching up with what was received",
				r.SourceHost, err))
		}
	}
	if known {
		if o.Switch.From == from { // any other source was no writer: all that it has came from another host
			if err := c.unbroken(ctx, r, from, target); err != nil {
				return mysqlctl.Position{}, err
			}
		}
		resumed, err := c.resume(ctx, from)
		if err == nil && !resumed {
			err = c.receives(ctx, r, from, target, o.Trust)
		}
		if err != nil {
			return mysqlctl.Position{}, err
		}
	}
	if known && set != "" && r.UsesGTID {
		c.say(fmt.Sprintf("Catching up with %s: executed up to %s, received up to %s, needed is %s", r.SourceHost,
			r.Executed, r.Received, target))
		return target, c.local.WaitGTIDs(ctx, set)
	} else if known {
		return c.wait(ctx, r, target)
	}
	if o.Lacks {
		return mysqlctl.Position{}, cantConfirm(from, fmt.Sprintf("the server of '%s' does not answer", from))
	}
	// The embargo has no position yet: that is known when all that was received has been executed (cutOff).
	if err := c.embargo.set(cluster.Embargo{Host: from}); err != nil {
		return mysqlctl.Position{}, err
	}
	c.unhook(ctx, from)
	if err := c.stopReceiving(ctx, c.connectionTo(from, r)); err != nil {
		return mysqlctl.Position{}, err
	}
	r, err := c.local.Replica(ctx)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	after, err := c.drain(ctx, from)
	if err != nil {
		return after, err
	}
	if after, err = c.fetch(ctx, r, from, after); err != nil {
		return after, err
	}
	return after, c.cutOff(ctx, from, after)
}

// catchesUp is how long a source may take to commit what it has sent already, while it waits for acknowledgements.
const catchesUp = time.Second

// unbroken fails where the source's log was begun anew since this host has read it. end, where the log ends, was asked
// after r was read. So only with a new log can this host be beyond end, or have transactions of the source's own that
// the source lacks.
func (c catchUp) unbroken(ctx context.Context, r mysqlctl.Replica, from string, end mysqlctl.Position) error {
	const reset = "that log was reset, and what was written to it since is not on this host: set this host up anew, or take over with move_role --force"
	for _, had := range []mysqlctl.Position{r.Received, r.Executed} {
		if had.IsZero() {
			continue
		}
		if cmp, err := had.Compare(end); err != nil || cmp > 0 {
			return fmt.Errorf("the binary log of '%s' ends at %s, and this host has read it up to %s: %s", from, end,
				had, reset)
		}
	}
	_, source, ok := c.peers.Source(r)
	if !ok || !r.UsesGTID {
		return nil
	}
	applied, err := c.local.Applied(ctx)
	if err != nil || applied == "" {
		return err
	}
	for deadline := time.Now().Add(catchesUp); ; {
		asking, cancel := context.WithTimeout(ctx, PeerTimeout)
		lost, err := source.Lost(asking, applied)
		cancel()
		switch {
		case err != nil || lost == "": // where Lost fails, the comparison of positions is enough
			return nil
		case !time.Now().Before(deadline):
			return fmt.Errorf("'%s' has lost its own transactions %s from its binary log: %s", from, shorten(lost),
				reset)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPause):
		}
	}
}

// tookOver returns up to where this host had executed the log of the former writer from when it took over from it
// before; the zero Embargo where it never did, or where its newest attempt was not finished. Where this host's own note
// is gone, the order tells: the monitor keeps the last takeover until another host is made the writer.
func (c catchUp) tookOver(o cluster.Order, from string) cluster.Embargo {
	if old := c.embargo.get(); old.Host == from && from != "" {
		return old
	}
	if sw := o.Switch; sw.To == c.self && sw.From == from && from != "" && sw.After != "" {
		return cluster.Embargo{Host: from, At: sw.After}
	}
	return cluster.Embargo{}
}

// again returns the place at which this host took over before, for a writer that is opened anew, say after a restart of
// its server. It does not wait for the end of the former writer's log, because nothing of that log comes in before it
// has been looked at. What the restarted server received before its replication could be stopped is executed.
func (c catchUp) again(ctx context.Context, r mysqlctl.Replica, took cluster.Embargo) (mysqlctl.Position, error) {
	if !r.Executed.IsZero() && r.Executed.String() != took.At {
		if _, err := c.drain(ctx, took.Host); err != nil {
			return mysqlctl.Position{}, err
		}
	}
	return mysqlctl.ParsePosition(took.At)
}

// resume lets replication from a source go on: an earlier attempt to take over had given the source up, and it answers
// again. resumed is false where there was no such attempt.
func (c catchUp) resume(ctx context.Context, from string) (resumed bool, err error) {
	if e := c.embargo.get(); e.Host == "" || e.Host != from || e.At != "" {
		return false, nil
	}
	if err := c.local.StartReplication(ctx); err != nil {
		return false, err
	}
	return true, c.embargo.set(cluster.Embargo{})
}

// receives sees to it that the log up to target can come in. Where the I/O thread is stopped, an earlier agent may have
// stopped it, and its note of that may be lost: the thread is started if the monitor trusts the source's log. Else an
// operator has stopped it and knows why: then receives fails.
func (c catchUp) receives(ctx context.Context, r mysqlctl.Replica, from string, target mysqlctl.Position,
	trust string) error {
	if here, err := reached(r.Received, target); err != nil || here || r.IORunning != "No" ||
		c.embargo.get().Host == from {
		return err
	}
	if cluster.TrustsHost(trust, from) {
		c.log.Warn(fmt.Sprintf("Nothing is received from '%s', which has been looked at, and more of it is needed: receiving again", from))
		return c.local.StartReplication(ctx)
	}
	return fmt.Errorf("receive up to %s of '%s': %w: the I/O thread is stopped at %s: START SLAVE IO_THREAD, or take over with move_role --force",
		target, from, mysqlctl.ErrNotReplicating, r.Received)
}

// cutOff puts the former writer from under an embargo: nothing beyond the place at in its log is replicated.
func (c catchUp) cutOff(ctx context.Context, from string, at mysqlctl.Position) error {
	if from == "" || at.IsZero() { // nothing was ever received from it
		_, err := c.resume(ctx, from)
		return err
	}
	if err := c.embargo.set(cluster.Embargo{Host: from, At: at.String()}); err != nil {
		return fmt.Errorf("note that nothing more is replicated from '%s': %w", from, err)
	}
	c.log.Info(fmt.Sprintf("Nothing of host '%s' beyond %s is replicated until its log has been looked at", from, at))
	return nil
}

// force stops the replication at once, and takes over at the place that this server has executed by then.
func (c catchUp) force(ctx context.Context, r mysqlctl.Replica, from string) (mysqlctl.Position, error) {
	if err := c.local.StopReplication(ctx); err != nil {
		return mysqlctl.Position{}, err
	}
	r, err := c.local.Replica(ctx)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	if done, err := reached(r.Executed, r.Received); err != nil || !done {
		c.log.Log(ctx, levelFatal,
			fmt.Sprintf("Opened by force at %s of '%s', though %s has been received: DATA LOSS of what is between",
				r.Executed, from, r.Received))
	}
	return r.Executed, c.cutOff(ctx, from, r.Executed)
}

// wait waits until the source's log has been executed up to target, and up to all that has been received by then. It
// returns that position.
func (c catchUp) wait(ctx context.Context, r mysqlctl.Replica, target mysqlctl.Position) (mysqlctl.Position, error) {
	for {
		if done, err := reached(r.Executed, target); err != nil {
			return target, err
		} else if !done {
			c.say(fmt.Sprintf("Catching up with %s: executed up to %s, received up to %s, needed is %s", r.SourceHost,
				r.Executed, r.Received, target))
			if err := c.local.WaitExecuted(ctx, target); err != nil {
				return target, fmt.Errorf("wait for %s of %s: %w", target, r.SourceHost, err)
			}
		}
		next, err := c.local.Replica(ctx)
		if err != nil {
			return target, err
		}
		// More may have been received meanwhile.
		if done, err := reached(next.Executed, next.Received); err != nil {
			return target, err
		} else if done {
			return next.Executed, nil
		}
		r, target = next, next.Received
	}
}

func (c catchUp) say(text string) {
	if c.progress != nil {
		c.progress.Store(&text)
	}
}

// source asks the source for the end of its log, and for the GTIDs that it has committed ("" where they don't tell).
// known is false where the source is no known host, and after an error.
func (c catchUp) source(ctx context.Context, r mysqlctl.Replica, limit time.Duration) (end mysqlctl.Position,
	set string, known bool, err error) {
	_, source, ok := c.peers.Source(r)
	if !ok {
		return mysqlctl.Position{}, "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if end, err = source.Position(ctx); err != nil {
		return mysqlctl.Position{}, "", false, err
	}
	if set, err = source.GTIDs(ctx); err != nil {
		set = "" // the position is enough
	}
	return end, set, true, nil
}

// reached says whether executed is at or past target. The zero target is always reached.
func reached(executed, target mysqlctl.Position) (bool, error) {
	if target.IsZero() {
		return true, nil
	}
	if executed.IsZero() {
		return false, nil
	}
	c, err := executed.Compare(target)
	return c >= 0, err
}
