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

// Watch looks all the time which database hosts have the writer's address on their interface.
type Watch struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	both  time.Duration // on two hosts at once
	seen  map[string]time.Time
	fails error
}

// watchPeriod is how often it looks.
const watchPeriod = 5 * time.Millisecond

// WatchWriter starts to look.
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
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range have {
		w.seen[name] = began
	}
	// Hosts are looked at one after the other: only what the next look sees too was at the same time.
	if len(have) > 1 {
		w.both += began.Sub(*last)
	}
	*last = began
}

// Stop ends the looking and returns for how long two hosts had the address.
func (w *Watch) Stop() (both time.Duration, err error) {
	w.cancel()
	<-w.done
	return w.both, w.fails
}

// LastSeen is when a host last had the address.
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
	Gap     time.Duration // longest time without a write, until the state was left
	Bound   time.Duration // how long it may be
	Both    time.Duration // the writer's address on two hosts
	Open    time.Duration // two servers that a client could write to, at their own addresses
	Late    time.Duration // of that, more than a moment after the fault was mended
	Outlive time.Duration // the old host had the address for so long after the fault struck; only while it lasted
	Lost    int           // acknowledged rows that the writer lacks in the end
	Idle    bool          // that writer has not taken the last write
	Named   int           // transactions that `show` names as a former writer's alone
	Turns   int           // how often the writes went to another server
	Writer  string        // in the end
	Aside   bool          // the old writer came back with a write that nobody else has: it is set aside
	Verdict string        // "" is good
}

// unproven is what the monitor logs when it frees a role that its holder may still have. A lease leaves no need of it.
const unproven = "there may be duplicate ips"

// Limits of what is waited for.
const (
	calmLimit  = 5 * time.Second  // until `show` warns of nothing in a state that is calm
	stay       = 2 * time.Second  // the state goes on for so long after clients can write again
	moment     = time.Second      // in which an agent that is back closes its server
	backLimit  = 20 * time.Second // until they can, once the fault is mended
	wholeLimit = 45 * time.Second // until the cluster is whole, once the state is left
)

// Try lets one fault strike a whole cluster in which all is well.
func (c *Cluster) Try(ctx context.Context, f Fault, heal time.Duration) (Trial, error) {
	return c.TryIn(ctx, States()[0], f, heal)
}

// TryIn lets a cluster enter a state under load, lets one fault strike it, mends it after heal, leaves the state, waits
// until the cluster is whole again, and judges. An error says that there was no trial.
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

// enter begins with a cluster that loses nothing.
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

// recover waits for writes while the state lasts, leaves it, and waits until the cluster is whole. It returns when the
// state was left, and what did not happen.
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

// count compares what was acknowledged with what the writer has, and with what `show` says.
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

// judge names what must not be.
func (t *Trial) judge(s State, f Fault) []string {
	var bad []string
	if t.Both > 0 {
		bad = append(bad, fmt.Sprintf("two hosts had the address for %d ms", t.Both.Milliseconds()))
	}
	switch {
	case t.Open > 0 && !f.Unguarded:
		bad = append(bad, fmt.Sprintf("two servers were open for %d ms", t.Open.Milliseconds()))
	case t.Late > 0:
		bad = append(bad, fmt.Sprintf("two servers were open for %d ms with the agent back", t.Late.Milliseconds()))
	}
	if t.Turns > 1 {
		bad = append(bad, fmt.Sprintf("the writes turned %d times", t.Turns))
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

// complaint is the first thing that keeps the cluster from being whole, once the time is over; "" if it is whole
// before.
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
		_ = sleep(soon, 50*time.Millisecond) // its end is looked at
	}
}

// firstWarning is a line of `show`, or what it does not say.
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

// turns counts how often acknowledged rows changed from one server to another.
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
		verdict += "; the old writer is set aside, with what nobody else has"
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
