package cluster

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// The model walks every state that a small cluster can reach: two masters and a slave, one writer and two reader
// addresses, servers and replication that fail and come back, agents that can't be reached, operators, flapping,
// kill_host, time. Time is abstract: one minute at a step, and ages beyond that are alike. A host that was killed has
// nothing until it is repaired.

type modelState struct {
	s        State
	now      time.Duration
	verdicts map[string]Verdicts
	have     map[string][]RoleIP // what each host really has
	cut      map[string]bool     // its agent can't be reached
}

func modelTopology() Topology {
	t := lab()
	t.AutoSetOnline = time.Second
	t.FlapDuration, t.FlapCount = time.Minute, 1
	t.Roles[0].IPs = t.Roles[0].IPs[:2]
	return t
}

func (m modelState) clone() modelState {
	m.verdicts, m.have, m.cut = maps.Clone(m.verdicts), maps.Clone(m.have), maps.Clone(m.cut)
	return m
}

// key names a state; what makes no difference is left out.
func (m modelState) key(t Topology) string {
	var b strings.Builder
	age := func(at time.Duration) string {
		if at > 0 && m.now-at < time.Minute {
			return "n"
		}
		return "o"
	}
	b.WriteString(string(m.s.Mode[0]))
	for _, h := range t.Hosts {
		i, v := m.s.Hosts[h.Name], m.verdicts[h.Name]
		recent := 0
		for _, d := range i.Departures {
			if m.now-d < t.FlapDuration {
				recent++
			}
		}
		fmt.Fprintf(&b, "|%s%s%d%d%d%d%d%d%d%d%d%d%v", i.State[:1]+i.State[len(i.State)-1:], age(i.Since), bit(v.MySQL),
			bit(v.RepThreads), bit(i.AgentUp),
			bit(i.Flapping), recent, bit(i.tellSeq > 0), bit(m.cut[h.Name]), bit(i.OnlineUptime > 0),
			bit(i.Lack.Missed), bit(v.Lost > 0 && v.Lost <= v.Answered), len(i.Problems))
		for j, r := range t.roleIPs() {
			if slices.Contains(m.have[h.Name], r) {
				fmt.Fprintf(&b, "%d", j)
			}
		}
	}
	for _, a := range m.s.Addresses {
		fmt.Fprintf(&b, "|%s,%d,%s,%s,%s,%d,%s,%d", a.Holder, bit(a.Confirmed), a.Leaving, a.Next, a.origin,
			bit(a.failed != ""), age(a.since), bit(a.notBefore > m.now))
	}
	fmt.Fprintf(&b, "|%s%d", m.s.LastWriter, bit(m.s.vacant > 0 && m.now-m.s.vacant >= t.WaitForOtherMaster))
	return b.String()
}

func bit(v bool) int {
	if v {
		return 1
	}
	return 0
}

// feed gives the brain one input, and kills the hosts that it wants to have killed.
func (m modelState) feed(t Topology, in Input) modelState {
	in.Now, in.NetworkUp, in.Verdicts = m.now, true, m.seen()
	var out Output
	m.s, out = mustStep(t, m.s, in)
	for _, k := range out.Kills {
		m = m.clone()
		m.have[k.Host] = nil
		m.cut[k.Host] = true
		v := m.verdicts[k.Host]
		v.MySQL = false
		m.verdicts[k.Host] = v
		m = m.feed(t, Input{Killed: []KillResult{{Host: k.Host}}})
	}
	return m
}

// seen are the verdicts, with the times of the last answer and of the last reception.
func (m modelState) seen() map[string]Verdicts {
	all := map[string]Verdicts{}
	for name, v := range m.verdicts {
		if v.MySQL {
			v.Answered = m.now
		}
		if v.MySQL && v.RepThreads {
			v.Received = m.now
		}
		all[name] = v
	}
	return all
}

// deliver lets a host carry out its order, or fail to be reached.
func (m modelState) deliver(t Topology, host string) modelState {
	for _, o := range Orders(t, m.s) {
		if o.Host != host {
			continue
		}
		if m.cut[host] {
			return m.feed(t, Input{Answers: []Answer{{Host: host, Seq: m.s.Seq, Text: "cut"}}})
		}
		m = m.clone()
		m.have[host] = o.Roles
		writer := slices.ContainsFunc(o.Roles, func(r RoleIP) bool { return r.Role == t.ActiveMasterRole })
		return m.feed(t, Input{Answers: []Answer{{Host: host, Seq: m.s.Seq, Reached: true, OK: true, Text: "OK",
			Uptime: 1000, Extended: true, Have: o.Roles, Writable: writer}}})
	}
	return m
}

// faults counts what is wrong; the walk allows two things at a time.
func (m modelState) faults(t Topology) int {
	n := 0
	for _, h := range t.Hosts {
		v := m.verdicts[h.Name]
		n += bit(!v.MySQL) + bit(!v.RepThreads) + bit(m.cut[h.Name])
	}
	return n
}

