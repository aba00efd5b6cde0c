package wire

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
)

// Tri is an answer to a yes-or-no question that may have none.
type Tri uint8

// The three answers. On the wire they are "?", "0" and "1".
const (
	Unsure Tri = iota
	No
	Yes
)

// TriOf turns a known truth into a Tri.
func TriOf(b bool) Tri {
	if b {
		return Yes
	}
	return No
}

// String gives the form used on the wire.
func (t Tri) String() string {
	switch t {
	case No:
		return "0"
	case Yes:
		return "1"
	default:
		return "?"
	}
}

// Report is what our agent's answer to SET_STATUS says of its host as it is, after the order was carried out as far as
// possible. The classic "OK: Status applied successfully!" says only that the order arrived.
type Report struct {
	Extended bool             // false: the answer of an original agent; the other fields mean nothing
	Seq      uint64           // of the order that this report answers
	Have     []cluster.RoleIP // the configured addresses that are on the interface
	Writable Tri              // whether clients can write to the server; Unsure where it does not answer
	Busy     bool             // the order is still being carried out: the report says how the host is at the moment
	Switch   cluster.Switch   // the switch that this host noted when it became the writer

	Epoch cluster.Epoch // newest that the agent knows
	Stamp cluster.Stamp // the agent's clock when it answered; zero where the agent knows no leases
	Live  bool          // the agent holds the writer role at the moment
	// hosts that may be the writer by the agent's own file, as cluster.JoinHosts joins them; "": the agent does not say
	Candidates string
	PromisedTo string        // host that the agent last vouched for; "" for none since its start
	PromiseAge time.Duration // how long ago the agent vouched for PromisedTo
	ServerGone bool          // the server's process is gone for certain
	// how long the server has written nothing although something is to be written; 0: it writes, as far as is known
	Stalled time.Duration
	Stall   string // how Stalled is known
	Backup  string // what backs the server up at the moment; "" for nothing
	Fenced  bool   // Writable is No because no client reaches the server, which may itself be open for writes
	Astray  bool   // the server has, as a slave, executed what the writer lacks

	Embargo cluster.Embargo // the former writer from which the host replicates nothing more
	Audit   cluster.Audit   // what the agent found in its own server's log; without Waived
	Across  cluster.Across  // what the agent found in the log of a former writer whose own agent can't look

	Problems []string // what of the order could not be done, one sentence each
	// those of the Problems that say that another machine has an address; all of the Problems where an agent of an older
	// version says that one of them does, and not which
	Conflicts []string
}

// Fields gives the report as fields of an answer.
func (r Report) Fields() []string {
	if !r.Extended {
		return nil
	}
	fields := []string{
		extra(extVersion, "1"),
		extra(extSeq, strconv.FormatUint(r.Seq, 10)),
		extra(extHave, cluster.FormatRoleIPs(r.Have, ",")),
		extra(extWritable, r.Writable.String()),
	}
	if r.Busy {
		fields = append(fields, extra(extBusy, "1"))
	}
	fields = append(fields, switchExtras(r.Switch)...)
	if r.Stamp != (cluster.Stamp{}) {
		fields = append(fields, extra(extEpoch, r.Epoch.String()), extra(extStamp, r.Stamp.String()),
			extra(extLive, flag(r.Live)))
		if r.Epoch.Terms != (cluster.Terms{}) {
			fields = append(fields, extra(extTerms, r.Epoch.Terms.String()))
		}
	}
	if r.Candidates != "" {
		fields = append(fields, extra(extMay, r.Candidates))
	}
	if r.PromisedTo != "" && r.PromiseAge <= oldestPromise {
		fields = append(fields, extra(extPromised, r.PromisedTo),
			extra(extAge, strconv.FormatInt(r.PromiseAge.Milliseconds(), 10)))
	}
	if r.Stalled > 0 {
		fields = append(fields, extra(extStalled, strconv.FormatInt(min(r.Stalled, oldestStall).Milliseconds(), 10)),
			extra(extStall, r.Stall))
	}
	if r.Backup != "" {
		fields = append(fields, extra(extBackup, r.Backup))
	}
	if r.Fenced {
		fields = append(fields, extra(extFenced, "1"))
	}
	if r.Astray {
		fields = append(fields, extra(extAstray, "1"))
	}
	if r.ServerGone {
		fields = append(fields, extra(extServer, serverGone))
	}
	if r.Embargo.At != "" {
		fields = append(fields, extra(extEmbargo, r.Embargo.Host+"@"+r.Embargo.At))
	}
	if r.Audit.Done {
		fields = append(fields, extra(extAudited, r.Audit.At), extra(extBeyond, strconv.Itoa(r.Audit.Beyond)),
			extra(extFinding, r.Audit.Finding))
	}
	if a := r.Across.Audit; a.Done {
		fields = append(fields, extra(extAcross, r.Across.Host+"@"+a.At),
			extra(extAcrossBeyond, strconv.Itoa(a.Beyond)),
			extra(extAcrossFinding, a.Finding))
	}
	if len(r.Conflicts) > 0 {
		fields = append(fields, extra(extConflict, "1"))
	}
	for _, p := range r.Conflicts {
		fields = append(fields, extra(extConflicting, p))
	}
	for _, p := range r.Problems {
		fields = append(fields, extra(extProblem, p))
	}
	return fields
}

