package monitor

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/identity"
)

// finding is something about the servers that people should know of.
type finding struct {
	text   string
	quiet  bool     // for the log only: it does no harm as long as only one host is written to
	fickle bool     // a move of a role, or a moment's load, can cause it: people are told of it once it has lasted
	of     checkKey // check to whose message remark belongs, if any
	remark string
}

// enoughRetries is how long a replica must go on trying to connect to its source: longer than an outage that somebody
// is at work on.
const enoughRetries = 24 * time.Hour

// findings judges what the servers said. A server that could not be asked is missing in servers. Findings come in the
// same order each time. known is what is known of the identity of all servers, also of those that could not be asked.
func findings(t cluster.Topology, s cluster.State, servers map[string]Surveyed, known identity.Known) []finding {
	e := examiner{t: t, servers: servers, known: known}
	var masters []cluster.Host
	for _, h := range t.Hosts {
		if h.Master {
			masters = append(masters, h)
		}
	}
	for _, h := range masters {
		e.master(h)
	}
	e.serverIDs()
	e.gtidModes()
	for _, h := range t.Hosts {
		e.retries(h)
	}
	e.semiSync()
	if writer, ok := settledWriter(t, s); ok {
		for _, h := range t.Hosts {
			e.source(h, writer)
		}
		e.acknowledged(writer)
	}
	return e.found
}

// refusals looks for servers that answer and refuse the monitor's account. Such a server is alive, and nobody knows
// whether it works until a person has mended the account. There is one finding for each host, for the first check that
// is refused: mostly the others are refused for the same reason.
func refusals(r check.Registry, t cluster.Topology, b checkTable) []finding {
	var found []finding
	for _, h := range t.Hosts {
		for _, n := range r.Names() {
			if refusal := b[checkKey{h.Name, n}].result.Refusal; refusal != "" {
				found = append(found,
					finding{fickle: true,
						text: fmt.Sprintf("the server of '%s' answers, but not to the monitor's check %s, so its state stays as it is: %s", h.Name, n, refusal)})
				break
			}
		}
	}
	return found
}

// settledWriter is the host that has the active master role; false where the role is moving or the monitor is passive.
func settledWriter(t cluster.Topology, s cluster.State) (cluster.Host, bool) {
	for _, a := range s.Addresses {
		if a.Role == t.ActiveMasterRole && a.Confirmed && a.Leaving == "" && s.Mode != cluster.Passive {
			return t.Host(a.Holder)
		}
	}
	return cluster.Host{}, false
}

type examiner struct {
	t       cluster.Topology
	servers map[string]Surveyed
	known   identity.Known
	found   []finding
}

func (e *examiner) add(format string, args ...any) *finding {
	e.found = append(e.found, finding{text: fmt.Sprintf(format, args...)})
	return &e.found[len(e.found)-1]
}

// master looks at settings that a master needs, and compares them with those of its peer.
func (e *examiner) master(h cluster.Host) {
	s, ok := e.servers[h.Name]
	if !ok {
		return
	}
	own := s.Survey.Settings
	if !own.LogBin {
		e.add("'%s' writes no binary log (log_bin): nobody can replicate from it", h.Name)
	} else if !own.LogSlaveUpdates {
		e.add("'%s' does not log what it replicates (log_slave_updates): others that replicate from it lack that",
			h.Name)
	}
	if own.AutoIncrementIncrement < 2 {
		e.add("auto_increment_increment of '%s' is %d: it should be at least 2, or both masters give out the same ids",
			h.Name, own.AutoIncrementIncrement).quiet = true
	}
	if own.AutoIncrementOffset > own.AutoIncrementIncrement {
		e.add("auto_increment_offset of '%s' (%d) is above its auto_increment_increment (%d) and ignored by the server",
			h.Name, own.AutoIncrementOffset, own.AutoIncrementIncrement).quiet = true
	}
	p, ok := e.servers[h.Peer]
	if !ok || h.Peer < h.Name {
		return // said once for the pair
	}
	peer := p.Survey.Settings
	if own.AutoIncrementIncrement != peer.AutoIncrementIncrement {
		e.add("auto_increment_increment differs: %d on '%s', %d on '%s'", own.AutoIncrementIncrement, h.Name,
			peer.AutoIncrementIncrement, h.Peer).quiet = true
	}
	if own.AutoIncrementOffset == peer.AutoIncrementOffset {
		e.add("auto_increment_offset is %d on both '%s' and '%s': they give out the same ids", own.AutoIncrementOffset,
			h.Name, h.Peer).quiet = true
	}
}

