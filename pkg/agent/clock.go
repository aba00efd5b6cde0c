package agent

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// MachineClock reads CLOCK_MONOTONIC and the id of the boot that it counts from (clock_gettime(2), random(4)).
type MachineClock struct {
	boot string

	mu    sync.Mutex
	ahead time.Duration // the wall clock minus the monotonic clock, when Jumped was last called
}

// NewMachineClock reads the boot id.
func NewMachineClock() (*MachineClock, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("read the id of this boot: %w", err)
	}
	c := &MachineClock{boot: strings.TrimSpace(string(id))}
	c.Jumped()
	return c, nil
}

// Boot is the id of the boot.
func (c *MachineClock) Boot() string { return c.boot }

// Now is CLOCK_MONOTONIC.
func (c *MachineClock) Now() time.Duration { return read(unix.CLOCK_MONOTONIC) }

// Jumped is how far the wall clock has run ahead of the monotonic one since the last call; 0 where it was set back.
func (c *MachineClock) Jumped() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	ahead := read(unix.CLOCK_REALTIME) - read(unix.CLOCK_MONOTONIC)
	jump := ahead - c.ahead
	c.ahead = ahead
	return max(jump, 0)
}

func read(clock int32) time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		panic(err) // both clocks exist on every Linux
	}
	return time.Duration(ts.Nano())
}
