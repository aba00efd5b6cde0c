package agent

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/wire"
)

// Deadlines of questions to other hosts.
const (
	reachTimeout = 700 * time.Millisecond
	relayTimeout = 2500 * time.Millisecond
)

// peerStatus answers a writer that asks this host to vouch for it.
func (a *Agent) peerStatus(ctx context.Context, req wire.Request) wire.Answer {
	q, err := wire.ParseQuestion(req)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
	}
	if a.leasing == nil || !slices.Contains(a.leasing.Everybody, q.From) {
		return wire.Answer{Text: fmt.Sprintf("ERROR: Host '%s' is not in the configuration of this host",
			mysqlctl.Printable(q.From))}
	}
	asked := askedToVouch{question: q, reply: make(chan vouchReply, 1)}
	select {
	case a.vouches <- asked:
	case <-ctx.Done():
		return wire.Answer{Text: "ERROR: " + ctx.Err().Error()}
	}
	var r vouchReply
	select {
	case r = <-asked.reply:
	case <-ctx.Done():
		return wire.Answer{Text: "ERROR: " + ctx.Err().Error()}
	}
	if !r.promised {
		return wire.Answer{Text: fmt.Sprintf("ERROR: Not promised: this host knows epoch %s", r.epoch)}
	}
	return wire.Answer{Text: wire.PromisedText}
}

// checkHost answers a monitor that asks whether this host reaches the server of another one (CHECK_HOST).
func (a *Agent) checkHost(ctx context.Context, req wire.Request) wire.Answer {
	host, ok := a.neighbour(req)
	if !ok {
		return wire.Answer{Text: "ERROR: Unknown host"}
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	if err := a.leasing.Reach(ctx, host); err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(fmt.Sprintf("Couldn't reach host '%s': %v", host, err))}
	}
	return wire.Answer{Text: fmt.Sprintf("OK: Reached host '%s'", host)}
}

// announceAgain tells the network that an address is on this host, for a monitor that can't reach the address
// (ANNOUNCE).
func (a *Agent) announceAgain(ctx context.Context, req wire.Request) wire.Answer {
	if len(req.Params) == 0 {
		return wire.Answer{Text: "ERROR: Unknown address"}
	}
	ip, err := netip.ParseAddr(req.Params[0])
	if err != nil {
		return wire.Answer{Text: "ERROR: Unknown address"}
	}
	present, err := a.host.present(ctx)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
	}
	if !slices.Contains(present, ip) {
		return wire.Answer{Text: fmt.Sprintf("ERROR: This host does not have %s", ip)}
	}
	a.host.announce.Announce(ip)
	return wire.Answer{Text: fmt.Sprintf("OK: Announced %s", ip)}
}

// relay passes a line on to the agent of another host, for a monitor that can't reach that agent (RELAY).
func (a *Agent) relay(ctx context.Context, req wire.Request) wire.Answer {
	host, ok := a.neighbour(req)
	if !ok {
		return wire.Answer{Text: "ERROR: Unknown host"}
	}
	_, line, err := wire.ParseRelay(req)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(err.Error())}
	}
	ctx, cancel := context.WithTimeout(ctx, relayTimeout)
	defer cancel()
	answer, err := a.leasing.Ask(ctx, host, line)
	if err != nil {
		return wire.Answer{Text: "ERROR: " + mysqlctl.Printable(fmt.Sprintf("Couldn't relay to host '%s': %v", host,
			err))}
	}
	return wire.RelayAnswer(answer)
}

// neighbour is the other host that a request is about; false where the configuration has no such host.
func (a *Agent) neighbour(req wire.Request) (string, bool) {
	if a.leasing == nil || len(req.Params) == 0 || !slices.Contains(a.leasing.Everybody, req.Params[0]) {
		return "", false
	}
	return req.Params[0], true
}
