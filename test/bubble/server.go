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

// health is what a server does with who connects.
type health uint8

const (
	down   health = iota // its port refuses
	well                 // it answers
	silent               // it hangs before its greeting
	stuck                // it hangs behind its greeting
)

// server is the database server of a machine. The world is locked where it does not say otherwise.
type server struct {
	h        *host
	dice     *dice
	id       uint32
	health   health
	stalled  bool          // its disk hangs: it answers, and commits nothing
	died     chan struct{} // closed when it dies
	readOnly bool
	closing  int // DenyWrites that wait for running statements
	running  map[*statement]bool
	log      binlog
	done     set          // GTIDs of what is committed
	data     map[int]bool // writes that are committed
	next     int          // number of its next transaction
	moved    chan struct{}
	replica  replica
}

// statement is a running write of a client.
type statement struct {
	ended   chan struct{} // closed when it is killed
	id      uint64
	began   time.Time
	commits bool // it waits for its commit: it can't be killed while the disk hangs
	cut     bool // its client has gone
}

// stall lets the disk hang, or go on.
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

// turn tells all who wait for anything of this server to look again.
func (s *server) turn() {
	close(s.moved)
	s.moved = make(chan struct{})
}

func (s *server) start() {
	if s.health != down || !s.h.on {
		return
	}
	s.health, s.readOnly = well, true
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

func (s *server) goOn() {
	if s.health == silent || s.health == stuck {
		s.health = well
		s.turn()
		s.h.w.check()
	}
}

// answering: it executes what it is told now.
func (s *server) answering() bool { return s.health == well && s.h.answers() }

// open: it takes writes, perhaps only once it goes on.
func (s *server) open() bool { return s.health != down && !s.readOnly }

// commit writes a transaction of its own.
func (s *server) commit(write int) mysqlctl.Position {
	t := txn{origin: s.id, number: s.next, write: write}
	s.next++
	return s.execute(t)
}

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

// received: another server that may be the writer has the log up to there, which is what semi-synchronous replication
// waits for.
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

// line is a connection from a process on a machine to a server.
type connection struct {
	s    *server
	p    *process
	from string
}

// sqlTimeout is how long a question waits for its answer (mysqlctl's default).
const sqlTimeout = 5 * time.Second

// query waits until the server answers. The world is locked when it returns without an error.
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

// try locks the world where the server answers now.
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

// await waits until the server has moved, for at most d.
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
	return !c.s.readOnly, nil
}

// AllowWrites opens it.
func (c connection) AllowWrites(ctx context.Context) error {
	if err := c.query(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.s.readOnly {
		c.s.readOnly = false
		c.s.h.w.note(c.s.h.name, "server: is opened for writes")
		c.s.h.w.opened(c.s)
		c.s.turn()
		c.s.h.w.check()
	}
	return nil
}

// DenyWrites waits for running statements, for as long as they have grace, and kills them then.
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
	if !c.s.readOnly {
		c.s.readOnly = true
		c.s.h.w.note(c.s.h.name, "server: is closed for writes")
	}
	c.s.turn()
	c.s.h.w.check()
	return nil
}

// EndClients ends those that run nothing: in this world they would only connect again.
func (c connection) EndClients(ctx context.Context, _ time.Duration) (int, error) {
	if err := c.query(ctx); err != nil {
		return 0, err
	}
	defer c.unlock()
	return 0, nil
}

// Position is the end of the binary log.
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

// GTIDs is what has been committed, where the server is MySQL with GTIDs.
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

// Transactions reads the binary log.
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

// FileWrites says nothing: who waits here waits for a commit.
func (c connection) FileWrites(ctx context.Context) (mysqlctl.FileWrites, error) {
	if err := c.query(ctx); err != nil {
		return mysqlctl.FileWrites{}, err
	}
	defer c.unlock()
	return mysqlctl.FileWrites{}, nil
}

// Folders is where the data is.
func (c connection) Folders(ctx context.Context) ([]string, error) {
	if err := c.query(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	return []string{"/data"}, nil
}

// roomy is a file system with room: one that is full is as one that hangs.
type roomy struct{}

func (roomy) Stat(string) (free uint64, readOnly bool, err error) { return 1 << 40, false, nil }
func (roomy) Write(string) error                                  { return nil }

// reach is a connection without a login: the greeting is enough.
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

// pidFile tells whether the server's process is gone, as one life of an agent sees it.
type pidFile struct {
	s    *server
	p    *process
	seen *chan struct{} // of the life of the server that answered last
}

func (f pidFile) Answered(context.Context) {
	f.s.h.w.mu.Lock()
	defer f.s.h.w.mu.Unlock()
	*f.seen = f.s.died
}

// Same says whether the process that answered last is still there.
func (f pidFile) Same() bool {
	f.s.h.w.mu.Lock()
	defer f.s.h.w.mu.Unlock()
	return *f.seen == f.s.died && f.s.health != down
}

func (f pidFile) Gone() bool {
	if f.p.pass() != nil {
		return false
	}
	f.s.h.w.mu.Lock()
	defer f.s.h.w.mu.Unlock()
	return *f.seen != nil && f.s.health == down
}

func ipOf(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}) }
