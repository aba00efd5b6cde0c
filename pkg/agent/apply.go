package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/endpoint"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
	"mysql-mmm/pkg/wire"
)

// Lifetimes tells which addresses on the interface have no lifetime, so that they stay for ever.
type Lifetimes interface {
	Lasting(ctx context.Context) ([]netip.Addr, error)
}

// Fence closes the server's port to clients, for a server that can't be closed for writes, and opens it again.
type Fence interface {
	Close(ctx context.Context) error
	Open(ctx context.Context) error
	Closed(ctx context.Context) (bool, error)
}

// Conflict looks for another machine that has an address (RFC 5227, RFC 4862).
type Conflict interface {
	Probe(ctx context.Context, ip netip.Addr, wait time.Duration) (net.HardwareAddr, error)
}

// Process knows which process the server was when it last answered (Answered notes it). Gone says that this process
// certainly does not exist any more, Same that it is certainly still the server. Where neither is certain both are
// false.
type Process interface {
	Answered(ctx context.Context)
	Gone() bool
	Same() bool
}

// Announcer tells the network where an address is, once more. Its methods never block.
type Announcer interface {
	Announce(ip netip.Addr)
	Hold(ip netip.Addr) // the address is still here: announce it from time to time
}

// Gate opens and closes the local server for writes.
type Gate interface {
	Writable(ctx context.Context) (bool, error)
	DenyWrites(ctx context.Context, d mysqlctl.Deny) error
	AllowWrites(ctx context.Context) error
	EndClients(ctx context.Context, grace time.Duration) (int, error)
}

// Newcomers keeps new connections away from the server until Welcome, or until the time during is over. Connections
// from the cluster's hosts and from the address besides are let in.
type Newcomers interface {
	Refuse(ctx context.Context, besides netip.Addr, during time.Duration) error
	Welcome(ctx context.Context) error
}

// Blocking is how new client connections are kept away while writes are being stopped (blocking_type).
type Blocking struct {
	Soft      bool
	Newcomers Newcomers // how the soft type does it; nil: an admin has commands for it, Block and Unblock
	// Shell commands of the soft type. With Newcomers, Block is not used, and Unblock removes one firewall rule that an
	// agent of a version without Newcomers has left.
	Block, Unblock string
	Grace          time.Duration // max_kill_retries: how long running statements may go on before they are killed
}

// Deadlines of the steps. Together they stay below what the monitor gives a host to give up an address.
const (
	netlinkTimeout = time.Second
	queryTimeout   = time.Second
	openTimeout    = 5 * time.Second
	blockTimeout   = 2 * time.Second
	denySlack      = 2 * time.Second // beyond the grace of running statements
	// lateSlack is how long closing the server may go on after the lease's end, before its port is closed instead. With
	// that it stays below the time that others wait for the kernel beyond a lease (pkg/cluster/lease.go).
	lateSlack   = 500 * time.Millisecond
	idleTimeout = 50 * time.Millisecond
)

// host is this machine: it observes and it acts, and it decides nothing.
type host struct {
	site      Site
	publisher endpoint.Publisher
	announce  Announcer
	gate      Gate
	spare     *spare // the same server, by another account; nil: there is none
	peers     replication.Peers
	catchUp   func(ctx context.Context, o cluster.Order) (cluster.Switch, error)
	blocking  Blocking
	clients   func(ctx context.Context) (int, error)
	fence     Fence
	conflict  Conflict
	listens   Listens
	process   Process
	lasting   Lifetimes
	locks     Locks // nil: they are left alone
	// why a lock that keeps this host from taking over could not be ended; nil: there is no such lock
	heldUp   atomic.Pointer[string]
	log      *slog.Logger
	monitor  *atomic.Pointer[netip.Addr] // address of the monitor whose orders this agent obeys
	commands sync.WaitGroup              // commands of blocking_type soft, which may go on after their round
	looking  func()                      // ends what lookAfter began, and waits for its end; only rounds use it
}

// observe finds out what this host is, and changes nothing.
func (h *host) observe(ctx context.Context) (f Facts, err error) {
	err = h.look(ctx, nil, &f)
	return f, errors.Join(err, h.lookAtServer(ctx, &f))
}

