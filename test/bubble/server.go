package bubble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"mysql-mmm/pkg/mysqlctl"
)

// health is how a server treats a connection.
type health uint8

const (
	down   health = iota // its port refuses
	well                 // it answers
	silent               // it hangs, and sends no greeting
	stuck                // it hangs after its greeting
)

// server is the database server of a machine. Its methods are called with the world locked.
type server struct {
	h        *host
	dice     *dice
	id       uint32
	health   health
	started  time.Time     // when it was started
	since    time.Time     // since when it answers
	stalled  bool          // its disk hangs: it answers, and can't commit
	died     chan struct{} // closed when it dies
	readOnly bool
	pretends bool                // it says that it is closed for writes, and is open (Ablation.Close)
	closing  int                 // calls of DenyWrites that wait for running statements
	running  map[*statement]bool // the writes of clients that are not committed, or not acknowledged
	log      binlog
	done     set           // the transactions that are committed
	data     map[int]bool  // the writes that are committed
	next     int           // number of its own next transaction
	moved    chan struct{} // closed when something changes that others may wait for, see turn
	replica  replica
}

// statement is a running write of a client.
type statement struct {
	ended   chan struct{} // closed when it is killed
	id      uint64
	began   time.Time
	commits bool // it waits for its commit: while the disk hangs it can't be killed
	cut     bool // its client has gone
}

// stall makes the server's disk hang, or go on.
func (s *server) stall(on bool) {
	s.stalled = on
	s.turn()
}

// cut ends the connections of all clients.
func (s *server) cut() {
	for st := range s.running {
		st.cut = true
	}
}

// kill ends the statements that can be ended.
func (s *server) kill() {
	for st := range s.running {
		if st.commits && s.stalled {
			continue
		}
		close(st.ended)
		delete(s.running, st)
	}
}

func newServer(h *host, id uint32) *server {
	s := &server{h: h, id: id, dice: newDice(h.w.Seed, "server of "+h.name), died: make(chan struct{}), readOnly: true,
		running: map[*statement]bool{},
		log:     newBinlog(h.name), done: set{}, data: map[int]bool{}, moved: make(chan struct{}), next: 1}
	s.replica = newReplica()
	return s
}

// turn makes everybody who waits for a change of this server look again.
func (s *server) turn() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *server) start() {
	if s.health != down || !s.h.on {
		return
	}
	s.health, s.started, s.since, s.readOnly = well, time.Now(), time.Now(), true
	s.died = make(chan struct{})
	s.log.rotate()
	s.replica.restart()
	s.turn()
	s.h.w.note(s.h.name, "server: starts, read-only")
	s.h.w.check()
}

func (s *server) die() {
	if s.health == down {
		return
	}
	s.health = down
	close(s.died)
	for st := range s.running {
		close(st.ended)
	}
	clear(s.running)
	s.turn()
	s.h.w.check()
}

func (s *server) hang(how health) {
	if s.health == well {
		s.health = how
		s.turn()
	}
}

// goOn ends hang.
func (s *server) goOn() {
	if s.health == silent || s.health == stuck {
		s.health, s.since = well, time.Now()
		s.turn()
		s.h.w.check()
	}
}

// answering says whether the server executes statements now.
func (s *server) answering() bool { return s.health == well && s.h.answers() }

// open says whether the server takes writes: now, or when it does not hang any more.
func (s *server) open() bool { return s.health != down && !s.readOnly }

// commit commits a client's write as a transaction of this server, and returns its end in the log.
func (s *server) commit(write int) mysqlctl.Position {
	t := txn{origin: s.id, number: s.next, write: write}
	s.next++
	return s.execute(t)
}

// execute commits a transaction, also one of another server, and returns its end in the log.
func (s *server) execute(t txn) mysqlctl.Position {
	s.done.add(t)
	s.data[t.write] = true
	end := s.log.append(t)
	s.turn()
	for _, h := range s.h.w.hosts {
		if h.server.replica.source == s.h.name {
			h.server.turn()
		}
	}
	return end
}

// received says whether a master has acknowledged this server's log up to a place: semi-synchronous replication waits
// for that.
func (s *server) received(p mysqlctl.Position) bool {
	return slices.ContainsFunc(s.h.w.hosts, func(o *host) bool {
		r := &o.server.replica
		if o == s.h || o.slave || r.source != s.h.name || r.acknowledged.IsZero() {
			return false
		}
		c, err := r.acknowledged.Compare(p)
		return err == nil && c >= 0
	})
}

