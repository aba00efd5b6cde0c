package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Watch looks again and again which database hosts have the writer's address on their interface.
type Watch struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	both  time.Duration        // for how long the address was on two hosts at once
	seen  map[string]time.Time // by host: when the address was last seen there
	fails error                // what went wrong with looking
}

// watchPeriod is how often a Watch looks.
const watchPeriod = 5 * time.Millisecond

// WatchWriter starts a Watch.
func (c *Cluster) WatchWriter(ctx context.Context) *Watch {
	ctx, cancel := context.WithCancel(ctx)
	w := &Watch{cancel: cancel, done: make(chan struct{}), seen: map[string]time.Time{}}
	go func() {
		defer close(w.done)
		ticker := time.NewTicker(watchPeriod)
		defer ticker.Stop()
		last := time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				w.look(c, &last)
			}
		}
	}()
	return w
}

func (w *Watch) look(c *Cluster, last *time.Time) {
	var have []string
	ip := netip.MustParseAddr(WriterIP)
	began := time.Now()
	for _, n := range c.DBs {
		addrs, err := n.Addresses()
		w.mu.Lock()
		w.fails = errors.Join(w.fails, err)
		w.mu.Unlock()
		if slices.Contains(addrs, ip) {
			have = append(have, n.Name)
		}
	}
	// The hosts are looked at one after the other: an address that moves meanwhile is seen on two hosts, and is gone
	// from the first of them when that is looked at again. Where it is not, two had it since the look before, at most.
	twice := false
	if len(have) > 1 {
		addrs, err := c.Node(have[0]).Addresses()
		twice = err != nil || slices.Contains(addrs, ip)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range have {
		w.seen[name] = began
	}
	if twice {
		w.both += began.Sub(*last)
	}
	*last = began
}

// Stop ends the looking. It returns for how long two hosts had the address at once, and what went wrong with looking.
func (w *Watch) Stop() (both time.Duration, err error) {
	w.cancel()
	<-w.done
	return w.both, w.fails
}

// LastSeen is when the address was last seen on a host.
func (w *Watch) LastSeen(host string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[host]
}

// Trial is one fault on a running cluster in a state, and what became of it.
type Trial struct {
	State   string
	Fault   string
	Heal    time.Duration
	Gap     time.Duration // longest time without an acknowledged write, until the state was left
	Bound   time.Duration // how long Gap may be
	Both    time.Duration // for how long two hosts had the writer's address at once
	Open    time.Duration // for how long two servers were open at once for a client at their own addresses
	Late    time.Duration // the part of Open more than a second after the fault was mended
	Outlive time.Duration // for how long db1 still had the address after the fault struck; 0: until it was mended
	Lost    int           // acknowledged rows that the writer lacks in the end
	Idle    bool          // another server than this writer has acknowledged the last write
	Named   int           // transactions that `show` names as those that only a former writer has
	Turns   int           // how often writes began to go to another server
	Writer  string        // host that has the writer role in the end; "": none
	Aside   bool          // db1 came back with a transaction that no other host has, and is set aside
	Verdict string        // what is bad; "": all is good
}

// unproven is what the monitor logs when it frees a role that its holder may still have. With a lease it never does.
const unproven = "there may be duplicate ips"

// The times of a trial.
const (
	calmLimit  = 5 * time.Second  // in a calm state `show` must have no warning any more after so long
	stay       = 2 * time.Second  // the state goes on for so long after clients can write again
	moment     = time.Second      // an agent that is back may take so long to close its server
	backLimit  = 20 * time.Second // clients must be able to write so long after the fault was mended
	wholeLimit = 45 * time.Second // the cluster must be whole so long after the state was left
)

// Try makes the trial of a fault on a whole cluster in which all else is well. The fault is mended after heal.
func (c *Cluster) Try(ctx context.Context, f Fault, heal time.Duration) (Trial, error) {
	return c.TryIn(ctx, States()[0], f, heal)
}

// TryIn makes the trial of a fault in a state: under load the cluster enters the state, the fault strikes, is mended
// after heal, the state is left, and the cluster must become whole again. An error says that there was no trial.
func (c *Cluster) TryIn(ctx context.Context, s State, f Fault, heal time.Duration) (Trial, error) {
	t := Trial{State: s.Name, Fault: f.Name, Heal: heal, Bound: c.Bound(s, f, heal)}
	l, err := c.StartLoad(ctx, 100)
	if err != nil {
		return t, err
	}
	defer l.Stop()
	if err := c.enter(ctx, s, l); err != nil {
		return t, fmt.Errorf("enter the state: %w", err)
	}
	var bad []string
	if s.Calm {
		if why := c.complaint(ctx, calmLimit); why != "" {
			bad = append(bad, "before the fault: "+why)
		}
	}
	w, open := c.WatchWriter(ctx), c.watchOpen(ctx)
	defer w.cancel()
	defer open.cancel()
	struck, said := time.Now(), len(c.Monitor.Log())
	if err := l.Between(func() error { return f.Strike(c) }); err != nil {
		return t, fmt.Errorf("strike: %w", err)
	}
	if err := sleep(ctx, heal); err != nil {
		return t, err
	}
	if seen := w.LastSeen("db1"); time.Since(seen) > 40*watchPeriod {
		t.Outlive = max(0, seen.Sub(struck))
	}
	mend := f.Mend
	if mend == nil {
		mend = func(c *Cluster) error { return c.DBs[0].Server.Start(ctx) }
	}
	if err := mend(c); err != nil {
		return t, fmt.Errorf("mend: %w", err)
	}
	mended := time.Now()
	ended, why, err := c.recover(ctx, s, l, &t)
	if err != nil {
		return t, err
	}
	bad = append(bad, why...)
	l.Stop()
	t.Gap, t.Turns = l.Silence(struck, ended), l.turns()
	t.Open, t.Late = open.stop(mended.Add(moment))
	if t.Both, err = w.Stop(); err != nil {
		return t, err
	}
	if err := c.count(ctx, l, &t); err != nil {
		return t, err
	}
	if log := c.Monitor.Log(); c.lease() > 0 && strings.Contains(log[min(said, len(log)):], unproven) {
		bad = append(bad, fmt.Sprintf("the monitor gave the role away without proof (%q)", unproven))
	}
	t.Verdict = strings.Join(append(t.judge(s, f), bad...), "; ")
	return t, nil
}

// enter waits until clients write and the writer's commits are acknowledged, and then lets the cluster enter the state.
func (c *Cluster) enter(ctx context.Context, s State, l *Load) error {
	if err := Wait(ctx, "some writes", func() (bool, string) {
		n, _ := l.Acked()
		return n > 50, fmt.Sprint(n)
	}); err != nil {
		return err
	}
	if err := c.DBs[0].Server.WaitSemiSync(ctx); err != nil {
		return err
	}
	if s.Enter == nil {
		return nil
	}
	return s.Enter(ctx, c)
}

// recover waits until clients can write again, leaves the state, and waits until the cluster is whole. It returns when
// the state was left, and what did not happen in time.
func (c *Cluster) recover(ctx context.Context, s State, l *Load, t *Trial) (ended time.Time, bad []string, err error) {
	n, _ := l.Acked()
	soon, cancel := context.WithTimeout(ctx, backLimit)
	defer cancel()
	if back := Wait(soon, "writes", func() (bool, string) { m, _ := l.Acked(); return m > n+20, "" }); back != nil {
		bad = append(bad, fmt.Sprintf("no writes for %.0f s after the fault was mended", backLimit.Seconds()))
	}
	if s.Leave != nil {
		if err := sleep(ctx, stay); err != nil {
			return ended, bad, err
		}
		ended = time.Now()
		if err := s.Leave(ctx, c); err != nil {
			return ended, bad, fmt.Errorf("leave the state: %w", err)
		}
	}
	later, cancel := context.WithTimeout(ctx, wholeLimit)
	defer cancel()
	joined, whole := c.Joined(later, c.DBs[0])
	if ctx.Err() != nil {
		return ended, bad, ctx.Err()
	}
	switch {
	case whole != nil:
		bad = append(bad, fmt.Sprintf("not whole for %.0f s: %s", wholeLimit.Seconds(), c.complaint(ctx, 0)))
	case !joined:
		t.Aside = true
	}
	if s.Leave == nil {
		ended = time.Now()
	}
	return ended, bad, nil
}

// count notes the writer in the end, the acknowledged rows that it lacks, and the transactions that `show` names.
func (c *Cluster) count(ctx context.Context, l *Load, t *Trial) error {
	text, _, err := c.Control(ctx, "show", "--json")
	if err != nil {
		return err
	}
	var view cluster.View
	if err := json.Unmarshal([]byte(text), &view); err != nil {
		return fmt.Errorf("read what show says: %w: %s", err, text)
	}
	for _, h := range view.Hosts {
		if h.Audit != nil {
			t.Named += h.Audit.Beyond
		}
	}
	for _, r := range view.Roles {
		if r.IP == WriterIP {
			t.Writer = r.Host
		}
	}
	n := c.Node(t.Writer)
	if n == nil {
		return nil
	}
	_, last := l.Acked()
	t.Idle = last != n.Server.id
	lost, err := l.Lost(ctx, n.Server)
	t.Lost = len(lost)
	return err
}

// judge lists what is bad about the trial.
func (t *Trial) judge(s State, f Fault) []string {
	var bad []string
	if t.Both > 0 {
		bad = append(bad, fmt.Sprintf("two hosts had the writer's address for %d ms", t.Both.Milliseconds()))
	}
	switch {
	case t.Open > 0 && !f.Unguarded:
		bad = append(bad, fmt.Sprintf("two servers were open for %d ms", t.Open.Milliseconds()))
	case t.Late > 0:
		bad = append(bad, fmt.Sprintf("two servers were open for %d ms with the agent back", t.Late.Milliseconds()))
	}
	if t.Turns > 1 {
		bad = append(bad, fmt.Sprintf("the writes went to another server %d times", t.Turns))
	}
	if t.Lost > 0 && !(s.Async && !t.Idle && t.Named >= t.Lost) {
		how := "in silence"
		if t.Named >= t.Lost {
			how = "show names them"
		} else if t.Named > 0 {
			how = fmt.Sprintf("show names %d", t.Named)
		}
		what := fmt.Sprintf("%d acknowledged rows lost", t.Lost)
		if t.Idle {
			what = fmt.Sprintf("%s is to be the writer, takes no writes, and lacks %d acknowledged rows",
				t.Writer, t.Lost)
		}
		bad = append(bad, what+", "+how)
	}
	if t.Gap > t.Bound {
		bad = append(bad, "the gap is too long")
	}
	return bad
}

// complaint waits until the cluster is whole, for at most limit. It returns the first thing that keeps the cluster from
// being whole then; "": it is whole.
func (c *Cluster) complaint(ctx context.Context, limit time.Duration) string {
	soon, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	why := ""
	for {
		show, _, err := c.Control(ctx, "show")
		if err != nil {
			return err.Error()
		}
		if why = c.firstWarning(show); why == "" || soon.Err() != nil {
			return why
		}
		_ = sleep(soon, 50*time.Millisecond) // the loop looks whether the time is over
	}
}

// firstWarning is the first thing in a `show`, or else on the interfaces, that keeps the cluster from being whole; "":
// it is whole.
func (c *Cluster) firstWarning(show string) string {
	if c.whole(show) {
		return ""
	}
	for line := range strings.Lines(show) {
		if strings.HasPrefix(line, "#") {
			return strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "# "))
		}
	}
	for line := range strings.Lines(show) {
		host := strings.Contains(line, ". Roles:")
		if host && (!strings.Contains(line, "/ONLINE.") || !strings.Contains(line, "reader(")) {
			return strings.TrimSpace(line)
		}
	}
	if err := c.Placed(show); err != nil {
		return err.Error()
	}
	return "nobody is the writer"
}

