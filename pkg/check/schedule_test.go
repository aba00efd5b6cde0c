package check

import (
	"fmt"
	"testing"
	"time"
)

func TestPhaseSpreads(t *testing.T) {
	const period, buckets = 5 * time.Second, 10
	var count [buckets]int
	for i := range 200 {
		for _, n := range Known().Names() {
			p := phase(fmt.Sprintf("db%d", i+1), n, period)
			if p <= 0 || p > period {
				t.Fatalf("phase %v", p)
			}
			if again := phase(fmt.Sprintf("db%d", i+1), n, period); again != p {
				t.Fatalf("phase %v, then %v", p, again)
			}
			count[min(int(p*buckets/period), buckets-1)]++
		}
	}
	for i, n := range count {
		if n < 40 || n > 130 { // 80 on average
			t.Errorf("%d of 800 checks in tenth %d of the period: %v", n, i, count)
		}
	}
}

func TestSlotAfter(t *testing.T) {
	for _, tt := range []struct{ first, period, last, now, want time.Duration }{
		{3, 5, 0, 1, 3},
		{3, 5, 3, 4, 8},
		{3, 5, 2, 3, 3},
		{3, 5, 7, 7, 8},   // the last probe did not start at a slot
		{3, 5, 8, 13, 13}, // the probe ended just then
		{3, 5, 8, 14, 18}, // the probe took too long
		{3, 5, 0, 101, 103},
	} {
		if got := slotAfter(tt.first, tt.period, tt.last, tt.now); got != tt.want {
			t.Errorf("slotAfter(%d, %d, %d, %d) = %d, want %d", tt.first, tt.period, tt.last, tt.now, got, tt.want)
		}
	}
}

func TestNextStart(t *testing.T) {
	ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
	failing := Verdict{Good: true, Decided: true, status: Error, failures: 1, failingSince: ms(1000)}
	bad, unsure, good := failing, failing, failing
	bad.Good = false
	unsure.status = Unknown
	good.status = OK
	for name, tt := range map[string]struct {
		v                           Verdict
		trap, slot, now, took, want int
	}{
		"good":                                  {good, 3000, 6000, 1000, 0, 6000},
		"failed already":                        {bad, 3000, 6000, 1000, 0, 6000},
		"unknown: a probe would decide nothing": {unsure, 3000, 6000, 5000, 0, 6000},
		"the slot comes before the period is over": {failing, 10000, 6000, 1500, 500, 6000},
		"the period is over before the slot":       {failing, 3000, 6000, 1001, 1, 4009},
		"a slow probe begins earlier":              {failing, 3000, 6000, 1500, 500, 3510},
		"too late to begin early: now":             {failing, 1000, 6000, 3000, 2000, 3000},
		"a probe at the slot would be in the way":  {failing, 5000, 5000, 3000, 2000, 4010},
		"and one a little before it too":           {failing, 5500, 4000, 3000, 2000, 4510},
	} {
		if got := nextStart(tt.v, ms(tt.trap), ms(tt.slot), ms(tt.now), ms(tt.took)); got != ms(tt.want) {
			t.Errorf("%s: %v, want %v", name, got, ms(tt.want))
		}
	}
}
