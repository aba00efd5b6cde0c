package agent

import (
	"context"
	"fmt"

	"mysql-mmm/pkg/wire"
)

// Port is what is known of the firewall rule that keeps clients away from a server that can't be closed for writes.
type Port uint8

// The states of the port.
const (
	PortUnknown Port = iota // as at the start of an agent: a former one may have left the rule
	PortOpen
	PortClosed
)

// mayBeOpen says whether a server that does not answer may take writes. It does not where three things hold: it was
// closed for writes when it last answered, this agent has not begun to open it since, and its process is still the one
// that answered. A server opens itself only by starting anew.
func mayBeOpen(m Memory, sameProcess bool) bool { return !m.Closed || !sameProcess }

// wantPort is what the port is to be; PortUnknown: it stays as it is. The port is closed only where clients could write
// to a server that must not take writes. Closing it costs readers their connections, so the port of a server that was
// closed for writes and has merely missed a question stays open. A server that answers with an error lives, but may
// take writes: where it does not let the agent in, its port is closed as if it hung, unless it is known to be closed
// for writes. A server that lets the agent in is closed for writes instead, and its port where that takes longer than
// the lease lasts: another host may be the writer then.
func wantPort(site Site, writer bool, f Facts, m Memory, sameProcess bool) Port {
	switch {
	case !site.MayWrite:
		return PortOpen // no candidate: under a former configuration it may have been one, and left the port closed
	case !writer && f.Writable == wire.Unsure && mayBeOpen(m, sameProcess):
		return PortClosed
	case !writer && f.Writable == wire.Yes && (f.Stalled || f.Refused || f.Late || m.Port == PortClosed):
		return PortClosed
	case f.Writable == wire.No && !f.Down && !writer, f.Writable == wire.Yes && writer:
		return PortOpen
	}
	return PortUnknown
}

// shut closes the port of a server that may take writes, must not, and can't be closed for writes; and opens the port
// again once the server is closed for writes. A server behind a closed port counts as closed for writes
// (Facts.Writable), since no client reaches it. The string is what has failed, or "".
func (h *host) shut(ctx context.Context, site Site, writer bool, s stall, f Facts, m Memory) (Facts, Memory, string) {
	if h.fence == nil {
		return f, m, ""
	}
	same := f.Writable == wire.Unsure && h.process != nil && h.process.Same()
	switch wantPort(site, writer, f, m, same) {
	case PortClosed:
		was := m.Port
		if m.Port = PortUnknown; was != PortClosed || !h.stillClosed(ctx) {
			if err := h.closePort(ctx); err != nil {
				return f, m, fmt.Sprintf("Couldn't close the server's port to clients: %v", err)
			}
			h.log.Warn(whyClosed(f, s))
		}
		m.Port = PortClosed
	case PortOpen:
		if m.Port == PortOpen {
			break
		}
		if err := h.openPort(ctx); err != nil {
			return f, m, fmt.Sprintf("Couldn't open the server's port to clients: %v", err)
		}
		if m.Port == PortClosed {
			h.log.Info("The server is closed for writes: its port is open to clients again")
		}
		m.Port = PortOpen
	case PortUnknown: // it stays as it is
	}
	open := f.Writable == wire.Unsure && mayBeOpen(m, same) || f.Writable == wire.Yes
	if fenced := open && m.Port == PortClosed; !writer && (fenced || f.Writable == wire.Unsure && !open) {
		// A server that only refuses this agent is not Fenced: a new writer can still ask it (cluster.Order.Cut).
		f.Writable, f.Fenced = wire.No, fenced && !f.Refused
	}
	return f, m, ""
}

func whyClosed(f Facts, s stall) string {
	switch {
	case f.Refused:
		return "The server may take writes, and does not let this agent close it: its port is closed to clients until it does"
	case f.Late:
		return "The server could not be closed for writes before the lease was over: its port is closed to clients until it is"
	case f.Stalled:
		return fmt.Sprintf("The server can't write (%s): its port is closed to clients until it does", s.why)
	}
	return "The server does not answer: its port is closed to clients until it does"
}

// stillClosed says whether the firewall still keeps clients from the port: a reload of the firewall's service may have
// taken the rule away.
func (h *host) stillClosed(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	closed, err := h.fence.Closed(ctx)
	return err == nil && closed
}

func (h *host) closePort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	if err := h.fence.Close(ctx); err != nil || h.clients == nil {
		return err
	}
	// A client that waits for the answer to a commit could still get it, and count on a transaction that no other host
	// has.
	if _, err := h.clients(ctx); err != nil {
		h.log.Warn(fmt.Sprintf("Couldn't end the connections of clients to the server: %v", err))
	}
	return nil
}

func (h *host) openPort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, blockTimeout)
	defer cancel()
	return h.fence.Open(ctx)
}
