package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Soak is a series of failovers and planned moves under load, and what became of the data.
type Soak struct {
	Failovers, Moves int
	Acked            int             // rows that were acknowledged
	Lost             int             // how many of those a failover or a move has lost
	Named            int             // transactions that `show` has named as those that only a former writer has
	Aside            []string        // hosts that were set aside and set up anew, each with the reason that was shown
	Restarted        int             // I/O threads that did not acknowledge until they were started again
	Hung             int             // dump threads of MariaDB that hung and were ended, see hungDump
	Gaps             []time.Duration // the write gap of each failover
	MoveGaps         []time.Duration // and of each move
	Wrong            []string        // what must not happen and did; empty: all is good

	cluster *Cluster
	load    *Load
	broken  *brokenWatch
	trace   io.Writer
	hanging map[string]hanging                                 // by host
	aside   func(ctx context.Context, old, writer *Node) error // called before a host is set up anew; nil: nothing is
}

// pace is how many rows a second the soak writes.
const pace = 200

// Soak kills the writer's server with kill -9 at any moment, and moves the writer role, n times each, under load. After
// each step the cluster must become whole; a host that is set aside with a reason is set up anew for that. In the end
// all servers must have the same rows, and all that were acknowledged and are not known to be lost. Each step is a line
// in trace.
func (c *Cluster) Soak(ctx context.Context, n int, trace io.Writer) (*Soak, error) {
	s := &Soak{cluster: c, trace: trace, hanging: map[string]hanging{}}
	l, err := c.StartLoad(ctx, pace)
	if err != nil {
		return s, err
	}
	defer l.Stop()
	s.load, s.broken = l, c.watchBroken(ctx)
	defer s.broken.stop()
	for i := range 2 * n {
		name, do := fmt.Sprintf("move %d", s.Moves+1), s.move
		if i%4 == 1 || i%4 == 2 { // two in a row, so that both masters die
			name, do = fmt.Sprintf("failover %d", s.Failovers+1), s.failover
		}
		if err := s.step(ctx, name, do); err != nil {
			return s, err
		}
	}
	l.Stop()
	s.Acked, _ = l.Acked()
	s.Acked += s.Lost
	return s, s.compare(ctx)
}

