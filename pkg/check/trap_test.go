package check

import (
	"testing"
	"time"
)

// A trapStep is one probe and the verdict that is wanted after it. Times are in seconds.
type trapStep struct {
	start, end float64
	status     Status
	good       bool
	change     Change
	since      float64 // of Verdict.Since, as wall time after the epoch
	failedFor  float64
}

// testTrap has a trap period of 10 s, check_period 5 and timeout 2: probes are at most 5+2.5 s apart and 2+2.5 s long.
var testTrap = Trap{Period: 10 * time.Second, MaxIdle: 7500 * time.Millisecond, MaxProbe: 4500 * time.Millisecond}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func wall(s float64) time.Time { return time.Unix(0, 0).Add(seconds(s)) }

func TestTrap(t *testing.T) {
	none := testTrap
	none.Period = 0
	short := testTrap
	short.Period = time.Second
	for name, tt := range map[string]struct {
		trap  Trap
		steps []trapStep
	}{
		"the first result is the verdict: OK": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, OK, true, None, 0, 0},
		}},
		"the first result is the verdict: ERROR": {testTrap, []trapStep{
			{0, 1, Error, false, BecameFailed, 1, 1},
			{5, 6, Error, false, None, 1, 6},
		}},
		"one success makes it good at once": {testTrap, []trapStep{
			{0, 1, Error, false, BecameFailed, 1, 1},
			{5, 5, OK, true, BecameOK, 5, 0},
		}},
		"a failure counts once it has lasted": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 6, Error, true, None, 0, 1},
			{10, 11, Error, true, None, 0, 6},
			{13.9, 14.9, Error, true, None, 0, 9.9},
			{14, 15, Error, false, BecameFailed, 15, 10},
			{20, 21, Error, false, None, 15, 16},
		}},
		"a success in between starts the count anew": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 6, Error, true, None, 0, 1},
			{10, 10, OK, true, None, 0, 0},
			{15, 16, Error, true, None, 0, 1},
			{20, 21, Error, true, None, 0, 6},
			{24, 25, Error, false, BecameFailed, 25, 10},
		}},
		"UNKNOWN keeps a good verdict and is told once": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Unknown, true, BecameUnknown, 0, 0},
			{10, 10, Unknown, true, None, 0, 0},
			{15, 15, Unknown, true, None, 0, 0},
			{20, 20, OK, true, BecameOK, 0, 0},
			{25, 25, OK, true, None, 0, 0},
		}},
		"UNKNOWN keeps a bad verdict": {testTrap, []trapStep{
			{0, 0, Error, false, BecameFailed, 0, 0},
			{5, 5, Unknown, false, BecameUnknown, 0, 5},
			{10, 10, Error, false, None, 0, 10},
			{15, 15, OK, true, BecameOK, 15, 0},
		}},
		"UNKNOWN between failures is no success": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Error, true, None, 0, 0},
			{10, 10, Unknown, true, BecameUnknown, 0, 5},
			{15, 15, Error, false, BecameFailed, 15, 10},
		}},
		"UNKNOWN itself never makes it failed": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Error, true, None, 0, 0},
			{10, 10, Unknown, true, BecameUnknown, 0, 5},
			{15, 15, Unknown, true, None, 0, 10},
			{20, 20, Unknown, true, None, 0, 15},
		}},
		"after an UNKNOWN at first, the first OK is the verdict": {testTrap, []trapStep{
			{0, 0, Unknown, true, BecameUnknown, 0, 0},
			{5, 5, OK, true, BecameOK, 5, 0},
		}},
		"after an UNKNOWN at first, the first ERROR is the verdict": {testTrap, []trapStep{
			{0, 0, Unknown, true, BecameUnknown, 0, 0},
			{5, 5, Error, false, BecameFailed, 5, 0},
		}},
		"one long failure alone is not enough": {short, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 7, Error, true, None, 0, 2},
			{7, 7, Error, false, BecameFailed, 7, 2},
		}},
		"without a trap period the first failure counts": {none, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Error, false, BecameFailed, 5, 0},
		}},
		"a pause between probes starts the count anew": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Error, true, None, 0, 0},
			{10, 10, Error, true, None, 0, 5},
			{17.6, 18, Error, true, None, 0, 0},
			{23, 23, Error, true, None, 0, 5},
			{28, 28, Error, false, BecameFailed, 28, 10},
		}},
		"a gap that is believable does not": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Error, true, None, 0, 0},
			{10, 10, Error, true, None, 0, 5},
			{17.5, 17.5, Error, false, BecameFailed, 17.5, 12.5},
		}},
		"a pause within a probe counts from its end": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 105, Error, true, None, 0, 0},
			{105, 106, Error, true, None, 0, 1},
			{110, 115, Error, true, None, 0, 0}, // and again
			{120, 121, Error, true, None, 0, 6},
			{125, 126, Error, false, BecameFailed, 126, 11},
		}},
		"a failure after a pause is no evidence even without a trap period": {none, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{100, 101, Error, true, None, 0, 0},
			{101, 101, Error, false, BecameFailed, 101, 0},
		}},
		"a first probe with a pause in it decides nothing": {testTrap, []trapStep{
			{0, 60, Error, true, None, 60, 0},
			{61, 61, Error, false, BecameFailed, 61, 1},
		}},
		"an UNKNOWN over a pause ends the suspicion too": {testTrap, []trapStep{
			{0, 0, OK, true, BecameOK, 0, 0},
			{5, 5, Error, true, None, 0, 0},
			{60, 60, Unknown, true, BecameUnknown, 0, 0},
			{65, 65, Error, true, None, 0, 0},
			{70, 70, Error, true, None, 0, 5},
			{75, 75, Error, false, BecameFailed, 75, 10},
		}},
		"a pause does not mend a failed check": {testTrap, []trapStep{
			{0, 0, Error, false, BecameFailed, 0, 0},
			{100, 100, Error, false, None, 0, 0},
			{105, 105, OK, true, BecameOK, 105, 0},
		}},
		"a success after a pause is a success": {testTrap, []trapStep{
			{0, 0, Error, false, BecameFailed, 0, 0},
			{100, 100, OK, true, BecameOK, 100, 0},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var v Verdict
			decided := false
			for i, s := range tt.steps {
				message := string(rune('a' + i))
				p := Probed{Start: seconds(s.start), End: seconds(s.end), Wall: wall(s.end),
					Result: Result{Status: s.status, Message: message}}
				var change Change
				v, change = v.Next(p, tt.trap)
				decided = decided || change == BecameOK || change == BecameFailed
				if v.Good != s.good || change != s.change || !v.Since.Equal(wall(s.since)) ||
					v.FailedFor() != seconds(s.failedFor) {
					t.Fatalf("step %d: good %v, change %v, since %v, failed for %v; want %v, %v, %v, %v",
						i, v.Good, change, v.Since.Sub(wall(0)), v.FailedFor(), s.good, s.change, seconds(s.since),
						seconds(s.failedFor))
				}
				if v.Message != message {
					t.Errorf("step %d: message %q, want the newest, %q", i, v.Message, message)
				}
				if v.Decided != decided {
					t.Errorf("step %d: decided %v, want %v", i, v.Decided, decided)
				}
			}
		})
	}
}

