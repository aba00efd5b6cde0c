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
	// formerTimeout is how long the server of the writer before may take to say that it is closed. Most that can't say
	// so refuse at once.
	formerTimeout = 250 * time.Millisecond
	// fresh is how long what was seen counts: after a longer wait it says nothing any more.
	fresh = time.Second
)

var errConflict = errors.New("address conflict")

// look is a question to the network. It is asked while other work is done, and its answer counts when it is needed.
type look struct {
	ask   func(context.Context) error
	began time.Time
	asked chan error // one slot
	known bool
	err   error
}

// answer waits for the answer, and asks again where it is old. It is nil where nothing is in the way.
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
	writer    []netip.Addr         // those of the writer among them
	former    *look                // whether the server of the writer before takes writes
	heard     *look                // whether the local server listens on the writer's address
	running   sync.WaitGroup
	cancel    context.CancelFunc
}

// looks asks at once all that has to be known before the addresses of a plan come and the server is opened.
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

// stop ends what is still being asked.
func (l *looks) stop() {
	l.cancel()
	l.running.Wait()
}

// add says whether the address may be added.
func (l *looks) add(ctx context.Context, ip netip.Addr) error { return l.addresses[ip].answer(ctx) }

// open says whether the server may be opened for writes: nobody else has the writer's address, and the writer before
// is closed as far as it can be asked.
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

// planned: the writer before has given the role up by its own word, and can have it back.
func planned(o cluster.Order, self string) bool {
	return o.Switch.To == self && o.Switch.From != "" && o.Epoch.Gone == o.Switch.From && !o.Forced
}

// listensOn refuses where nobody could connect to the address of the writer, because the server listens on others only.
// Where nothing listens at all, or that can't be seen, nothing is said.
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

// hears says whether who listens on an address is connected to by another one. IPv6 includes IPv4.
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

// closeTimeout is how long closing the server of the writer before may take.
const closeTimeout = 2 * time.Second

// closedElsewhere asks the server of the writer before. That it does not answer says nothing. One that is open for
// writes has no agent that would close it, as it seems, and is closed from here: the role is this host's, and clients
// may still write there by another address.
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
