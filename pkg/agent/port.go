package agent

import (
	"context"
	"fmt"

	"mysql-mmm/pkg/wire"
)

// Port is what is known of the firewall rule that keeps clients away from a server that can't be closed for writes.
type Port uint8

// An agent does not know at its start whether a former one has left the rule.
const (
	PortUnknown Port = iota
	PortOpen
	PortClosed
)

// mayBeOpen says whether a server that does not answer may take writes. It does not where it was closed for writes
// when it last answered, this agent has not begun to open it since, and the process is still the one that answered: a
// server opens itself only by starting anew.
func mayBeOpen(m Memory, sameProcess bool) bool { return !m.Closed || !sameProcess }

// wantPort is what the port is to be; PortUnknown: as it is. It is closed only where writes may get to a server that
// must not take any. Closing it costs readers their connections, so one that has merely missed a question is left
// alone. That a server answers says that it lives, not that it is closed: one that does not let the agent in is closed
// off like one that hangs, unless it is known to be closed for writes. One that lets it in is closed for writes
// instead.
func wantPort(site Site, writer bool, f Facts, m Memory, sameProcess bool) Port {
	switch {
	case !site.MayWrite:
		return PortOpen // what a former configuration has left is of no use
	case !writer && f.Writable == wire.Unsure && mayBeOpen(m, sameProcess):
		return PortClosed
	case !writer && f.Writable == wire.Yes && (f.Stalled || f.Refused || m.Port == PortClosed):
		return PortClosed
	case f.Writable == wire.No && !f.Down && !writer, f.Writable == wire.Yes && writer:
		return PortOpen
	}
	return PortUnknown
}

// shut keeps clients away by the firewall from a server that may take writes and can't be asked, and lets them in
// again once it has been closed for writes. A port that is shut counts as closed for writes: no client reaches it.
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
		f.Writable, f.Fenced = wire.No, fenced && !f.Refused // one that refuses this agent can be asked by others
	}
	return f, m, ""
}

func whyClosed(f Facts, s stall) string {
	switch {
	case f.Refused:
		return "The server may take writes, and does not let this agent close it: its port is closed to clients until it does"
	case f.Stalled:
		return fmt.Sprintf("The server can't write (%s): its port is closed to clients until it does", s.why)
	}
	return "The server does not answer: its port is closed to clients until it does"
}

// stillClosed looks whether nobody has emptied the firewall since, as a reload of its service does.
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
	// A client that waits for an answer would still get it, and take for committed what nobody else will have.
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