func (e *examiner) serverIDs() {
	users := map[uint32][]string{}
	for _, h := range e.t.Hosts {
		if s, ok := e.servers[h.Name]; ok {
			id := s.Survey.Settings.ServerID
			users[id] = append(users[id], h.Name)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(users)) {
		if names := users[id]; len(names) > 1 {
			e.add("server_id is %d on %s: they can't replicate from each other", id, quoted(names))
		}
	}
}

// gtidModes warns of servers with different GTID modes: replication between them stops, or starts from the wrong place
// after the writer role has moved.
func (e *examiner) gtidModes() {
	for _, mariaDB := range []bool{true, false} {
		users := map[string][]string{}
		for _, h := range e.t.Hosts {
			s, ok := e.servers[h.Name]
			if set := s.Survey.Settings; ok && set.MariaDB == mariaDB && set.GTIDMode != "" {
				users[set.GTIDMode] = append(users[set.GTIDMode], h.Name)
			}
		}
		if len(users) < 2 {
			continue
		}
		var parts []string
		for _, mode := range slices.Sorted(maps.Keys(users)) {
			parts = append(parts, mode+" on "+quoted(users[mode]))
		}
		e.add("%s differs: %s", map[bool]string{true: "gtid_strict_mode", false: "gtid_mode"}[mariaDB],
			strings.Join(parts, ", "))
	}
}

// retries warns of a replica that gives up early. MySQL's default is 10 retries since 8.4, one each minute.
func (e *examiner) retries(h cluster.Host) {
	r := e.servers[h.Name].Survey.Replica
	if r == nil || r.Retries == 0 {
		return
	}
	// In floating point, as the product of the highest values that servers allow does not fit into a Duration.
	if limit := float64(r.Retries) * r.RetryEvery.Seconds(); limit < enoughRetries.Seconds() {
		e.add("'%s' gives up after it has tried %d times, for %s, to connect to the server that it replicates from: set SOURCE_RETRY_COUNT (MASTER_RETRY_COUNT) to 86400", h.Name,
			r.Retries, time.Duration(limit*float64(time.Second)))
	}
}

func (e *examiner) semiSync() {
	r, ok := e.t.Role(e.t.ActiveMasterRole)
	if !ok {
		return
	}
	var without []string
	for _, name := range r.Hosts {
		if s, ok := e.servers[name]; ok && !s.Survey.SemiSync.Enabled {
			without = append(without, name)
		}
	}
	if len(without) > 0 {
		slices.Sort(without)
		f := e.add("semi-synchronous replication is off on %s: what the writer commits just before it dies may be lost",
			quoted(without))
		f.quiet = len(without) == len(r.Hosts) // off everywhere: that is somebody's choice, and no warning for `show`
	}
}

// acknowledged warns of a writer with semi-synchronous replication that replicates asynchronously now: it confirms
// commits to clients that no other host has.
func (e *examiner) acknowledged(writer cluster.Host) {
	s, ok := e.servers[writer.Name]
	switch {
	case !ok || !s.Survey.SemiSync.Enabled:
	case s.Survey.SemiSync.Clients == 0:
		e.add("nobody acknowledges what '%s' commits (semi-synchronous replication): it may be lost with the host",
			writer.Name).fickle = true
	case !s.Survey.SemiSync.Waiting:
		e.add("'%s' has fallen back to asynchronous replication: what it commits may be lost with the host",
			writer.Name).fickle = true
	}
}

// source warns of a master that does not replicate from its peer, and of a slave that does not replicate from the
// writer.
func (e *examiner) source(h, writer cluster.Host) {
	want, whose := writer, "the active master"
	if h.Master {
		want, _ = e.t.Host(h.Peer)
		whose = "its peer"
	}
	s := e.servers[h.Name]
	if s.Survey.Replica == nil || h.Name == want.Name || e.same(s, want) {
		return
	}
	from := strings.Join(strings.Fields(s.Survey.Replica.SourceHost), " ") // on one line, whatever the server says
	if name, ok := e.from(s); ok {
		from = fmt.Sprintf("'%s' (%s)", name, from)
	}
	remark := fmt.Sprintf("replicates from %s, not from %s '%s' (%s)", from, whose, want.Name, want.IP)
	if s.Channel != "" {
		remark += " on channel " + strconv.Quote(s.Channel)
	}
	f := e.add("'%s' %s", h.Name, remark)
	f.fickle, f.of, f.remark = true, checkKey{h.Name, check.RepThreads}, remark
}

// same says whether the source of s is the host want. Where that can't be told the answer is yes, so that nobody is
// warned: of the source only a name is known, and either the replica is not connected to it or want was never asked. A
// source that is given by an address, or that is connected, would be known if it were want.
func (e *examiner) same(s Surveyed, want cluster.Host) bool {
	if name, ok := e.from(s); ok {
		return name == want.Name
	}
	_, err := netip.ParseAddr(s.Survey.Replica.SourceHost)
	_, asked := e.servers[want.Name]
	return (s.Survey.Replica.IORunning != "Yes" || !asked) && err != nil
}

func (e *examiner) from(s Surveyed) (name string, ok bool) {
	return e.known.Of(identity.SourceOf(*s.Survey.Replica))
}

func quoted(names []string) string { return "'" + strings.Join(names, "', '") + "'" }

// notices keep track of the findings that people have been told of. They belong to the owner.
type notices struct {
	grace time.Duration            // how long a fickle finding must last
	since map[string]time.Duration // when each text was first found, by the monitor's clock
	told  []finding
}

// update takes the findings of now. It returns those that people are to be told of, and those that they were told of
// and that are over.
func (n *notices) update(found []finding, now time.Duration) (came, gone []finding) {
	since := make(map[string]time.Duration, len(found))
	var told []finding
	for _, f := range found {
		first := cmp.Or(n.since[f.text], now)
		since[f.text] = first
		if !f.fickle || now-first >= n.grace {
			told = append(told, f)
		}
	}
	came, gone = without(told, n.told), without(n.told, told)
	n.since, n.told = since, told
	return came, gone
}

// without returns what is in list and not in other.
func without(list, other []finding) []finding {
	return slices.DeleteFunc(slices.Clone(list), func(f finding) bool { return slices.Contains(other, f) })
}

// shown returns the warnings for `show` and the remarks for `checks`.
func (n *notices) shown() (warnings []string, remarks map[checkKey]string) {
	remarks = map[checkKey]string{}
	for _, f := range n.told {
		if !f.quiet {
			warnings = append(warnings, f.text)
		}
		if f.remark != "" {
			remarks[f.of] = f.remark
		}
	}
	return warnings, remarks
}

// allRemarks returns the remarks of the findings, and for former writers what the audit of their logs has found.
func (o *owner) allRemarks() map[checkKey]string {
	all := maps.Clone(o.remarks)
	for name, h := range o.state.Hosts {
		if f := h.Audit.Finding; f != "" && !h.Audit.Waived {
			if all == nil {
				all = map[checkKey]string{}
			}
			all[checkKey{name, check.RepThreads}] = f
		}
	}
	return all
}
