package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
	"mysql-mmm/pkg/wire"
)

// Status is what an agent knows of its host at one moment, for metrics, health checks and people. Once it is
// published it never changes.
type Status struct {
	Host     string
	State    cluster.HostState // as ordered; UNKNOWN where nothing was ordered since the start
	Ordered  []cluster.RoleIP  // roles of the last order, as far as the lease allows them
	Known    []cluster.RoleIP  // all of the configuration
	Present  []cluster.RoleIP  // found on the interface by the last look
	Writable wire.Tri
	Down     bool      // the server's port refuses
	Refused  bool      // the server answers, and does not let the agent in
	Opened   bool      // the agent has opened the server, or found it open, in the present holding of the writer role
	Observed time.Time // when Present, Writable and Down were found; zero: never yet
	Heard    time.Time // when the newest order came; zero: never yet
	Told     time.Time // when this Status was made; the agent makes one at least every second
	Problems []string
	Fenced   bool // the server's port is closed to clients
	Epoch    cluster.Epoch
	Leased   bool          // the order comes with a lease
	Left     time.Duration // of the lease on the writer role, at Told; 0: it has none
	Lapses   int           // how often the lease has run out while this host held the writer role

	ends time.Duration // when the lease ends, on the agent's monotonic clock; 0: there is none; may be lease.Forever
}

// publishStatus makes known what the owner knows.
func (o *owner) publishStatus() {
	s := Status{Host: o.agent.site.Host, State: cluster.Unknown, Known: o.agent.site.Addresses,
		Present: slices.Clone(o.present), Writable: o.facts.Writable, Down: o.facts.Down,
		Refused: o.facts.Refused, Opened: o.memory.Opened,
		Observed: o.observed, Heard: o.heard, Told: time.Now(), Problems: texts(o.problems),
		Fenced: o.memory.Port == PortClosed, Lapses: o.lapses}
	if o.order != nil {
		s.State, s.Ordered, s.Leased = o.order.State, slices.Clone(o.want().Roles), o.holder != nil && o.order.Lease > 0
	}
	if o.holder != nil {
		now := o.holder.leasing.Clock.Now()
		s.Epoch = o.holder.saved.Epoch
		if o.holder.holds(now) {
			if left := o.holder.lease.Left(now); left == lease.Forever {
				s.ends = left
			} else {
				s.Left, s.ends = left, now+left
			}
		}
	}
	o.agent.status.Store(&s)
}

// Status is the newest Status; false before Run has made one.
func (a *Agent) Status() (Status, bool) {
	s := a.status.Load()
	if s == nil {
		return Status{}, false
	}
	return *s, true
}

// stale is how old a Status may be and still count: the agent looks at its host every second.
const stale = 5 * time.Second

// Alive says whether the agent's owner (the goroutine that decides) is at work.
func (a *Agent) Alive() bool {
	s, ok := a.Status()
	return ok && time.Since(s.Told) < stale
}

// Serves says whether clients of the role can be sent to this host, and if not, why. They can where the host is to have
// one of the role's addresses and has it, its server answers, and its port is open. For the active master role the
// server has to take writes too, and the lease, where there is one, to be live at this moment. A server that answers
// but refuses the agent counts as open for writes where the agent has opened it.
func (a *Agent) Serves(role string) (ok bool, why string) {
	s, ok := a.Status()
	if !ok {
		return false, "the agent is starting"
	}
	now := time.Duration(0)
	if a.leasing != nil {
		now = a.leasing.Clock.Now()
	}
	why = s.serves(role, a.site.ActiveMasterRole, time.Now(), now)
	return why == "", why
}

// KnowsRole says whether the configuration has the role.
func (a *Agent) KnowsRole(role string) bool {
	return slices.ContainsFunc(a.site.Addresses, func(r cluster.RoleIP) bool { return r.Role == role })
}

// serves returns why clients can't be sent here, or "". clock is the agent's monotonic clock.
func (s Status) serves(role, writer string, now time.Time, clock time.Duration) string {
	has := func(r cluster.RoleIP) bool { return r.Role == role && slices.Contains(s.Ordered, r) }
	switch {
	case s.Observed.IsZero() || now.Sub(s.Observed) >= stale || now.Sub(s.Told) >= stale:
		return "the host has not been looked at lately"
	case !slices.ContainsFunc(s.Present, has):
		return fmt.Sprintf("no address of role %s is here", role)
	case s.Down:
		return "the server does not run"
	case s.Writable == wire.Unsure && !s.Refused:
		return "the server does not answer"
	case s.Fenced:
		return "the server's port is closed to clients"
	case role == writer && s.Writable != wire.Yes && !(s.Writable == wire.Unsure && s.Opened):
		return "the server is closed for writes"
	case role == writer && s.Leased && s.ends <= clock:
		return "the lease is over"
	}
	return ""
}

// String is one line for people.
func (s Status) String() string {
	text := fmt.Sprintf("%s is %s", s.Host, s.State)
	if len(s.Present) > 0 {
		text += " with " + cluster.FormatRoleIPs(s.Present, ", ")
	}
	if len(s.Problems) > 0 {
		text += ": " + strings.Join(s.Problems, "; ")
	}
	return text
}
