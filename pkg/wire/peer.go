package wire

import (
	"errors"
	"fmt"
	"strings"

	"mysql-mmm/pkg/cluster"
)

// Commands with which agents ask each other, and the monitor asks an agent about other hosts. The original knows none.
const (
	PeerStatus = "PEER_STATUS" // a writer asks another candidate to vouch for it
	CheckHost  = "CHECK_HOST"  // asks whether the agent reaches the server of another host
	Announce   = "ANNOUNCE"    // has the agent tell the network again where an address is
	Relay      = "RELAY"       // has the agent pass a line on to the agent of another host
)

// Question is what a writer asks the other candidates (docs/design.md, "Never two writers").
type Question struct {
	From  string        // the host that asks
	Epoch cluster.Epoch // newest that it knows
	Live  bool          // its lease has not run out
	Lease cluster.Lease // for how long it asks the candidate to vouch for it
}

// Request gives the question as a request to host.
func (q Question) Request(host string) Request {
	return NewRequest(PeerStatus, host, extra(extVersion, "1"), extra(extFrom, q.From),
		extra(extEpoch, q.Epoch.String()),
		leaseExtra(q.Lease), extra(extLive, flag(q.Live)), extra(extTerms, q.Epoch.Terms.String()))
}

// ParseQuestion reads a PEER_STATUS request. Nothing in it may be missing.
func ParseQuestion(r Request) (Question, error) {
	pairs, err := parseExtras(r.Params)
	if err != nil || !pairs.extended() {
		return Question{}, fmt.Errorf("parse question: %w",
			errors.Join(err, errors.New("it lacks v=1, or a value in it can't be read")))
	}
	q := Question{From: pairs.get(extFrom), Live: pairs.get(extLive) == "1"}
	if q.Epoch, err = parseEpoch(pairs); err != nil {
		return Question{}, fmt.Errorf("parse question: %w", err)
	}
	if q.Lease, err = parseLease(pairs); err != nil || q.Lease == 0 || q.From == "" {
		return Question{}, errors.New("parse question: it lacks its sender or its lease")
	}
	return q, nil
}

// PromisedText is the answer of a candidate that promises. Any other answer is no promise.
const PromisedText = "OK: Promised!"

// RelayRequest asks the agent of via to pass line on to the agent of host.
func RelayRequest(via, host, line string) Request {
	return NewRequest(Relay, via, host, extra(extAnswer, line))
}

// ParseRelay reads a RELAY request.
func ParseRelay(r Request) (host, line string, err error) {
	if len(r.Params) < 2 {
		return "", "", errors.New("parse relay: want a host and a line")
	}
	pairs, err := parseExtras(r.Params[1:])
	if err != nil {
		return "", "", fmt.Errorf("parse relay: %w", err)
	}
	line = pairs.get(extAnswer)
	if strings.ContainsAny(line, "\n\r") {
		return "", "", errors.New("parse relay: more than a line")
	}
	return r.Params[0], line, nil
}

// RelayAnswer wraps the answer of the agent to which the line was passed on.
func RelayAnswer(line string) Answer {
	return Answer{Text: "OK: Relayed!", Fields: []string{extra(extAnswer, line)}}
}

// ParseRelayAnswer gives the answer that is wrapped in the answer of a relay. Where the relay failed, the error has the
// text of its answer.
func ParseRelayAnswer(a Answer) (string, error) {
	if !a.OK() {
		return "", errors.New(strings.TrimPrefix(a.Text, "ERROR: "))
	}
	pairs, err := parseExtras(a.Fields)
	if err != nil {
		return "", err
	}
	return pairs.get(extAnswer), nil
}