// FuzzTrap: a check counts as failed only after a row of probes without an OK that spans the trap period and has no
// pause in it. Each verdict is compared with the whole history of probes, which Verdict does not keep.
func FuzzTrap(f *testing.F) {
	f.Add([]byte{0, 0, 0, 50, 1, 10, 50, 1, 10, 50, 2, 0, 50, 1, 0, 50, 1, 10})
	f.Add([]byte{0, 0, 0, 50, 1, 10, 90, 1, 10, 50, 1, 10})
	f.Fuzz(func(t *testing.T, data []byte) {
		var history []Probed
		var v Verdict
		var now time.Duration
		for ; len(data) >= 3; data = data[3:] {
			start := now + time.Duration(data[0])*100*time.Millisecond
			now = start + time.Duration(data[2])*100*time.Millisecond
			p := Probed{Start: start, End: now, Wall: wall(now.Seconds()), Result: Result{Status: Status(data[1] % 3)}}
			next, change := v.Next(p, testTrap)
			history = append(history, p)
			wasGood := v.Good && v.Decided
			v = next
			if p.Result.Status == OK && !v.Good {
				t.Fatal("not good after a success")
			}
			if wasGood && !v.Good && (change != BecameFailed || !justified(history)) {
				t.Fatalf("failed without a reason, change %v: %v", change, history)
			}
			if wasGood && v.Good && justified(history) {
				t.Fatalf("should have failed: %v", history)
			}
		}
	})
}

// justified tells whether the newest probe is the end of a long enough row of failures.
func justified(history []Probed) bool {
	paused := func(i int) bool {
		p := history[i]
		return p.End-p.Start > testTrap.MaxProbe || i > 0 && p.Start-history[i-1].End > testTrap.MaxIdle
	}
	last := len(history) - 1
	if history[last].Result.Status != Error || paused(last) {
		return false
	}
	failures, since := 0, history[last].End
	for i := last; i >= 0 && history[i].Result.Status != OK; i-- {
		p := history[i]
		if p.Result.Status == Error {
			failures++
			since = p.Start
		}
		if paused(i) {
			if p.Result.Status == Error {
				since = p.End
			}
			break
		}
	}
	return failures > 1 && history[last].End-since >= testTrap.Period
}

// TestSignOfLife: a server that was away for a moment and then answers with errors for a long time does not count as
// failed because of one lost probe.
func TestSignOfLife(t *testing.T) {
	unknown := func(living bool) Result { return Result{Status: Unknown, Living: living} }
	away := Result{Status: Error}
	for name, results := range map[string]func(living bool) []Result{
		"away for a moment": func(l bool) []Result { return []Result{{}, away, unknown(l), unknown(l), away} },
		"from the start on": func(l bool) []Result { return []Result{unknown(l), unknown(l), away} },
	} {
		for _, living := range []bool{true, false} {
			var v Verdict
			for at, r := range results(living) {
				start := time.Duration(at*5) * time.Second
				v, _ = v.Next(Probed{Start: start, End: start, Result: r}, testTrap)
			}
			if v.Good != living {
				t.Errorf("%s, signs of life %v: it is good: %v", name, living, v.Good)
			}
		}
	}
	// A check that counts as failed stays failed until a probe finds OK.
	v := Verdict{}
	for _, r := range []Result{away, unknown(true)} {
		if v, _ = v.Next(Probed{Result: r}, testTrap); v.Good {
			t.Errorf("after %+v it is good", r)
		}
	}
}
