package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// Following is the local server's replication, as far as steering it goes.
type Following interface {
	Replicating
	Steering
}

// Source is how to replicate from a host of the cluster.
type Source struct {
	Host           string // its address
	Port           int
	User, Password string
}

// follower keeps the local replication as ordered: stopped while ADMIN_OFFLINE, and on a slave pointed at the active
// master. It works apart from addresses and writes, which never wait for it.
type follower struct {
	site    Site
	local   Following
	own     OwnLog
	peers   Peers
	sources func(host string) (Source, bool)
	embargo *embargo
	log     *slog.Logger

	wanted chan wish                     // one slot; the newest wins
	status atomic.Pointer[string]        // what is wrong at the moment; "" for nothing
	audit  atomic.Pointer[cluster.Audit] // what was found in the own log
	looked time.Time                     // when; of the attempts alone, one at a time, as the next two
	end    mysqlctl.Position             // of the own log at that time
	halted bool                          // an attempt to repoint ended before replication ran again
}

// wish is what an order wants of the replication. tried is closed once it has been attempted or given up for a newer one.
type wish struct {
	order wire.Order
	tried chan struct{}
}

// errNotYet: the new writer has yet to say where in its log it took over. It will, with the next order.
var errNotYet = errors.New("the new writer has not yet taken over")

// tryTimeout bounds one attempt to change the active master. A slave with much left to execute gets as many as it needs.
const tryTimeout = 10 * time.Second

func newFollower(c Config, e *embargo) *follower {
	f := &follower{site: c.Site, local: c.Local, own: c.Local, peers: c.Peers, sources: c.Sources, embargo: e, log: c.Log, wanted: make(chan wish, 1)}
	none := ""
	f.status.Store(&none)
	f.audit.Store(&cluster.Audit{})
	return f
}

// want hands over the newest order; only one goroutine may call it. The channel it returns is closed when it has been tried.
func (f *follower) want(o wire.Order) <-chan struct{} {
	w := wish{order: o, tried: make(chan struct{})}
	select {
	case old := <-f.wanted:
		close(old.tried)
	default:
	}
	f.wanted <- w
	return w.tried
}

func (f *follower) problem() string { return *f.status.Load() }

// Run tries each wish until a newer one comes.
func (f *follower) Run(ctx context.Context) error {
	last := cluster.Unknown
	var now wish
	select {
	case now = <-f.wanted:
	case <-ctx.Done():
		return nil
	}
	for {
		attempt, cancel := context.WithTimeout(ctx, tryTimeout)
		done := make(chan error, 1)
		go func() { done <- f.try(attempt, now.order, last) }()
		next, newer, err := f.await(ctx, now, done)
		cancel()
		if newer && err == nil {
			err = <-done // it was given up for another order; it must have ended before that one is tried
		}
		f.note(now.order, err, newer)
		close(now.tried)
		if err == nil {
			last = now.order.State
		}
		if !newer {
			select {
			case next = <-f.wanted:
			case <-ctx.Done():
				return nil
			}
		}
		if ctx.Err() != nil {
			close(next.tried)
			return nil
		}
		now = next
	}
}

// await waits for the attempt. An order that wants the same does not disturb it; a different one ends the wait.
func (f *follower) await(ctx context.Context, now wish, done <-chan error) (next wish, newer bool, err error) {
	var same []wish
	defer func() {
		for _, w := range same {
			close(w.tried)
		}
	}()
	for {
		select {
		case err := <-done:
			return wish{}, false, err
		case w := <-f.wanted:
			if !sameFollowing(w.order, now.order) {
				return w, true, nil
			}
			same = append(same, w)
		case <-ctx.Done():
			<-done
			return wish{}, false, ctx.Err()
		}
	}
}

func sameFollowing(a, b wire.Order) bool {
	return a.State == b.State && a.Master == b.Master && a.Switch == b.Switch && a.Left == b.Left && a.Trust == b.Trust
}

