package monitor

import (
	"fmt"
	"strconv"
	"strings"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/history"
)

// lastRecords is how many records `history` shows unless N is given.
const lastRecords = 20

// showHistory answers `history [N]`. It shows fewer records where the answer would be longer than longestHistory.
func showHistory(snap *Snapshot, args []string, asJSON bool) string {
	n := lastRecords
	if len(args) > 0 {
		var err error
		if n, err = strconv.Atoi(args[0]); err != nil || n < 1 {
			return fmt.Sprintf("ERROR: '%s' is no number of records!", args[0])
		}
	}
	for {
		records := newest(snap.history, n)
		text := history.Format(records)
		if asJSON {
			text = document(records)
		}
		if len(text) <= longestHistory || n == 1 {
			return text
		}
		n = min(n, len(records)) / 2
	}
}

// longestHistory is half of what mmm_control takes for an answer, in bytes.
const longestHistory = 512 << 10

// newest returns the last n records. The result is never nil, so that JSON has a list and no null.
func newest(records []history.Record, n int) []history.Record {
	if len(records) == 0 {
		return []history.Record{}
	}
	return records[max(0, len(records)-n):]
}

// explained is what `explain --json` prints.
type explained struct {
	// Embedded: its fields stand in the same JSON object.
	cluster.Explanation
	Change *history.Record `json:"last_change,omitempty"` // of its state
	Checks []CheckLine     `json:"checks"`
}

// explain answers `explain HOST`: what the rules say of the host's state, how the history says that it came to be, and
// what the checks of the host say now.
func (m *Monitor) explain(snap *Snapshot, host string, asJSON bool) string {
	e, known := cluster.Explain(m.cfg.Topology, snap.State, host)
	if !known {
		return fmt.Sprintf("ERROR: Unknown host name '%s'!", host)
	}
	x := explained{Explanation: e, Change: lastChange(snap.history, host),
		Checks: snap.checkTable.lines(m.cfg.Checks.Registry, m.cfg.Topology, snap.remarks, host, "all")}
	if asJSON {
		return document(x)
	}
	var b strings.Builder
	b.WriteString(e.String())
	if x.Change != nil {
		b.WriteString("\nHow it came to be:\n")
		for line := range strings.Lines(history.Format([]history.Record{*x.Change})) {
			b.WriteString("    " + line)
		}
	}
	b.WriteString("\nIts checks now:\n")
	for _, c := range x.Checks {
		fmt.Fprintf(&b, "    %-11s  %s\n", c.Check, c.Message)
	}
	return b.String()
}

// lastChange is the newest record of a change of the host's state.
func lastChange(records []history.Record, host string) *history.Record {
	for i := len(records) - 1; i >= 0; i-- {
		if r := records[i]; r.Kind == history.State && r.Host == host {
			return &r
		}
	}
	return nil
}
