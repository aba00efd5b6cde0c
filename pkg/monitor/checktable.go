package monitor

import (
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
)

// checkKey names one check of one host.
type checkKey struct {
	host string
	name check.Name
}

// checkEntry is what is known of one check: its verdict, and the result of its newest probe.
type checkEntry struct {
	verdict check.Verdict
	result  check.Result
}

// checkTable holds the newest entry of every check. A table never changes once it is made, so that all goroutines may
// read it; with makes a new one.
type checkTable map[checkKey]checkEntry

// with returns the table with one more verdict in it.
func (c checkTable) with(u check.Update) checkTable {
	next := maps.Clone(c)
	if next == nil {
		next = checkTable{}
	}
	next[checkKey{u.Host, u.Name}] = checkEntry{u.Verdict, u.Result}
	return next
}

// complete says whether every check of every host has a verdict.
func (c checkTable) complete(r check.Registry, hosts int) bool { return len(c) == hosts*len(r) }

// verdicts is what the brain sees of the table: for each host which effects its checks have. The brain does not know
// the names of checks.
func (c checkTable) verdicts(r check.Registry, t cluster.Topology) map[string]cluster.Verdicts {
	all := make(map[string]cluster.Verdicts, len(t.Hosts))
	for _, h := range t.Hosts {
		good := func(e check.Effect) bool {
			return r.Good(e, func(n check.Name) bool { return c[checkKey{h.Name, n}].verdict.Good })
		}
		all[h.Name] = cluster.Verdicts{Ping: good(check.HostDown), MySQL: good(check.ServerDown),
			RepThreads: good(check.ReplicationBroken), RepBacklog: good(check.ReplicationLate)}
	}
	return all
}

// logCheck writes the classic log line where a result has changed the verdict of its check.
func logCheck(log *slog.Logger, u check.Update) {
	switch u.Change {
	case check.BecameOK:
		log.Info(fmt.Sprintf("Check '%s' on '%s' is ok!", u.Name, u.Host))
	case check.BecameFailed:
		log.Error(fmt.Sprintf("Check '%s' on '%s' has failed for %d seconds! Message: %s", u.Name, u.Host,
			int(u.FailedFor.Round(time.Second).Seconds()), u.Result.Message))
	case check.BecameUnknown:
		log.Warn(fmt.Sprintf("Check '%s' on '%s' is in unknown state! Message: %s", u.Name, u.Host, u.Result.Message))
	case check.None:
	}
}

// CheckLine is one check of `checks --json`.
type CheckLine struct {
	Host       string    `json:"host"`
	Check      string    `json:"check"`
	Good       bool      `json:"good"`
	LastChange time.Time `json:"last_change"`
	Message    string    `json:"message"`
	Failing    bool      `json:"failing"` // the newest probe failed, whatever the verdict
}

// lines returns the checks of the named host and name; "all" is every host or every check. A remark is added to the
// message of its check.
func (c checkTable) lines(r check.Registry, t cluster.Topology, remarks map[checkKey]string, host,
	name string) []CheckLine {
	lines := []CheckLine{}
	for _, h := range t.Hosts {
		for _, n := range r.Names() {
			if host != "all" && host != h.Name || name != "all" && name != string(n) {
				continue
			}
			key := checkKey{h.Name, n}
			entry := c[key]
			v := entry.verdict
			if remark := remarks[key]; remark != "" {
				v.Message += "; " + remark
			}
			lines = append(lines, CheckLine{Host: h.Name, Check: string(n), Good: v.Good, LastChange: v.Since,
				Message: v.Message, Failing: entry.result.Status == check.Error})
		}
	}
	return lines
}

// text renders `mmm_control checks` (mmm_control(1)).
func (c checkTable) text(r check.Registry, t cluster.Topology, remarks map[checkKey]string, host, name string) string {
	hostWidth, nameWidth := 0, 0
	if host == "all" {
		for _, h := range t.Hosts {
			hostWidth = max(hostWidth, len(h.Name))
		}
	}
	if name == "all" {
		for _, n := range r.Names() {
			nameWidth = max(nameWidth, len(n))
		}
	}
	var out strings.Builder
	for _, l := range c.lines(r, t, remarks, host, name) {
		fmt.Fprintf(&out, "%-*s  %-*s  [last change: %s]  %s\n", hostWidth, l.Host, nameWidth, l.Check,
			l.LastChange.Format("2006/01/02 15:04:05"), l.Message)
	}
	if host != "all" && name != "all" {
		return strings.TrimSuffix(out.String(), "\n")
	}
	return out.String()
}

// complaints returns the names and messages of a host's checks that fail now.
func (c checkTable) complaints(r check.Registry, host string) []string {
	var all []string
	for _, n := range r.Names() {
		if p := c[checkKey{host, n}]; !p.verdict.Good || p.result.Status == check.Error {
			all = append(all, string(n)+": "+p.verdict.Message)
		}
	}
	return all
}
