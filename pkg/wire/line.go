package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Commands of an agent (docs/protocol.md, "To an agent").
const (
	Ping            = "PING"
	SetStatus       = "SET_STATUS"
	GetAgentStatus  = "GET_AGENT_STATUS"
	GetSystemStatus = "GET_SYSTEM_STATUS"
	ClearBadRoles   = "CLEAR_BAD_ROLES"
	GetAgentVersion = "GET_AGENT_VERSION"
)

// maxUptime is some 300 years, in seconds. A greater number is not an uptime.
const maxUptime = 1e10

// Request is one line to an agent: COMMAND|VERSION|HOST[|PARAM…].
type Request struct {
	Command string
	Version string // ProtocolVersion; the agent takes any
	Host    string // the host that the sender means; an agent of another host refuses the request
	Params  []string
}

// NewRequest makes a request in our protocol version.
func NewRequest(command, host string, params ...string) Request {
	return Request{Command: command, Version: ProtocolVersion, Host: host, Params: params}
}

// ParseRequest splits a line, given without its newline. Fewer than three fields are an error; as in the original,
// empty fields at the end don't count as fields. Nothing else is checked: the command may be unknown, and the host
// another one.
func ParseRequest(line string) (Request, error) {
	fields := strings.Split(line, "|")
	if len(fields) < 3 || strings.Count(strings.TrimRight(line, "|"), "|") < 2 {
		return Request{}, errors.New("parse request: fewer than three fields")
	}
	r := Request{Command: fields[0], Version: fields[1], Host: fields[2]}
	if len(fields) > 3 {
		r.Params = fields[3:]
	}
	return r, nil
}

// String gives the line without its newline.
func (r Request) String() string {
	return oneLine(strings.Join(append([]string{r.Command, r.Version, r.Host}, r.Params...), "|"))
}

// Answer is one line from an agent: TEXT[|FIELD…]|UP:SECONDS.
type Answer struct {
	// Text is what stands before the first bar. Where the agent quotes a request, which has bars in it, the rest of the
	// sentence is in Fields.
	Text   string
	Fields []string
	Uptime float64 // seconds since the agent's host booted, two decimals on the wire
}

// ParseAnswer splits a line, given without its newline. As for the original, an answer is everything before the last
// "|UP:". A line without an uptime is an error.
func ParseAnswer(line string) (Answer, error) {
	at := strings.LastIndex(line, "|UP:")
	if at < 0 {
		return Answer{}, fmt.Errorf("parse answer %q: no uptime", abbreviate(line))
	}
	up, err := strconv.ParseFloat(line[at+len("|UP:"):], 64)
	if err != nil || !(up >= 0 && up <= maxUptime) { // the negation refuses NaN too
		return Answer{}, fmt.Errorf("parse answer %q: uptime is not a number of seconds", abbreviate(line))
	}
	fields := strings.Split(line[:at], "|")
	a := Answer{Text: fields[0], Uptime: up}
	if len(fields) > 1 {
		a.Fields = fields[1:]
	}
	return a, nil
}

// String gives the line without its newline. Line breaks in the parts become blanks: an answer is always one line.
func (a Answer) String() string {
	parts := append([]string{a.Text}, a.Fields...)
	return oneLine(strings.Join(parts, "|")) + "|UP:" + strconv.FormatFloat(a.Uptime, 'f', 2, 64)
}

// OK tells whether the agent says that it did what it was asked. An original agent says so of every SET_STATUS,
// whatever happened.
func (a Answer) OK() bool { return strings.HasPrefix(a.Text, "OK") }

// oneLine replaces newlines, so that a text does not become two lines on the wire.
func oneLine(s string) string {
	return strings.ReplaceAll(s, "\n", " ")
}

// abbreviate shortens a text that another program has sent, for use in an error.
func abbreviate(s string) string {
	const limit = 200
	if len(s) > limit {
		return s[:limit] + "…"
	}
	return s
}
