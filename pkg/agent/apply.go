package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// Addresses is the interface that carries the virtual addresses.
type Addresses interface {
	List(ctx context.Context) ([]netip.Addr, error)
	Add(ctx context.Context, ip netip.Addr, lifetime time.Duration) error
	Remove(ctx context.Context, ip netip.Addr) error
}

// Announcer tells the network where an address is now. Its methods never block.
type Announcer interface {
	Announce(ip netip.Addr)
	Forget(ip netip.Addr)
}

// Gate opens and closes the local server for writes.
type Gate interface {
	Writable(ctx context.Context) (bool, error)
	DenyWrites(ctx context.Context, d mysqlctl.Deny) error
	AllowWrites(ctx context.Context) error
	EndClients(ctx context.Context, grace time.Duration) (int, error)
}

// Blocking is how new client connections are kept away while writes are being stopped (blocking_type).
type Blocking struct {
	Soft           bool
	Block, Unblock string        // shell commands of the soft type
	Grace          time.Duration // max_kill_retries: how long running statements are left alone
}

// Deadlines of the steps. Together they stay below what the monitor gives a host to give up an address.
const (
	netlinkTimeout = time.Second
	queryTimeout   = time.Second
	openTimeout    = 5 * time.Second
	blockTimeout   = 2 * time.Second
	denySlack      = 2 * time.Second // beyond the grace of running statements
	idleTimeout    = 50 * time.Millisecond
	catchUpTimeout = 10 * time.Minute
)

// host is this machine: it observes and it acts, and it decides nothing.
type host struct {
	site     Site
	addrs    Addresses
	announce Announcer
	gate     Gate
	catchUp  catchUp
	blocking Blocking
	log      *slog.Logger
}

// observe finds out what this host is.
func (h *host) observe(ctx context.Context) (Facts, error) {
	var f Facts
	present, err := h.present(ctx)
	f.Present = present
	var reason error
	f.Writable, f.Down, reason = h.writable(ctx)
	return f, errors.Join(err, reason)
}

func (h *host) present(ctx context.Context) ([]netip.Addr, error) {
	ctx, cancel := context.WithTimeout(ctx, netlinkTimeout)
	defer cancel()
	all, err := h.addrs.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("list addresses: %w", err)
	}
	configured := func(ip netip.Addr) bool {
		return slices.ContainsFunc(h.site.Addresses, func(r cluster.RoleIP) bool { return r.IP == ip })
	}
	return slices.DeleteFunc(all, func(ip netip.Addr) bool { return !configured(ip) }), nil
}

// writable: a server that refuses connections does not run, and so takes no writes; one that says nothing might.
func (h *host) writable(ctx context.Context) (writable wire.Tri, down bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	open, err := h.gate.Writable(ctx)
	switch {
	case err == nil:
		return wire.TriOf(open), false, nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return wire.No, true, nil
	}
	return wire.Unsure, false, fmt.Errorf("ask the server whether it takes writes: %w", err)
}

// apply carries out a plan. Taking away goes on whatever fails; the writer's address only comes when all before it
// has succeeded. It returns the memory of what was achieved and one sentence for each thing that failed.
func (h *host) apply(ctx context.Context, plan []Action, wasWriter bool, m Memory) (Memory, []string) {
	var problems []string
	blocked := false
	if wasWriter && h.blocking.Soft && slices.ContainsFunc(plan, func(a Action) bool { return a.Kind == Deny }) {
		// Until its address is gone, whoever connects anew would only find a server that is read-only.
		h.shell(ctx, h.blocking.Block)
		defer h.shell(context.WithoutCancel(ctx), h.blocking.Unblock)
	}
	for _, a := range plan {
		if ctx.Err() != nil {
			return m, append(problems, "Interrupted by a newer order")
		}
		var err error
		switch a.Kind {
		case Deny:
			err = h.deny(ctx, wasWriter)
		case Remove:
			err = h.remove(ctx, a.Address)
		case Add:
			if blocked && a.Address.Role == h.site.ActiveMasterRole {
				continue
			}
			err = h.add(ctx, a.Address)
		case CatchUp:
			m.Switch, err = h.catchUp.run(ctx)
			blocked = err != nil
		case Allow:
			if blocked {
				continue
			}
			err = h.allow(ctx)
			blocked = err != nil
			m.Opened = m.Opened || err == nil
		}
		if err != nil {
			problems = append(problems, problem(a, err))
		}
	}
	return m, problems
}

func problem(a Action, err error) string {
	what := string(a.Kind)
	if a.Address.Role != "" {
		what += " " + a.Address.String()
	}
	return fmt.Sprintf("Couldn't %s: %s", what, strings.ReplaceAll(err.Error(), "\n", "; "))
}

func (h *host) remove(ctx context.Context, r cluster.RoleIP) error {
	ctx, cancel := context.WithTimeout(ctx, netlinkTimeout)
	defer cancel()
	h.announce.Forget(r.IP)
	return h.addrs.Remove(ctx, r.IP)
}

func (h *host) add(ctx context.Context, r cluster.RoleIP) error {
	ctx, cancel := context.WithTimeout(ctx, netlinkTimeout)
	defer cancel()
	if err := h.addrs.Add(ctx, r.IP, 0); err != nil {
		return err
	}
	h.announce.Announce(r.IP)
	return nil
}

func (h *host) allow(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return h.gate.AllowWrites(ctx)
}

// deny stops writes (agent manual, "Stop writes"). Idle clients of a server that was the writer are told before its address
// goes, while there is still a way to reach them; those that run a statement are left to endClients.
func (h *host) deny(ctx context.Context, wasWriter bool) error {
	denying, cancel := context.WithTimeout(ctx, h.blocking.Grace+denySlack)
	defer cancel()
	if err := h.gate.DenyWrites(denying, mysqlctl.Deny{Grace: h.blocking.Grace}); err != nil || !wasWriter {
		return err
	}
	ending, cancel := context.WithTimeout(ctx, idleTimeout)
	defer cancel()
	_, _ = h.gate.EndClients(ending, h.blocking.Grace) // what it leaves, endClients ends and reports
	return nil
}

// shell runs a command of the configuration. That it fails is logged and no more: read_only is what stops the writes.
func (h *host) shell(ctx context.Context, command string) {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		h.log.Warn(fmt.Sprintf("Couldn't run '%s': %v %s", command, err, strings.TrimSpace(string(out))))
	}
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