// turns counts how often the next acknowledged row came from another server than the one before it.
func (l *Load) turns() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for i := 1; i < len(l.acked); i++ {
		if l.acked[i].server != l.acked[i-1].server {
			n++
		}
	}
	return n
}

// String is the trial's row of a table.
func (t Trial) String() string {
	verdict := "good"
	if t.Verdict != "" {
		verdict = "BAD: " + t.Verdict
	}
	if t.Aside {
		verdict += "; the former writer is set aside, with what nobody else has"
	}
	outlive := "-"
	if t.Outlive > 0 {
		outlive = fmt.Sprintf("%.2f s", t.Outlive.Seconds())
	}
	lost := fmt.Sprint(t.Lost)
	if t.Lost > 0 || t.Named > 0 {
		lost += fmt.Sprintf(" (%d named)", t.Named)
	}
	return fmt.Sprintf("%-25s %-25s %3.0f s  gap %6.2f of %5.2f s  two holders %4d ms  two open %5d ms  "+
		"address gone %7s  lost %-15s writer %-3s  %s",
		t.Fault, t.State, t.Heal.Seconds(), t.Gap.Seconds(), t.Bound.Seconds(),
		t.Both.Milliseconds(), t.Open.Milliseconds(), outlive, lost, t.Writer, verdict)
}