// note keeps and logs what went wrong, once for each new text.
func (f *follower) note(o wire.Order, err error, newer bool) {
	text := ""
	if err != nil && !newer && !errors.Is(err, errNotYet) {
		text = fmt.Sprintf("Couldn't change active master to '%s': %v", o.Master, err)
		if o.Master == "" || !f.site.Slave {
			text = fmt.Sprintf("Couldn't set replication as %s needs it: %v", o.State, err)
		}
	}
	if text != "" && text != f.problem() {
		f.log.Log(context.Background(), levelFatal, text)
	}
	f.status.Store(&text)
}

// try makes the replication what the order wants.
func (f *follower) try(ctx context.Context, o wire.Order, last cluster.HostState) error {
	if err := f.lookBack(ctx, o); err != nil {
		return err
	}
	if err := f.keepAway(ctx, o); err != nil {
		return err
	}
	if f.halted && o.State != cluster.AdminOffline { // whatever the state: a slave that stands still may be in no other for it
		if err := f.goOn(ctx); err != nil {
			return err
		}
	}
	if f.site.Slave && o.State == cluster.Online && o.Master != "" {
		if err := f.repoint(ctx, o); err != nil {
			return err
		}
	}
	switch {
	case o.State == cluster.AdminOffline && last != cluster.AdminOffline:
		return ignoreNotReplica(f.local.StopReplication(ctx))
	case o.State != cluster.AdminOffline && last == cluster.AdminOffline && f.embargo.get().Host == "":
		return ignoreNotReplica(f.local.StartReplication(ctx))
	}
	return nil
}

// lookAgain: a server that was not in order may have been set up anew, under the same agent, in a way that its log does not show.
const lookAgain = time.Minute

// lookBack audits this server's own log for each place that the monitor names. Where something was found it looks again: at once when
// the log ends before where it did, as that of a server that was set up anew.
func (f *follower) lookBack(ctx context.Context, o wire.Order) error {
	last := f.audit.Load()
	if o.Left == "" || last.At == o.Left && last.Finding == "" {
		return nil
	}
	found, err := f.look(ctx, o.Left, last)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil // it does not run yet
	}
	if err != nil {
		return fmt.Errorf("look for transactions that only this host has: %w", err)
	}
	f.audit.Store(&found)
	if found.Finding != "" && found.Finding != last.Finding {
		f.log.Log(ctx, levelFatal, "This host was the writer, and "+found.Finding)
	}
	return nil
}

// look returns what it found last where that still holds: to read the log takes long on a busy server.
func (f *follower) look(ctx context.Context, left string, last *cluster.Audit) (cluster.Audit, error) {
	end, err := f.own.Position(ctx)
	if err != nil {
		return cluster.Audit{}, err
	}
	c, err := end.Compare(f.end)
	if last.At == left && err == nil && c >= 0 && time.Since(f.looked) < lookAgain {
		f.end = end
		return *last, nil
	}
	found, err := audit(ctx, f.own, left)
	if err == nil {
		f.end, f.looked = end, time.Now()
	}
	return found, err
}

// keepAway sees to it that nothing comes in from a former writer before the monitor trusts it, and everything afterwards.
func (f *follower) keepAway(ctx context.Context, o wire.Order) error {
	e := f.embargo.get()
	if e.Host == "" || !o.Extended {
		return nil
	}
	replica, err := f.local.Replica(ctx)
	if err != nil && !errors.Is(err, mysqlctl.ErrNotReplica) {
		return err
	}
	source, _, _ := f.peers.ByIP(replica.SourceHost)
	trusted := cluster.Trusts(o.Trust, e)
	if e.At == "" {
		if f.site.writer(o.Roles) {
			return nil // it is being taken over from
		}
		trusted = true // that has come to nothing
	}
	switch {
	case trusted && source == e.Host && o.State != cluster.AdminOffline:
		if err := f.reaches(ctx, replica); err != nil {
			return err
		}
		if err := f.local.StartReplication(ctx); err != nil {
			return err
		}
		f.log.Info(fmt.Sprintf("Host '%s' has been looked at: replicating from it again", e.Host))
		return f.embargo.set(cluster.Embargo{})
	case trusted && source != e.Host:
		return f.embargo.set(cluster.Embargo{})
	case source == e.Host && replica.IORunning != "No":
		f.log.Warn(fmt.Sprintf("Replication from host '%s' was started, which has not been looked at yet: stopping it", e.Host))
		return f.local.StopReceiving(ctx)
	}
	return nil
}

