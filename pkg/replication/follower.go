package replication

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
)

// Following is the local server's replication, as far as steering it goes.
type Following interface {
	Replicating
	Steering
	Applied(ctx context.Context) (string, error)
	// CheckSource says why the server would refuse to replicate from there, as far as that is known before.
	CheckSource(ctx context.Context, s mysqlctl.Source) error
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
	slave     bool
	writer    func(o cluster.Order) bool
	addresses []netip.Addr // the virtual ones
	local     Following
	own       OwnLog
	peers     Peers
	sources   func(host string) (Source, bool)
	embargo   *embargo
	stopped   *stopped // of the attempts alone, one at a time
	log       *slog.Logger

	wanted chan wish                     // one slot; the newest wins
	status atomic.Pointer[string]        // what is wrong at the moment; "" for nothing
	astray atomic.Bool                   // this slave has what the writer lacks, as far as was found
	audit  atomic.Pointer[cluster.Audit] // what was found in the own log
	looked time.Time                     // when; of the attempts alone, one at a time, as the next three
	end    mysqlctl.Position             // of the own log at that time
	told   string                        // what was last said of a former writer's log, under an original monitor

	across  atomic.Pointer[cluster.Across] // what was found in a former writer's log, whose agent can't look
	crossed time.Time                      // when; of the attempts alone
}

// wish is what an order wants of the replication. tried is closed once it has been attempted or given up for a newer
// one.
type wish struct {
	order cluster.Order
	tried chan struct{}
}

// errNotYet: the new writer has yet to say where in its log it took over. It will, with the next order.
var errNotYet = errors.New("the new writer has not yet taken over")

// tryTimeout bounds one attempt to change the active master. A slave with much left to execute gets as many as it
// needs.
const tryTimeout = 10 * time.Second

func newFollower(c Config, e *embargo, s *stopped) *follower {
	f := &follower{slave: c.Slave, writer: c.Writer, addresses: c.Addresses, local: c.Local, own: c.Local,
		peers: c.Peers, sources: c.Sources, embargo: e, stopped: s, log: c.Log, wanted: make(chan wish, 1)}
	none := ""
	f.status.Store(&none)
	f.audit.Store(&cluster.Audit{})
	f.across.Store(&cluster.Across{})
	return f
}

// want hands over the newest order; only one goroutine may call it. The channel it returns is closed when it has been
// tried.
func (f *follower) want(o cluster.Order) <-chan struct{} {
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

func sameFollowing(a, b cluster.Order) bool {
	return a.State == b.State && a.Master == b.Master && a.Switch == b.Switch &&
		a.Left == b.Left && a.Trust == b.Trust && a.Across == b.Across
}

// note keeps and logs what went wrong, once for each new text.
func (f *follower) note(o cluster.Order, err error, newer bool) {
	text := ""
	if err != nil && !newer && !errors.Is(err, errNotYet) {
		what := fmt.Sprintf("Couldn't change active master to '%s': ", o.Master)
		if o.Master == "" || !f.slave {
			what = fmt.Sprintf("Couldn't set replication as %s needs it: ", o.State)
		}
		text = what + err.Error()
		if errors.Is(err, errAstray) && f.astray.Load() && strings.HasPrefix(f.problem(), what) {
			text = f.problem() // it goes on as before, and so does its place; what there is to do does not change
		}
	}
	if text != "" && text != f.problem() {
		f.log.Log(context.Background(), levelFatal, text)
	}
	f.status.Store(&text)
	switch {
	case errors.Is(err, errAstray):
		f.astray.Store(true)
	case err == nil && !newer:
		f.astray.Store(false)
	}
}

// try makes the replication what the order wants.
func (f *follower) try(ctx context.Context, o cluster.Order, last cluster.HostState) error {
	if err := f.lookBack(ctx, o); err != nil {
		return err
	}
	if err := f.keepAway(ctx, o); err != nil {
		return err
	}
	// Whatever the state: a slave that stands still may be in no other for it. What an embargo has stopped is started
	// when that is lifted.
	if f.stopped.why != runs && o.State != cluster.AdminOffline && f.embargo.get().Host == "" {
		if err := f.goOn(ctx); err != nil {
			return err
		}
	}
	if f.slave && o.State == cluster.Online && o.Master != "" && !f.writer(o) { // as the writer it follows nobody new
		if err := f.repoint(ctx, o); err != nil {
			return err
		}
	}
	if o.State == cluster.AdminOffline && last != cluster.AdminOffline {
		return ignoreNotReplica(f.rest(ctx))
	}
	return nil
}

// rest stops the replication while the host is ADMIN_OFFLINE. What stands still already an operator has stopped, who
// will start it again.
func (f *follower) rest(ctx context.Context) error {
	if f.stopped.why == runs {
		r, err := f.local.Replica(ctx)
		if err != nil || r.IORunning == "No" && r.SQLRunning == "No" {
			return err
		}
		return f.halt(ctx, offline, "the host is ADMIN_OFFLINE")
	}
	return f.local.StopReplication(ctx)
}

// halt notes that this agent stops the replication, and why, and stops it.
func (f *follower) halt(ctx context.Context, why stopReason, text string) error {
	if err := f.stopped.set(why, "mmm_agentd has stopped the replication: "+text); err != nil {
		return err
	}
	return f.local.StopReplication(ctx)
}

func ignoreNotReplica(err error) error {
	if errors.Is(err, mysqlctl.ErrNotReplica) {
		return nil
	}
	return err
}
