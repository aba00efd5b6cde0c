package vip

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"
)

const (
	// An announcement that hangs for longer has missed its time.
	announceTimeout = time.Second
	// How often an address is announced while it is held, if not told otherwise.
	defaultRefresh = 30 * time.Second
)

// Announcer tells the neighbours on one interface that an address is here now, so that they send to this machine
// and not to the one that had it before. It announces only what is on the interface at that moment.
type Announcer struct {
	// Refresh is how often an address is announced after the first seconds, for as long as it is held: it mends what
	// a second host with the address, a switch or a gateway that lost or mixed up its tables left behind. 30 seconds
	// unless it is set before Run; 0 is never.
	Refresh time.Duration

	iface string
	log   *slog.Logger

	held func(context.Context) ([]netip.Addr, error) // addresses on the interface
	send func(context.Context, netip.Addr) error     // one announcement

	mu    sync.Mutex
	inbox map[netip.Addr]word // what Run has yet to hear: the last word on each address
	wake  chan struct{}
}

// word is what is to be done about an address.
type word uint8

const (
	announce word = iota + 1
	hold
	forget
)

// NewAnnouncer makes an announcer for the interface of that name; the interface need not exist. Nothing is sent
// before Run.
func NewAnnouncer(iface string, log *slog.Logger) *Announcer {
	i := Open(iface)
	return &Announcer{
		Refresh: defaultRefresh,
		iface:   iface,
		log:     log.With("interface", iface),
		held:    i.List,
		send:    i.announce,
		inbox:   make(map[netip.Addr]word),
		wake:    make(chan struct{}, 1),
	}
}

// Announce has ip announced at once, again for five seconds, and then every Refresh until it is forgotten or has left
// the interface; if it is being announced already this begins anew. It never blocks. An announcement that cannot be
// sent is logged, as is the next that can, and the repeats are still tried.
func (a *Announcer) Announce(ip netip.Addr) { a.queue(ip, announce) }

// Hold has ip, which is here and has been, announced once and then every Refresh until it is forgotten or has left the
// interface; if it is being announced already nothing changes. So what is on the interface goes on being announced when
// an Announcer takes over from another one. It never blocks.
func (a *Announcer) Hold(ip netip.Addr) { a.queue(ip, hold) }

// Forget ends the announcing of ip, because the address has left. It never blocks: an announcement that is being
// written at this moment may still go out, none after it.
func (a *Announcer) Forget(ip netip.Addr) { a.queue(ip, forget) }

func (a *Announcer) queue(ip netip.Addr, w word) {
	ip = ip.Unmap()
	a.mu.Lock()
	if w != hold || a.inbox[ip] != announce { // to announce it is more
		a.inbox[ip] = w
	}
	a.mu.Unlock()
	signal(a.wake)
}

func (a *Announcer) hear() map[netip.Addr]word {
	a.mu.Lock()
	defer a.mu.Unlock()
	told := a.inbox
	a.inbox = make(map[netip.Addr]word)
	return told
}

// Run announces until ctx ends, then returns nil. It is to be run once.
func (a *Announcer) Run(ctx context.Context) error {
	p := make(plan)
	for {
		for ip, w := range a.hear() {
			switch w {
			case announce:
				p.begin(ip, time.Now())
			case hold:
				if a.Refresh > 0 {
					p.goOn(ip, time.Now())
				}
			case forget:
				delete(p, ip)
			}
		}
		ip, when, any := p.next()
		if any && !when.After(time.Now()) {
			// One address at a time: a Forget is heard before the next.
			a.repeat(ctx, p, ip)
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		var timer <-chan time.Time
		if any {
			timer = time.After(time.Until(when))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.wake:
		case <-timer:
		}
	}
}

// repeat announces ip once if it is still here.
func (a *Announcer) repeat(ctx context.Context, p plan, ip netip.Addr) {
	ctx, cancel := context.WithTimeout(ctx, announceTimeout)
	defer cancel()
	ann := p[ip]
	first := ann.done == 0
	p.advance(ip, time.Now(), a.Refresh)
	held, err := a.held(ctx)
	if err == nil {
		if !slices.Contains(held, ip) {
			delete(p, ip)
			a.log.Info("address is not announced any more: it has left the interface", "ip", ip)
			return
		}
		err = a.send(ctx, ip)
	}
	switch {
	case err == nil:
		if first || ann.failed {
			a.log.Info("address announced", "ip", ip)
		}
		ann.failed = false
	case err != nil && !ann.failed && !errors.Is(ctx.Err(), context.Canceled):
		ann.failed = true
		a.log.Warn("address not announced", "ip", ip, "error", err)
	}
}

// String names the task.
func (a *Announcer) String() string { return "announcer" }
