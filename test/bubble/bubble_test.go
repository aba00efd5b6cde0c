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
	seed      = flag.Uint64("seed", 0, "run only the world of this seed and print its story")
	abilities = flag.String("abilities", "proven",
		"what may go wrong: proven, all, none, or a list of names; a name with a minus before it is left out")
	single   = flag.Bool("single", false, "run worlds with one fault each, to measure how long they are without a writer")
	during   = flag.Duration("for", 0, "how long to search, instead of -worlds")
	progress = flag.String("progress", "", "file with the seed to go on with")
	stories  = flag.String("stories", "", "folder for the stories of all worlds with something wrong")
	most     = flag.Int("most", 1, "stop after so many worlds with something wrong; 0: go on")
)

// TestMain makes garbage collections rare: worlds are small.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	m.Run()
}

// chosen are the abilities of the flag -abilities.
func chosen(t *testing.T) Abilities {
	a, err := ParseAbilities(*abilities)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestWorlds searches worlds. In none there may be two writers, an acknowledged write that is lost without a word, or a
// line that its receiver can't read, and each must have a writer in the end.
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

// TestEachRuleIsNeeded: in worlds that make one rule worth nothing the search finds two writers. This shows that the
// rule is needed, and that the search would find two writers if the programs broke it.
func TestEachRuleIsNeeded(t *testing.T) {
	for _, c := range []struct {
		rule    string
		without Ablation
		story   func(*World, *dice) // a mishap against which the rule stands; nil: chance decides
		bound   uint64              // two writers must be found within so many worlds
		besides Abilities           // further abilities of the worlds
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

// TestJudgeFinds: the search finds what else must never happen, in worlds that make the rule against it worth nothing:
// a server that stays open beside the new writer's, and a host that is made the writer though it has received nothing
// for long.
func TestJudgeFinds(t *testing.T) {
	for _, c := range []struct {
		rule    string
		without Ablation
		story   func(*World, *dice)
		says    string
	}{
		{"a former writer is closed for writes", Ablation{Close: true}, nil, "are open for writes, and their agents run"},
		{"who lacks much waits for who has it", Ablation{Fit: true}, staleCandidate, "nobody had waited for that host"},
	} {
		t.Run(c.rule, func(t *testing.T) {
			says := func(o Outcome) bool { return strings.Contains(o.Wrong, c.says) }
			found := Search{From: *from, To: *from + 199, Abilities: Operators | BadReplication, Without: c.without,
				Story: c.story, Enough: says}.Run(t)
			for _, o := range found.Wrong {
				if says(o) {
					t.Logf("%d worlds, %.1f s: world %d: %s", found.Worlds, found.Took.Seconds(), o.Seed, o.Wrong)
					return
				}
			}
			t.Fatalf("%d worlds without this rule, and never: %s", found.Worlds, c.says)
		})
	}
}

// TestLostDecisions: a monitor's disk says that a decision is written, and loses it when the monitor crashes. That
// alone makes no two writers: a monitor that has just started revives no lease before it has heard all candidates
// (R14).
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

// twoWriters says whether two hosts had the writer's address, or two servers were open for writes, at the same time.
func twoWriters(o Outcome) bool {
	return strings.Contains(o.Wrong, "the writer's address is on") || strings.Contains(o.Wrong, "are open for writes, and their agents run")
}

// TestOneFault: in worlds with one fault, a fault that does not concern the writer costs no time without a writer, and
// another one costs a failover at most.
func TestOneFault(t *testing.T) {
	found := Search{From: *from, To: *from + 99, Abilities: Pauses, Single: true}.Run(t)
	for _, o := range found.Wrong {
		t.Errorf("world %d: %s\n%s", o.Seed, o.Wrong, o.Story)
	}
	t.Logf("\n%s", found)
}

// TestUnwriting: a writer whose disk hangs is replaced. What it commits when its disk goes on was acknowledged to no
// client, or is named.
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
		t.Errorf("a writer that can't write was replaced in only %d worlds", replaced)
	}
	t.Logf("%d replaced\n%s", replaced, found)
}
