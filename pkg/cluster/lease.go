package cluster

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Lease is how long a writer may go on without being vouched for ("writer_lease"). 0 is the classic way: no lease.
// The sums below are those of docs/design.md, "Never two writers".
type Lease time.Duration

const (
	// kernelSlack is how long after the end of a lease the kernel may still have the address. A lifetime counts whole
	// seconds, rounded down; the kernel ends it up to a second late where other addresses end shortly before
	// (TestHowLateTheKernelTakesAddressesOff measures it), and setting it may take 50 ms.
	kernelSlack = 1250 * time.Millisecond
	// clockDrift is how far two clocks may differ in speed, as a part of 1.
	clockDrift = 0.01
)

// Over is the time after which a lease of another host has ended on every clock, and its address is off the interface.
func (l Lease) Over() time.Duration {
	return time.Duration(float64(time.Duration(l)+kernelSlack) * (1 + clockDrift) / (1 - clockDrift))
}

// Lifetime is what to tell the kernel for an address whose lease goes on for left: whole seconds, such that the address
// is gone, with the kernel's lateness, within kernelSlack of the lease's end. 0: too little is left for any lifetime,
// and the one that the kernel was told before stays. The agent tells the kernel anew at each whole second that is left,
// so that the address stays while the agent is at work.
func Lifetime(left time.Duration) time.Duration {
	if left >= time.Second {
		return left.Truncate(time.Second)
	}
	if left >= leastLeft {
		return time.Second
	}
	return 0
}

// leastLeft: a lifetime of one second that is set with less left ends too late.
const leastLeft = 800 * time.Millisecond

// Heartbeat is the time between two orders to a host that may be the writer.
func (l Lease) Heartbeat() time.Duration { return min(time.Duration(l)/12, 500*time.Millisecond) }

// Poll is the time between two questions of a writer, whose lease runs low, to the other candidates.
func (l Lease) Poll() time.Duration { return time.Duration(l) / 15 }

// Late is how late a step of the monitor must be for the monitor to distrust what it thinks of the world.
func (l Lease) Late() time.Duration { return 2 * l.Heartbeat() }

// Epoch is one decision about the writer. The same number always means the same content: it is on the monitor's disk
// before anybody hears of it, and agents refuse lower numbers.
type Epoch struct {
	Number  uint64
	Holder  string // host that is the writer; "" for nobody
	Since   uint64 // number of the epoch in which Holder was appointed: names the holding
	Leaving bool   // Holder is to give the role up; without a Holder: every host is
	Gone    string // host that has said that it gave the role up before Holder was appointed
	Terms   Terms
}

// Terms are what a holding rests on. They are part of the decision, so that configurations which differ from machine to
// machine, or are changed, can't pull the ground from under it. The zero Terms are those of a monitor or an agent of a
// version that knew none: then each goes by its own configuration.
type Terms struct {
	Candidates string // hosts that may be the writer, as JoinHosts joins them: the holder asks them to vouch for it
	Lease      Lease  // how long the holder may go on without being vouched for; 0: for ever
	Longest    Lease  // longest lease that anybody may still have; not below Lease
}

// JoinHosts gives names as Terms holds them: sorted, with a comma between.
func JoinHosts(names []string) string {
	if slices.IsSorted(names) && len(slices.Compact(slices.Clone(names))) == len(names) {
		return strings.Join(names, ",")
	}
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ",")
}

// SplitHosts is the opposite of JoinHosts.
func SplitHosts(joined string) []string {
	if joined == "" {
		return nil
	}
	return strings.Split(joined, ",")
}

// Candidate says whether the host is among the candidates.
func (t Terms) Candidate(host string) bool { return slices.Contains(SplitHosts(t.Candidates), host) }

// String gives the form used on the wire and in files: CANDIDATES;LEASE;LONGEST, times in milliseconds; "" for none.
func (t Terms) String() string {
	if t == (Terms{}) {
		return ""
	}
	return fmt.Sprintf("%s;%d;%d", t.Candidates, time.Duration(t.Lease).Milliseconds(),
		time.Duration(t.Longest).Milliseconds())
}

// longestLease keeps sums with a lease far from overflow.
const longestLease = 24 * time.Hour

