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

// Replicating is the local server's replication, as far as looking on goes.
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
	GTIDs(ctx context.Context) (string, error) // "" where they don't tell
}

// Peers are the servers of the other hosts.
type Peers interface {
	// Source says whom a server replicates from, without asking anybody; ok is false where that is no configured host,
	// as far as is known.
	Source(r mysqlctl.Replica) (name string, server Remote, ok bool)
	ByName(name string) (ip string, server Remote, ok bool)
	Names() []string
}

// unheardTimeout is the PeerTimeout of a server whose agent could not even say that it has given the role up.
const unheardTimeout = 250 * time.Millisecond

// catchUpTimeout bounds one attempt to catch up.
const catchUpTimeout = 10 * time.Minute

// catchUp brings a server that is about to be opened up to date with the old master.
type catchUp struct {
	self     string
	local    Following
	own      OwnLog
	peers    Peers
	sources  func(string) (Source, bool)
	embargo  *embargo
	patience time.Duration // for fetching what others have received ("catch_up_timeout")
	log      *slog.Logger

	stopping *sync.WaitGroup // what still goes on when run has returned
	dumps    Dumps           // nil: they are left alone
	// connections ends this host's TCP connections to an address; nil: they end by themselves.
	connections func(ctx context.Context, to netip.AddrPort) (int, error)
	progress    *atomic.Pointer[string] // what is waited for, for people; "" for nothing
}

// run waits until the local server has executed all that the old master wrote, or all that it and others have received
// where the old master does not answer (docs/replication.md). It returns where it took over. Forced,
// it does not wait for what is not executed: that is lost, and said.
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
		return sw, wordless(o.Switch.From, "this host replicates from nobody")
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
		return sw, nil // it can have no slaves
	}
	if err != nil {
		return sw, err
	}
	sw.Start = start.String()
	return sw, nil
}

// takesOverFrom names the host that this one replicates from. Where that can't be told, what comes from there counts as
// that of the writer before, if this host takes over without its word: then nothing more of it comes in before that
// one's log has been looked at. While the writer before answers it could be the wrong log that is caught up with.
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
		if err == nil {
			return "",
				fmt.Errorf("%s: it can't be told whether it has all of '%s' (move_role --force takes over all the same)",
					stranger(r), former)
		}
	}
	if o.Lacks && !o.Forced {
		return "", wordless(former, stranger(r))
	}
	c.log.Log(ctx, levelFatal,
		fmt.Sprintf("Taking over from '%s', though %s: DATA LOSS of what '%s' has written and this host has not",
			former, stranger(r), former))
	return former, nil
}

// wordless is why a host that is known to lack something is not opened: only the writer before it has that, and can say
// up to where it goes.
func wordless(former, why string) error {
	return fmt.Errorf("%s, and only '%s' has what this host lacks: it is not opened before that has answered it (move_role --force opens it all the same)",
		why, former)
}

// stranger says that it is not known whom a server replicates from.
func stranger(r mysqlctl.Replica) string {
	return fmt.Sprintf("this host replicates from %s:%d (server_id %d), no known host",
		mysqlctl.Printable(r.SourceHost), r.SourcePort, r.SourceID)
}

