package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Lease is how long a writer may go on without being vouched for ("writer_lease"). 0 is the classic way: no lease.
// The sums below are those of docs/design.md, "Never two writers".
type Lease time.Duration

const (
	// kernelSlack: an address lifetime counts whole seconds, ends up to 0.2 s late, and setting it may take 50 ms.
	kernelSlack = 1250 * time.Millisecond
	// clockDrift is how far two clocks may differ in speed, as a part of 1.
	clockDrift = 0.01
)

// Over is the time after which a lease of another host has ended on every clock, with its address off the interface.
func (l Lease) Over() time.Duration {
	return time.Duration(float64(time.Duration(l)+kernelSlack) * (1 + clockDrift) / (1 - clockDrift))
}

// Heartbeat is how often a host that may be the writer hears its order.
func (l Lease) Heartbeat() time.Duration { return min(time.Duration(l)/12, 500*time.Millisecond) }

// Poll is how often a writer whose lease runs low asks the other candidates.
func (l Lease) Poll() time.Duration { return time.Duration(l) / 15 }

// Late is how late a step of the monitor must be for it to distrust what it thinks of the world.
func (l Lease) Late() time.Duration { return 2 * l.Heartbeat() }

// Epoch is one decision about the writer. The same number always means the same content: it is on the monitor's disk
// before anybody hears of it, and agents refuse lower numbers.
type Epoch struct {
	Number  uint64
	Holder  string // host that is the writer; "" for nobody
	Since   uint64 // number of the epoch in which Holder was appointed: names the holding
	Leaving bool   // Holder is to give the role up; without a Holder: every host is
	Gone    string // host that has said that it gave the role up before Holder was appointed
}

// same compares the contents.
func (e Epoch) same(f Epoch) bool {
	return e.Holder == f.Holder && e.Leaving == f.Leaving && e.Gone == f.Gone
}

// Grants says whether the epoch makes host the writer.
func (e Epoch) Grants(host string) bool { return host != "" && e.Holder == host && !e.Leaving }

// String gives the form used on the wire and in files: NUMBER,HOLDER,SINCE,LEAVING,GONE.
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

// Stamp is a moment on an agent's own clock. It only means something to that agent, and only until its host boots.
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
