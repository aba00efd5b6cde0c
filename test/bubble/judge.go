package bubble

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// judge notes the first thing in a world that must never happen, and what excuses it.
type judge struct {
	w        *World
	wrong    string               // what has happened; "": nothing
	forgiven map[string]time.Time // by host that was suspended, where no lease can help: until when it is excused
	lied     bool                 // kill_host has said that it worked, and had not
	classic  bool                 // there was no lease at some time: two writers are possible then
	gaveIn   bool                 // the last writer was waited for in vain: a host that lacks something was promoted
	excused  bool                 // a log was reset: acknowledged writes may be lost
	lost     bool                 // a state file was lost, or put back to an older one: epochs may have the same number

	epochs map[uint64]cluster.Epoch
	forced map[string]bool   // hosts whose newest order to be the writer is forced
	newest map[string]uint64 // epoch of that order; older ones may arrive late
	vows   map[string]vow    // the newest promise of each host
	named  map[string]bool   // hosts of which a log has said that they have, or may have, what no other host has

	noWriter  time.Time      // since when there is no writer; zero: there is one
	gap       time.Duration  // the longest time without a writer
	gaps      bool           // times without a writer count
	twoOpen   time.Time      // since when two servers are open for writes; zero: they are not
	openFor   time.Duration  // for how long two were
	faults    map[string]int // how many there were of each kind
	only      string         // the kind of the only fault of a world
	whom      harm           // of that fault
	lasts     time.Duration  // how long that fault lasts
	healed    bool           // all is mended, and nothing more goes wrong
	appointed string         // the host that the newest order to any agent names as the writer
	revivals  int            // how often a stopped agent added an address too late
	replaced  bool           // a writer that could not write was replaced
}

// vow is a promise, to the host that asked for it.
type vow struct {
	to string
	at time.Time
}

func newJudge(w *World) judge {
	return judge{w: w, forgiven: map[string]time.Time{}, epochs: map[uint64]cluster.Epoch{}, forced: map[string]bool{},
		newest: map[string]uint64{}, vows: map[string]vow{}, named: map[string]bool{},
		faults: map[string]int{}}
}

// fail notes what is wrong, the first time. The world is locked.
func (w *World) fail(format string, args ...any) {
	if w.wrong == "" {
		w.wrong = fmt.Sprintf("%.3f s: ", time.Since(w.story.begin).Seconds()) + fmt.Sprintf(format, args...)
		w.note("WRONG", "%s", w.wrong)
	}
}

// failed is fail for callers that have not locked the world.
func (w *World) failed(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fail(format, args...)
}

// forgive excuses a host that was suspended for as long as it may still have the writer's address: for the longest
// lease that an epoch allows, or for as long as the kernel still has the address, if that is longer.
func (w *World) forgive(h *host) {
	lease := h.setup.lease
	for _, e := range w.epochs {
		lease = max(lease, e.Terms.Longest)
	}
	until := time.Now().Add(lease.Over())
	for _, e := range h.kernel.entries[writerIP] {
		if e.timer != nil && e.ends.After(until) {
			until = e.ends
		}
	}
	w.forgiven[h.name] = until
}

// holders are the hosts that have the writer's address, but for those that are excused, or where somebody else has
// added it.
func (w *World) holders() []string {
	var list []string
	for _, h := range w.hosts {
		if h.answers() && h.kernel.ours(writerIP) && time.Now().After(w.forgiven[h.name]) {
			list = append(list, h.name)
		}
	}
	return list
}

// writers are the hosts on which clients of the writer's address can write.
func (w *World) writers() []string {
	var list []string
	for _, h := range w.hosts {
		if h.answers() && h.kernel.has(writerIP) && h.server.health == well && h.server.open() &&
			h.kernel.admits(writerIP) && w.network.both(clientName, h.name) {
			list = append(list, h.name)
		}
	}
	return list
}

// exposed are the hosts on which clients can write by the host's own address.
func (w *World) exposed() []string {
	var list []string
	for _, h := range w.hosts {
		if h.answers() && h.server.health == well && h.server.open() && !h.kernel.closed {
			list = append(list, h.name)
		}
	}
	return list
}

