package agent

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

func role(name, ip string) cluster.RoleIP {
	return cluster.RoleIP{Role: name, IP: netip.MustParseAddr(ip)}
}

var (
	writer  = role("writer", "10.0.0.100")
	reader1 = role("reader", "10.0.0.101")
	reader2 = role("reader", "10.0.0.102")
)

func site() Site {
	return Site{Host: "db1", MayWrite: true, ActiveMasterRole: "writer",
		Addresses: []cluster.RoleIP{reader1, reader2, writer}}
}

// subsets lists all subsets of some roles.
func subsets(all []cluster.RoleIP) [][]cluster.RoleIP {
	var sets [][]cluster.RoleIP
	for bits := range 1 << len(all) {
		var set []cluster.RoleIP
		for i, r := range all {
			if bits&(1<<i) != 0 {
				set = append(set, r)
			}
		}
		sets = append(sets, set)
	}
	return sets
}

// machine is a host that the actions of a plan change; caughtUp says whether it has all that the former writer wrote.
type machine struct {
	facts    Facts
	memory   Memory
	caughtUp bool
}

func (m machine) after(a Action) machine {
	m.facts.Present = slices.Clone(m.facts.Present)
	switch a.Kind {
	case Deny:
		m.facts.Writable = wire.No
	case Remove:
		m.facts.Present = slices.DeleteFunc(m.facts.Present, func(ip netip.Addr) bool { return ip == a.Address.IP })
	case Add:
		m.facts.Present = append(m.facts.Present, a.Address.IP)
	case CatchUp:
		m.caughtUp = true
	case Allow:
		m.facts.Writable = wire.Yes
		m.memory.Opened = true
	}
	return m
}

// TestPlan takes every state of a host and every order through planning, with a crash of the agent after each prefix of
// the actions.
func TestPlan(t *testing.T) {
	cases := 0
	for _, order := range subsets(site().Addresses) {
		for _, present := range subsets(site().Addresses) {
			for _, writable := range []wire.Tri{wire.Unsure, wire.No, wire.Yes} {
				for _, opened := range []bool{false, true} {
					m := machine{facts: Facts{Writable: writable}, memory: Memory{Opened: opened}}
					for _, r := range present {
						m.facts.Present = append(m.facts.Present, r.IP)
					}
					// A server that is open beside the writer's address is a writer at work: it need not catch up.
					m.caughtUp = opened || writable == wire.Yes && slices.Contains(present, writer)
					cases++
					t.Run(fmt.Sprintf("%v with %v, writable %v, opened %v", order, present, writable, opened),
						func(t *testing.T) {
							checkPlan(t, cluster.Order{State: cluster.Online, Roles: order}, m)
						})
				}
			}
		}
	}
	if cases != 8*8*3*2 {
		t.Fatalf("%d cases", cases)
	}
}

func checkPlan(t *testing.T, order cluster.Order, m machine) {
	t.Helper()
	isWriter := slices.Contains(order.Roles, writer)
	if !isWriter {
		m.memory = Memory{} // as pass does
	}
	start := m
	plan := Plan(site(), order, m.facts, m.memory, false)
	for i, a := range plan {
		// The agent crashes before this action, and a new one has no memory: it must not open the server, or add the
		// writer's address, before the server has caught up.
		crashed := m
		crashed.memory = Memory{}
		again := crashed
		for _, b := range Plan(site(), order, crashed.facts, crashed.memory, false) {
			again = again.after(b)
			checkWriter(t, again, start, order)
		}
		switch {
		case a.Kind == Remove && a.Address == writer && start.facts.Writable == wire.Yes && plan[0].Kind != Deny:
			t.Errorf("the writer's address goes before writes are denied: %v", plan)
		case a.Kind == Remove && slices.ContainsFunc(plan[:i],
			func(b Action) bool { return b.Kind == Add || b.Kind == Allow }):
			t.Errorf("something comes before something else goes: %v", plan)
		}
		m = m.after(a)
		checkWriter(t, m, start, order)
	}
	if rest := Plan(site(), order, m.facts, m.memory, false); len(rest) > 0 {
		t.Errorf("plan %v leads to a state that wants %v", plan, rest)
	}
	for _, r := range site().Addresses {
		if slices.Contains(m.facts.Present, r.IP) != slices.Contains(order.Roles, r) {
			t.Errorf("plan %v leaves %v, ordered are %v", plan, m.facts.Present, order.Roles)
		}
	}
	hangs := start.memory.Opened && start.facts.Writable == wire.Unsure // left alone until it answers
	if isWriter != (m.facts.Writable == wire.Yes) && !(isWriter && hangs) {
		t.Errorf("plan %v leaves the server writable: %v", plan, m.facts.Writable)
	}
}

