package bubble

import (
	"fmt"
	"time"
)

// clock has a machine's monotonic clock, with its own speed, and how far the wall clock has run ahead of it. Its
// methods are called with the world locked.
type clock struct {
	rate   float64       // seconds of this clock in a second
	booted time.Time     // when the machine was booted
	base   time.Duration // what the clock showed then
	boots  int           // how often the machine was booted
	id     string        // of the boot

	frozen time.Time     // since when the machine is suspended; zero: it is not
	ahead  time.Duration // how far the wall clock has run ahead of the monotonic one
}

func (c *clock) now() time.Duration {
	at := time.Now()
	if !c.frozen.IsZero() {
		at = c.frozen
	}
	return c.base + time.Duration(float64(at.Sub(c.booted))*c.rate)
}

// boot sets the clock to at, under a new boot id.
func (c *clock) boot(host string, at time.Duration) {
	c.boots++
	c.id = fmt.Sprintf("boot-%s-%d", host, c.boots)
	c.booted, c.base, c.frozen = time.Now(), at, time.Time{}
}

func (c *clock) suspend() { c.frozen = time.Now() }

func (c *clock) resume() {
	slept := time.Since(c.frozen)
	c.booted, c.frozen = c.booted.Add(slept), time.Time{}
	c.ahead += slept
}

// machineClock is a machine's clock as one life of an agent sees it.
type machineClock struct {
	h    *host
	p    *process
	seen *time.Duration // how far ahead the wall clock was when Jumped was last called
	read *bool          // the program has read the clock
}

func newMachineClock(h *host, p *process) machineClock {
	ahead := h.clock.ahead
	return machineClock{h: h, p: p, seen: &ahead, read: new(bool)}
}

func (c machineClock) Boot() string {
	_ = c.p.pass()
	c.h.w.mu.Lock()
	defer c.h.w.mu.Unlock()
	if c.h.w.Without.BootID {
		return "boot"
	}
	return c.h.clock.id
}

func (c machineClock) Now() time.Duration {
	_ = c.p.pass() // a program that is stopped reads no clock
	c.h.w.mu.Lock()
	defer c.h.w.mu.Unlock()
	now := c.h.clock.now()
	if c.h.w.Without.PromiseAtStart && !*c.read {
		now -= time.Hour
	}
	*c.read = true
	return now
}

func (c machineClock) Jumped() time.Duration {
	_ = c.p.pass()
	c.h.w.mu.Lock()
	defer c.h.w.mu.Unlock()
	jump := c.h.clock.ahead - *c.seen
	*c.seen = c.h.clock.ahead
	return max(jump, 0)
}
