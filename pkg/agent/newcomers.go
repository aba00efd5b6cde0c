package agent

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
)

// newcomersTimeout bounds each step that only spares clients a timeout, such as keeping new clients away from a server
// that is being closed. The role change goes on whether such a step succeeds, fails or hangs.
const newcomersTimeout = 200 * time.Millisecond

// welcomeAll lets in the new clients that a former agent has kept away, if it was killed before it could let them in.
// It comes before the first round, which may have a reason of its own to keep clients away.
func (h *host) welcomeAll(ctx context.Context) {
	if h.blocking.Newcomers == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, newcomersTimeout)
	defer cancel()
	if err := h.blocking.Newcomers.Welcome(ctx); err != nil {
		h.log.Warn(fmt.Sprintf("Couldn't take away the firewall rule that a former agent may have left: "+
			"it may keep new clients away for some more seconds: %v", err))
	}
}

// mostLeft is how many firewall rules of former versions are removed at most: an agent of such a version left one each
// time it was killed while it kept clients away.
const mostLeft = 16

// endOldBlock runs the command that lets new clients in (unblock), for rules that a former agent has left in the
// firewall. The default command, for rules of versions without Newcomers, is run until it fails, when there is no such
// rule any more. A command of an admin is run once, as it may never fail.
func (h *host) endOldBlock(ctx context.Context) {
	if !h.site.MayWrite || h.blocking.Unblock == "" {
		return
	}
	most := mostLeft
	if h.blocking.Newcomers == nil {
		most = 1
	}
	ended := 0
	for ; ended < most; ended++ {
		if err := h.shell(ctx, h.blocking.Unblock); err != nil {
			h.log.Debug(fmt.Sprintf("No client is blocked any more, as it seems: %v", err))
			break
		}
	}
	if ended > 0 && h.blocking.Newcomers != nil {
		h.log.Warn(fmt.Sprintf("An agent before this one had left rules in the firewall that kept new clients away: "+
			"%d are gone", ended))
	}
}

// prepare removes what an agent that was killed has left in the firewall.
func (h *host) prepare(ctx context.Context) {
	h.endOldBlock(ctx)
	if !h.site.MayWrite && h.fence != nil {
		if err := h.openPort(ctx); err != nil { // each round tries it again (shut)
			h.log.Warn(fmt.Sprintf("Couldn't open the server's port to clients: %v", err))
		}
	}
}

// hold has those addresses announced from time to time that this host is to have and has, also those that it had before
// this agent started.
func (h *host) hold(ordered []cluster.RoleIP, present []netip.Addr) {
	for _, r := range ordered {
		if slices.Contains(present, r.IP) {
			h.announce.Hold(r.IP)
		}
	}
}

// block keeps new clients away (blocking_type soft) until unblock is called. Neither waits longer than newcomersTimeout
// for an admin's command; the unblocking command runs when the blocking one has ended. This is a courtesy to clients:
// what stops the writes is read_only.
func (h *host) block(ctx context.Context, grace time.Duration) (unblock func()) {
	ctx = context.WithoutCancel(ctx)
	if h.blocking.Newcomers != nil {
		return h.refuseNew(ctx, grace+2*denySlack)
	}
	blocked := make(chan struct{})
	h.commands.Go(func() {
		defer close(blocked)
		h.run(ctx, h.blocking.Block)
	})
	await(blocked)
	return func() {
		unblocked := make(chan struct{})
		h.commands.Go(func() {
			defer close(unblocked)
			<-blocked
			h.run(ctx, h.blocking.Unblock)
		})
		await(unblocked)
	}
}

// refuseNew keeps new clients away with a firewall rule until welcome is called, and for no longer than most.
func (h *host) refuseNew(ctx context.Context, most time.Duration) (welcome func()) {
	var monitor netip.Addr
	if p := h.monitor.Load(); p != nil {
		monitor = *p
	}
	attempt := func(what string, do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, newcomersTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			h.log.Warn(fmt.Sprintf("%s: %v", what, err))
		}
	}
	attempt("Couldn't keep new clients away: they find a server that is read-only",
		func(ctx context.Context) error { return h.blocking.Newcomers.Refuse(ctx, monitor, most) })
	return func() {
		attempt(fmt.Sprintf("Couldn't let new clients in again: they are kept away for up to %s", most),
			h.blocking.Newcomers.Welcome)
	}
}

// await waits until done is closed, and for no longer than newcomersTimeout.
func await(done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(newcomersTimeout):
	}
}

// run runs a command of the configuration. A failure is logged, and changes nothing.
func (h *host) run(ctx context.Context, command string) {
	if err := h.shell(ctx, command); err != nil {
		h.log.Warn(fmt.Sprintf("Couldn't run '%s': %v", command, err))
	}
}

func (h *host) shell(ctx context.Context, command string) error {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}
