package bubble

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
)

// dialect is how replicas find their place in a source's log: by position, or by the GTIDs of MariaDB or of MySQL.
type dialect uint8

const (
	positions dialect = iota
	mariaGTID
	mysqlGTID
)

// replica is the replication of one server. It is used with the world locked.
type replica struct {
	source       string    // name of the host; "": the server is no replica
	io, sql      bool      // the threads have been started
	connected    bool      // the I/O thread is connected to the source
	retry        time.Time // when it tries to connect again
	heard        time.Time // when the source last answered
	ioError      string
	ioErrno      uint64
	sqlError     string
	byGTID       bool              // it has no place in the source's log yet, and finds it by GTID
	relay        []relayed         // what is received and not executed
	shed         []int             // writes that were in the relay log when the server died
	received     mysqlctl.Position // how far the source's log is received
	acknowledged mysqlctl.Position // how far the source knows that it is received
	executed     mysqlctl.Position // how far the source's log is executed
	life         int               // changes when what is on its way from the source must not arrive any more
	denied       bool              // the source refuses the replication account
	halted       bool              // a fault has stopped the I/O thread
	behind       time.Duration     // how late the SQL thread executes
}

// relayed is a transaction in the relay log.
type relayed struct {
	txn
	end mysqlctl.Position // its end in the source's log
	at  time.Time         // when it was received
}

func newReplica() replica { return replica{} }

// restart is what the start of the server does: it throws the relay log away, and receives what is not executed from
// the source again.
func (r *replica) restart() {
	r.life++
	for _, t := range r.relay {
		r.shed = append(r.shed, t.write)
	}
	r.relay, r.received, r.acknowledged = nil, r.executed, mysqlctl.Position{}
	r.connected, r.ioError, r.ioErrno, r.retry = false, "", 0, time.Time{}
	r.io, r.sql = r.source != "", r.source != "" && r.sqlError == ""
}

// disconnect ends the connection to the source.
func (r *replica) disconnect() {
	r.life++
	r.connected, r.acknowledged = false, mysqlctl.Position{}
}

const (
	connectRetry = time.Second     // MASTER_CONNECT_RETRY
	netTimeout   = 5 * time.Second // slave_net_timeout
)

