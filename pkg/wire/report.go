package wire

import (
	"fmt"
	"math"
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
// it could be. The classic "OK: Status applied successfully!" says only that the order arrived.
type Report struct {
	Extended bool             // false: an original agent, and the rest says nothing
	Seq      uint64           // of the order that this answers
	Have     []cluster.RoleIP // the configured addresses that are on the interface
	Writable Tri              // whether clients can write to the server; Unsure where it does not answer
	Busy     bool             // the order is still being carried out: what follows is what is there at the moment
	Switch   cluster.Switch   // the switch that this host noted when it became the writer

	Epoch      cluster.Epoch // newest that the agent knows
	Stamp      cluster.Stamp // its clock when it answered; zero where it holds no leases
	PromisedTo string        // host that it last vouched for; "" for none since its start
	PromiseAge time.Duration // how long ago
	ServerGone bool          // the server's process is gone for certain

	Embargo cluster.Embargo // whom it replicates nothing more from
	Audit   cluster.Audit   // what it found in its own log; without Waived

	Problems []string // what of the order could not be done, one sentence each
	Conflict bool     // among them is that another machine has an address
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
		fields = append(fields, extra(extEpoch, r.Epoch.String()), extra(extStamp, r.Stamp.String()))
	}
	if r.PromisedTo != "" {
		fields = append(fields, extra(extPromised, r.PromisedTo), extra(extAge, strconv.FormatInt(r.PromiseAge.Milliseconds(), 10)))
	}
	if r.ServerGone {
		fields = append(fields, extra(extServer, serverGone))
	}
	if r.Embargo.At != "" {
		fields = append(fields, extra(extEmbargo, r.Embargo.Host+"@"+r.Embargo.At))
	}
	if r.Audit.Done {
		fields = append(fields, extra(extAudited, r.Audit.At), extra(extBeyond, strconv.Itoa(r.Audit.Beyond)), extra(extFinding, r.Audit.Finding))
	}
	if r.Conflict {
		fields = append(fields, extra(extConflict, "1"))
	}
	for _, p := range r.Problems {
		fields = append(fields, extra(extProblem, p))
	}
	return fields
}

// ParseReport reads the report in an answer to SET_STATUS. An original agent's answer gives the zero Report. From an
// agent of ours whose fields don't parse comes an extended Report that confirms nothing (Seq 0, Writable Unsure) and
// names the fault among its Problems: to take such an agent for an original one would be to believe its bare OK.
func ParseReport(a Answer) Report {
	pairs, err := parseExtras(a.Fields)
	if !pairs.extended() {
		return Report{}
	}
	if err != nil {
		return unreadable(err)
	}
	r := Report{
		Extended: true,
		Busy:     pairs.get(extBusy) == "1",
		Switch:   parseSwitch(pairs),
		Problems: pairs[extProblem],
		Conflict: pairs.get(extConflict) == "1",
	}
	switch pairs.get(extWritable) {
	case "0":
		r.Writable = No
	case "1":
		r.Writable = Yes
	}
	if r.Seq, err = pairs.number(extSeq); err != nil {
		return unreadable(err)
	}
	if r.Have, err = cluster.ParseRoleIPs(pairs.get(extHave)); err != nil {
		return unreadable(err)
	}
	r.ServerGone = pairs.get(extServer) == serverGone
	if r.Stamp, err = cluster.ParseStamp(pairs.get(extStamp)); err != nil {
		return unreadable(err)
	}
	if r.Stamp != (cluster.Stamp{}) {
		if r.Epoch, err = cluster.ParseEpoch(pairs.get(extEpoch)); err != nil {
			return unreadable(err)
		}
	}
	r.Embargo.Host, r.Embargo.At, _ = strings.Cut(pairs.get(extEmbargo), "@")
	if at := pairs.get(extAudited); at != "" {
		n, err := pairs.number(extBeyond)
		if err != nil || n > math.MaxInt32 {
			return unreadable(fmt.Errorf("read %s: %q", extBeyond, pairs.get(extBeyond)))
		}
		r.Audit = cluster.Audit{At: at, Done: true, Beyond: int(n), Finding: pairs.get(extFinding)}
	}
	r.PromisedTo = pairs.get(extPromised)
	age, err := pairs.number(extAge)
	if err != nil || age > uint64(maxLease.Milliseconds()) {
		return unreadable(fmt.Errorf("read %s: %q", extAge, pairs.get(extAge)))
	}
	r.PromiseAge = time.Duration(age) * time.Millisecond
	return r
}

const serverGone = "gone"

func unreadable(err error) Report {
	return Report{Extended: true, Problems: []string{fmt.Sprintf("unreadable report: %v", err)}}
}