// level returns the position in the source's log up to which all has been executed. A source that does not answer is
// cut off for good: nothing more of it comes in before the monitor trusts it again.
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
			return mysqlctl.Position{}, wordless(o.Switch.From, fmt.Sprintf("this host replicates from '%s'", from))
		}
	} else if o.Lease > 0 && o.Switch.From == from && (o.Epoch.Gone != from || o.Down) {
		limit = unheardTimeout
	}
	var target mysqlctl.Position
	set, known := "", false
	if o.Cut && !o.Lacks && o.Switch.From == from {
		c.log.Warn(fmt.Sprintf("The server of '%s' can't be closed for writes, and no client reaches it: catching up with what was received", from))
		if err := c.quiet(ctx); err != nil {
			return mysqlctl.Position{}, err
		}
	} else {
		target, set, known = c.source(ctx, r, limit)
	}
	if known {
		if o.Switch.From == from { // else it was no writer, and has nothing that was not somebody else's first
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
		return mysqlctl.Position{}, wordless(from, fmt.Sprintf("the server of '%s' does not answer", from))
	}
	// it is known where from when all that came has been executed
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

// catchesUp is how long a source may take to commit what it has sent already: it waits for acknowledgements.
const catchesUp = time.Second

// unbroken refuses a source whose log does not go on from what this host has of it. Where it ends was asked after
// what was received: to be beyond that end, or to have transactions of the source's own that it has not, is possible
// only if the log was begun anew.
func (c catchUp) unbroken(ctx context.Context, r mysqlctl.Replica, from string, end mysqlctl.Position) error {
	const reset = "it was reset, and what it has been given since is not here: set this host up anew, or take over with move_role --force"
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
		case err != nil || lost == "": // an error: its position is enough
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

// tookOver says up to where this host had followed a former writer when it took over from it; zero: it has not. The
// monitor knows it too: what it was told is forgotten as soon as anybody else is made the writer.
func (c catchUp) tookOver(o cluster.Order, from string) cluster.Embargo {
	if old := c.embargo.get(); old.Host == from && from != "" && old.At != "" {
		return old
	}
	if sw := o.Switch; sw.To == c.self && sw.From == from && from != "" && sw.After != "" {
		return cluster.Embargo{Host: from, At: sw.After}
	}
	return cluster.Embargo{}
}

// again returns where this host took over before, in the same way: it is opened anew, after a restart perhaps. Nothing
// of the old writer comes in any more before that has been looked at, so that its end is not waited for. What came in
// at a restart of the server, before it could be stopped, is executed.
func (c catchUp) again(ctx context.Context, r mysqlctl.Replica, took cluster.Embargo) (mysqlctl.Position, error) {
	if !r.Executed.IsZero() && r.Executed.String() != took.At {
		if _, err := c.drain(ctx, took.Host); err != nil {
			return mysqlctl.Position{}, err
		}
	}
	return mysqlctl.ParsePosition(took.At)
}

// resume lets replication from a source go on that an attempt before this one had given up, and that answers again.
func (c catchUp) resume(ctx context.Context, from string) (resumed bool, err error) {
	if e := c.embargo.get(); e.Host == "" || e.Host != from || e.At != "" {
		return false, nil
	}
	if err := c.local.StartReplication(ctx); err != nil {
		return false, err
	}
	return true, c.embargo.set(cluster.Embargo{})
}

// receives sees to it that what is waited for can come in. A former agent may have stopped the receiving, and its note
// of that may be lost: where the monitor has found the source's log to be in order, it goes on. Else somebody has
// stopped it who knows why.
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

// cutOff notes that nothing more is to be had from a former writer.
func (c catchUp) cutOff(ctx context.Context, from string, at mysqlctl.Position) error {
	if from == "" || at.IsZero() { // nothing was ever had from it
		_, err := c.resume(ctx, from)
		return err
	}
	if err := c.embargo.set(cluster.Embargo{Host: from, At: at.String()}); err != nil {
		return fmt.Errorf("note that nothing more is replicated from '%s': %w", from, err)
	}
	c.log.Info(fmt.Sprintf("Host '%s' does not answer: nothing beyond %s of it is replicated until it has been looked at", from, at))
	return nil
}

// force takes over from wherever this server stands.
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

// wait returns the position in the source's log up to which all that has been received has been executed, target at
// least.
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
		// More may have come in while it waited.
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

// unfinished is how long a replication has to stand still, with nothing to read, until what it has begun is given up:
// parallel workers report their progress only from time to time.
const unfinished = time.Second

// drain waits until all that was received has been executed, and returns up to where. The receiving has ended, perhaps
// in the middle of a transaction of which the rest will never come: that one is rolled back, as nobody has ever seen
// it.
func (c catchUp) drain(ctx context.Context, from string) (mysqlctl.Position, error) {
	var last mysqlctl.Position
	moved := time.Now()
	for {
		r, err := c.local.Replica(ctx)
		if err != nil {
			return last, err
		}
		done, err := reached(r.Executed, r.Received)
		if err != nil || done {
			return r.Executed, err
		}
		if r.SQLRunning != "Yes" {
			return last,
				fmt.Errorf("execute what was received of '%s': executed up to %s, received up to %s: %w: SQL thread: %s %s",
					from, r.Executed, r.Received, mysqlctl.ErrNotReplicating, r.SQLRunning, r.SQLError)
		}
		if r.Executed != last || !r.Drained {
			last, moved = r.Executed, time.Now()
		}
		if time.Since(moved) > unfinished {
			return c.breakOff(ctx, from)
		}
		c.say(fmt.Sprintf("Catching up with %s: executed up to %s, received up to %s", r.SourceHost, r.Executed,
			r.Received))
		select {
		case <-ctx.Done():
			return last, fmt.Errorf("execute what was received of '%s': %w", from, ctx.Err())
		case <-time.After(drainPause):
		}
	}
}

// breakOff ends the execution of what was received, and says up to where it came. What is only waiting to be committed,
// for an acknowledgement of the dead writer maybe, is committed by that: the place is the one afterwards.
func (c catchUp) breakOff(ctx context.Context, from string) (mysqlctl.Position, error) {
	if err := c.local.StopReplication(ctx); err != nil {
		return mysqlctl.Position{}, err
	}
	r, err := c.local.Replica(ctx)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	if done, err := reached(r.Executed, r.Received); err != nil || done {
		return r.Executed, err
	}
	c.log.Warn(fmt.Sprintf("The last transaction received of '%s' is not whole: executed up to %s, received up to %s",
		from, r.Executed, r.Received))
	return r.Executed, nil
}

const drainPause = 10 * time.Millisecond

// source asks the source for the end of its log, and what it has committed.
func (c catchUp) source(ctx context.Context, r mysqlctl.Replica, limit time.Duration) (end mysqlctl.Position,
	set string, known bool) {
	_, source, ok := c.peers.Source(r)
	if !ok {
		return mysqlctl.Position{}, "", false
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	p, err := source.Position(ctx)
	if err != nil {
		c.log.Warn(fmt.Sprintf("Couldn't get the position of the old master %s (%v): catching up with what was received", r.SourceHost, err))
		return mysqlctl.Position{}, "", false
	}
	if set, err = source.GTIDs(ctx); err != nil {
		set = "" // the position is enough
	}
	return p, set, true
}

// reached says whether executed is at or past target. Nothing to reach is reached.
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
