package sim

import (
	"flag"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var (
	worlds = flag.Uint64("worlds", 1000, "how many worlds to search")
	seed   = flag.Uint64("seed", 0, "replay this one world and tell its story")
)

// search runs worlds on all cores until one is wrong, and returns its seed.
func search(n uint64, rules Rules) (found uint64, what string) {
	var next, bad atomic.Uint64
	var mu sync.Mutex
	var group sync.WaitGroup
	for range runtime.NumCPU() {
		group.Go(func() {
			for bad.Load() == 0 {
				s := next.Add(1)
				if s > n {
					return
				}
				if wrong := New(s, rules).Run(); wrong != "" {
					mu.Lock()
					if found == 0 || s < found {
						found, what = s, wrong
					}
					mu.Unlock()
					bad.Store(1)
				}
			}
		})
	}
	group.Wait()
	return found, what
}

// TestWorlds: never two writers, and one in the end.
func TestWorlds(t *testing.T) {
	if *seed > 0 {
		w := New(*seed, Rules{})
		w.Trace = true
		if wrong := w.Run(); wrong != "" {
			t.Error(wrong)
		}
		t.Log("\n" + w.Log())
		return
	}
	began := time.Now()
	if s, what := search(*worlds, Rules{}); s > 0 {
		t.Fatalf("world %d: %s\nreplay it: go test ./pkg/sim -run TestWorlds -v -seed %d", s, what, s)
	}
	t.Logf("%d worlds of %v, %.0f a second", *worlds, worldEnd, float64(*worlds)/time.Since(began).Seconds())
}

// TestEachRuleIsNeeded: with a rule left out the search finds two writers. A search that finds nothing would prove nothing.
func TestEachRuleIsNeeded(t *testing.T) {
	const bound = 1000
	for name, rules := range map[string]Rules{
		"lease from the echo":                 {EchoFromReceipt: true},
		"the monitor waits for the old lease": {NoWait: true},
		"lower epochs are refused":            {LowerEpochs: true},
		"a promise is kept":                   {NoPromiseKept: true},
		"a start counts as a promise":         {NoPromiseAtStart: true},
		"the kernel's slack":                  {NoSlack: true},
		"the kernel's lifetime":               {NoLifetime: true},
		"the id of the boot":                  {SameBoot: true},
		"gone names who":                      {AnyGone: true},
		"saved before sent":                   {SavedAfterSending: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, what := search(bound, rules)
			if s == 0 {
				t.Fatalf("%d worlds without this rule, and never two writers", bound)
			}
			t.Logf("world %d: %s", s, what)
		})
	}
}