// checkWriter fails the test where the writer's address was added, or writes were allowed, before the server has caught
// up.
func checkWriter(t *testing.T, m, start machine, order cluster.Order) {
	t.Helper()
	had := slices.Contains(start.facts.Present, writer.IP)
	if has := slices.Contains(m.facts.Present, writer.IP); has && !had && !m.caughtUp {
		t.Errorf("order %v: the writer's address on a server that has not caught up", order.Roles)
	}
	if m.facts.Writable == wire.Yes && start.facts.Writable != wire.Yes && !m.caughtUp {
		t.Errorf("order %v: a server is opened that has not caught up", order.Roles)
	}
}

// TestPlanOfDeadServer: a writer whose server has died keeps its address until the monitor takes the role away, and
// nothing else is tried.
func TestPlanOfDeadServer(t *testing.T) {
	f := Facts{Present: []netip.Addr{writer.IP}, Writable: wire.No, Down: true}
	if plan := Plan(site(), cluster.Order{Roles: []cluster.RoleIP{writer}}, f, Memory{Opened: true},
		false); len(plan) > 0 {
		t.Errorf("plan is %v", plan)
	}
	want := []Action{{Kind: Remove, Address: writer}}
	if plan := Plan(site(), cluster.Order{}, f, Memory{}, false); !slices.Equal(plan, want) {
		t.Errorf("plan is %v, want %v", plan, want)
	}
}

// TestPlanOfUnknownRole: an address that the configuration of this host does not have is not added.
func TestPlanOfUnknownRole(t *testing.T) {
	order := cluster.Order{Roles: []cluster.RoleIP{role("reader", "10.9.9.9")}}
	if plan := Plan(site(), order, Facts{Writable: wire.No}, Memory{}, false); len(plan) > 0 {
		t.Errorf("plan is %v", plan)
	}
	if u := site().unknown(order.Roles); len(u) != 1 {
		t.Errorf("unknown are %v", u)
	}
}

// TestForceInterrupts: a round that catches up is interrupted when the order begins to say Forced, or Lacks changes.
// That Forced ends interrupts nothing: the monitor leaves it out again once the writer is open.
func TestForceInterrupts(t *testing.T) {
	plain := cluster.Order{State: cluster.Online, Roles: []cluster.RoleIP{writer}}
	forced := plain
	forced.Forced = true
	lacks := plain
	lacks.Lacks = true
	for _, c := range []struct {
		name         string
		now, next    cluster.Order
		sameAsBefore bool
	}{
		{"an order that is repeated", plain, plain, true},
		{"force", plain, forced, false},
		{"force that is repeated", forced, forced, true},
		{"the end of force", forced, plain, true},
		{"it is to wait for the former writer's word", plain, lacks, false},
		{"it waits for that word", lacks, lacks, true},
		{"it need not wait any more", lacks, plain, false},
	} {
		if got := sameOrder(c.now, c.next); got != c.sameAsBefore {
			t.Errorf("%s: the same %v", c.name, got)
		}
	}
}
