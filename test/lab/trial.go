package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
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

// Trial is one fault on a running cluster, and what became of it.
type Trial struct {
	Fault   string
	Heal    time.Duration
	Gap     time.Duration // longest time without a write
	Both    time.Duration // the writer's address on two hosts
	Outlive time.Duration // the old host had the address for so long after the fault struck; only while it lasted
	Lost    int           // acknowledged rows that the writer lacks in the end
	Turns   int           // how often the writes went to another server
	Writer  string        // in the end
	Aside   bool          // the old writer came back with a write that was in flight, which nobody was promised and nobody else has: it is set aside
	Verdict string        // "" is good
}

// Try lets one fault strike a whole cluster under load, mends it after heal, waits until the cluster is whole again, and judges.
func (c *Cluster) Try(ctx context.Context, f Fault, heal time.Duration) (Trial, error) {
	t := Trial{Fault: f.Name, Heal: heal}
	l, err := c.StartLoad(ctx, 100)
	if err != nil {
		return t, err
	}
	defer l.Stop()
	if err := Wait(ctx, "some writes", func() (bool, string) { n, _ := l.Acked(); return n > 50, fmt.Sprint(n) }); err != nil {
		return t, err
	}
	if err := c.DBs[0].Server.WaitSemiSync(ctx); err != nil {
		return t, err
	}
	w := c.WatchWriter(ctx)
	defer w.cancel()
	struck := time.Now()
	if err := l.Between(func() error { return f.Strike(c) }); err != nil {
		return t, fmt.Errorf("strike: %w", err)
	}
	select {
	case <-time.After(heal):
	case <-ctx.Done():
		return t, ctx.Err()
	}
	if seen := w.LastSeen("db1"); time.Since(seen) > 10*watchPeriod {
		t.Outlive = seen.Sub(struck)
	}
	mend := f.Mend
	if mend == nil {
		mend = func(c *Cluster) error { return c.DBs[0].Server.Start(ctx) }
	}
	if err := mend(c); err != nil {
		return t, fmt.Errorf("mend: %w", err)
	}
	n, _ := l.Acked()
	whole := Wait(ctx, "writes after the fault", func() (bool, string) { m, _ := l.Acked(); return m > n+20, fmt.Sprint(m - n) })
	if whole == nil {
		var joined bool
		if joined, whole = c.Joined(ctx, c.DBs[0]); whole == nil && !joined {
			t.Aside = true
		}
	}
	l.Stop()
	t.Gap = l.Gap(struck)
	t.Turns = l.turns()
	both, watchErr := w.Stop()
	t.Both = both
	show, _, _ := c.Control(context.WithoutCancel(ctx), "show")
	if wr := c.Writer(show); wr != nil {
		t.Writer = wr.Name
		if err := errors.Join(whole, watchErr); err == nil {
			lost, err := l.Lost(ctx, wr.Server)
			if err != nil {
				return t, err
			}
			t.Lost = len(lost)
		}
	}
	t.judge(f, whole)
	return t, watchErr
}

// judge names what must not be.
func (t *Trial) judge(f Fault, whole error) {
	var bad []string
	if t.Both > 0 {
		bad = append(bad, "two hosts had the address")
	}
	if t.Turns > 1 {
		bad = append(bad, fmt.Sprintf("the writes turned %d times", t.Turns))
	}
	if t.Lost > 0 {
		bad = append(bad, fmt.Sprintf("%d acknowledged rows lost", t.Lost))
	}
	if whole != nil {
		bad = append(bad, "not whole again: "+whole.Error())
	}
	t.Verdict = strings.Join(bad, "; ")
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
	verdict := t.Verdict
	if verdict == "" {
		verdict = "good"
	}
	if t.Aside {
		verdict += ", old writer set aside for a write in flight"
	}
	outlive := "-"
	if t.Outlive > 0 {
		outlive = fmt.Sprintf("%.2f s", t.Outlive.Seconds())
	}
	return fmt.Sprintf("%-26s %4.0f s  gap %6.2f s  two holders %4d ms  address gone after %7s  lost %d  writer %-3s  %s",
		t.Fault, t.Heal.Seconds(), t.Gap.Seconds(), t.Both.Milliseconds(), outlive, t.Lost, t.Writer, verdict)
}
