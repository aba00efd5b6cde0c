package bubble

import (
	"fmt"
	"slices"
	"strings"
)

// Abilities are the kinds of trouble that a world may have. Every world may have the plain ones besides: cut lines, and
// machines, programs and servers that die.
type Abilities uint32

// The abilities.
const (
	Operators      Abilities = 1 << iota // commands and modes at any time, kill_host
	Pauses                               // programs and machines that stand still, machines also with their clocks
	BadNetwork                           // loss, delay, requests that arrive late or twice
	BadDisks                             // disks that hang, fail, or are full
	SlowKernels                          // calls to the kernel that block
	LateKernels                          // addresses that go off up to 1 s after their lifetime
	ForeignHands                         // somebody adds and flushes addresses, and flushes the firewall
	BadReplication                       // hosts that do not replicate, or late
	Old                                  // clocks, promises and epochs of any age
	LostState                            // state files lost, or older than they should be
	Reconfigured                         // programs restarted with another lease, other candidates, other periods
	Resets                               // RESET MASTER
	Liars                                // a kill_host that says that it worked, and did nothing
	Stalls                               // disks of servers that hang while the server answers
	SlaveWriters                         // a lost write is wrong also in worlds in which a slave may be the writer
	end
)

var abilityNames = []string{"operators", "pauses", "network", "disks", "slow-kernels", "late-kernels", "foreign-hands",
	"replication", "old", "lost-state",
	"reconfigured", "resets", "liars", "stalls", "slave-writers"}

// Proven are the abilities in which the programs must do nothing wrong. It leaves out Resets (two logs that are reset
// are for an operator to mend), Liars, and SlaveWriters (only slaves replicate from a slave that is the writer).
const Proven = Operators | Pauses | BadNetwork | BadDisks | SlowKernels | LateKernels | ForeignHands |
	BadReplication | Old | LostState | Reconfigured | Stalls

// Has says whether all of b are among a.
func (a Abilities) Has(b Abilities) bool { return a&b == b }

// String lists the names of the abilities, with commas between them.
func (a Abilities) String() string {
	var names []string
	for i, name := range abilityNames {
		if a.Has(1 << i) {
			names = append(names, name)
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, ",")
}

// ParseAbilities reads a list of names with commas between them. "proven", "all" and "none" stand for several
// abilities, and a name with a minus before it takes one out again.
func ParseAbilities(text string) (Abilities, error) {
	var a Abilities
	for _, name := range strings.Split(text, ",") {
		switch i := slices.Index(abilityNames, strings.TrimPrefix(name, "-")); {
		case name == "proven":
			a |= Proven
		case name == "all":
			a |= end - 1
		case name == "none":
		case i < 0:
			return 0, fmt.Errorf("%q is no ability; there are %s", name, strings.Join(abilityNames, ", "))
		case strings.HasPrefix(name, "-"):
			a &^= 1 << i
		default:
			a |= 1 << i
		}
	}
	return a, nil
}
