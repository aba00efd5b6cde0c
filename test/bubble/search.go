package bubble

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Search says which worlds to run, and when to stop.
type Search struct {
	From, To  uint64 // seeds, the last one too
	Abilities Abilities
	Single    bool                // see World
	Without   Ablation            // see World
	Story     func(*World, *dice) // see World
	Until     time.Time           // no world is begun after that; zero: no bound
	Most      int                 // stop after so many worlds with something wrong; 0: never
	Enough    func(Outcome) bool  // stop after such a world; nil: never
	Progress  string              // file with the seed to go on with; "": none
	Tell      func(Outcome)       // called with each outcome; nil: nothing is called
}

// Found is what a search has found.
type Found struct {
	Worlds  int                      // how many worlds were run
	Took    time.Duration            // how long that took
	Next    uint64                   // the next seed
	Wrong   []Outcome                // of the worlds with something wrong
	Faults  map[string]int           // how many faults of each kind there were
	Open    time.Duration            // longest time that two servers were open at once in a world
	Revived int                      // worlds in which an agent that was stopped added an address too late
	Lost    int                      // worlds with acknowledged writes that are not in the last writer
	Gaps    map[string]time.Duration // longest time without a writer, by the kind of the only fault
}

// World runs the world of a seed in a bubble of its own. With told the outcome has the world's story, also if nothing
// is wrong.
func (s Search) World(t *testing.T, seed uint64, told bool) (o Outcome) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed, s.Abilities, s.Single, s.Without)
		w.Told, w.Story = told, s.Story
		o = w.run()
	})
	return o
}

// Run searches on all cores. Bubbles know nothing of each other, so that several can run in one process.
func (s Search) Run(t *testing.T) Found {
	began := time.Now()
	found := Found{Faults: map[string]int{}, Gaps: map[string]time.Duration{}, Next: s.resume()}
	var mu sync.Mutex
	var group sync.WaitGroup
	under := map[uint64]bool{} // the seeds of worlds that are running
	enough := false
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for {
				mu.Lock()
				seed := found.Next
				if enough || seed > s.To || !s.Until.IsZero() && time.Now().After(s.Until) || s.Most > 0 &&
					len(found.Wrong) >= s.Most {
					mu.Unlock()
					return
				}
				found.Next++
				under[seed] = true
				mu.Unlock()
				o := s.World(t, seed, false)
				mu.Lock()
				delete(under, seed)
				found.add(o)
				enough = enough || s.Enough != nil && s.Enough(o)
				if s.Tell != nil {
					s.Tell(o)
				}
				s.remember(t, found.Next, under)
				mu.Unlock()
			}
		})
	}
	group.Wait()
	found.Took = time.Since(began)
	return found
}

func (f *Found) add(o Outcome) {
	f.Worlds++
	if o.Wrong != "" {
		f.Wrong = append(f.Wrong, o)
	}
	for k, n := range o.Faults {
		f.Faults[k] += n
	}
	f.Open = max(f.Open, o.Open)
	if o.Lost > 0 {
		f.Lost++
	}
	if o.Revived {
		f.Revived++
	}
	if o.Only != "" {
		f.Gaps[o.Only] = max(f.Gaps[o.Only], o.Gap)
	}
}

// resume is the seed to begin with: the one in the file Progress, where there is one and it is higher than From.
func (s Search) resume() uint64 {
	text, err := os.ReadFile(s.Progress)
	if err != nil {
		return s.From
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return s.From
	}
	return max(n, s.From)
}

// remember writes the lowest seed whose world has not been run to its end into the file Progress.
func (s Search) remember(t *testing.T, next uint64, under map[uint64]bool) {
	if s.Progress == "" {
		return
	}
	for seed := range under {
		next = min(next, seed)
	}
	if err := os.WriteFile(s.Progress, []byte(strconv.FormatUint(next, 10)+"\n"), 0o644); err != nil {
		t.Errorf("note the progress: %v", err)
	}
}

// String is the result as a text for people.
func (f Found) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d worlds in %.1f s, %.1f a second; %d wrong; next seed %d\n", f.Worlds, f.Took.Seconds(),
		float64(f.Worlds)/f.Took.Seconds(), len(f.Wrong), f.Next)
	fmt.Fprintf(&b,
		"in %d worlds acknowledged writes were lost, and named; two servers were open for writes at once for at most %.1f s, one of them without the address\n", f.Lost, f.Open.Seconds())
	fmt.Fprintf(&b, "an agent that was stopped while it added an address added it too late, "+
		"and had it for less than %v, in %d worlds\n",
		relook, f.Revived)
	for _, k := range sorted(f.Faults) {
		fmt.Fprintf(&b, "%8d %s\n", f.Faults[k], k)
	}
	if len(f.Gaps) > 0 {
		b.WriteString("longest time without a writer, by the only fault:\n")
		for _, k := range sorted(f.Gaps) {
			fmt.Fprintf(&b, "%8.2f s %s\n", f.Gaps[k].Seconds(), k)
		}
	}
	return b.String()
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
