package monitor

import (
	"net/netip"
	"strings"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/history"
)

// Report is what a monitor tells those who watch it over HTTP (package web). It belongs to one snapshot and never
// changes.
type Report struct {
	// Embedded: its fields stand in the same JSON object.
	cluster.View
	Network bool   `json:"network"`          // the monitor's own network is up
	Epoch   uint64 `json:"epoch,omitempty"`  // number of the newest decision about the writer
	Writer  string `json:"writer,omitempty"` // host that is told to have the active master role
	Role    string `json:"writer_role"`      // name of the active master role
	Lease   bool   `json:"lease"`            // writer_lease is above 0
	// when each host came to its state; a host that was in its state before this monitor began is missing
	Since   map[string]time.Time `json:"since"`
	Remarks []string             `json:"remarks"` // the lines of `show` that begin with #
	Checks  []CheckLine          `json:"checks"`
	Links   []Link               `json:"links"`
	History []history.Record     `json:"history"`

	// if the writer can't be reached: how long it takes, at most, until its role may move
	LeaseLeft time.Duration `json:"-"`
}

// Link is replication from one host to another.
type Link struct {
	From  string  `json:"from"` // name of a host, or the address of one that is not in the configuration
	To    string  `json:"to"`
	Runs  bool    `json:"runs"`
	Known bool    `json:"lag_known"`
	Lag   float64 `json:"lag_seconds"`
}

// Report returns the newest report, and a channel that is closed when there is a newer one. ok is false while the
// monitor starts.
func (m *Monitor) Report() (r Report, changed <-chan struct{}, ok bool) {
	snap := m.snapshot.Load()
	if snap == nil {
		return Report{}, nil, false
	}
	t, s := m.cfg.Topology, snap.State
	r = Report{View: cluster.MakeView(t, s), Network: s.NetworkUp, Epoch: s.Epoch.Number, Writer: s.ActiveMaster(t),
		Role: t.ActiveMasterRole, Lease: t.Lease > 0,
		Since: map[string]time.Time{}, Remarks: []string{},
		Checks: snap.checkTable.lines(m.cfg.Checks.Registry, t, snap.remarks, "all",
			"all"),
		Links: snap.checkTable.links(t), History: newest(snap.history, len(snap.history)), LeaseLeft: s.LeaseLeft(t)}
	for _, h := range t.Hosts {
		if since := s.Hosts[h.Name].Since; since > 0 {
			r.Since[h.Name] = m.begin.Add(since).Truncate(time.Millisecond)
		}
	}
	for line := range strings.Lines(cluster.Show(t, s)) {
		if remark, found := strings.CutPrefix(line, "# "); found {
			r.Remarks = append(r.Remarks, strings.TrimSpace(remark))
		}
	}
	return r, snap.changed, true
}

// Fresh says whether the owner is at work, which publishes a snapshot at least four times a second. It is true while
// the monitor starts, as that may wait for the network for any time.
func (m *Monitor) Fresh() bool {
	snap := m.snapshot.Load()
	return snap == nil || time.Since(snap.at) < staleAfter
}

// staleAfter is the age of the newest snapshot from which on the owner counts as stuck. Even on a busy machine the
// owner waits for less.
const staleAfter = 10 * time.Second

// links returns which host replicates from which, as far as the checks of replication know.
func (c checkTable) links(t cluster.Topology) []Link {
	links := []Link{}
	for _, h := range t.Hosts {
		threads, backlog := c[checkKey{h.Name, check.RepThreads}], c[checkKey{h.Name, check.RepBacklog}].result
		source := threads.result.Source.Address
		if source == "" {
			source = backlog.Source.Address
		}
		if source == "" {
			continue
		}
		links = append(links, Link{From: nameOf(t, source), To: h.Name,
			Runs:  threads.verdict.Good && threads.result.Status == check.OK,
			Known: backlog.Measured, Lag: backlog.Lag.Seconds()})
	}
	return links
}

// nameOf is the name of the host whose address source is, or source itself.
func nameOf(t cluster.Topology, source string) string {
	ip, err := netip.ParseAddr(source)
	for _, h := range t.Hosts {
		if err == nil && h.IP == ip.Unmap() {
			return h.Name
		}
	}
	return source
}
