package monitor

import (
	"net/netip"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/identity"
)

// receptions collect what checks and surveys have found out about each host's replication, for the brain. They belong
// to the owner.
type receptions struct {
	t  cluster.Topology
	of map[string]cluster.Reception

	servers identity.Known // what surveys and probes have said of the identity of all servers, dead ones too
}

func newReceptions(t cluster.Topology) *receptions {
	return &receptions{t: t, of: map[string]cluster.Reception{}, servers: unasked(t)}
}

// keptOut: the host's agent says that its server's port is closed to clients by a rule of the agent's, or that the
// server can't write, so that the agent is about to close the port. The rule refuses this monitor's connections too. A
// port that refuses then says nothing of the server's process. If the server is started meanwhile, the first survey
// afterwards sees that.
func keptOut(h cluster.HostInfo) bool { return h.AgentUp && h.Writing != (cluster.Writing{}) }

// note takes in the result of a probe that has just ended; out: the probed host's agent keeps clients out (keptOut).
func (r *receptions) note(u check.Update, out bool, now time.Duration) {
	s, th := r.of[u.Host], u.Result.Threads
	switch {
	case u.Name == check.MySQL && u.Result.Refused && !out:
		s.Ended = now
	case u.Name == check.MySQL && u.Result.Status != check.Error:
		s.Answered = now
	case u.Name != check.RepThreads || u.Result.Status == check.Unknown: // a check that can't ask says nothing
		return
	case th.Receiving || u.Result.Status == check.OK:
		s.Lost, s.Received = 0, now
	case s.Lost == 0:
		s.Lost = now
	}
	if u.Name == check.RepThreads {
		s.Delay = th.Delay
		s.Stopped, s.Stuck = th.Known && th.Stopped, th.Known && !th.Executing
		r.from(&s, u.Result.Source)
	}
	r.of[u.Host] = s
}

// survey takes in what a server has said of itself.
func (r *receptions) survey(v Surveyed, now time.Duration) {
	s := r.of[v.Host]
	said, set := v.Survey, v.Survey.Settings
	// The server was started since the last survey, and no check has found its port closed meanwhile: the restart took
	// too little time, or happened while the line to the host was cut. Uptime is in whole seconds, rounded down, so up
	// to one second more may have passed. (A server whose wall clock was set back seems to have been started, too.)
	since := now - s.Surveyed
	if said.Uptime > 0 && s.Surveyed > 0 && said.Uptime+time.Second <= since && s.Ended <= s.Surveyed {
		s.Ended = now
	}
	r.servers.Introduce(v.Host, set.ServerID, set.UUID)
	s.Surveyed, s.ServerID = now, set.ServerID
	s.Logs, s.GTID = set.LogBin && set.LogSlaveUpdates, said.Replica != nil && said.Replica.UsesGTID
	s.Waits, s.Ackers, s.Acks = said.SemiSync.Enabled && said.SemiSync.Waiting, said.SemiSync.Clients, said.SemiSync.Acks
	if said.Replica != nil {
		if v.Resolved != nil {
			r.servers.Resolved[said.Replica.SourceHost] = v.Resolved
		}
		r.from(&s, identity.SourceOf(*said.Replica))
	}
	r.of[v.Host] = s
}

// from notes whom a host replicates from, and the server_id of that server where that is certain.
func (r *receptions) from(s *cluster.Reception, source identity.Source) {
	if source.Address == "" {
		return
	}
	r.servers.Meet(source)
	s.From, _ = r.servers.Of(source)
	if s.SourceID = 0; source.Live {
		s.SourceID = source.ID
	}
}

// unasked is what is known of the servers of a topology before any was asked: their addresses.
func unasked(t cluster.Topology) identity.Known {
	k := identity.Known{Met: map[string]string{}, Resolved: map[string][]netip.Addr{}}
	for _, h := range t.Hosts {
		k.Hosts = append(k.Hosts, identity.Host{Name: h.Name, IP: h.IP, Port: h.Port})
	}
	return k
}
