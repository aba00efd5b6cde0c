package bubble

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

var (
	worlds    = flag.Uint64("worlds", 150, "how many worlds to search")
	from      = flag.Uint64("from", 1, "the first seed")
	seed      = flag.Uint64("seed", 0, "live through this one world and tell its story")
	abilities = flag.String("abilities", "proven",
		"what may go wrong: proven, all, none, or a list of names, those with a minus are left out")
	single   = flag.Bool("single", false, "worlds with one fault each, to measure how long they are without a writer")
	during   = flag.Duration("for", 0, "how long to search, instead of -worlds")
	progress = flag.String("progress", "", "file that remembers the next seed")
	stories  = flag.String("stories", "", "folder for the stories of all worlds with something wrong")
	most     = flag.Int("most", 1, "stop after so many worlds with something wrong; 0: go on")
)

// TestMain leaves the garbage of small worlds alone.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	m.Run()
}

func chosen(t *testing.T) Abilities {
	a, err := ParseAbilities(*abilities)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestWorlds: never two writers, no write lost in silence, nothing unreadable, and a writer in the end.
func TestWorlds(t *testing.T) {
	if *seed > 0 {
		o := Search{Abilities: chosen(t), Single: *single}.World(t, *seed, true)
		if o.Wrong != "" {
			t.Error(o.Wrong)
		}
		t.Log("\n" + o.Story)
		return
	}
	s := Search{From: *from, To: *from + *worlds - 1, Abilities: chosen(t), Single: *single, Most: *most,
		Progress: *progress}
	if *during > 0 {
		s.Until, s.To = time.Now().Add(*during), math.MaxUint64
	}
	s.Tell = func(o Outcome) {
		if o.Wrong != "" {
			t.Logf("world %d: %s", o.Seed, o.Wrong)
			if *stories != "" {
				if err := os.WriteFile(filepath.Join(*stories, fmt.Sprintf("%d.txt", o.Seed)), []byte(o.Story),
					0o644); err != nil {
					t.Error(err)
				}
			}
		}
	}
	found := s.Run(t)
	for _, o := range found.Wrong[:min(len(found.Wrong), 1)] {
		t.Errorf("world %d: %s\nreplay it: go test ./test/bubble -run TestWorlds -v -abilities %s -seed %d\n%s", o.Seed,
			o.Wrong, s.Abilities, o.Seed, o.Story)
	}
	t.Logf("\n%s", found)
}

// TestEachRuleIsNeeded: in a world that makes a rule worth nothing the search finds two writers. A search that finds
// nothing would prove nothing.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, c := range []struct {
		rule    string
		without Ablation
		story   func(*World, *dice) // in which the rule counts
		bound   uint64              // worlds in which it is found
		besides Abilities
	}{
		{"lease from the echo", Ablation{Echo: true}, lateGone, 400, 0},
		{"the monitor waits for the old lease", Ablation{Wait: true}, hostGone, 200, 0},
		{"lower epochs are refused", Ablation{Numbers: true}, lateOrders, 400, 0},
		{"a promise is kept", Ablation{Promise: true}, nil, 400, 0},
		{"a start counts as a promise", Ablation{PromiseAtStart: true}, forgetfulPeer, 200, 0},
		{"the kernel's slack", Ablation{Slack: true}, agentGone, 1500, 0},
		{"the kernel's lifetime", Ablation{Lifetime: true}, nil, 400, 0},
		{"the id of the boot", Ablation{BootID: true}, rebooted, 1500, 0},
		{"gone names who", Ablation{Gone: true}, thirdHost, 1000, 0},
		{"terms are those of the epoch", Ablation{OwnTerms: true}, otherFiles, 400, Reconfigured},
		{"the longest lease that anybody may have", Ablation{Settled: true}, shorterLease, 400, Reconfigured},
		{"no lease never ends", Ablation{Endless: true}, firstLease, 400, Reconfigured},
		{"a start may have forgotten", Ablation{Saved: true, Heard: true}, lostDecision, 400, 0},
		{"who knows nothing waits", Ablation{Ignorance: true}, nothingKnown, 400, Reconfigured | LostState},
		{"a renewal adds nothing", Ablation{Adds: true}, stoppedRenewal, 400, 0},
	} {
		t.Run(c.rule, func(t *testing.T) {
			found := Search{From: *from, To: *from + c.bound - 1,
				Abilities: Operators | Pauses | BadNetwork | SlowKernels | LateKernels | c.besides,
				Without:   c.without, Story: c.story, Enough: twoWriters}.Run(t)
			for _, o := range found.Wrong {
				if twoWriters(o) {
					t.Logf("%d worlds, %.1f s: world %d: %s", found.Worlds, found.Took.Seconds(), o.Seed, o.Wrong)
					return
				}
			}
			t.Fatalf("%d worlds without this rule, and never two writers", found.Worlds)
		})
	}
}

// TestLostDecisions: a monitor whose disk says that it has written, and loses it, makes no two writers: one that has
// just started revives no lease before it has heard all who may hold another one.
func TestLostDecisions(t *testing.T) {
	found := Search{From: *from, To: *from + 149, Abilities: Operators | Pauses | BadNetwork | SlowKernels,
		Without: Ablation{Saved: true}, Story: lostDecision, Enough: twoWriters}.Run(t)
	for _, o := range found.Wrong {
		if twoWriters(o) {
			t.Errorf("world %d: %s\n%s", o.Seed, o.Wrong, o.Story)
		}
	}
	t.Logf("%d worlds in %.1f s", found.Worlds, found.Took.Seconds())
}

func twoWriters(o Outcome) bool { return strings.Contains(o.Wrong, "the writer's address is on") }

// TestOneFault: what does not concern the writer costs it nothing, and what does costs a failover at most.
func TestOneFault(t *testing.T) {
	found := Search{From: *from, To: *from + 99, Abilities: Pauses, Single: true}.Run(t)
	for _, o := range found.Wrong {
		t.Errorf("world %d: %s\n%s", o.Seed, o.Wrong, o.Story)
	}
	t.Logf("\n%s", found)
}

// TestUnwriting: a writer whose disk hangs is replaced, and what it commits when its disk goes on is lost to nobody who
// was told so, or is named.
func TestUnwriting(t *testing.T) {
	replaced := 0
	s := Search{From: *from, To: *from + 99, Abilities: Stalls, Story: cantWrite}
	s.Tell = func(o Outcome) {
		if o.Replaced {
			replaced++
		}
	}
	found := s.Run(t)
	for _, o := range found.Wrong {
		t.Errorf("world %d: %s\n%s", o.Seed, o.Wrong, o.Story)
	}
	if replaced < 20 {
		t.Errorf("in %d worlds alone a writer that can't write was replaced", replaced)
	}
	t.Logf("%d replaced\n%s", replaced, found)
}