// step does one failover or move, and waits until the cluster is whole. It is an error where that takes over two
// minutes.
func (s *Soak) step(ctx context.Context, name string, do func(context.Context, *Node) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	w, err := s.cluster.theWriter(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if err := s.writes(ctx, pace/2); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if !s.cluster.Async {
		if err := s.semiSync(ctx, w); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	s.tell("%s from %s", name, w.Name)
	if err := do(ctx, w); err != nil {
		return fmt.Errorf("%s from %s: %w", name, w.Name, err)
	}
	if err := s.settle(ctx); err != nil {
		return fmt.Errorf("%s from %s: %w", name, w.Name, err)
	}
	return nil
}

// semiSync waits until the other master acknowledges what the writer w commits. An I/O thread of MariaDB that loses its
// source while the two agree on how to replicate does not acknowledge until it is started again. An operator would do
// that; here it is done after 20 s.
func (s *Soak) semiSync(ctx context.Context, w *Node) error {
	soon, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := Wait(soon, w.Name+" to replicate semi-synchronously", func() (bool, string) {
		if err := s.freeDumps(ctx); err != nil {
			return false, err.Error()
		}
		return w.Server.semiSync(ctx)
	}); err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	to := s.cluster.otherMaster(w)
	s.Restarted++
	if err := to.Server.Exec(ctx, "STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD"); err != nil {
		return err
	}
	return w.Server.WaitSemiSync(ctx)
}

// writes waits until n more rows were acknowledged.
func (s *Soak) writes(ctx context.Context, n int) error {
	before, _ := s.load.Acked()
	return Wait(ctx, "writes", func() (bool, string) {
		now, _ := s.load.Acked()
		_, err := s.load.Errors()
		return now >= before+n, fmt.Sprint(now-before, err)
	})
}

// otherMaster is the peer of a master.
func (c *Cluster) otherMaster(n *Node) *Node { return c.DBs[2-n.Server.id] }

// move moves the writer role from w to the other master. No acknowledged row may be lost.
func (s *Soak) move(ctx context.Context, w *Node) error {
	to := s.cluster.otherMaster(w)
	since := time.Now()
	out, status, err := s.cluster.Control(ctx, "move_role", "writer", to.Name)
	if err != nil || status != 0 {
		return fmt.Errorf("move_role: %s %w", out, err)
	}
	if err := s.load.WaitServer(ctx, to.Server.id); err != nil {
		return err
	}
	s.Moves++
	s.MoveGaps = append(s.MoveGaps, s.load.Gap(since))
	lost, err := s.load.Lost(ctx, to.Server)
	if len(lost) > 0 {
		s.wrong("the move to %s lost %d acknowledged rows: %v", to.Name, len(lost), lost)
		s.load.Forget(lost)
		s.Lost += len(lost)
	}
	return err
}

// failover kills the server of the writer w at any moment, waits until the other master is the writer, and starts the
// server again. In the second of three times no other database host has heard the writer for a tenth of a second
// before, and in the third the other master alone has not, so that a slave may have received more.
func (s *Soak) failover(ctx context.Context, w *Node) error {
	to := s.cluster.otherMaster(w)
	var deaf []*Node
	switch s.Failovers % 3 {
	case 1:
		deaf = slices.DeleteFunc(slices.Clone(s.cluster.DBs), func(n *Node) bool { return n == w })
	case 2:
		deaf = []*Node{to}
	}
	for _, n := range deaf {
		if err := n.Drop(w.Host); err != nil {
			return err
		}
	}
	moment := rand.N(time.Second / pace) // any moment of a write's period
	if len(deaf) > 0 {
		moment += 20 * time.Second / pace
	}
	select {
	case <-time.After(moment):
	case <-ctx.Done():
		return ctx.Err()
	}
	since := time.Now()
	if err := w.Server.Kill(); err != nil {
		return err
	}
	if err := s.load.WaitServer(ctx, to.Server.id); err != nil {
		return err
	}
	for _, n := range deaf {
		if err := n.Drop(); err != nil {
			return err
		}
	}
	s.Failovers++
	s.Gaps = append(s.Gaps, s.load.Gap(since))
	lost, err := s.load.Lost(ctx, to.Server)
	if err != nil {
		return err
	}
	if len(lost) > 0 && !s.cluster.Async {
		s.wrong("the failover to %s lost %d rows that were acknowledged semi-synchronously: %v", to.Name, len(lost),
			lost)
	}
	if err := w.Server.Start(ctx); err != nil {
		return err
	}
	if err := s.returned(ctx, w, to, lost); err != nil {
		return err
	}
	s.load.Forget(lost)
	s.Lost += len(lost)
	return nil
}

// returned waits until the log of the former writer old has been looked at, and compares the rows that only this host
// has with what `show` says. now is the present writer, lost the acknowledged rows that it lacks.
func (s *Soak) returned(ctx context.Context, old, now *Node, lost []int64) error {
	var view cluster.HostView
	if err := Wait(ctx, old.Name+" to have been looked at", func() (bool, string) {
		show, _, err := s.cluster.Control(ctx, "show", "--json")
		if err != nil {
			return false, err.Error()
		}
		var all cluster.View
		if err := json.Unmarshal([]byte(show), &all); err != nil {
			return false, err.Error()
		}
		view = all.Hosts[slices.IndexFunc(all.Hosts, func(h cluster.HostView) bool { return h.Name == old.Name })]
		return view.Audit == nil && view.State == cluster.Online || view.Audit != nil && view.Audit.Looked, show
	}); err != nil {
		return err
	}
	named := 0
	if view.Audit != nil {
		named = view.Audit.Beyond
	}
	s.Named += named
	had, err := old.Server.ids(ctx)
	if err != nil {
		return err
	}
	// The former writer replicates from the present one again, and may have a row that can't be read on the present one
	// yet: there the row's commit still waits for an acknowledgement.
	soon, cancel := context.WithTimeout(ctx, 2*s.cluster.AckTimeout+time.Second)
	defer cancel()
	err = Wait(soon, "only what show names to be on "+old.Name+" alone", func() (bool, string) {
		have, err := now.Server.ids(ctx)
		if err != nil {
			return false, err.Error()
		}
		maps.DeleteFunc(had, func(id int64, _ bool) bool { return have[id] })
		return named == len(had), fmt.Sprintf("show names %d transactions, on that host alone are %v", named,
			slices.Sorted(maps.Keys(had)))
	})
	if err != nil && ctx.Err() == nil {
		s.wrong("%v", err)
	}
	for _, id := range lost {
		if !had[id] {
			s.wrong("the acknowledged row %d is lost, and %s does not have it either", id, old.Name)
		}
	}
	return ctx.Err()
}

// settle waits until the cluster is whole, and sets up anew each host that is set aside. Replication that broke without
// its host being set aside is wrong.
func (s *Soak) settle(ctx context.Context) error {
	c := s.cluster
	var failed error
	err := Wait(ctx, "the cluster to be whole", func() (bool, string) {
		show, _, err := c.Control(ctx, "show")
		if err != nil {
			return false, err.Error()
		}
		if err := s.freeDumps(ctx); err != nil {
			return false, err.Error()
		}
		w := c.Writer(show)
		if c.whole(show) {
			bad := c.astray(ctx, w)
			return bad == "", bad + "\n" + show
		}
		for _, n := range c.DBs {
			if w == nil || n == w {
				continue
			}
			if why, err := c.Aside(ctx, show, n); err == nil && why != "" && told(show, n) {
				if err := s.setUpAnew(ctx, n, w, why); err != nil {
					failed = fmt.Errorf("set up %s anew: %w", n.Name, err)
					return true, ""
				}
			}
		}
		if w == nil {
			return false, show
		}
		return false, fmt.Sprintf("%s%v %s", show, c.Placed(show), c.astray(ctx, w))
	})
	for name, text := range s.broken.take() {
		s.wrong("replication of %s broke, and it was not set aside: %s", name, text)
	}
	if err != nil && failed == nil {
		checks, _, _ := c.Control(context.WithoutCancel(ctx), "checks") // for the message, as far as there is an answer
		failed = errors.New(checks)
	}
	return errors.Join(err, failed)
}

// setUpAnew sets up host n, which was set aside for the reason why, with a copy of the writer w, and waits until
// nothing is shown against it any more.
func (s *Soak) setUpAnew(ctx context.Context, n, w *Node, why string) error {
	s.Aside = append(s.Aside, n.Name+": "+why)
	s.tell("    set up anew: %s: %s", n.Name, why)
	if s.aside != nil {
		if err := s.aside(ctx, n, w); err != nil {
			return err
		}
	}
	err := s.unwaited(ctx, w, func() error { return s.cluster.SetUpAnew(ctx, n, w) })
	s.broken.excuse(n)
	if n.Server.id <= 2 {
		s.broken.excuse(w) // it replicates from n
	}
	if err != nil {
		return err
	}
	return Wait(ctx, n.Name+" to be looked at anew", func() (bool, string) {
		show, _, err := s.cluster.Control(ctx, "show")
		if err != nil {
			return false, err.Error()
		}
		why, err := s.cluster.Aside(ctx, show, n)
		return err == nil && why == "", fmt.Sprint(why, err)
	})
}

// unwaited does something while the writer w does not wait for acknowledgements. Otherwise, with AckAlways, no copy
// could be made of a writer whose commits wait for a replica, while the host that is to be that replica waits for the
// copy.
func (s *Soak) unwaited(ctx context.Context, w *Node, do func() error) error {
	if !s.cluster.AckAlways || s.cluster.Async {
		return do()
	}
	word := "master"
	if w.Server.kind.MySQL {
		word = "source"
	}
	if err := w.Server.Exec(ctx, "SET GLOBAL rpl_semi_sync_"+word+"_enabled=OFF"); err != nil {
		return err
	}
	return errors.Join(do(), w.Server.Exec(ctx, "SET GLOBAL rpl_semi_sync_"+word+"_enabled=ON"))
}

// told says whether somebody who looks at this `show` sees that something is wrong with the host.
func told(show string, n *Node) bool {
	for l := range strings.Lines(show) {
		if strings.HasPrefix(l, "# Warning: ") && strings.Contains(l, "host "+n.Name) ||
			strings.HasPrefix(l, "  "+n.Name+"(") && !strings.Contains(l, "/ONLINE.") {
			return true
		}
	}
	return false
}

// astray says which hosts do not replicate, or not from the host that they should follow: the writer w, and for w
// itself the other master. "": none.
func (c *Cluster) astray(ctx context.Context, w *Node) string {
	var lines []string
	for _, n := range c.DBs {
		source := w
		if n == w {
			source = c.otherMaster(w)
		}
		r, err := n.Server.Replica(ctx)
		if err != nil {
			lines = append(lines, n.Name+": "+err.Error())
		} else if r["Master_Host"] != source.IP.String() || r["Slave_IO_Running"] != "Yes" ||
			r["Slave_SQL_Running"] != "Yes" {
			lines = append(lines, fmt.Sprintf("%s replicates from %s: I/O %s %s %s, SQL %s %s", n.Name,
				r["Master_Host"],
				r["Slave_IO_Running"], r["Last_IO_Errno"], r["Last_IO_Error"], r["Slave_SQL_Running"],
				r["Last_SQL_Error"]))
		}
	}
	return strings.Join(lines, "\n")
}

// compare notes as wrong where servers have different rows in the end, or lack one that was acknowledged and is not
// known to be lost.
func (s *Soak) compare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.cluster.WaitLevel(ctx, s.cluster.DBs...); err != nil {
		s.wrong("%v", err)
	}
	var counts []string
	for _, n := range s.cluster.DBs {
		count, err := n.Server.Value(ctx, "SELECT COUNT(*) FROM app.t")
		if err != nil {
			return err
		}
		counts = append(counts, count)
		lost, err := s.load.Lost(ctx, n.Server)
		if err != nil {
			return err
		}
		if len(lost) > 0 {
			s.wrong("%s lacks %d acknowledged rows: %v", n.Name, len(lost), lost)
		}
	}
	if len(slices.Compact(slices.Clone(counts))) != 1 {
		s.wrong("the tables have %s rows", strings.Join(counts, ", "))
	}
	return nil
}

func (s *Soak) wrong(format string, args ...any) {
	s.Wrong = append(s.Wrong, fmt.Sprintf(format, args...))
	s.tell("    WRONG: "+format, args...)
}

// tell writes a line to trace, with the time as the daemons' logs have it.
func (s *Soak) tell(format string, args ...any) {
	fmt.Fprintf(s.trace, time.Now().Format("2006/01/02 15:04:05.000 ")+format+"\n", args...)
}

// brokenWatch looks again and again whether the replication of a host has broken, so that no error passes unseen.
type brokenWatch struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu   sync.Mutex
	seen map[string]string // by host: the error
}

func (c *Cluster) watchBroken(ctx context.Context) *brokenWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &brokenWatch{cancel: cancel, done: make(chan struct{}), seen: map[string]string{}}
	go func() {
		defer close(w.done)
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
			for _, n := range c.DBs {
				// an error: the server does not run at the moment
				if text, err := n.Server.Broken(ctx); err == nil && text != "" {
					w.mu.Lock()
					w.seen[n.Name] = text
					w.mu.Unlock()
				}
			}
		}
	}()
	return w
}

func (w *brokenWatch) stop() {
	w.cancel()
	<-w.done
}

// excuse forgets the error of a host whose replication was set up anew.
func (w *brokenWatch) excuse(n *Node) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.seen, n.Name)
}

// take returns, and forgets, the errors that were seen.
func (w *brokenWatch) take() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := w.seen
	w.seen = map[string]string{}
	return seen
}
