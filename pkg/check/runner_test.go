package check

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// fakeProbe answers by a script. It uses no socket, which a synctest bubble could not wait for.
type fakeProbe struct {
	// answer returns the result of a probe that starts at the time since the first probe, and how long that takes.
	answer func(at time.Duration) (Result, time.Duration)

	begun  time.Time
	starts []time.Duration
	closed int
}

var (
	fine  = Result{Status: OK, Message: "OK"}
	fails = Result{Status: Error, Message: "ERROR: Could not ping 192.0.2.1"}
)

func (f *fakeProbe) Probe(ctx context.Context) Result {
	if f.begun.IsZero() {
		f.begun = time.Now()
	}
	at := time.Since(f.begun)
	f.starts = append(f.starts, at)
	result, takes := f.answer(at)
	if !sleep(ctx, takes) {
		return Result{Status: Error, Message: "ERROR: Timeout"}
	}
	return result
}

func (f *fakeProbe) Close() { f.closed++ }

// fragileProbe is a fakeProbe whose connection breaks when it is told to.
type fragileProbe struct {
	fakeProbe
	breaks func(at time.Duration) time.Duration // how long after at the connection breaks; 0 is never
}

func (f *fragileProbe) Broken(ctx context.Context) error {
	after := f.breaks(time.Since(f.begun))
	if after == 0 {
		<-ctx.Done()
		return ctx.Err()
	}
	if !sleep(ctx, after) {
		return ctx.Err()
	}
	return nil
}

// runFor runs r for a time in a bubble and returns what it emitted, with the times.
func runFor(t *testing.T, r Runner, d time.Duration) (updates []Update, at []time.Duration) {
	t.Helper()
	begun := time.Now()
	r.Emit = func(u Update) {
		updates = append(updates, u)
		at = append(at, time.Since(begun))
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := r.Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
	return updates, at
}

func runner(p Probe, period, timeout, trap float64) Runner {
	return Runner{Host: "db1", Name: MySQL, Probe: p, Period: seconds(period), Timeout: seconds(timeout),
		Trap: seconds(trap)}
}

func TestRunnerKeepsItsPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProbe{answer: func(at time.Duration) (Result, time.Duration) { return fine, 700 * time.Millisecond }}
		updates, at := runFor(t, runner(p, 5, 2, 10), 10*time.Minute)
		if p.starts[0] != 0 || len(p.starts) < 120 || len(p.starts) > 122 {
			t.Fatalf("first probe at %v, %d probes in ten minutes", p.starts[0], len(p.starts))
		}
		if second := p.starts[1]; second > 5*time.Second {
			t.Errorf("second probe at %v", second)
		}
		for i := 2; i < len(p.starts); i++ {
			if gap := p.starts[i] - p.starts[i-1]; gap != 5*time.Second {
				t.Errorf("%v between probes %d and %d", gap, i-1, i)
			}
		}
		if first := updates[0]; first.Host != "db1" || first.Name != MySQL || first.Change != BecameOK ||
			!first.Verdict.Good || first.Result != fine {
			t.Errorf("first update %+v", first)
		}
		if at[0] != 700*time.Millisecond {
			t.Errorf("first update at %v", at[0])
		}
		if p.closed != 1 {
			t.Errorf("closed %d times", p.closed)
		}
	})
}

// TestRunnerFailsWhenTrapIsOver: the check counts as failed when the trap period is over, whatever its period and
// however long a failing probe takes.
func TestRunnerFailsWhenTrapIsOver(t *testing.T) {
	for _, tt := range []struct {
		name                               string
		period, timeout, trap, takes, dies float64
	}{
		{"defaults, refused at once", 5, 2, 10, 0, 62},
		{"defaults, times out", 5, 2, 10, 60, 62},
		{"defaults, ping", 5, 2, 10, 0.5, 62},
		{"trap shorter than the period", 5, 2, 3, 0.001, 62},
		{"trap shorter than the period, ping", 5, 2, 3, 0.5, 62},
		{"trap much longer", 5, 2, 33, 60, 62},
		{"fast, refused at once", 0.25, 0.5, 1, 0, 62},
		{"fast, ping", 0.25, 0.5, 1.3, 0.5, 62},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dies := seconds(tt.dies)
				p := &fakeProbe{answer: func(at time.Duration) (Result, time.Duration) {
					if at < dies {
						return fine, 0
					}
					return fails, seconds(tt.takes)
				}}
				updates, at := runFor(t, runner(p, tt.period, tt.timeout, tt.trap), 3*time.Minute)
				failed := slices.IndexFunc(updates, func(u Update) bool { return u.Change == BecameFailed })
				if failed < 0 {
					t.Fatal("never failed")
				}
				first := p.starts[slices.IndexFunc(p.starts, func(s time.Duration) bool { return s >= dies })]
				if first > dies+seconds(tt.period) {
					t.Errorf("died at %v, first probed at %v", dies, first)
				}
				lasted := at[failed] - first
				if lasted < seconds(tt.trap) || lasted > seconds(tt.trap)+minInterval {
					t.Errorf("failed after %v", lasted)
				}
				if updates[failed].FailedFor != lasted {
					t.Errorf("said to have failed for %v, not %v", updates[failed].FailedFor, lasted)
				}
				slow := 2 * min(seconds(tt.takes), seconds(tt.timeout))
				for i := 1; i < len(p.starts); i++ {
					if gap := p.starts[i] - p.starts[i-1]; gap > max(seconds(tt.period)*11/10, seconds(tt.period)+
						slow) {
						t.Errorf("%v between probes", gap)
					}
				}
				if perSecond := float64(len(p.starts)) / 180; perSecond > 1.1/tt.period {
					t.Errorf("%.2f probes a second", perSecond)
				}
			})
		})
	}
}

func TestRunnerEmitsEveryMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProbe{answer: func(at time.Duration) (Result, time.Duration) {
			return Result{Status: Error, Message: "ERROR: at " + at.String()}, 0
		}}
		updates, _ := runFor(t, runner(p, 5, 2, 10), time.Minute)
		for i, u := range updates {
			if want := "ERROR: at " + p.starts[i].String(); u.Verdict.Message != want || u.Result.Message != want {
				t.Errorf("%q, want %q", u.Verdict.Message, want)
			}
			if wantChange := map[bool]Change{true: BecameFailed}[i == 0]; u.Change != wantChange {
				t.Errorf("change %v at probe %d", u.Change, i)
			}
		}
		if len(updates) != len(p.starts) {
			t.Errorf("%d updates for %d probes", len(updates), len(p.starts))
		}
	})
}

func TestRunnerProbesABrokenConnectionAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dies := seconds(62.3)
		p := &fragileProbe{}
		p.answer = func(at time.Duration) (Result, time.Duration) {
			if at < dies {
				return fine, 0
			}
			return fails, 0
		}
		p.breaks = func(at time.Duration) time.Duration { return dies - at }
		updates, at := runFor(t, runner(p, 5, 2, 3), 2*time.Minute)
		first := slices.IndexFunc(updates, func(u Update) bool { return u.Result == fails })
		if at[first] != dies {
			t.Errorf("broke at %v, probed at %v", dies, at[first])
		}
		failed := slices.IndexFunc(updates, func(u Update) bool { return u.Change == BecameFailed })
		if took := at[failed] - dies; took < 3*time.Second || took > 3*time.Second+margin {
			t.Errorf("failed after %v", took)
		}
	})
}

func TestRunnerDoesNotSpinOnABreakingConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fragileProbe{breaks: func(time.Duration) time.Duration { return time.Nanosecond }}
		p.answer = func(time.Duration) (Result, time.Duration) { return fine, 0 }
		runFor(t, runner(p, 5, 2, 3), 10*time.Second)
		for i := 1; i < len(p.starts); i++ {
			if gap := p.starts[i] - p.starts[i-1]; gap < minInterval-time.Nanosecond {
				t.Fatalf("%v between probes", gap)
			}
		}
	})
}

// TestRunnerDoesNotCountAPause: a process that was stopped finds its probes late, and counts no failures from before.
// Here an Emit that takes long plays the pause.
func TestRunnerDoesNotCountAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop, lost := seconds(60), seconds(62) // a single lost packet before, another after
		p := &fakeProbe{}
		paused := false
		p.answer = func(at time.Duration) (Result, time.Duration) {
			if at >= stop && at < lost+seconds(60) {
				return fails, seconds(0.5)
			}
			return fine, 0
		}
		r := runner(p, 2, 2, 10)
		r.Emit = func(u Update) {
			if u.Change == BecameFailed {
				t.Errorf("failed at %v after %v", time.Since(p.begun), u.FailedFor)
			}
			if u.Result == fails && !paused {
				paused = true
				time.Sleep(seconds(55))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if err := r.Run(ctx); err != nil || !paused {
			t.Errorf("run: %v, paused %v", err, paused)
		}
	})
}

func TestRunnerEndsInTheMiddleOfAProbe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &fakeProbe{answer: func(time.Duration) (Result, time.Duration) { return fine, time.Hour }}
		updates, _ := runFor(t, runner(p, 5, 7200, 10), time.Second)
		if len(updates) != 0 || p.closed != 1 {
			t.Errorf("%d updates of an unfinished probe, closed %d times", len(updates), p.closed)
		}
	})
}

func TestRunnerWantsAPeriod(t *testing.T) {
	p := &fakeProbe{}
	if err := (&Runner{Probe: p, Timeout: 1}).Run(t.Context()); err == nil || p.closed != 1 {
		t.Errorf("error %v, closed %d times", err, p.closed)
	}
	if err := (&Runner{Probe: p, Period: 1}).Run(t.Context()); err == nil {
		t.Error("no timeout, no error")
	}
}

// TestHangingCounts: a check of which every probe ends without an answer counts as failed when the trap period is over,
// whatever the settings: a wait that the Runner has planned does not count as a pause of the process.
func TestHangingCounts(t *testing.T) {
	for _, period := range []time.Duration{250 * time.Millisecond, time.Second, 5 * time.Second} {
		for _, timeout := range []time.Duration{200 * time.Millisecond, time.Second, 2 * time.Second} {
			for trap := 500 * time.Millisecond; trap < 12*time.Second; trap += 300 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					hangs := func(at time.Duration) (Result, time.Duration) {
						if at < 10*time.Second {
							return fine, time.Millisecond
						}
						return fails, time.Hour
					}
					r := Runner{Host: "db1", Name: MySQL, Probe: &fakeProbe{answer: hangs},
						Period: period, Timeout: timeout, Trap: trap}
					updates, at := runFor(t, r, time.Minute)
					failed := slices.IndexFunc(updates, func(u Update) bool { return u.Change == BecameFailed })
					most := 10*time.Second + period + max(trap, 2*timeout+period) + 2*margin
					if failed < 0 || at[failed] > most {
						t.Errorf("period %v, timeout %v, trap %v: not failed by %v", period, timeout, trap, most)
					}
				})
			}
		}
	}
}