// reaches looks whether the source's log still goes to where this server has read it. It does not where the source has been set up anew: to
// go on at that place would break at best, and else begin anywhere in the new log. MySQL's GTIDs find the place in any log.
func (f *follower) reaches(ctx context.Context, r mysqlctl.Replica) error {
	name, source, known := f.peers.ByIP(r.SourceHost)
	if !known || r.Received.IsZero() {
		return nil
	}
	if set, err := source.GTIDs(ctx); err != nil || r.UsesGTID && set != "" {
		return err
	}
	end, err := source.Position(ctx)
	if err != nil {
		return err
	}
	if c, err := end.Compare(r.Received); err == nil && c >= 0 {
		return nil
	}
	return fmt.Errorf("host '%s' has a new binary log, which ends at %s, and this host has read the former one up to %s: tell it where to go on in the new one (CHANGE MASTER TO)",
		name, end, r.Received)
}

func ignoreNotReplica(err error) error {
	if errors.Is(err, mysqlctl.ErrNotReplica) {
		return nil
	}
	return err
}

// repoint makes this slave follow the active master, exactly or not at all: it never skips or repeats a transaction.
func (f *follower) repoint(ctx context.Context, o wire.Order) error {
	src, ok := f.sources(o.Master)
	if !ok {
		return fmt.Errorf("host '%s' is not in this host's configuration", o.Master)
	}
	replica, err := f.local.Replica(ctx)
	if err != nil {
		return err
	}
	if replica.SourceHost == src.Host {
		return nil
	}
	sw := o.Switch
	known := o.Extended && sw.To == o.Master && sw.Start != ""
	if o.Extended && sw.To == o.Master && sw.From != "" && sw.Start == "" {
		return errNotYet
	}
	if f.problem() == "" {
		f.log.Info(fmt.Sprintf("Changing active master to '%s'", o.Master))
	}
	from, _, _ := f.peers.ByIP(replica.SourceHost)
	var start mysqlctl.Position
	switch {
	case replica.UsesGTID:
		err = f.settle(ctx, replica, sw, known && sw.From == from)
	case known && sw.From == from:
		start, err = f.atSwitch(ctx, sw)
	default:
		start, err = f.atRest(ctx, replica, o.Master)
	}
	if err != nil {
		return err
	}
	err = f.local.Repoint(ctx, mysqlctl.Source{Host: src.Host, Port: src.Port, User: src.User, Password: src.Password, Start: start, GTID: replica.UsesGTID})
	f.halted = err != nil
	return err
}

// settle executes what has been received, and refuses where this slave is ahead of the new writer: GTIDs find the
// place for one that is level or behind.
func (f *follower) settle(ctx context.Context, r mysqlctl.Replica, sw cluster.Switch, known bool) error {
	if !r.Received.IsZero() {
		if err := f.local.WaitExecuted(ctx, r.Received); err != nil {
			return fmt.Errorf("execute what was received: %w", err)
		}
	}
	if !known {
		return nil
	}
	after, err := mysqlctl.ParsePosition(sw.After)
	if err != nil {
		return nil // the new writer had executed nothing of the old one: nothing to be ahead of
	}
	r, err = f.local.Replica(ctx)
	if err != nil {
		return err
	}
	if c, err := r.Executed.Compare(after); err == nil && c > 0 && !f.answers(ctx, r.SourceHost) {
		return ahead(r.Executed, sw)
	}
	return nil
}