// ParseTerms reads what Terms.String writes.
func ParseTerms(s string) (Terms, error) {
	if s == "" {
		return Terms{}, nil
	}
	f := strings.Split(s, ";")
	if len(f) != 3 || f[0] == "" {
		return Terms{}, fmt.Errorf("parse terms %q: want CANDIDATES;LEASE;LONGEST", s)
	}
	var leases [2]Lease
	for i := range leases {
		ms, err := strconv.ParseUint(f[i+1], 10, 32)
		if err != nil || time.Duration(ms)*time.Millisecond > longestLease {
			return Terms{}, fmt.Errorf("parse terms %q: %q is no lease in milliseconds, of at most a day", s, f[i+1])
		}
		leases[i] = Lease(time.Duration(ms) * time.Millisecond)
	}
	if leases[1] < leases[0] {
		return Terms{}, fmt.Errorf("parse terms %q: the longest lease is shorter than the present one", s)
	}
	return Terms{Candidates: f[0], Lease: leases[0], Longest: leases[1]}, nil
}

// same says whether two epochs decide the same; their numbers may differ.
func (e Epoch) same(f Epoch) bool {
	return e.Holder == f.Holder && e.Leaving == f.Leaving && e.Gone == f.Gone && e.Terms == f.Terms
}

// Contradicts says whether e and f can't both be decisions of one monitor: they have the same number and different
// contents. Where one of them has no terms, terms are not compared.
func (e Epoch) Contradicts(f Epoch) bool {
	if e.Number != f.Number {
		return false
	}
	if e.Terms == (Terms{}) || f.Terms == (Terms{}) {
		e.Terms, f.Terms = Terms{}, Terms{}
	}
	return e != f
}

// Grants says whether the epoch makes host the writer.
func (e Epoch) Grants(host string) bool { return host != "" && e.Holder == host && !e.Leaving }

// String gives the form used on the wire and in files, without the terms: NUMBER,HOLDER,SINCE,LEAVING,GONE.
func (e Epoch) String() string {
	leaving := "0"
	if e.Leaving {
		leaving = "1"
	}
	return fmt.Sprintf("%d,%s,%d,%s,%s", e.Number, e.Holder, e.Since, leaving, e.Gone)
}

// ParseEpoch reads what Epoch.String writes.
func ParseEpoch(s string) (Epoch, error) {
	f := strings.Split(s, ",")
	if len(f) != 5 || f[3] != "0" && f[3] != "1" {
		return Epoch{}, fmt.Errorf("parse epoch %q: want NUMBER,HOLDER,SINCE,LEAVING,GONE", s)
	}
	number, err := strconv.ParseUint(f[0], 10, 64)
	if err != nil {
		return Epoch{}, fmt.Errorf("parse epoch %q: %w", s, err)
	}
	since, err := strconv.ParseUint(f[2], 10, 64)
	if err != nil {
		return Epoch{}, fmt.Errorf("parse epoch %q: %w", s, err)
	}
	return Epoch{Number: number, Holder: f[1], Since: since, Leaving: f[3] == "1", Gone: f[4]}, nil
}

// Stamp is a moment on an agent's own clock. It means something to that agent only, and only until its machine boots.
type Stamp struct {
	Boot string        // id of the boot
	At   time.Duration // CLOCK_MONOTONIC
}

// String gives the form used on the wire: BOOT,NANOSECONDS; "" for none.
func (s Stamp) String() string {
	if s.Boot == "" {
		return ""
	}
	return s.Boot + "," + strconv.FormatInt(int64(s.At), 10)
}

// machine is the id of the machine's boot, without what an agent adds to it after its clock has stood still.
func (s Stamp) machine() string {
	boot, _, _ := strings.Cut(s.Boot, "+")
	return boot
}

// ParseStamp reads what Stamp.String writes.
func ParseStamp(s string) (Stamp, error) {
	if s == "" {
		return Stamp{}, nil
	}
	boot, at, _ := strings.Cut(s, ",")
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil || boot == "" {
		return Stamp{}, fmt.Errorf("parse stamp %q: want BOOT,NANOSECONDS", s)
	}
	return Stamp{Boot: boot, At: time.Duration(n)}, nil
}