// connection is a connection from a process on a machine (from) to a server.
type connection struct {
	s    *server
	p    *process
	from string
}

// sqlTimeout is how long a question waits for its answer (mysqlctl's default).
const sqlTimeout = 5 * time.Second

// query waits until the server answers, for at most sqlTimeout. Where it returns no error the world is locked.
func (c connection) query(ctx context.Context) error {
	if err := c.p.call(ctx, c.s.dice.between(100*time.Microsecond, 3*time.Millisecond)); err != nil {
		return c.explain(ctx, err)
	}
	if locked, err := c.try(); locked || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, sqlTimeout)
	defer cancel()
	for {
		if locked, err := c.try(); locked || err != nil {
			return err
		}
		c.s.h.w.mu.Lock()
		moved := c.s.moved
		c.unlock()
		if err := c.await(ctx, moved, 200*time.Millisecond); err != nil {
			return c.explain(ctx, err)
		}
	}
}

// try locks the world if the server answers now. It is an error where the server's port refuses.
func (c connection) try() (locked bool, err error) {
	w := c.s.h.w
	w.mu.Lock()
	reached := w.network.both(c.from, c.s.h.name) || c.from == c.s.h.name
	switch {
	case reached && c.s.answering():
		return true, nil
	case reached && c.s.h.answers() && c.s.health == down:
		err = &mysqlctl.ConnectError{Addr: c.s.h.ip.String(), User: "mmm", Err: syscall.ECONNREFUSED}
	}
	w.mu.Unlock()
	return false, err
}

// await waits until moved is closed, for at most d.
func (c connection) await(ctx context.Context, moved <-chan struct{}, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-moved:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.p.dead:
		return errDead
	}
	return c.p.pass()
}

// explain makes a driver's error of err, or of the error of ctx where that has ended.
func (c connection) explain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return &mysqlctl.ConnectError{Addr: c.s.h.ip.String(), User: "mmm", Err: err}
}

func (c connection) unlock() { c.s.h.w.mu.Unlock() }

// Writable says whether the server takes writes.
func (c connection) Writable(ctx context.Context) (bool, error) {
	if err := c.query(ctx); err != nil {
		return false, err
	}
	defer c.unlock()
	return !c.s.readOnly && !c.s.pretends, nil
}