// replicate runs the I/O thread and the SQL thread until ctx ends.
func (s *server) replicate(ctx context.Context) {
	w := s.h.w
	for {
		w.mu.Lock()
		wait := min(s.io(), s.sql())
		moved := s.moved
		w.mu.Unlock()
		if wait == 0 {
			continue
		}
		t := time.NewTimer(wait)
		select {
		case <-moved:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		t.Stop()
	}
}

// io does what the I/O thread can do now, and returns how long it need not look again unless something has changed.
func (s *server) io() time.Duration {
	const long = time.Hour
	w, r := s.h.w, &s.replica
	if !r.io || r.source == "" || s.health == down {
		return long
	}
	if !s.answering() {
		return 100 * time.Millisecond
	}
	from := w.host(r.source).server
	reached := w.network.both(s.h.name, from.h.name) && from.h.answers()
	switch {
	case reached && from.health == down:
		if r.connected {
			r.disconnect()
			r.retry = time.Now().Add(connectRetry)
			return connectRetry
		}
		r.ioError, r.ioErrno = "error connecting to master", 2003
		r.retry = time.Now().Add(connectRetry)
		return connectRetry
	case !reached || from.health != well:
		if r.connected && time.Since(r.heard) > netTimeout {
			r.disconnect()
		}
		return 500 * time.Millisecond
	case r.denied:
		r.disconnect()
		r.ioError, r.ioErrno = "Access denied for user 'replication'", 1045
		return time.Second
	case !r.connected && time.Until(r.retry) > 0:
		return time.Until(r.retry)
	}
	r.heard = time.Now()
	i, ok := from.log.index(r.received)
	if r.byGTID {
		i, ok = s.firstMissing(from), true
	}
	if !ok {
		r.disconnect()
		r.io, r.ioError, r.ioErrno = false, "Got fatal error 1236 from master when reading data from binary log", 1236
		w.note(s.h.name, "replication: %s (%s of %s)", r.ioError, r.received, r.source)
		return long
	}
	if !r.connected {
		r.connected, r.ioError, r.ioErrno = true, "", 0
		if r.relay == nil && r.byGTID && i == len(from.log.list) {
			r.received, r.executed = from.log.end(), from.log.end()
		}
	}
	list := from.log.list[i:]
	life, end := r.life, from.log.end()
	if len(list) == 0 && r.acknowledged == end {
		return 500 * time.Millisecond
	}
	w.later(s.dice.between(200*time.Microsecond, 3*time.Millisecond), func() {
		if r.life != life || !r.connected || !w.network.both(s.h.name, from.h.name) || !s.answering() {
			return
		}
		for _, l := range list {
			if c, err := l.end.Compare(r.received); err == nil && c <= 0 && !r.received.IsZero() {
				continue
			}
			if !(r.byGTID && s.done.has(l.txn)) {
				r.relay = append(r.relay, relayed{l.txn, l.end, time.Now()})
			}
			r.received = l.end
		}
		if c, err := end.Compare(r.received); r.received.IsZero() || err == nil && c > 0 {
			r.received = end
		}
		r.byGTID = false
		s.turn()
		w.later(s.dice.between(100*time.Microsecond, time.Millisecond), func() {
			if r.life == life && from.health == well && w.network.both(s.h.name, from.h.name) {
				r.acknowledged = end
				from.turn()
			}
		})
	})
	return 100 * time.Millisecond
}

// firstMissing is the index of the first transaction in another server's log that this server does not have.
func (s *server) firstMissing(from *server) int {
	for i, l := range from.log.list {
		if !s.done.has(l.txn) {
			return i
		}
	}
	return len(from.log.list)
}

// sql executes at most one transaction, and returns how long it need not look again unless something has changed.
func (s *server) sql() time.Duration {
	r := &s.replica
	switch {
	case !r.sql || s.health == down:
		return time.Hour
	case !s.answering() || s.stalled:
		return 100 * time.Millisecond
	case len(r.relay) == 0:
		if r.executed != r.received {
			r.executed = r.received
			s.turn()
		}
		return time.Hour
	}
	next := r.relay[0]
	if left := time.Until(next.at.Add(r.behind + 300*time.Microsecond)); left > 0 {
		return left
	}
	switch {
	case next.origin == s.id && s.done.has(next.txn):
	case s.done.has(next.txn):
		if s.h.w.dialect == positions {
			r.sql, r.sqlError = false, "Duplicate entry '"+next.gtid()+"' for key 'PRIMARY'"
			s.h.w.note(s.h.name, "replication: %s", r.sqlError)
			s.turn()
			return time.Hour
		}
	case next.origin == s.id: // the server has lost this transaction, and skips it as it has its own server_id
	default:
		s.execute(next.txn)
	}
	r.relay = r.relay[1:]
	r.executed = next.end
	if len(r.relay) == 0 {
		r.executed = r.received
	}
	s.turn()
	return 0
}

// called is how replicas name a source: by its address in the configuration, and in every other world by a host name.
func (w *World) called(h *host) string {
	if w.Seed%2 == 1 {
		return h.name + ".example.com"
	}
	return h.ip.String()
}

// status is SHOW SLAVE STATUS.
func (s *server) status() (mysqlctl.Replica, error) {
	r := &s.replica
	if r.source == "" {
		return mysqlctl.Replica{}, fmt.Errorf("read the state of replication: %w", mysqlctl.ErrNotReplica)
	}
	from := s.h.w.host(r.source)
	status := mysqlctl.Replica{SourceHost: s.h.w.called(from), SourcePort: 3306, SourceID: from.server.id,
		SourceUUID: from.server.uuid(),
		IORunning:  "No", SQLRunning: "No", IOError: r.ioError, IOErrno: r.ioErrno,
		SQLError: r.sqlError, RetryEvery: connectRetry, Drained: r.sql && len(r.relay) == 0, Received: r.received,
		Executed: r.executed, UsesGTID: s.h.w.dialect != positions}
	switch {
	case r.io && r.connected:
		status.IORunning = "Yes"
	case r.io:
		status.IORunning = "Connecting"
	}
	if r.sql {
		status.SQLRunning = "Yes"
	}
	if r.sql && r.io && r.connected {
		lag := time.Duration(0)
		if len(r.relay) > 0 {
			lag = time.Since(r.relay[0].at).Truncate(time.Second)
		}
		status.Lag = &lag
	}
	return status, nil
}

// Replica is the state of replication.
func (c connection) Replica(ctx context.Context) (mysqlctl.Replica, error) {
	if err := c.query(ctx); err != nil {
		return mysqlctl.Replica{}, err
	}
	defer c.unlock()
	return c.s.status()
}

// wait waits until done returns true. It is an error where the SQL thread does not run before.
func (c connection) wait(ctx context.Context, what string, done func() bool) error {
	for {
		if err := c.query(ctx); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		r := &c.s.replica
		switch {
		case done():
			c.unlock()
			return nil
		case r.source == "":
			c.unlock()
			return fmt.Errorf("wait for %s: %w", what, mysqlctl.ErrNotReplica)
		case !r.sql:
			defer c.unlock()
			return fmt.Errorf("wait for %s: %w: SQL thread: No: %s", what, mysqlctl.ErrNotReplicating, r.sqlError)
		}
		moved := c.s.moved
		c.unlock()
		if err := c.await(ctx, moved, time.Second); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
	}
}

// WaitExecuted waits until the source's log is executed up to a place.
func (c connection) WaitExecuted(ctx context.Context, p mysqlctl.Position) error {
	if p.IsZero() {
		return errors.New("wait for a position: there is none to wait for")
	}
	return c.wait(ctx, p.String(), func() bool {
		cmp, err := c.s.replica.executed.Compare(p)
		return err == nil && cmp >= 0
	})
}

// WaitGTIDs waits until all transactions of a set are executed.
func (c connection) WaitGTIDs(ctx context.Context, text string) error {
	list := parseSet(text)
	return c.wait(ctx, "GTIDs", func() bool {
		for _, t := range list {
			if !c.s.done.has(t) {
				return false
			}
		}
		return true
	})
}

// change changes the replication of a server that is a replica.
func (c connection) change(ctx context.Context, what string, f func(r *replica)) error {
	if err := c.query(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.s.replica.source == "" {
		return mysqlctl.ErrNotReplica
	}
	c.s.h.w.note(c.s.h.name, "replication: %s", what)
	f(&c.s.replica)
	c.s.turn()
	return nil
}

// StopReceiving stops the I/O thread. Where the source says nothing the answer takes up to 3 s.
func (c connection) StopReceiving(ctx context.Context) error {
	mute := false
	err := c.change(ctx, "stop receiving", func(r *replica) {
		r.halted = false // from now on the agent has stopped the thread, and no fault
		mute = r.connected && !c.s.h.w.host(r.source).server.answering()
		r.disconnect()
		r.io = false
	})
	if err != nil || !mute {
		return err
	}
	return c.p.call(ctx, c.s.dice.between(0, 3*time.Second))
}

// StopReplication stops both threads.
func (c connection) StopReplication(ctx context.Context) error {
	return c.change(ctx, "stop", func(r *replica) {
		r.disconnect()
		r.io, r.sql, r.halted = false, false, false
	})
}

// StartReplication starts both threads.
func (c connection) StartReplication(ctx context.Context) error {
	return c.change(ctx, "start", func(r *replica) {
		r.io, r.sql = true, true
		r.ioError, r.ioErrno, r.sqlError, r.retry = "", 0, "", time.Time{}
	})
}

// Aim points the replication at another source, and leaves it stopped. The relay log is thrown away.
func (c connection) Aim(ctx context.Context, src mysqlctl.Source) error {
	if err := c.query(ctx); err != nil {
		return err
	}
	defer c.unlock()
	w := c.s.h.w
	for _, h := range w.hosts {
		if h.ip.String() == src.Host {
			r := &c.s.replica
			r.disconnect()
			*r = replica{source: h.name, life: r.life, shed: r.shed, received: src.Start, executed: src.Start,
				byGTID: src.GTID, behind: r.behind, denied: r.denied}
			w.note(c.s.h.name, "replication: aimed at %s %s", h.name, src.Start)
			c.s.turn()
			return nil
		}
	}
	return errNoHost
}

// CheckSource finds nothing wrong with a source.
func (c connection) CheckSource(context.Context, mysqlctl.Source) error { return nil }

// Repoint points the replication at another source (Aim), starts it, and waits until both threads run.
func (c connection) Repoint(ctx context.Context, src mysqlctl.Source) error {
	if !src.GTID && src.Start.IsZero() {
		return errors.New("repoint: no position to start at")
	}
	if err := c.Aim(ctx, src); err != nil {
		return err
	}
	if err := c.StartReplication(ctx); err != nil {
		return err
	}
	for {
		if err := c.query(ctx); err != nil {
			return err
		}
		status, err := c.s.status()
		moved := c.s.moved
		c.unlock()
		switch {
		case err != nil:
			return err
		case status.IOErrno != 0 || status.SQLError != "":
			return fmt.Errorf("repoint: %w: %s %s", mysqlctl.ErrNotReplicating, status.IOError, status.SQLError)
		case status.IORunning == "Yes" && status.SQLRunning == "Yes":
			return nil
		}
		if err := c.await(ctx, moved, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// peers are the servers of all hosts, as one life of an agent sees them.
type peers struct {
	w    *World
	p    *process
	from string
}

// remote is another host's server, as an agent asks it.
type remote struct{ connection }

func (s peers) Source(r mysqlctl.Replica) (string, replication.Remote, bool) {
	var hosts []identity.Host
	for _, h := range s.w.hosts {
		hosts = append(hosts, identity.Host{Name: h.name, IP: h.ip, Port: 3306, ID: h.server.id})
	}
	known := identity.Known{Hosts: hosts, Resolved: map[string][]netip.Addr{}}
	for _, h := range s.w.hosts {
		known.Resolved[s.w.called(h)] = []netip.Addr{h.ip}
	}
	name, ok := known.Of(identity.SourceOf(r))
	if !ok {
		return "", nil, false
	}
	return name, remote{connection{s.w.host(name).server, s.p, s.from}}, true
}

func (s peers) ByName(name string) (string, replication.Remote, bool) {
	for _, h := range s.w.hosts {
		if h.name == name {
			return h.ip.String(), remote{connection{h.server, s.p, s.from}}, true
		}
	}
	return "", nil, false
}

func (s peers) Addresses(source string) []netip.Addr {
	known := identity.Known{Resolved: map[string][]netip.Addr{}}
	for _, h := range s.w.hosts {
		known.Resolved[s.w.called(h)] = []netip.Addr{h.ip}
	}
	return known.Addresses(source)
}

func (s peers) Names() []string {
	var names []string
	for _, h := range s.w.hosts {
		names = append(names, h.name)
	}
	return names
}
