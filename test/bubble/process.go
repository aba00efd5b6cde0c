package bubble

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// process is one life of a program. It can be stopped, as by SIGSTOP, and killed: every call that the program makes
// to the world outside waits while it is stopped, and does nothing once it is dead.
type process struct {
	name   string
	secret int             // with which it signs; set before it runs
	ctx    context.Context // ends when the program is told to end, and when it is killed
	cancel context.CancelFunc

	runs   atomic.Bool // it is neither dead nor stopped; most calls need to know no more
	mu     sync.Mutex
	dead   chan struct{} // closed when it is killed
	killed bool
	going  chan struct{} // not nil while it is stopped; closed when it goes on
	since  time.Time     // since when it has run
	stops  int           // how often it was stopped
}

var errDead = errors.New("this process is dead")

func newProcess(name string) *process {
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{name: name, ctx: ctx, cancel: cancel, dead: make(chan struct{}), since: time.Now()}
	p.runs.Store(true)
	return p
}

// pass waits while the process is stopped. It returns errDead where the process is dead.
func (p *process) pass() error {
	for {
		if p.runs.Load() {
			return nil
		}
		p.mu.Lock()
		killed, going := p.killed, p.going
		p.mu.Unlock()
		switch {
		case killed:
			return errDead
		case going == nil:
			return nil
		}
		select {
		case <-going:
		case <-p.dead:
		}
	}
}

// call waits for d, as a call to the world outside that takes so long.
func (p *process) call(ctx context.Context, d time.Duration) error {
	if err := p.pass(); err != nil {
		return err
	}
	if err := p.sleep(ctx, d); err != nil {
		return err
	}
	return p.pass()
}

// short: a sleep that is shorter does not end when ctx does.
const short = 20 * time.Millisecond

// sleep waits for d, unless ctx ends or the process is killed.
func (p *process) sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d <= 0 {
		return nil
	}
	if d < short { // it is cheaper without a timer, and a search does it a million times
		time.Sleep(d)
		if !p.alive() {
			return errDead
		}
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.dead:
		return errDead
	}
}

func (p *process) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.going == nil {
		p.going = make(chan struct{})
		p.stops++
		p.runs.Store(false)
	}
}

func (p *process) cont() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.going != nil {
		close(p.going)
		p.going, p.since = nil, time.Now()
		p.runs.Store(!p.killed)
	}
}

// stopped is how often the process was stopped so far.
func (p *process) stopped() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stops
}

// idle is the last moment at which the process did not run.
func (p *process) idle() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.killed || p.going != nil {
		return time.Now()
	}
	return p.since
}

func (p *process) kill() {
	p.mu.Lock()
	if !p.killed {
		p.killed = true
		p.runs.Store(false)
		close(p.dead)
	}
	p.mu.Unlock()
	p.cancel()
}

func (p *process) alive() bool {
	if p.runs.Load() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.killed
}
