package monitor

import (
	"net/netip"
	"time"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
)

// receptions are what was seen of each host's part in replication, for the brain. They belong to the owner.
type receptions struct {
	t   cluster.Topology
	of  map[string]cluster.Reception
	ids map[string]uint32 // server_ids, as surveyed
}

func newReceptions(t cluster.Topology) *receptions {
	return &receptions{t: t, of: map[string]cluster.Reception{}, ids: map[string]uint32{}}
}

// note takes in the result of a probe that has just ended.
func (r *receptions) note(u check.Update, now time.Duration) {
	s, th := r.of[u.Host], u.Result.Threads
	switch {
	case u.Name == check.MySQL && u.Result.Status != check.Error:
		s.Answered = now
	case u.Name != check.RepThreads || u.Result.Status == check.Unknown: // that it can't be asked says nothing
		return
	case th.Receiving || u.Result.Status == check.OK:
		s.Lost, s.Received = 0, now
	case s.Lost == 0:
		s.Lost = now
	}
	if u.Name == check.RepThreads {
		s.Delay = th.Delay
		s.Stopped, s.Stuck = th.Known && th.Stopped, th.Known && !th.Executing
		if name, known := r.byIP(u.Result.Source); known {
			s.From = name
		}
	}
	r.of[u.Host] = s
}

// survey takes in what a server has said of itself.
func (r *receptions) survey(v Surveyed, now time.Duration) {
	s := r.of[v.Host]
	r.ids[v.Host] = v.ServerID
	s.Surveyed = now
	s.Logs, s.GTID = v.LogBin && v.LogSlaveUpdates, v.Replica != nil && v.Replica.UsesGTID
	s.Waits, s.Ackers, s.Acks = v.SemiSync.Enabled && v.SemiSync.Waiting, v.SemiSync.Clients, v.SemiSync.Acks
	if v.Replica != nil {
		s.From = r.source(v.Replica.SourceHost, v.Replica.SourceID)
	}
	r.of[v.Host] = s
}

// source finds the host that a server replicates from, by its address or, where it goes by a name or has several, by
// the server_id that it gives; "" where it is no known host's.
func (r *receptions) source(address string, id uint32) string {
	if name, known := r.byIP(address); known {
		return name
	}
	for host, other := range r.ids {
		if other == id && id != 0 {
			return host
		}
	}
	return ""
}

func (r *receptions) byIP(address string) (string, bool) {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "", false
	}
	for _, h := range r.t.Hosts {
		if h.IP == ip.Unmap() {
			return h.Name, true
		}
	}
	return "", false
}
