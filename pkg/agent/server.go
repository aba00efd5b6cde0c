package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

const (
	// patience is how long an order of a monitor of ours may take before it is answered with "busy", while it is carried
	// out further.
	patience = 2 * time.Second
	// classicPatience is the same for an original monitor, which knows no "busy" and takes any answer for success.
	classicPatience = 5 * time.Minute
)

// Handle answers one line of a monitor (docs/protocol.md, "To an agent"). It is safe for concurrent use.
func (a *Agent) Handle(ctx context.Context, line string) string {
	answer := a.handle(ctx, line)
	if up, err := a.uptime(); err == nil {
		answer.Uptime = up
	}
	return answer.String()
}

func (a *Agent) handle(ctx context.Context, line string) wire.Answer {
	req, err := wire.ParseRequest(line)
	if err != nil {
		return wire.Answer{Text: fmt.Sprintf("ERROR: Invalid command '%s'!", mysqlctl.Printable(line))}
	}
	if req.Host != a.site.Host {
		return wire.Answer{Text: fmt.Sprintf("ERROR: Invalid hostname in command (%s)! My name is '%s'",
			mysqlctl.Printable(req.Host), a.site.Host)}
	}
	switch req.Command {
	case "PING":
		return wire.Answer{Text: "OK: Pinged!"}
	case "SET_STATUS":
		return a.setStatus(ctx, req)
	case "GET_AGENT_STATUS":
		last, err := a.ask(ctx, nil)
		if err != nil {
			return wire.Answer{Text: "ERROR: " + err.Error()}
		}
		s := wire.AgentStatus{State: last.order.State, Roles: last.order.Roles, Master: last.order.Master,
			Epoch: last.report.Epoch, Stamp: last.report.Stamp, Live: last.report.Live}
		return wire.Answer{Text: "OK: Returning status!", Fields: s.Fields()}
	case "GET_SYSTEM_STATUS":
		s, err := a.systemStatus(ctx)
		if err != nil {
			return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
		}
		return wire.Answer{Text: "OK: Returning status!", Fields: s.Fields()}
	case "CLEAR_BAD_ROLES":
		return a.clearBadRoles(ctx)
	case wire.PeerStatus:
		return a.peerStatus(ctx, req)
	case wire.CheckHost:
		return a.checkHost(ctx, req)
	case wire.Announce:
		return a.announceAgain(ctx, req)
	case wire.Relay:
		return a.relay(ctx, req)
	case wire.Examine:
		if a.examiner != nil {
			return a.examine(ctx, req)
		}
	case "GET_AGENT_VERSION":
		return wire.Answer{Text: a.version}
	}
	return wire.Answer{Text: fmt.Sprintf("ERROR: Invalid command '%s'!", mysqlctl.Printable(req.Command))}
}