// AllowWrites opens the server for writes.
func (c connection) AllowWrites(ctx context.Context) error {
	if err := c.query(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.s.pretends = false; c.s.readOnly {
		c.s.readOnly = false
		c.s.h.w.note(c.s.h.name, "server: is opened for writes")
		c.s.h.w.opened(c.s)
		c.s.turn()
		c.s.h.w.check()
	}
	return nil
}

// DenyWrites waits for running statements, kills those that still run after d.Grace, and closes the server for writes.
func (c connection) DenyWrites(ctx context.Context, d mysqlctl.Deny) error {
	if err := c.query(ctx); err != nil {
		return err
	}
	c.unlock()
	if d.Ready != nil {
		d.Ready()
	}
	over := time.Now().Add(max(d.Grace, 0) + 100*time.Millisecond)
	if err := c.query(ctx); err != nil {
		return err
	}
	c.s.closing++
	c.unlock()
	for {
		err := c.query(ctx)
		if err != nil {
			c.s.h.w.mu.Lock()
			c.s.closing--
			c.s.turn()
			c.unlock()
			return fmt.Errorf("deny writes: %w", err)
		}
		if !time.Now().Before(over) {
			c.s.kill()
		}
		if len(c.s.running) == 0 {
			break
		}
		moved := c.s.moved
		c.unlock()
		if err := c.await(ctx, moved, max(min(time.Until(over), 100*time.Millisecond), time.Millisecond)); err != nil &&
			ctx.Err() == nil {
			return err
		}
	}
	defer c.unlock()
	c.s.closing--
	if c.s.pretends = c.s.h.w.Without.Close; !c.s.readOnly && !c.s.pretends {
		c.s.readOnly = true
		c.s.h.w.note(c.s.h.name, "server: is closed for writes")
	}
	c.s.turn()
	c.s.h.w.check()
	return nil
}

// EndClients does nothing: clients of a world have no connections on which nothing runs.
func (c connection) EndClients(ctx context.Context, _ time.Duration) (int, error) {
	if err := c.query(ctx); err != nil {
		return 0, err
	}
	defer c.unlock()
	return 0, nil
}

// Position is the end of the server's binary log.
func (c connection) Position(ctx context.Context) (mysqlctl.Position, error) {
	if err := c.query(ctx); err != nil {
		return mysqlctl.Position{}, err
	}
	defer c.unlock()
	return c.s.log.end(), nil
}

// ServerID is the server_id.
func (c connection) ServerID(ctx context.Context) (uint32, error) {
	if err := c.query(ctx); err != nil {
		return 0, err
	}
	defer c.unlock()
	return c.s.id, nil
}

// GTIDs is the set of committed transactions where the server is MySQL with GTIDs, else "".
func (c connection) GTIDs(ctx context.Context) (string, error) {
	if err := c.query(ctx); err != nil {
		return "", err
	}
	defer c.unlock()
	if c.s.h.w.dialect != mysqlGTID {
		return "", nil
	}
	return c.s.done.String(), nil
}

// Transactions lists the transactions in the binary log from start to end, at most limit.
func (c connection) Transactions(ctx context.Context, start, end mysqlctl.Position, limit int) ([]mysqlctl.Transaction,
	error) {
	if err := c.query(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	list, err := c.s.log.between(start, end)
	if err != nil {
		return nil, err
	}
	var found []mysqlctl.Transaction
	for _, l := range list[:min(len(list), limit)] {
		gtid := ""
		if c.s.h.w.dialect != positions {
			gtid = l.gtid()
		}
		found = append(found, mysqlctl.Transaction{At: l.at, ServerID: l.origin, GTID: gtid})
	}
	return found, nil
}

// WaitingWrites lists the statements that wait for their commit.
func (c connection) WaitingWrites(ctx context.Context) ([]mysqlctl.WriteWait, error) {
	if err := c.query(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	var list []mysqlctl.WriteWait
	for st := range c.s.running {
		if st.commits {
			lasts := time.Since(st.began).Truncate(time.Second)
			list = append(list, mysqlctl.WriteWait{ID: st.id, State: "Commit", For: lasts, Commits: true})
		}
	}
	slices.SortFunc(list, func(a, b mysqlctl.WriteWait) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

// FileWrites says nothing: statements of a world only wait for their commits.
func (c connection) FileWrites(ctx context.Context) (mysqlctl.FileWrites, error) {
	if err := c.query(ctx); err != nil {
		return mysqlctl.FileWrites{}, err
	}
	defer c.unlock()
	return mysqlctl.FileWrites{}, nil
}

// Folders are the folders of the server's data.
func (c connection) Folders(ctx context.Context) ([]string, error) {
	if err := c.query(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	return []string{"/data"}, nil
}

// roomy is a file system that has room and does not hang: a world's server can't write only because its commits wait.
type roomy struct{}

func (roomy) Stat(string) (free uint64, readOnly bool, err error) { return 1 << 40, false, nil }
func (roomy) Write(string) error                                  { return nil }

// reach connects to a host's server and waits for its greeting, without logging in.
func (w *World) reach(ctx context.Context, p *process, from string, to *host) error {
	if err := p.call(ctx, w.network.dice.between(100*time.Microsecond, 3*time.Millisecond)); err != nil {
		return err
	}
	w.mu.Lock()
	reached, health := w.network.both(from, to.name) && to.answers(), to.server.health
	w.mu.Unlock()
	switch {
	case reached && health == down:
		return syscall.ECONNREFUSED
	case reached && health != silent:
		return nil
	}
	if err := p.sleep(ctx, time.Second); err != nil {
		return err
	}
	return os.ErrDeadlineExceeded
}

var errNoHost = errors.New("no such host")

// pidFile tells one life of an agent whether the server's process is gone.
type pidFile struct {
	s    *server
	p    *process
	seen *chan struct{} // the channel died of the life of the server that last answered
}

// Answered notes that the present process of the server has answered.
func (f pidFile) Answered(context.Context) {
	f.s.h.w.mu.Lock()
	defer f.s.h.w.mu.Unlock()
	*f.seen = f.s.died
}

// Same says whether the process that last answered still runs.
func (f pidFile) Same() bool {
	f.s.h.w.mu.Lock()
	defer f.s.h.w.mu.Unlock()
	return *f.seen == f.s.died && f.s.health != down
}

// Gone says whether the server's process has ended, where one has answered before.
func (f pidFile) Gone() bool {
	if f.p.pass() != nil {
		return false
	}
	f.s.h.w.mu.Lock()
	defer f.s.h.w.mu.Unlock()
	return *f.seen != nil && f.s.health == down
}

func ipOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
