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

// Following is the local server's replication, to read and to change.
type Following interface {
	Replicating
	Steering
	Applied(ctx context.Context) (string, error)
	// CheckSource says why the server would refuse to replicate from s, as far as that can be told without trying.
	CheckSource(ctx context.Context, s mysqlctl.Source) error
}

// Source is how to replicate from a host of the cluster.
type Source struct {
	Host           string // its address
	Port           int
	User, Password string
}

// byGTID is the source for a replica that finds its place by GTID.
func (s Source) byGTID() mysqlctl.Source {
	return mysqlctl.Source{Host: s.Host, Port: s.Port, User: s.User, Password: s.Password, GTID: true}
}

// follower keeps the local replication as ordered: stopped while the host is ADMIN_OFFLINE, and on a slave pointed at
// the writer. It works in a goroutine of its own, so that addresses and writes never wait for it.
type follower struct {
	slave     bool
	writer    func(o cluster.Order) bool
	addresses []netip.Addr // the addresses of the roles
	local     Following
	own       OwnLog
	peers     Peers
	sources   func(host string) (Source, bool)
	embargo   *embargo
	stopped   *stopped // only try uses it
	log       *slog.Logger

	wanted chan wish                      // one slot; the newest wins
	status atomic.Pointer[string]         // what is wrong at the moment; "" for nothing
	astray atomic.Bool                    // this slave was last found to have transactions that the writer lacks
	audit  atomic.Pointer[cluster.Audit]  // what was found in the own log
	across atomic.Pointer[cluster.Across] // what was found in the log of a former writer whose agent can't look

	// Only try uses these, and one attempt runs at a time.
	looked  time.Time         // when the own log was audited
	end     mysqlctl.Position // where the own log ended when try last looked
	crossed time.Time         // when the former writer's log was audited
	told    string            // the newest text of sayAcross
	anew    readTo            // this place is in a log that its host has begun anew since; zero: none is known
}

// wish is what an order wants of the replication. tried is closed once the wish has been attempted, or dropped for a
// newer one.
type wish struct {
	order cluster.Order
	tried chan struct{}
}

// errNotYet means that the new writer has yet to say at which place in its log it took over. A later order names the
// place.
var errNotYet = errors.New("the new writer has not yet taken over")

// tryTimeout bounds one attempt to carry an order out. A slave with much left to execute gets as many attempts as it
// needs, because orders are repeated.
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

// want hands over the newest order; only one goroutine may call it. The channel that it returns is closed when the
// order has been tried, or dropped for a newer one.
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

// Run tries the newest wish, once. It gives the attempt up when a wish comes that wants something else.
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
			err = <-done // the attempt was given up for a newer wish, and must end before that one is tried
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

// await waits until the attempt at now has ended. A wish that wants the same does not disturb it, and counts as tried
// with it; a wish that wants something else ends the wait and is returned as next.
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

// note keeps what went wrong, and logs it once for each new text.
func (f *follower) note(o cluster.Order, err error, newer bool) {
	text := ""
	if err != nil && !newer && !errors.Is(err, errNotYet) {
		what := fmt.Sprintf("Couldn't change active master to '%s': ", o.Master)
		if o.Master == "" || !f.slave {
			what = fmt.Sprintf("Couldn't set replication as %s needs it: ", o.State)
		}
		text = what + err.Error()
		if errors.Is(err, errAstray) && f.astray.Load() && strings.HasPrefix(f.problem(), what) {
			text = f.problem() // only the place in the text has changed, as replication goes on
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
	// This does not depend on the host's state: a slave may be in REPLICATION_FAIL because its agent has stopped the
	// replication. What an embargo has stopped is started when the embargo is lifted.
	if f.stopped.why != runs && o.State != cluster.AdminOffline && f.embargo.get().Host == "" {
		if err := f.goOn(ctx); err != nil {
			return err
		}
	}
	if f.slave && o.State == cluster.Online && o.Master != "" && !f.writer(o) { // as the writer it keeps its source
		if err := f.repoint(ctx, o); err != nil {
			return err
		}
	}
	if o.State == cluster.AdminOffline && last != cluster.AdminOffline {
		return ignoreNotReplica(f.rest(ctx))
	}
	return nil
}

// rest stops the replication while the host is ADMIN_OFFLINE. A replication that stands still already was stopped by an
// operator, who will start it again: it is left alone.
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
