package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
)

const (
	// probeTime is how long an address is looked for elsewhere before it is added: RFC 5227 waits seconds, a failover
	// can't.
	probeTime = 25 * time.Millisecond
	// formerTimeout is how long the former writer's server may take to say whether it takes writes. Most servers that
	// can't answer refuse the connection at once.
	formerTimeout = 250 * time.Millisecond
	// fresh is how long the answer to a look counts. Where catching up has taken longer, the question is asked again.
	fresh = time.Second
)

var errConflict = errors.New("address conflict")

// look is a question to the network or to a server that has to be answered before a server is opened or an address is
// added. It is asked in the background while other work is done.
type look struct {
	ask   func(context.Context) error
	began time.Time
	asked chan error // one slot
	known bool       // the answer was taken out of asked, and is in err
	err   error      // why the answer forbids the step; nil: it does not
}

// answer waits for the answer, and asks again where the question is older than fresh. It returns why the step is
// forbidden; nil where nothing is in the way, or nothing was to be asked.
func (l *look) answer(ctx context.Context) error {
	if l == nil {
		return nil
	}
	if !l.known {
		l.err, l.known = <-l.asked, true
	}
	if time.Since(l.began) > fresh {
		l.began = time.Now()
		l.err = l.ask(ctx)
	}
	return l.err
}

// looks are the questions of one plan.
type looks struct {
	addresses map[netip.Addr]*look // whether another machine has an address
	writer    []netip.Addr         // the writer's addresses among them
	former    *look                // whether the former writer's server takes writes
	heard     *look                // whether the local server listens on the writer's address
	running   sync.WaitGroup
	cancel    context.CancelFunc
}

// looks begins at once to ask all that has to be known before a plan's addresses are added and the server is opened.
func (h *host) looks(ctx context.Context, o cluster.Order, plan []Action) *looks {
	ctx, cancel := context.WithCancel(ctx)
	l := &looks{addresses: map[netip.Addr]*look{}, cancel: cancel}
	begin := func(ask func(context.Context) error) *look {
		q := &look{ask: ask, began: time.Now(), asked: make(chan error, 1)}
		l.running.Go(func() { q.asked <- ask(ctx) })
		return q
	}
	for _, a := range plan {
		if a.Kind == Allow && h.listens != nil && planned(o, h.site.Host) {
			l.heard = begin(func(ctx context.Context) error { return h.listensOn(ctx, o.Roles) })
		}
		switch {
		case a.Kind == Add && h.conflict != nil:
			ip := a.Address.IP
			l.addresses[ip] = begin(func(ctx context.Context) error { return h.probe(ctx, ip) })
			if a.Address.Role == h.site.ActiveMasterRole {
				l.writer = append(l.writer, ip)
			}
		case a.Kind == Allow && !o.Cut && o.Switch.To == h.site.Host && o.Switch.From != "" &&
			o.Switch.From != h.site.Host:
			l.former = begin(func(ctx context.Context) error { return h.closedElsewhere(ctx, o.Switch.From) })
		}
	}
	return l
}

// stop cancels the questions that are still being asked, and waits for their end.
func (l *looks) stop() {
	l.cancel()
	l.running.Wait()
}

// add returns why the address may not be added, or nil.
func (l *looks) add(ctx context.Context, ip netip.Addr) error { return l.addresses[ip].answer(ctx) }

// open returns why the server may not be opened for writes, or nil: no other machine has the writer's address, clients
// could connect by it, and the former writer's server is closed for writes, as far as it can be asked.
func (l *looks) open(ctx context.Context) error {
	for _, ip := range l.writer {
		if err := l.add(ctx, ip); err != nil {
			return err
		}
	}
	if err := l.heard.answer(ctx); err != nil {
		return err
	}
	return l.former.answer(ctx)
}

// planned says whether this host takes over in a planned move: the former writer's agent has said that it gave the role
// up, so that the former writer can have it back.
func planned(o cluster.Order, self string) bool {
	return o.Switch.To == self && o.Switch.From != "" && o.Epoch.Gone == o.Switch.From && !o.Forced
}

// listensOn is an error where nobody could connect to the writer's address, because the server listens on other
// addresses only. It is nil where nothing listens at all, or the kernel does not say what does.
func (h *host) listensOn(ctx context.Context, roles []cluster.RoleIP) error {
	found, err := h.listens(ctx)
	if err != nil {
		return nil
	}
	for _, r := range roles {
		if r.Role != h.site.ActiveMasterRole || len(found) == 0 {
			continue
		}
		if !slices.ContainsFunc(found, func(l netip.AddrPort) bool { return hears(l.Addr(), r.IP) }) {
			return fmt.Errorf("the server listens on %s and not on %s (bind_address): nobody could connect", found[0],
				r.IP)
		}
	}
	return nil
}

// hears says whether a server that listens on the address listener gets connections to ip. The unspecified IPv6 address
// (::) gets those to IPv4 addresses too.
func hears(listener, ip netip.Addr) bool {
	return listener == ip || listener.IsUnspecified() && (ip.Is4() || !listener.Is4())
}

func (h *host) probe(ctx context.Context, ip netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, netlinkTimeout)
	defer cancel()
	switch owner, err := h.conflict.Probe(ctx, ip, probeTime); {
	case err != nil:
		return fmt.Errorf("look whether somebody has %s: %w", ip, err)
	case owner != nil:
		return fmt.Errorf("the machine %s has %s: %w", owner, ip, errConflict)
	}
	return nil
}

// closable is a server that this host may close for writes.
type closable interface {
	DenyWrites(ctx context.Context, d mysqlctl.Deny) error
}

// closeTimeout is how long closing the former writer's server for writes may take.
const closeTimeout = 2 * time.Second

// closedElsewhere makes sure that the former writer's server (host name) is closed for writes, where it answers; one
// that does not answer is no obstacle. A server that is open seems to have no agent that would close it. It is closed
// from here: the role is this host's now, and clients may still write there by another address.
func (h *host) closedElsewhere(ctx context.Context, name string) error {
	_, server, ok := h.peers.ByName(name)
	if !ok || !openFor(ctx, server) {
		return nil
	}
	h.log.Warn(fmt.Sprintf("The server of '%s', which was the writer before, is open for writes: closing it", name))
	open := fmt.Errorf("the server of '%s', which was the writer before, is open for writes", name)
	former, ok := server.(closable)
	if !ok {
		return open
	}
	closing, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	if err := former.DenyWrites(closing, mysqlctl.Deny{}); err != nil {
		return fmt.Errorf("%w, and can't be closed: %w", open, err)
	}
	if openFor(ctx, server) {
		return open
	}
	return nil
}

func openFor(ctx context.Context, server replication.Remote) bool {
	ctx, cancel := context.WithTimeout(ctx, formerTimeout)
	defer cancel()
	open, err := server.Writable(ctx)
	return err == nil && open
}
