package wire

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Examine is the command that asks an agent for what only its host can know. It changes nothing there. The original
// does not know the command.
const Examine = "EXAMINE"

// Keys of an Examination.
const (
	extSoftware  = "version"
	extFile      = "file"
	extAt        = "at"   // when the request came, in milliseconds since 1970 (UTC)
	extTook      = "took" // how long the answer took, milliseconds
	extSet       = "set"  // SECTION;VARIABLE DIGEST;…
	extInterface = "nic"  // NAME up|down|missing HARDWARE
	extAddress   = "addr" // INTERFACE PREFIX
	extSeen      = "arp"  // IP HARDWARE
	extLacks     = "lacks"
	extFault     = "fault"  // WHAT TEXT
	extLogin     = "login"  // HOST ACCOUNT OUTCOME TEXT
	extNeighbour = "agent"  // HOST TEXT
	extListen    = "listen" // IP:PORT
	extOrdered   = "order"  // STATE ROLES
)

// ExamineRequest asks the agent of host to examine its host. The nonce, 16 bytes in hex, goes into the digests of the
// agent's configuration.
func ExamineRequest(host, nonce string) Request {
	return NewRequest(Examine, host, extra(extVersion, "1"), extra(extNonce, nonce))
}

// ExaminingText is the answer of an agent while another examination is under way: ask again later.
const ExaminingText = "ERROR: An examination is under way"

// NewNonce gives 16 random bytes, in hex, which nobody has used before.
func NewNonce() string { return newNonce() }

// ParseExamine reads the nonce of an EXAMINE request.
func ParseExamine(r Request) (nonce string, err error) {
	nonce, ok := nonceOf(r.Params)
	if !ok {
		return "", errors.New("parse examine: it lacks a nonce")
	}
	return nonce, nil
}

// LinkState says whether a network interface can be used.
type LinkState string

// The states of an interface.
const (
	LinkUp      LinkState = "up"
	LinkDown    LinkState = "down" // switched off, or without a carrier
	LinkMissing LinkState = "missing"
)

// Outcome is how a login ended.
type Outcome string

// The outcomes of logins.
const (
	LoginOK     Outcome = "ok"
	LoginDenied Outcome = "denied" // Login.Text is what the server said
	LoginGrant  Outcome = "grant"  // privileges are missing; Login.Text is the GRANT that mends it
	LoginFailed Outcome = "failed" // no connection, or no answer; Login.Text says why
)

// Account is an account of MMM on the database servers.
type Account string

// The accounts with which an agent logs in.
const (
	AgentAccount       Account = "agent"
	ReplicationAccount Account = "replication"
)

// Login is an attempt of an agent to log in to a host's server.
type Login struct {
	Host    string
	Account Account
	Outcome Outcome
	Text    string
}

// HostAddress is an address on an interface of the agent's host.
type HostAddress struct {
	Interface string
	Prefix    netip.Prefix
}

// Faults that an examination may name.
const (
	FaultNftables = "nftables"
	FaultSockDiag = "sock_diag"
	FaultListen   = "listen" // where something listens could not be found out: an empty Listens means nothing
	FaultState    = "state_path"
	FaultFence    = "fence"              // the server's port is closed to clients at the moment
	FaultARP      = "arp"                // the network could not be asked
	FaultSource   = "replication_source" // the server would refuse to follow a new writer
)

// Examination is what an agent found out about its host.
type Examination struct {
	Version string // of the agent
	File    string // its configuration
	At      time.Time
	Took    time.Duration

	Settings  map[string]map[string]string // digests by section ("" is the top level) and variable
	Interface string                       // cluster_interface
	Link      LinkState
	Hardware  string                // hardware address of the interface
	Addresses []HostAddress         // all addresses of the interface, and the cluster's addresses on others
	Seen      map[netip.Addr]string // hardware addresses that answered for addresses of the cluster
	Lacks     []string              // capabilities that the agent needs and does not have
	Faults    map[string]string     // by Fault…: what is wrong, for people
	Logins    []Login
	Agents    map[string]string // by other host: why its agent can't be reached, "" where it can
	Listens   []netip.AddrPort  // where something listens on the server's port
	State     cluster.HostState // as last ordered; Unknown where nothing was ordered yet
	Ordered   []cluster.RoleIP
	Embargo   string // former writer from which the host replicates nothing more, until the monitor trusts its log
}

// longestText, in bytes, is the most of one text, so that an answer about many hosts stays below MaxAnswer.
const longestText = 250

