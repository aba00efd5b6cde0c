package endpoint

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
)

// TestInTime: a kernel that is slow, as on a busy machine, is told a shorter lifetime, so that the address ends no
// later than its lease. Only where too little is left for that is the call late, so that the address has to be taken
// off.
func TestInTime(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		left time.Duration   // of the lease; 0: it never ends
		took []time.Duration // by each call
		told []time.Duration // lifetimes
		err  error
	}{
		"quick": {5500 * ms, []time.Duration{10 * ms}, []time.Duration{5 * time.Second}, nil},
		"slow": {5500 * ms, []time.Duration{60 * ms, 900 * ms},
			[]time.Duration{5 * time.Second, 4 * time.Second}, nil},
		"slower each time": {5500 * ms, []time.Duration{60 * ms, 1200 * ms, 1900 * ms},
			[]time.Duration{5 * time.Second, 4 * time.Second, 2 * time.Second}, nil},
		"too slow": {9500 * ms, []time.Duration{60 * ms, 1200 * ms, 2900 * ms},
			[]time.Duration{9 * time.Second, 8 * time.Second, 6 * time.Second}, ErrLate},
		"slow, and too short": {1100 * ms, []time.Duration{60 * ms}, []time.Duration{time.Second}, ErrLate},
		"over":                {500 * ms, nil, nil, ErrTooShort},
		"for ever":            {0, []time.Duration{time.Minute}, []time.Duration{0}, nil},
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			var told []time.Duration
			err := inTime(func() (time.Duration, error) {
				if c.left == 0 {
					return 0, nil
				}
				if d := cluster.Lifetime(c.left - time.Since(began)); d > 0 {
					return d, nil
				}
				return 0, ErrTooShort
			}, func(d time.Duration) error {
				time.Sleep(c.took[len(told)])
				told = append(told, d)
				return nil
			})
			if !errors.Is(err, c.err) || err != nil && c.err == nil || !slices.Equal(told, c.told) {
				t.Errorf("%s: told %v (%v), want %v (%v)", name, told, err, c.told, c.err)
			}
		})
	}
}