// recognise finds out what this host is, and takes off addresses that somebody else has added (evict). It returns a
// problem for each of these that stays. It notes in m, and with the Process, what the server has answered.
func (h *host) recognise(ctx context.Context, p pass, m *Memory) (Facts, []problem, error) {
	var f Facts
	var problems []problem
	err := h.look(ctx, p.before, &f)
	if err == nil {
		f.Present, problems = h.evict(ctx, p, f.Present, m)
	}
	reason := h.lookAtServer(ctx, &f)
	if f.Writable != wire.Unsure && !f.Down {
		m.Closed = f.Writable == wire.No
	}
	if h.process != nil {
		if f.Writable != wire.Unsure && !f.Down {
			h.process.Answered(ctx)
		}
		f.Gone = f.Down && h.process.Gone()
	}
	return f, problems, errors.Join(err, reason)
}

// look finds out which addresses this host has. Where the kernel does not answer, those of before count as present: no
// answer proves none of them gone.
func (h *host) look(ctx context.Context, before []netip.Addr, f *Facts) (err error) {
	if f.Present, err = h.present(ctx); err != nil {
		f.Present, f.Unseen = before, true
	}
	return err
}

func (h *host) present(ctx context.Context) ([]netip.Addr, error) {
	all, err := h.publisher.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	configured := func(ip netip.Addr) bool {
		return slices.ContainsFunc(h.site.Addresses, func(r cluster.RoleIP) bool { return r.IP == ip })
	}
	return slices.DeleteFunc(all, func(ip netip.Addr) bool { return !configured(ip) }), nil
}

// lookAtServer finds out whether the server takes writes. A server that refuses connections does not run, and so takes
// none; one that does not answer may take them. One that does not let the agent in is asked with the spare account,
// since it tells any account.
func (h *host) lookAtServer(ctx context.Context, f *Facts) error {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	open, err := h.gate.Writable(ctx)
	sign := mysqlctl.SignOf(err)
	switch {
	case err == nil:
		f.Writable = wire.TriOf(open)
		return nil
	case sign == mysqlctl.Refused:
		f.Writable, f.Down = wire.No, true
		return nil
	case !sign.Alive():
		return fmt.Errorf("ask the server whether it takes writes: %w", err)
	}
	f.Refused = true
	if h.spare != nil {
		if open, err := h.spare.writable(ctx); err == nil {
			f.Writable = wire.TriOf(open)
		}
	}
	return fmt.Errorf("the server answers, and does not let this agent open or close it: %w", err)
}

// apply carries out a plan. It goes on where an action fails, with two exceptions. In a planned move a server that
// can't be closed for writes keeps the writer's address, as the role stays here. And the writer's address is added only
// where the server has caught up and was opened. apply returns the memory of what was achieved, and a problem for each
// action that failed.
func (h *host) apply(ctx context.Context, p pass, plan []Action, wasWriter bool, m Memory) (Memory, []problem) {
	var problems []problem
	blocked, stays := false, false
	// DenyWrites calls block when it has its connections: an admin's command may keep away this agent's new ones too.
	var block func()
	if wasWriter && h.blocking.Soft {
		unblock := func() {}
		// Until the writer's address is gone, a client that connects would only find a server that is read-only.
		block = func() { unblock = h.block(ctx, p.grace(h.blocking.Grace)) }
		defer func() { unblock() }()
	}
	look := h.looks(ctx, p.order, plan)
	defer look.stop()
	for _, a := range plan {
		if ctx.Err() != nil {
			return m, append(problems, problem{text: "Interrupted by a newer order"})
		}
		var err error
		switch a.Kind {
		case Deny:
			h.stopLooking() // from now on clients wait for the closing itself, and that must not be ended as a lock
			if p.hangs && h.fence != nil {
				continue // closing it for writes would hang as well: pass closes its port instead (shut)
			}
			grace := p.grace(h.blocking.Grace)
			if m.Port == PortClosed {
				grace = 0
			}
			err = h.denyInTime(ctx, p.left(), &m, func() error { return h.deny(ctx, wasWriter, grace, block) })
			stays = err != nil && p.planned()
		case Remove:
			if stays && a.Address.Role == h.site.ActiveMasterRole {
				continue
			}
			err = h.publisher.Withdraw(ctx, a.Address)
		case Add:
			if blocked && a.Address.Role == h.site.ActiveMasterRole {
				continue
			}
			if err = look.add(ctx, a.Address.IP); err == nil {
				m.mine = append(slices.Clone(m.mine), a.Address.IP)
				err = h.publisher.Publish(ctx, a.Address, func() (time.Duration, error) { return p.lifetime(a.Address) })
			}
		case CatchUp:
			unlocked := h.unlock(ctx, mysqlctl.Replication)
			m.Switch, err = h.catchUp(ctx, p.order)
			m.notes = append(m.notes, unlocked()...)
			blocked = err != nil
		case Allow:
			if blocked {
				continue
			}
			if err = look.open(ctx); err == nil && m.Port != PortOpen && h.fence != nil {
				if err = h.openPort(ctx); err == nil {
					m.Port = PortOpen
				}
			}
			if err == nil {
				m.Closed = false
				err = h.allow(ctx)
			}
			if err == nil {
				h.lookAfter(p)
			}
			blocked = err != nil
			m.Opened = m.Opened || err == nil
		}
		if err != nil {
			problems = append(problems, failure(a, err))
		}
	}
	return m, problems
}

