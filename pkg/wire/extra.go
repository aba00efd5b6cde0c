package wire

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Keys of the parameters and fields that the classic protocol does not know (docs/protocol.md, "What is ours"). The
// pair of extVersion comes first; without it the other keys mean nothing.
const (
	extVersion  = "v"
	extSeq      = "seq"
	extFrom     = "from"
	extAfter    = "after"
	extTo       = "to"
	extStart    = "start"
	extHave     = "have"
	extWritable = "writable"
	extBusy     = "busy"
	extProblem  = "problem"
	extConflict = "conflict"
	extEpoch    = "epoch"
	extLease    = "lease"
	extTerms    = "terms"
	extMay      = "candidates"
	extEcho     = "echo"
	extStamp    = "stamp"
	extPromised = "promised"
	extAge      = "age"
	extServer   = "server"
	extLive     = "live"
	extStalled  = "stalled"
	extStall    = "stall"
	extFenced   = "fenced"
	extCut      = "cut"
	extDown     = "down"
	extLacking  = "lacking"
	extBackup   = "backup"
	extAstray   = "astray"
	extAnswer   = "answer"
	extForced   = "forced"
	extLeft     = "left"
	extTrust    = "trust"
	extAcross   = "across"
	extEmbargo  = "embargo"
	extAudited  = "audited"
	extBeyond   = "beyond"
	extFinding  = "finding"

	extConflicting   = "conflicting"
	extAcrossBeyond  = "across_beyond"
	extAcrossFinding = "across_finding"
)

// extra gives KEY=VALUE with the value percent-encoded (RFC 3986, section 2.1). Only characters that this protocol
// can't have in a value are encoded, so that people can read the lines in a packet dump.
func extra(key, value string) string {
	var b strings.Builder
	b.WriteString(key)
	b.WriteByte('=')
	for i := range len(value) {
		switch c := value[i]; {
		case c == '%' || c == '|' || c == '=' || c < ' ' || c == 0x7f:
			fmt.Fprintf(&b, "%%%02X", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// flag is a bool on the wire.
func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// extras are the decoded pairs of one message: a key may come more than once.
type extras map[string][]string

// parseExtras reads the pairs among fields, and skips fields that are no pairs, which belong to the classic protocol.
// With an error it returns the pairs that could be read: the error matters only where the sender is extended.
func parseExtras(fields []string) (extras, error) {
	pairs := extras{}
	var bad error
	for _, f := range fields {
		key, text, ok := strings.Cut(f, "=")
		if !ok {
			continue
		}
		value, err := url.PathUnescape(text)
		if err != nil {
			bad = fmt.Errorf("decode %s: %w", abbreviate(key), err)
			continue
		}
		pairs[key] = append(pairs[key], value)
	}
	return pairs, bad
}

// get is the last value of key, or "".
func (e extras) get(key string) string {
	values := e[key]
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// extended tells whether the sender speaks our extension, in this or a later version: later ones only add keys.
func (e extras) extended() bool {
	v, err := strconv.ParseUint(e.get(extVersion), 10, 32)
	return err == nil && v >= 1
}

// number reads a decimal number; a missing one is 0.
func (e extras) number(key string) (uint64, error) {
	text := e.get(key)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	return n, nil
}