// oldestStall is the longest stall that is reported.
const oldestStall = 24 * time.Hour

// oldestPromise is the age beyond which a promise is not reported: no lease is longer, so it holds nobody back.
const oldestPromise = maxLease

// ParseReport reads the report in an answer to SET_STATUS. An original agent's answer gives the zero Report. A field
// that can't be read is left out, and named among the Problems. Where that is the field with the addresses, the report
// is taken for the answer to no order (Seq 0, Writable Unsure), and so confirms nothing.
func ParseReport(a Answer) Report {
	pairs, err := parseExtras(a.Fields)
	if !pairs.extended() {
		return Report{}
	}
	r := Report{
		Extended:   true,
		Busy:       pairs.get(extBusy) == "1",
		Switch:     parseSwitch(pairs),
		Problems:   pairs[extProblem],
		ServerGone: pairs.get(extServer) == serverGone,
		Stall:      pairs.get(extStall),
		Backup:     pairs.get(extBackup),
		Fenced:     pairs.get(extFenced) == "1",
		Astray:     pairs.get(extAstray) == "1",
		Candidates: pairs.get(extMay),
	}
	if pairs.get(extConflict) == "1" {
		if r.Conflicts = pairs[extConflicting]; r.Conflicts == nil {
			r.Conflicts = slices.Clone(r.Problems)
		}
	}
	unreadable := func(err error) {
		if err != nil {
			r.Problems = append(r.Problems, fmt.Sprintf("unreadable report: %v", err))
		}
	}
	unreadable(err)
	switch pairs.get(extWritable) {
	case "0":
		r.Writable = No
	case "1":
		r.Writable = Yes
	}
	seq, err := pairs.number(extSeq)
	unreadable(err)
	have, err := pairs.have()
	unreadable(err)
	if err != nil {
		r.Writable = Unsure
	} else {
		r.Have, r.Seq = have, seq
	}
	if stamp, err := cluster.ParseStamp(pairs.get(extStamp)); err != nil {
		unreadable(err)
	} else if stamp != (cluster.Stamp{}) {
		r.Stamp, r.Live = stamp, pairs.get(extLive) == "1"
		r.Epoch, err = parseEpoch(pairs)
		unreadable(err)
	}
	r.Embargo.Host, r.Embargo.At, _ = strings.Cut(pairs.get(extEmbargo), "@")
	r.Audit, err = pairs.audit(pairs.get(extAudited), extBeyond, extFinding)
	unreadable(err)
	host, at, _ := strings.Cut(pairs.get(extAcross), "@")
	if r.Across.Audit, err = pairs.audit(at, extAcrossBeyond, extAcrossFinding); err != nil {
		unreadable(err)
	} else {
		r.Across.Host = host
	}
	if ms, err := pairs.number(extStalled); err != nil || ms > uint64(oldestStall.Milliseconds()) {
		unreadable(fmt.Errorf("read %s: %q", extStalled, abbreviate(pairs.get(extStalled))))
	} else {
		r.Stalled = time.Duration(ms) * time.Millisecond
	}
	if r.PromiseAge, err = pairs.age(); err != nil {
		unreadable(err)
	} else {
		r.PromisedTo = pairs.get(extPromised)
	}
	return r
}

// have are the addresses that a host says it has. It is an error that the host does not say: that is not the same as
// having none.
func (e extras) have() ([]cluster.RoleIP, error) {
	if len(e[extHave]) == 0 {
		return nil, fmt.Errorf("read %s: it is missing", extHave)
	}
	return cluster.ParseRoleIPs(e.get(extHave))
}

// audit is what was found in a log beyond a place; the zero Audit where the sender names no place.
func (e extras) audit(at, beyond, finding string) (cluster.Audit, error) {
	if at == "" {
		return cluster.Audit{}, nil
	}
	n, err := e.number(beyond)
	if err != nil || n > math.MaxInt32 {
		return cluster.Audit{}, fmt.Errorf("read %s: %q", beyond, abbreviate(e.get(beyond)))
	}
	return cluster.Audit{At: at, Done: true, Beyond: int(n), Finding: e.get(finding)}, nil
}

func (e extras) age() (time.Duration, error) {
	ms, err := e.number(extAge)
	if err != nil || ms > uint64(oldestPromise.Milliseconds()) {
		return 0, fmt.Errorf("read %s: %q", extAge, abbreviate(e.get(extAge)))
	}
	return time.Duration(ms) * time.Millisecond, nil
}

const serverGone = "gone"