// check looks for two holders, and for changes in who can write where. It is called after every change, with the world
// locked.
func (w *World) check() {
	if list := w.holders(); len(list) > 1 && !w.lied && !w.classic {
		w.fail("the writer's address is on %s", strings.Join(list, " and "))
	}
	switch n := len(w.writers()); {
	case n == 0 && w.noWriter.IsZero():
		w.noWriter = time.Now()
	case n > 0 && !w.noWriter.IsZero():
		w.closeGap()
	}
	switch list := w.exposed(); {
	case len(list) < 2 && !w.twoOpen.IsZero():
		w.openFor += time.Since(w.twoOpen)
		w.twoOpen = time.Time{}
	case len(list) < 2:
	case w.twoOpen.IsZero():
		w.twoOpen = time.Now()
		w.recheck()
		fallthrough
	default:
		busy := slices.ContainsFunc(list, func(n string) bool {
			h := w.host(n) // an address that somebody has added looks to an agent that starts like that of the writer at work
			strange := h.kernel.has(writerIP) && !h.kernel.ours(writerIP)
			return !h.tended() || strange || time.Now().Before(w.forgiven[n])
		})
		if !busy && !w.lied && !w.classic && !w.Without.rewrites() {
			w.fail("%s are open for writes, and their agents run", strings.Join(list, " and "))
		}
	}
}

// recheck looks again and again until only one server is open.
func (w *World) recheck() {
	w.later(tending/10, func() {
		if !w.twoOpen.IsZero() {
			w.check()
			w.recheck()
		}
	})
}

// tending is how long an agent may take to close its server after it could not: it did not run, the server hung, or its
// firewall was emptied. An agent looks once a second.
const tending = 1500 * time.Millisecond

func (w *World) closeGap() {
	if w.gaps {
		w.gap = max(w.gap, time.Since(w.noWriter))
	}
	w.noWriter = time.Time{}
}

// ordered notes an order. It is wrong where one number stands for two different epochs.
func (w *World) ordered(to string, o cluster.Order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if o.Epoch.Number >= w.newest[to] {
		w.newest[to] = o.Epoch.Number
		w.forced[to] = o.Forced && slices.ContainsFunc(o.Roles,
			func(r cluster.RoleIP) bool { return r.Role == writerRole })
	}
	if o.Epoch.Holder != "" {
		w.appointed = o.Epoch.Holder
	}
	if o.Epoch.Number == 0 || w.lost || w.Without.rewrites() {
		return
	}
	if old, ok := w.epochs[o.Epoch.Number]; ok && old != o.Epoch {
		w.fail("epoch %d is %s and %s", o.Epoch.Number, old, o.Epoch)
	}
	w.epochs[o.Epoch.Number] = o.Epoch
}

// promised notes a promise: line is the question that the host has answered with it.
func (w *World) promised(line string, by *host) {
	req, err := wire.ParseRequest(line)
	if err != nil {
		return
	}
	q, err := wire.ParseQuestion(req)
	if err != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.vows[by.name] = vow{q.From, time.Now()}
}

// heardOf notes what a program's log says of losses and of hosts. The world is locked.
func (w *World) heardOf(text string) {
	w.replaced = w.replaced || strings.Contains(text, "because it answers and can't write")
	w.gaveIn = w.gaveIn || strings.Contains(text, "has not come back for")
	for _, words := range []string{"DATA LOSS", "nobody else has", "has diverged", "is missing", "has transactions",
		"has executed", "not known", "not whole", "what only"} {
		if !strings.Contains(text, words) {
			continue
		}
		for _, h := range w.hosts {
			w.named[h.name] = w.named[h.name] || strings.Contains(text, "'"+h.name+"'")
		}
	}
}

// outcome is what became of the world so far.
func (w *World) outcome() Outcome {
	return Outcome{Seed: w.Seed, Wrong: w.wrong, Faults: w.faults, Gap: w.gap, Open: w.openFor, Lost: len(w.missing),
		Only: w.only, Replaced: w.replaced, Revived: w.revivals > 0}
}

// bounded compares the time without a writer, in a world with one fault, with what that may cost: nothing, or a
// failover, which is a lease and the time until a server counts as dead.
func (w *World) bounded() {
	w.mu.Lock()
	defer w.mu.Unlock()
	most := w.lease().Over() + w.trap + 2*w.brain.setup.period + w.timeout + time.Second
	if w.only == "reboot" { // a host that is back before its lease ends keeps the role, and waits after its start
		most += min(w.lasts, w.lease().Over())
	}
	switch {
	case !w.Single || w.whom == hard:
	case w.whom == nobody && w.gap > 0 && !w.replaced: // a writer whose commits wait for write_timeout is replaced
		w.fail("no writer for %.2f s, for a fault that is to cost nothing: %s", w.gap.Seconds(), w.only)
	case w.gap > most:
		w.fail("no writer for %.2f s, more than %.2f s: %s", w.gap.Seconds(), most.Seconds(), w.only)
	}
}
