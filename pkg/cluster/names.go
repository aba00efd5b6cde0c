package cluster

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// HostState is what the monitor thinks of a host (docs/concepts.md, "States of a host").
type HostState string

// The states of a host. Only an Online host is given roles. Unknown is not a state the monitor decides on:
// an agent that has been told nothing since its start reports it.
const (
	Unknown          HostState = "UNKNOWN"
	Online           HostState = "ONLINE"
	AdminOffline     HostState = "ADMIN_OFFLINE"
	HardOffline      HostState = "HARD_OFFLINE"
	AwaitingRecovery HostState = "AWAITING_RECOVERY"
	ReplicationFail  HostState = "REPLICATION_FAIL"
	ReplicationDelay HostState = "REPLICATION_DELAY"
)

// ParseHostState accepts exactly the names above.
func ParseHostState(s string) (HostState, error) {
	switch st := HostState(s); st {
	case Unknown, Online, AdminOffline, HardOffline, AwaitingRecovery, ReplicationFail, ReplicationDelay:
		return st, nil
	}
	return "", fmt.Errorf("unknown host state %q", s)
}

// RoleIP is one virtual address of one role: what is moved from host to host.
type RoleIP struct {
	Role string
	IP   netip.Addr
}

// String gives the form used in orders, status files and answers: writer(192.0.2.10).
func (r RoleIP) String() string { return r.Role + "(" + r.IP.String() + ")" }

// Compare orders by role name, then address.
func (r RoleIP) Compare(o RoleIP) int {
	return cmp.Or(cmp.Compare(r.Role, o.Role), r.IP.Compare(o.IP))
}

// ParseRoleIP reads what RoleIP.String writes.
func ParseRoleIP(s string) (RoleIP, error) {
	name, rest, ok := strings.Cut(s, "(")
	text, closed := strings.CutSuffix(rest, ")")
	if !ok || !closed || name == "" {
		return RoleIP{}, fmt.Errorf("parse role %q: want NAME(IP)", s)
	}
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return RoleIP{}, fmt.Errorf("parse role %q: %w", s, err)
	}
	return RoleIP{Role: name, IP: ip}, nil
}

// FormatRoleIPs joins roles with sep, sorted.
func FormatRoleIPs(roles []RoleIP, sep string) string {
	sorted := slices.SortedFunc(slices.Values(roles), RoleIP.Compare)
	texts := make([]string, len(sorted))
	for i, r := range sorted {
		texts[i] = r.String()
	}
	return strings.Join(texts, sep)
}

// ParseRoleIPs reads a comma-separated list as FormatRoleIPs writes it; an empty text is an empty list.
func ParseRoleIPs(s string) ([]RoleIP, error) {
	if s == "" {
		return nil, nil
	}
	var roles []RoleIP
	for part := range strings.SplitSeq(s, ",") {
		r, err := ParseRoleIP(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		roles = append(roles, r)
	}
	return roles, nil
}

// Switch records how the present writer took over, so that every slave can be pointed at it at exactly that place,
// whenever the slave's agent is reached. Positions are opaque here: "FILE:OFFSET" of a binary log.
type Switch struct {
	From  string // host that was the writer before; "" where nobody is known to have been
	After string // position in From's log up to which To has executed
	To    string // host that is the writer now
	Start string // position in To's own log, noted after executing After and before opening for writes
}