// Fields gives the examination as fields of an answer.
func (e Examination) Fields() []string {
	fields := []string{extra(extVersion, "1"), extra(extSoftware, e.Version), extra(extFile, e.File),
		extra(extAt, strconv.FormatInt(e.At.UnixMilli(), 10)),
		extra(extTook, strconv.FormatInt(e.Took.Milliseconds(), 10)),
		extra(extInterface, strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Interface, e.Link, e.Hardware))),
		extra(extOrdered, string(e.State)+" "+cluster.FormatRoleIPs(e.Ordered, ","))}
	if e.Embargo != "" {
		fields = append(fields, extra(extEmbargo, e.Embargo))
	}
	for _, section := range slices.Sorted(maps.Keys(e.Settings)) {
		text := section
		for _, v := range slices.Sorted(maps.Keys(e.Settings[section])) {
			text += ";" + v + " " + e.Settings[section][v]
		}
		fields = append(fields, extra(extSet, text))
	}
	for _, a := range e.Addresses {
		fields = append(fields, extra(extAddress, a.Interface+" "+a.Prefix.String()))
	}
	for _, ip := range slices.SortedFunc(maps.Keys(e.Seen), netip.Addr.Compare) {
		fields = append(fields, extra(extSeen, ip.String()+" "+e.Seen[ip]))
	}
	for _, c := range e.Lacks {
		fields = append(fields, extra(extLacks, c))
	}
	for _, what := range slices.Sorted(maps.Keys(e.Faults)) {
		fields = append(fields, extra(extFault, what+" "+clip(e.Faults[what])))
	}
	for _, l := range e.Logins {
		fields = append(fields, extra(extLogin, fmt.Sprintf("%s %s %s %s", l.Host, l.Account, l.Outcome, clip(l.Text))))
	}
	for _, host := range slices.Sorted(maps.Keys(e.Agents)) {
		fields = append(fields, extra(extNeighbour, host+" "+clip(e.Agents[host])))
	}
	for _, l := range e.Listens {
		fields = append(fields, extra(extListen, l.String()))
	}
	return fields
}

func clip(text string) string {
	if len(text) > longestText {
		return strings.ToValidUTF8(text[:longestText], "")
	}
	return text
}

// ParseExamination reads the answer to EXAMINE.
func ParseExamination(a Answer) (Examination, error) {
	pairs, err := parseExtras(a.Fields)
	if err != nil || !a.OK() || !pairs.extended() {
		return Examination{}, fmt.Errorf("parse examination: %w",
			errors.Join(err, fmt.Errorf("the agent answers %q", abbreviate(a.Text))))
	}
	e := Examination{Version: pairs.get(extSoftware), File: pairs.get(extFile),
		Settings: map[string]map[string]string{},
		Seen:     map[netip.Addr]string{}, Faults: map[string]string{}, Agents: map[string]string{},
		Lacks:   pairs[extLacks],
		Embargo: pairs.get(extEmbargo)}
	at, err1 := pairs.number(extAt)
	took, err2 := pairs.number(extTook)
	if err := errors.Join(err1, err2); err != nil || at > 1<<60 || took > 1<<30 {
		return Examination{}, fmt.Errorf("parse examination: its times are %q and %q", pairs.get(extAt),
			pairs.get(extTook))
	}
	e.At, e.Took = time.UnixMilli(int64(at)), time.Duration(took)*time.Millisecond
	nic, rest, _ := strings.Cut(pairs.get(extInterface), " ")
	link, mac, _ := strings.Cut(rest, " ")
	e.Interface, e.Link, e.Hardware = nic, LinkState(link), hardware(mac)
	for _, text := range pairs[extSet] {
		parts := strings.Split(text, ";")
		e.Settings[parts[0]] = map[string]string{}
		for _, p := range parts[1:] {
			variable, digest, _ := strings.Cut(p, " ")
			e.Settings[parts[0]][variable] = digest
		}
	}
	for _, text := range pairs[extFault] {
		what, why, _ := strings.Cut(text, " ")
		e.Faults[what] = why
	}
	for _, text := range pairs[extLogin] {
		if p := strings.SplitN(text, " ", 4); len(p) == 4 {
			e.Logins = append(e.Logins, Login{Host: p[0], Account: Account(p[1]), Outcome: Outcome(p[2]), Text: p[3]})
		}
	}
	for _, text := range pairs[extNeighbour] {
		host, why, _ := strings.Cut(text, " ")
		e.Agents[host] = why
	}
	return e, e.parseNetwork(pairs)
}

// parseNetwork reads the fields that have addresses in them.
func (e *Examination) parseNetwork(pairs extras) error {
	var errs []error
	for _, text := range pairs[extAddress] {
		nic, prefix, _ := strings.Cut(text, " ")
		p, err := netip.ParsePrefix(prefix)
		errs = append(errs, err)
		e.Addresses = append(e.Addresses, HostAddress{Interface: nic, Prefix: p})
	}
	for _, text := range pairs[extSeen] {
		addr, mac, _ := strings.Cut(text, " ")
		ip, err := netip.ParseAddr(addr)
		errs = append(errs, err)
		e.Seen[ip] = hardware(mac)
	}
	for _, text := range pairs[extListen] {
		l, err := netip.ParseAddrPort(text)
		errs = append(errs, err)
		e.Listens = append(e.Listens, l)
	}
	state, roles, _ := strings.Cut(pairs.get(extOrdered), " ")
	var err1, err2 error
	e.State, err1 = cluster.ParseHostState(state)
	e.Ordered, err2 = cluster.ParseRoleIPs(roles)
	if err := errors.Join(append(errs, err1, err2)...); err != nil {
		return fmt.Errorf("parse examination: %w", err)
	}
	return nil
}

// hardware gives a hardware address in its usual form; "" where text is none.
func hardware(text string) string {
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) == 0 || len(hex.EncodeToString(mac)) > 40 {
		return ""
	}
	return mac.String()
}
