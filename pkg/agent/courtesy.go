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

// A courtesy spares clients a timeout. The work that it goes with is done whether it succeeds, fails or hangs, and is
// not held up for longer than this.
const courtesyTimeout = 200 * time.Millisecond

// welcomeAll lets new clients in that an agent which was killed has kept away. It comes before the first round, which
// may have a reason of its own to keep them away.
func (h *host) welcomeAll(ctx context.Context) {
	if h.blocking.Newcomers == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, courtesyTimeout)
	defer cancel()
	if err := h.blocking.Newcomers.Welcome(ctx); err != nil {
		h.log.Warn(fmt.Sprintf("Couldn't look for what an agent before this one has left: "+
			"new clients may be kept away for some seconds yet: %v", err))
	}
}

// mostLeft is how many rules of a kind are looked for: an agent of old that was killed again and again left one each
// time.
const mostLeft = 16

// endOldBlock ends what agents without rules of their own have left in the firewall, or an admin's command. A command
// of an admin is run once, as it may succeed for ever; ours fails when there is no such rule any more.
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
		if err := h.openPort(ctx); err != nil { // rounds try it again
			h.log.Warn(fmt.Sprintf("Couldn't open the server's port to clients: %v", err))
		}
	}
}

// hold has those addresses announced from time to time that are here and are to be here, also those that were here
// before this agent.
func (h *host) hold(ordered []cluster.RoleIP, present []netip.Addr) {
	for _, r := range ordered {
		if slices.Contains(present, r.IP) {
			h.announce.Hold(r.IP)
		}
	}
}

// block keeps new clients away (blocking_type soft) until unblock is called. A command that takes longer is not waited
// for, and is taken back when it has ended. read_only is what stops the writes.
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

// refuseNew keeps new clients away until welcome is called, and for no longer than most.
func (h *host) refuseNew(ctx context.Context, most time.Duration) (welcome func()) {
	var monitor netip.Addr
	if p := h.monitor.Load(); p != nil {
		monitor = *p
	}
	courtesy := func(what string, do func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, courtesyTimeout)
		defer cancel()
		if err := do(ctx); err != nil {
			h.log.Warn(fmt.Sprintf("%s: %v", what, err))
		}
	}
	courtesy("New clients are not kept away, and find a server that is read-only",
		func(ctx context.Context) error { return h.blocking.Newcomers.Refuse(ctx, monitor, most) })
	return func() {
		courtesy(fmt.Sprintf("New clients are kept away for up to %s", most), h.blocking.Newcomers.Welcome)
	}
}

// await waits for no longer than a courtesy may take.
func await(done <-chan struct{}) {
	select {
	case <-done:
	case <-time.After(courtesyTimeout):
	}
}

// run runs a command of the configuration. That it fails is logged, and no more.
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