// next lists the states that one more event leads to.
func (m modelState) next(t Topology) []modelState {
	var all []modelState
	for _, h := range t.Hosts {
		all = append(all, m.deliver(t, h.Name))
		change := func(f func(v *Verdicts)) {
			n := m.clone()
			v := n.verdicts[h.Name]
			f(&v)
			n.verdicts[h.Name] = v
			if n.faults(t) <= 2 || n.faults(t) < m.faults(t) {
				all = append(all, n.feed(t, Input{}))
			}
		}
		change(func(v *Verdicts) { v.MySQL, v.Answered = !v.MySQL, m.now })
		if h.Name != "db1" {
			change(func(v *Verdicts) {
				if v.RepThreads, v.Lost = !v.RepThreads, 0; !v.RepThreads {
					v.Lost = m.now
				}
			})
		}
		n := m.clone()
		n.cut[h.Name] = !n.cut[h.Name]
		if n.faults(t) <= 2 || n.faults(t) < m.faults(t) {
			all = append(all, n)
		}
		up := map[string]bool{h.Name: !m.cut[h.Name]}
		for _, line := range []string{"set_offline " + h.Name, "set_online " + h.Name, "move_role writer " + h.Name} {
			all = append(all, m.feed(t, Input{Command: &Command{Words: strings.Fields(line), AgentUp: up}}))
		}
	}
	later := m.clone()
	later.now += time.Minute
	return append(all, later.feed(t, Input{}))
}

func TestModel(t *testing.T) {
	const enough = 60_000 // states; the walk is breadth first, so these are all that few events lead to
	topology := modelTopology()
	first := modelState{now: time.Hour, verdicts: map[string]Verdicts{}, have: map[string][]RoleIP{},
		cut: map[string]bool{}}
	found := map[string]Found{}
	for _, h := range topology.Hosts {
		first.verdicts[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
		found[h.Name] = Found{Agent: &StoredHost{State: Unknown}, System: &SystemFound{}}
	}
	first.s, _ = Start(topology, Active, Durable{}, found, first.verdicts, first.now)
	seen := map[string]bool{first.key(topology): true}
	queue := []modelState{first}
	for i := 0; i < len(queue) && i < enough; i++ {
		m := queue[i]
		before := m.s.clone()
		for _, n := range m.next(topology) {
			k := n.key(topology)
			if seen[k] {
				continue
			}
			seen[k] = true
			if problem := n.broken(topology); problem != "" {
				t.Fatalf("%s\n%s\nhave %v, cut %v, verdicts %v\nafter\n%s", problem, Show(topology, n.s), n.have, n.cut,
					n.verdicts, Show(topology, m.s))
			}
			queue = append(queue, n)
		}
		if !reflect.DeepEqual(before.Hosts, m.s.Hosts) || !slices.Equal(before.Addresses, m.s.Addresses) {
			t.Fatal("Step changed its input")
		}
		if i%25 == 0 {
			if problem := m.recover(topology); problem != "" {
				t.Fatalf("%s\nfrom\n%s\nhave %v, cut %v, verdicts %v", problem, Show(topology, m.s), m.have, m.cut,
					m.verdicts)
			}
		}
		queue[i] = modelState{}
	}
	t.Logf("%d states", len(seen))
	if len(seen) < 20_000 {
		t.Fatalf("only %d states: the model does not move", len(seen))
	}
}

// broken checks what must hold in every state.
func (m modelState) broken(t Topology) string {
	writers := 0
	for _, h := range t.Hosts {
		for _, r := range m.have[h.Name] {
			writers += bit(r.Role == t.ActiveMasterRole)
		}
	}
	if writers > 1 {
		return "two hosts have the writer's address"
	}
	for _, a := range m.s.Addresses {
		r, _ := t.Role(a.Role)
		if a.Holder != "" && (m.s.Hosts[a.Holder].State != Online || !slices.Contains(r.Hosts, a.Holder)) {
			return fmt.Sprintf("%s is on %s, which is %s", a.RoleIP, a.Holder, m.s.Hosts[a.Holder].State)
		}
		if a.Holder != "" && a.Leaving != "" {
			return fmt.Sprintf("%s is held by %s and leaving %s", a.RoleIP, a.Holder, a.Leaving)
		}
	}
	var least, most = 99, 0
	x := stepper{t: t, s: &m.s}
	for _, h := range t.Hosts {
		if m.s.eligible(t.Roles[0], h.Name) {
			n := x.count(t.Roles[0], h.Name)
			least, most = min(least, n), max(most, n)
		}
	}
	settled := !slices.ContainsFunc(m.s.Addresses, func(a Address) bool {
		return a.Leaving != "" ||
			a.notBefore > m.now
	})
	if settled && most-least > 1 {
		return "readers are not balanced"
	}
	again, out := Step(t, m.s, Input{Now: m.now, NetworkUp: true, Verdicts: m.seen()})
	if len(out.Events) > 0 || again.Seq != m.s.Seq || !slices.Equal(again.Addresses, m.s.Addresses) {
		return fmt.Sprintf("a step at rest does something: %v", out.Events)
	}
	return ""
}

// recover: with everything in order again, every role is placed after a bounded number of steps.
func (m modelState) recover(t Topology) string {
	m = m.clone()
	for _, h := range t.Hosts {
		m.verdicts[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
		m.cut[h.Name] = false
	}
	for range 6 {
		m.now += time.Minute
		m = m.feed(t, Input{})
		for range 4 {
			for _, h := range t.Hosts {
				m = m.deliver(t, h.Name)
			}
		}
		for _, h := range t.Hosts {
			m = m.feed(t, Input{Command: &Command{Words: []string{"set_online", h.Name},
				AgentUp: map[string]bool{h.Name: true}}})
		}
	}
	for _, a := range m.s.Addresses {
		if !a.Confirmed {
			return fmt.Sprintf("%s is not placed although all is well again:\n%s", a.RoleIP, Show(t, m.s))
		}
	}
	return ""
}
