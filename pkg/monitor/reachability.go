package monitor

import (
	"context"
	"maps"
	"time"

	"mysql-mmm/pkg/agentclient"
	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
)

// A link is not a host: before a host that this monitor can't ping, or whose server does not answer, counts as dead,
// the other agents are asked whether they reach it.

const (
	askAgain        = 500 * time.Millisecond
	reachabilityTTL = 3 * time.Second // an answer that is older says nothing
)

// reachability is the result of one round of questions about a host.
type reachability struct {
	host string
	by   string // another host that reaches the server of host; "" for none
}

// suspects are the hosts that this monitor can't ping, or whose server does not answer it. They belong to the owner.
type suspects struct {
	mute   map[string]bool      // the newest ping failed
	greets map[string]bool      // the server greeted the newest mysql check, and then did not answer
	hung   map[string]bool      // the newest mysql check failed, and not because the port refused
	since  map[string]time.Time // when the host became suspect
	pinged map[string]time.Time // when the newest ping ended
	back   map[string]time.Time // when a ping came through again after one that failed
	grace  time.Duration        // after back, failures from before may still show in verdicts for this long
	asking map[string]bool      // the other agents are being asked about the host
	asked  map[string]time.Time // when they were last asked
	seen   map[string]reachability
	at     map[string]time.Time // when the entry in seen arrived
	up     time.Time            // when this monitor's own network was last seen to be up
}

func newSuspects(grace time.Duration) *suspects {
	return &suspects{grace: grace, back: map[string]time.Time{}, mute: map[string]bool{}, hung: map[string]bool{},
		greets: map[string]bool{}, since: map[string]time.Time{}, pinged: map[string]time.Time{},
		asking: map[string]bool{}, asked: map[string]time.Time{}, seen: map[string]reachability{},
		at: map[string]time.Time{}}
}

func (s *suspects) suspect(host string) bool { return s.mute[host] || s.hung[host] }

// note takes in the result of a probe, and says whether the host has become suspect by it.
func (s *suspects) note(u check.Update) (became bool) {
	before := s.suspect(u.Host)
	switch failed := u.Result.Status == check.Error; u.Name {
	case check.Ping:
		if s.mute[u.Host] && !failed {
			s.back[u.Host] = time.Now()
		}
		s.mute[u.Host], s.pinged[u.Host] = failed, time.Now()
	case check.MySQL:
		s.hung[u.Host] = failed && !u.Result.Refused
		s.greets[u.Host] = failed && u.Result.Greeted
	default:
		return false
	}
	if !before {
		s.since[u.Host] = time.Now()
		if u.Name == check.Ping {
			s.pinged[u.Host] = s.since[u.Host]
		}
	}
	return !before && s.suspect(u.Host)
}

// judge adds to the verdicts of a host what is known of it as a suspect. While v.Asking is set the host does not count
// as dead: that is until, since it became suspect, the other agents have been asked, it has been pinged once more, and
// this monitor has seen its own network.
func (s *suspects) judge(host string, v cluster.Verdicts) cluster.Verdicts {
	if !s.suspect(host) {
		return v
	}
	since := s.since[host]
	v.Mute, v.Greeted = s.mute[host], s.greets[host]
	v.Asking = s.at[host].Before(since) || s.pinged[host].Before(since) || s.up.Before(since) ||
		time.Since(s.back[host]) < s.grace
	return v
}

// receive takes in what the other agents said of a host and returns what reachedBy returns.
func (s *suspects) receive(r reachability) map[string]string {
	s.asking[r.host] = false
	s.seen[r.host], s.at[r.host] = r, time.Now()
	return s.reachedBy()
}

// reachedBy returns, for each host that this monitor can't ping and another host reaches, the name of that other host.
// A server that greets this monitor and then does not answer hangs: it is left out, as another host's connection to it
// proves nothing.
func (s *suspects) reachedBy() map[string]string {
	all := map[string]string{}
	for host, r := range s.seen {
		if s.mute[host] && !s.greets[host] && r.by != "" && time.Since(s.at[host]) < reachabilityTTL {
			all[host] = r.by
		}
	}
	return all
}

// question asks the other agents about each suspect host, and again after askAgain as long as it is suspect. What they
// said of a host that is not suspect any more is dropped.
func (o *owner) question(ctx context.Context) {
	for _, h := range o.m.cfg.Topology.Hosts {
		s := o.suspects
		if !s.suspect(h.Name) {
			if s.seen[h.Name].by != "" {
				o.suspects.seen[h.Name] = reachability{}
				o.step(ctx, cluster.Input{ReachedBy: s.reachedBy()})
			}
			continue
		}
		if s.asking[h.Name] || time.Since(s.asked[h.Name]) < askAgain {
			continue
		}
		s.asking[h.Name], s.asked[h.Name] = true, time.Now()
		others := maps.Clone(o.m.agents)
		delete(others, h.Name)
		o.group.Go(func() error {
			send(ctx, o.m.seen)(reachability{host: h.Name, by: askAll(ctx, others, h.Name)})
			return nil
		})
	}
}

// askAll returns the first host whose agent reaches the server of host, or "" when none does.
func askAll(ctx context.Context, others map[string]*agentclient.Client, host string) string {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan string, len(others))
	for name, c := range others {
		go func() {
			if c.Reaches(ctx, host) {
				answers <- name
				return
			}
			answers <- ""
		}()
	}
	for range others {
		if by := <-answers; by != "" {
			return by
		}
	}
	return ""
}

// tick is how often the brain is asked when nothing but time has passed.
func (m *Monitor) tick() time.Duration {
	if l := m.cfg.Topology.Lease; l > 0 {
		return min(tick, l.Heartbeat())
	}
	return tick
}