// problem is something that could not be done.
type problem struct {
	text     string // a sentence
	conflict bool   // it is that another machine has an address
}

func texts(problems []problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.text)
	}
	return all
}

func failure(a Action, err error) problem {
	what := string(a.Kind)
	if a.Address.Role != "" {
		what += " " + a.Address.String()
	}
	return problem{text: fmt.Sprintf("Couldn't %s: %s", what, strings.ReplaceAll(err.Error(), "\n", "; ")),
		conflict: errors.Is(err, errConflict)}
}

func (h *host) allow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return h.gate.AllowWrites(ctx)
}

// deny stops writes (docs/concepts.md, "How a role moves"). On a server that was the writer it then ends the
// connections of idle clients, before the writer's address goes, while they still hear of it. Those that run a
// statement are left to endClients.
func (h *host) deny(ctx context.Context, wasWriter bool, grace time.Duration, block func()) error {
	denying, cancel := context.WithTimeout(ctx, grace+denySlack)
	defer cancel()
	if err := h.gate.DenyWrites(denying, mysqlctl.Deny{Grace: grace, Ready: block}); err != nil || !wasWriter {
		return err
	}
	ending, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	_, _ = h.gate.EndClients(ending, h.blocking.Grace) // host.endClients ends the others later, and logs failures
	return nil
}

// denyInTime closes the server's port where deny still tries to close the server for writes lateSlack after the lease's
// end; left is what is left of the lease. Once deny has succeeded, pass opens the port again (shut).
func (h *host) denyInTime(ctx context.Context, left time.Duration, m *Memory, deny func() error) error {
	if h.fence == nil || left == lease.Forever || m.Port == PortClosed {
		return deny()
	}
	closed := make(chan error, 1)
	late := time.AfterFunc(left+lateSlack, func() { closed <- h.closePort(ctx) })
	err := deny()
	if late.Stop() {
		return err
	}
	if failed := <-closed; failed != nil {
		return errors.Join(err, fmt.Errorf("close the server's port to clients: %w", failed))
	}
	m.Port = PortClosed
	h.log.Warn(whyClosed(Facts{Late: true}, stall{}))
	return err
}

// endClients ends the connections to a server that has stopped being the writer, so that applications notice.
func (h *host) endClients(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, h.blocking.Grace+denySlack)
	defer cancel()
	killed, err := h.gate.EndClients(ctx, h.blocking.Grace)
	switch {
	case err != nil && ctx.Err() == nil && !errors.Is(err, syscall.ECONNREFUSED):
		h.log.Warn(fmt.Sprintf("Couldn't end all client connections: %v", err))
	case killed > 0:
		h.log.Info(fmt.Sprintf("Ended %d client connections", killed))
	}
}