// ask puts a question to the owner and waits for its reply.
func (a *Agent) ask(ctx context.Context, order *cluster.Order) (reply, error) {
	q := ask{order: order, reply: make(chan reply, 1)}
	select {
	case a.asked <- q:
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
	select {
	case r := <-q.reply:
		return r, nil
	case <-ctx.Done():
		return reply{}, ctx.Err()
	}
}

func (a *Agent) setStatus(ctx context.Context, req wire.Request) wire.Answer {
	order, err := wire.ParseOrder(req)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
	}
	a.noteMonitor(wire.Caller(ctx))
	wait := classicPatience
	if order.Extended {
		wait = patience
	}
	if order.Lease > 0 {
		// An answer brings the stamp that the next order echoes, and so prolongs the lease: also a busy host answers in time.
		wait = min(wait, time.Duration(order.Lease)/4)
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	r, err := a.ask(limited, &order)
	switch {
	case ctx.Err() != nil && !order.Extended:
		return wire.Answer{Text: "ERROR: The agent is ending"} // its owner has ended, and can't say how things are
	case err != nil: // the order takes long, or this agent ends and the next one in this process carries it out
		return a.stillBusy(ctx, order)
	}
	if !order.Extended {
		// An original monitor opens the new master once its slaves have answered.
		select {
		case <-r.followed:
		case <-limited.Done():
		}
	}
	if p := a.replication.State().Problem; p != "" {
		r.report.Problems = append(r.report.Problems, p)
	}
	text := "OK: Status applied successfully!"
	if len(r.report.Problems) > 0 {
		text = "ERROR: " + mysqlctl.Printable(strings.Join(r.report.Problems, "; "))
	}
	return wire.Answer{Text: text, Fields: r.report.Fields()}
}

// noteMonitor notes the address from which orders come, the monitor's: its connections to the server are let in while
// new clients are kept away. An order that another host relays comes from that host's address and says nothing of the
// monitor's; hosts of the configuration are let in anyway.
func (a *Agent) noteMonitor(monitor netip.Addr) {
	of := func(name string) bool {
		ip, _, known := a.peers.ByName(name)
		return known && ip == monitor.String()
	}
	if monitor.IsValid() && !slices.ContainsFunc(a.peers.Names(), of) {
		a.host.monitor.Store(&monitor)
	}
}

// stillBusy is the answer while an order is being carried out: the addresses that the host has at this moment, what the
// work waits for, and that it is not finished (Busy).
func (a *Agent) stillBusy(ctx context.Context, order cluster.Order) wire.Answer {
	report := wire.Report{Extended: order.Extended, Seq: order.Seq, Busy: true}
	present, err := a.host.present(context.WithoutCancel(ctx))
	if err != nil {
		report.Problems = []string{"Couldn't observe this host: " + err.Error()}
		present = nil
		for _, r := range a.site.Addresses {
			present = append(present, r.IP) // the kernel did not say, so the host may have any of them
		}
	}
	report.Have = a.site.roles(present)
	if p := a.replication.Progress(); p != "" {
		report.Problems = append(report.Problems, p)
	}
	if why := a.host.heldUp.Load(); why != nil {
		report.Problems = slices.Insert(report.Problems, 0, *why)
	}
	if t := a.holder.Load(); t != nil {
		t.fill(&report)
	}
	return wire.Answer{Text: "ERROR: Status is still being applied", Fields: report.Fields()}
}

// systemStatus is what this host has: addresses, and what its server says. Where the kernel does not name the addresses
// it is an error, since an answer without them would say that there are none.
func (a *Agent) systemStatus(ctx context.Context) (s wire.SystemStatus, err error) {
	facts, err := a.host.observe(ctx)
	if facts.Unseen {
		return s, err
	}
	s.Roles, s.Writable = a.site.roles(facts.Present), facts.Writable == wire.Yes
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	replica, replicaErr := a.local.Replica(ctx)
	switch {
	case replicaErr == nil:
		s.MasterIP = replica.SourceHost
		if name, _, known := a.peers.Source(replica); known { // monitors compare MasterIP with the ip of each host
			s.MasterIP, _, _ = a.peers.ByName(name)
		}
	case errors.Is(replicaErr, syscall.ECONNREFUSED):
		err = errors.Join(err, errors.New("the server does not run"))
	case !errors.Is(replicaErr, mysqlctl.ErrNotReplica):
		err = errors.Join(err, replicaErr)
	}
	if err != nil {
		s.Problem = mysqlctl.Printable(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return s, nil
}

// clearBadRoles removes the addresses of roles that the last order does not give this host (CLEAR_BAD_ROLES). Monitors
// of ours don't ask it of this agent: carrying out their orders does the same.
func (a *Agent) clearBadRoles(ctx context.Context) wire.Answer {
	present, err := a.host.present(ctx)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
	}
	last, err := a.ask(ctx, nil) // after the look: an order that came in between may have added an address
	if err != nil {
		return wire.Answer{Text: "ERROR: " + err.Error()}
	}
	removed := 0
	for _, r := range a.site.roles(present) {
		if slices.Contains(last.order.Roles, r) {
			continue
		}
		a.log.Info(fmt.Sprintf("Removing %s: it is not among the roles of this host", r))
		if err := a.host.publisher.Withdraw(ctx, r); err != nil {
			return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(fmt.Sprintf("Couldn't remove %s: %v", r, err))}
		}
		removed++
	}
	return wire.Answer{Text: fmt.Sprintf("OK: Removed %d roles", removed)}
}

// Refuse is the answer to a line that can't be a request, with the reason in why.
func (a *Agent) Refuse(why string) string {
	answer := wire.Answer{Text: "ERROR: " + why}
	if up, err := a.uptime(); err == nil {
		answer.Uptime = up
	}
	return answer.String()
}
