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
	// An announcement that hangs is given up after this, as the next one is due.
	announceTimeout = time.Second
	// Announcer.Refresh, unless the caller sets it.
	defaultRefresh = 30 * time.Second
)

// Announcer tells the neighbours on one interface that an address is on this machine now, so that they send to this
// machine and not to the one that had the address before. It announces only addresses that are on the interface at that
// moment.
type Announcer struct {
	// Refresh is the time between announcements of an address after the first five seconds, for as long as the address
	// is on the interface. It corrects neighbours that were misled by a second host with the address, and switches and
	// gateways that lost their tables. 30 seconds unless it is set before Run; 0 is never.
	Refresh time.Duration

	iface string
	log   *slog.Logger

	held func(context.Context) ([]netip.Addr, error) // addresses on the interface
	send func(context.Context, netip.Addr) error     // one announcement

	mu    sync.Mutex
	inbox map[netip.Addr]word // what Run has yet to read: the newest word on each address
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
// the interface. If ip is being announced already this begins anew. It never blocks. An announcement that can't be sent
// is logged, and so is the first one after it that can; the repeats are tried in any case.
func (a *Announcer) Announce(ip netip.Addr) { a.queue(ip, announce) }

// Hold has ip, which has been on the interface for some time, announced once and then every Refresh until it is
// forgotten or has left the interface. If ip is being announced already nothing changes. It is for an Announcer that
// takes over from another one: the addresses on the interface go on being announced. It never blocks.
func (a *Announcer) Hold(ip netip.Addr) { a.queue(ip, hold) }

// Forget ends the announcing of ip, because ip has left this machine. It never blocks: an announcement that is being
// sent at this moment may still go out, and no other after that.
func (a *Announcer) Forget(ip netip.Addr) { a.queue(ip, forget) }

func (a *Announcer) queue(ip netip.Addr, w word) {
	ip = ip.Unmap()
	a.mu.Lock()
	if w != hold || a.inbox[ip] != announce { // announce includes what hold asks for
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
			// One address at a time, so that a Forget is read before the next one is announced.
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

// repeat announces ip once if it is still on the interface.
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
