package wire

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"mysql-mmm/pkg/cluster"
)

// OrderRequest gives an order as a request to host (SET_STATUS). An order that is not Extended has the classic
// parameters only.
func OrderRequest(host string, o cluster.Order) Request {
	params := []string{string(o.State), cluster.FormatRoleIPs(o.Roles, ","), o.Master}
	if o.Extended {
		params = append(params, extra(extVersion, "1"), extra(extSeq, strconv.FormatUint(o.Seq, 10)))
		params = append(params, switchExtras(o.Switch)...)
		if o.Forced {
			params = append(params, extra(extForced, "1"))
		}
		if o.Lacks {
			params = append(params, extra(extLacking, "1"))
		}
		if o.Down {
			params = append(params, extra(extDown, "1"))
		}
		if o.Cut {
			params = append(params, extra(extCut, "1"))
		}
		if o.Left != "" {
			params = append(params, extra(extLeft, o.Left))
		}
		if o.Trust != "" {
			params = append(params, extra(extTrust, o.Trust))
		}
		if o.Across != "" {
			params = append(params, extra(extAcross, o.Across))
		}
		if o.Lease > 0 || o.Epoch.Number > 0 {
			params = append(params, leaseExtra(o.Lease), extra(extEpoch, o.Epoch.String()),
				extra(extEcho, o.Echo.String()))
			if o.Epoch.Terms != (cluster.Terms{}) {
				params = append(params, extra(extTerms, o.Epoch.Terms.String()))
			}
		}
	}
	return NewRequest(SetStatus, host, params...)
}

// ParseOrder reads a SET_STATUS request. Unknown parameters are ignored, as by the original. A missing or unknown
// state, roles that don't parse, and an impossible value of one of our own parameters are errors: an order that is
// understood by half must not be carried out by half.
func ParseOrder(r Request) (cluster.Order, error) {
	if r.Command != SetStatus {
		return cluster.Order{}, fmt.Errorf("parse order: the command is %q", abbreviate(r.Command))
	}
	classic := [3]string{}
	n := copy(classic[:], r.Params)
	state, err := cluster.ParseHostState(classic[0])
	if err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	if state == cluster.Unknown {
		return cluster.Order{}, errors.New("parse order: no host can be told to be UNKNOWN")
	}
	roles, err := cluster.ParseRoleIPs(classic[1])
	if err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	o := cluster.Order{State: state, Roles: roles, Master: classic[2]}
	pairs, err := parseExtras(r.Params[n:])
	if !pairs.extended() {
		return o, nil
	}
	if err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	o.Extended = true
	if o.Seq, err = pairs.number(extSeq); err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	o.Switch = parseSwitch(pairs)
	o.Forced, o.Cut, o.Down = pairs.get(extForced) == "1", pairs.get(extCut) == "1", pairs.get(extDown) == "1"
	o.Lacks = pairs.get(extLacking) == "1"
	o.Left, o.Trust, o.Across = pairs.get(extLeft), pairs.get(extTrust), pairs.get(extAcross)
	if o.Lease, err = parseLease(pairs); err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	if o.Lease == 0 && pairs.get(extEpoch) == "" {
		return o, nil
	}
	if o.Epoch, err = parseEpoch(pairs); err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	if o.Echo, err = cluster.ParseStamp(pairs.get(extEcho)); err != nil {
		return cluster.Order{}, fmt.Errorf("parse order: %w", err)
	}
	return o, nil
}

func leaseExtra(l cluster.Lease) string {
	return extra(extLease, strconv.FormatInt(time.Duration(l).Milliseconds(), 10))
}

// parseEpoch reads an epoch with its terms, which a sender of an older version leaves out.
func parseEpoch(pairs extras) (cluster.Epoch, error) {
	e, err := cluster.ParseEpoch(pairs.get(extEpoch))
	if err != nil {
		return cluster.Epoch{}, err
	}
	if e.Terms, err = cluster.ParseTerms(pairs.get(extTerms)); err != nil {
		return cluster.Epoch{}, err
	}
	return e, nil
}

// maxLease keeps sums with a lease far from overflow.
const maxLease = 24 * time.Hour

func parseLease(pairs extras) (cluster.Lease, error) {
	ms, err := pairs.number(extLease)
	if err != nil {
		return 0, err
	}
	if ms > uint64(maxLease.Milliseconds()) {
		return 0, fmt.Errorf("read %s: %d ms is more than a day", extLease, ms)
	}
	return cluster.Lease(time.Duration(ms) * time.Millisecond), nil
}

// switchExtras gives the pairs of a switch, and leaves out what is not known.
func switchExtras(s cluster.Switch) []string {
	var fields []string
	for _, p := range []struct{ key, value string }{
		{extFrom, s.From}, {extAfter, s.After}, {extTo, s.To}, {extStart, s.Start},
	} {
		if p.value != "" {
			fields = append(fields, extra(p.key, p.value))
		}
	}
	return fields
}

func parseSwitch(pairs extras) cluster.Switch {
	return cluster.Switch{
		From:  pairs.get(extFrom),
		After: pairs.get(extAfter),
		To:    pairs.get(extTo),
		Start: pairs.get(extStart),
	}
}