// answers says whether the old writer is alive. Then its log goes on with what the new writer writes, and to be further in it means
// nothing; should this slave have more than the new writer after all, the GTIDs will say so.
func (f *follower) answers(ctx context.Context, ip string) bool {
	_, old, known := f.peers.ByIP(ip)
	if !known {
		return false
	}
	_, err := old.Position(ctx)
	return err == nil
}

// atSwitch brings this slave to where the new writer took over: the same place in the old writer's log.
func (f *follower) atSwitch(ctx context.Context, sw cluster.Switch) (mysqlctl.Position, error) {
	after, err := mysqlctl.ParsePosition(sw.After)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("where %s took over: %w", sw.To, err)
	}
	start, err := mysqlctl.ParsePosition(sw.Start)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("where %s took over: %w", sw.To, err)
	}
	if err := f.local.WaitExecuted(ctx, after); err != nil {
		return mysqlctl.Position{}, fmt.Errorf("execute what the new writer had executed of %s (%s): %w", sw.From, after, err)
	}
	err = f.stopAt(ctx, after, func(executed mysqlctl.Position) error {
		var err error
		start, err = f.translate(ctx, sw, place{old: after, new: start}, executed)
		return err
	})
	return start, err
}

// mostBeyond is how many transactions a slave that hears late may be beyond the place where the new writer took over: half a
// minute of a busy one.
const mostBeyond = 100_000

// translate finds the place in the new writer's log for a slave that has executed more of the old writer's than there was when the
// new one took over. Where that is what the new writer has written since, and the old one replicates, its logs tell.
func (f *follower) translate(ctx context.Context, sw cluster.Switch, took place, executed mysqlctl.Position) (mysqlctl.Position, error) {
	_, from, okFrom := f.peers.ByName(sw.From)
	_, to, okTo := f.peers.ByName(sw.To)
	if !okFrom || !okTo {
		return mysqlctl.Position{}, ahead(executed, sw)
	}
	was, err := from.Transactions(ctx, took.old, executed, mostBeyond)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("%w (looked what they are: %w)", ahead(executed, sw), err)
	}
	if len(was) == 0 || len(was) == mostBeyond {
		return mysqlctl.Position{}, fmt.Errorf("%w (found %d transactions)", ahead(executed, sw), len(was))
	}
	end, err := to.Position(ctx)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	now, err := to.Transactions(ctx, took.new, end, len(was)+1)
	if err != nil {
		return mysqlctl.Position{}, err
	}
	start, err := mysqlctl.Translate(was, now, end)
	if err != nil {
		return mysqlctl.Position{}, fmt.Errorf("%w: %w", ahead(executed, sw), err)
	}
	return start, nil
}

func ahead(executed mysqlctl.Position, sw cluster.Switch) error {
	return fmt.Errorf("this slave has executed %s of %s, the new writer only %s when it took over: it has transactions that '%s' lacks and must be set up anew",
		executed, sw.From, sw.After, sw.To)
}

// stopAt stops the replication. Where it does not stand at p, elsewhere decides: after an error it goes on as before.
func (f *follower) stopAt(ctx context.Context, p mysqlctl.Position, elsewhere func(mysqlctl.Position) error) error {
	if err := f.local.StopReplication(ctx); err != nil {
		f.halted = true
		return err
	}
	r, err := f.local.Replica(ctx)
	if err == nil && r.Executed != p && r.PlaceGone() {
		// It stays stopped. Started again it would go on at that place in a log that is another one, as soon as that one is long enough.
		return fmt.Errorf("the log of %s does not go up to %s any more, to which this slave has executed it: it must be set up anew (%s)", r.SourceHost, r.Executed, r.IOError)
	}
	if err == nil && r.Executed != p {
		err = elsewhere(r.Executed)
	}
	if err != nil {
		return errors.Join(err, f.goOn(ctx))
	}
	return nil
}

// goOn starts the replication again that an attempt has left stopped, and right: a newer order has ended it half-way, or it has failed.
func (f *follower) goOn(ctx context.Context) error {
	err := f.local.StartReplication(context.WithoutCancel(ctx))
	f.halted = err != nil
	return err
}
