package cluster_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	. "mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
)

// circle is a monitor's brain and the agents' half of the lease on one clock: orders and answers are exchanged every
// 100 ms, and the writer asks its questions in between. Hosts can be cut off from the monitor (dark) and from each
// other (deaf).
type circle struct {
	*testing.T
	top    Topology
	state  State
	now    time.Duration
	agents map[string]*lease.Holder
	said   string          // the answer to the newest command
	dark   map[string]bool // no answer reaches the monitor, no order the host
	alive  map[string]bool // its server and pings answer though it is dark
	deaf   map[string]bool // no other agent reaches the host, nor it any other
	busy   map[string]bool // works on giving the role up
	fails  map[string]bool // can't give it up, and says so
	slow   map[string]bool // neither order nor answer has arrived yet
	plain  map[string]bool // answers have a text and nothing else
	mute   map[string]bool // answers say nothing of its lease
	events []string
	kills  []Kill
}

const six = Lease(6 * time.Second)

var writerIP = RoleIP{Role: "writer", IP: netip.MustParseAddr("192.0.2.100")}

func clusterOf(l Lease, candidates ...string) Topology {
	top := Topology{ActiveMasterRole: "writer", AutoSetOnline: time.Second, WaitForOtherMaster: time.Minute, Lease: l,
		ReleaseTimeout: 6 * time.Second, SwitchTimeout: 20 * time.Second,
		Roles: []Role{{Name: "writer", Exclusive: true, Hosts: candidates, IPs: []netip.Addr{writerIP.IP}}}}
	for i, name := range []string{"db1", "db2", "db3"} {
		peer := []string{"db2", "db1", "db1"}[i]
		top.Hosts = append(top.Hosts, Host{Name: name, IP: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}),
			Master: true, Peer: peer})
	}
	return top
}

// begin makes a circle of agents that were started long ago, and a monitor that starts with what it has saved.
func begin(t *testing.T, top Topology, saved Durable) *circle {
	c := &circle{T: t, now: 1000 * time.Hour, agents: map[string]*lease.Holder{}, dark: map[string]bool{},
		alive: map[string]bool{}, plain: map[string]bool{}, deaf: map[string]bool{},
		busy: map[string]bool{}, fails: map[string]bool{}, slow: map[string]bool{}, mute: map[string]bool{}}
	for _, h := range top.Hosts {
		c.agents[h.Name] = lease.New(h.Name, "b", []string{"db1", "db2"}, lease.Saved{}, 0, 0)
	}
	c.restart(top, saved)
	return c
}

// restart starts the monitor anew, with another configuration perhaps.
func (c *circle) restart(top Topology, saved Durable) {
	found := map[string]Found{}
	for _, h := range top.Hosts {
		f := Found{}
		if s, ok := saved.Hosts[h.Name]; ok {
			f.Stored = &s
		}
		if !c.dark[h.Name] {
			a := c.answer(h.Name)
			f.Agent, f.System = &StoredHost{State: Unknown}, &SystemFound{Writable: a.Writable, Roles: a.Have}
			f.Epoch, f.Stamp, f.Live, f.Uptime = a.Epoch, a.Stamp, a.Live, 1e6
		}
		found[h.Name] = f
	}
	c.top = top
	var out Output
	c.state, out = Start(top, Active, saved, found, c.verdicts(), c.now)
	c.note(out)
}

func (c *circle) verdicts() map[string]Verdicts {
	all := map[string]Verdicts{}
	for name := range c.agents {
		up := !c.dark[name] || c.alive[name]
		all[name] = Verdicts{Ping: up, MySQL: up, RepThreads: true, RepBacklog: true}
	}
	return all
}

func (c *circle) note(out Output) {
	c.kills = append(c.kills, out.Kills...)
	for _, e := range out.Events {
		if e.Text == "" {
			continue
		}
		c.events = append(c.events, fmt.Sprintf("%7.1f %s", (c.now-1000*time.Hour).Seconds(), e.Text))
	}
}

func (c *circle) answer(name string) Answer {
	tn := c.agents[name]
	holds := tn.Holds(c.now)
	a := Answer{Host: name, Seq: c.state.Seq, Reached: true, OK: true, Extended: true, Uptime: 1e6,
		Epoch: tn.Saved.Epoch,
		Stamp: Stamp{Boot: "b", At: c.now}, Live: holds, Candidates: "db1,db2", Writable: holds}
	a.PromisedTo, a.PromiseAge = tn.PromiseAge(c.now)
	if holds || c.busy[name] || c.fails[name] {
		a.Have = []RoleIP{writerIP}
	}
	if c.busy[name] {
		a.Busy, a.OK, a.Writable = true, false, true
	}
	if c.fails[name] {
		a.OK, a.Writable, a.Problems = false, true, []string{"Couldn't deny writes"}
	}
	if c.plain[name] {
		return Answer{Host: name, Seq: c.state.Seq, Reached: true, OK: a.OK, Uptime: a.Uptime}
	}
	if c.mute[name] {
		a.Epoch, a.Stamp, a.Live, a.Candidates = Epoch{}, Stamp{}, false, ""
	}
	return a
}

// step lets a tenth of a second pass.
func (c *circle) step(command ...string) {
	c.Helper()
	c.now += 100 * time.Millisecond
	var answers []Answer
	for _, o := range Orders(c.top, c.state) {
		if c.slow[o.Host] {
			continue
		}
		if c.dark[o.Host] {
			answers = append(answers, Answer{Host: o.Host, Seq: c.state.Seq, Text: "no answer in time"})
			continue
		}
		if o.Epoch.Number > 0 {
			c.agents[o.Host].Order(c.now, o.Epoch, o.Lease, c.state.Echo(c.top, o.Host, o.Epoch), false)
		}
		answers = append(answers, c.answer(o.Host))
	}
	for name, tn := range c.agents {
		q, whom, ok := tn.Asks(c.now)
		for _, other := range whom {
			if ok && !c.deaf[name] && !c.deaf[other] && c.agents[other].Promise(c.now, q) {
				tn.Promised(c.now, other, q)
			}
		}
	}
	in := Input{Now: c.now, NetworkUp: true, Verdicts: c.verdicts(), Answers: answers}
	if len(command) > 0 {
		in.Command = &Command{Words: command, AgentUp: map[string]bool{"db1": true, "db2": true, "db3": true}}
	}
	var out Output
	c.state, out = MustStep(c.top, c.state, in)
	c.note(out)
	c.said = out.Answer
	if h := c.holders(); len(h) > 1 {
		c.Fatalf("two hosts hold the role: %v\n%s", h, strings.Join(c.events, "\n"))
	}
}

func (c *circle) holders() []string {
	var all []string
	for name, tn := range c.agents {
		if tn.Holds(c.now) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// pass lets time pass.
func (c *circle) pass(d time.Duration) {
	c.Helper()
	for end := c.now + d; c.now < end; {
		c.step()
	}
}

// until lets time pass until host alone holds the role, for d at most, and returns how long that took.
func (c *circle) until(host string, d time.Duration) time.Duration {
	c.Helper()
	for began := c.now; c.now < began+d; {
		if slices.Equal(c.holders(), []string{host}) {
			return c.now - began
		}
		c.step()
	}
	c.Fatalf("%v has the role after %v, want %s (epoch %s %s)\n%s", c.holders(), d, host, c.state.Epoch,
		c.state.Epoch.Terms, strings.Join(c.events, "\n"))
	return 0
}

// nobody lets time pass and expects that no host holds the role.
func (c *circle) nobody(d time.Duration) {
	c.Helper()
	for end := c.now + d; c.now < end; {
		c.step()
		if h := c.holders(); len(h) > 0 {
			c.Fatalf("%v has the role\n%s", h, strings.Join(c.events, "\n"))
		}
	}
}

// settled is a circle in which db1 has been the writer for a while.
func settled(t *testing.T, l Lease, candidates ...string) *circle {
	c := begin(t, clusterOf(l, candidates...), Durable{Writer: "db1", Hosts: map[string]StoredHost{
		"db1": {State: Online, Roles: []RoleIP{writerIP}}, "db2": {State: Online}, "db3": {State: Online}}})
	c.until("db1", time.Minute)
	c.pass(2 * time.Minute)
	return c
}

// TestLeaseByRestart: the monitor is restarted with another lease while the writer is cut off. Two hosts never hold the
// role, and it moves soon after the longer of both leases is over.
func TestLeaseByRestart(t *testing.T) {
	for _, l := range []struct{ before, after Lease }{{Lease(30 * time.Second), six}, {six, Lease(30 * time.Second)},
		{six, six}} {
		c := settled(t, l.before, "db1", "db2")
		c.dark["db1"], c.deaf["db1"] = true, true
		c.pass(time.Second)
		c.restart(clusterOf(l.after, "db1", "db2"), c.state.Durable())
		took := c.until("db2", time.Minute)
		if most := max(l.before, l.after).Over() + 8*time.Second; took > most {
			t.Errorf("%v then %v: it took %v", l.before, l.after, took)
		}
	}
}

// TestLongerLease: a longer lease counts once the other candidates know of it, so that a monitor whose status file is
// put back hears of it from them. A candidate that can't be reached is not waited for.
func TestLongerLease(t *testing.T) {
	long := Lease(30 * time.Second)
	c := settled(t, six, "db1", "db2")
	old := c.state.Durable()
	c.slow["db2"] = true
	c.top = clusterOf(long, "db1", "db2")
	c.pass(5 * time.Second)
	if want := (Terms{Candidates: "db1,db2", Lease: six, Longest: long}); c.state.Epoch.Terms != want {
		t.Errorf("while db2 has not heard of it: terms %s, want %s", c.state.Epoch.Terms, want)
	}
	const waits = "writer_lease 30s does not count yet: the agent of 'db2' answers, and has not written down for 10 seconds"
	if said := strings.Join(c.events, "\n"); strings.Contains(said, waits) {
		t.Errorf("after five seconds: %s", said)
	}
	c.pass(20 * time.Second)
	if said := strings.Join(c.events, "\n"); strings.Count(said, waits) != 1 {
		t.Errorf("in 25 seconds: %s", said)
	}
	c.slow["db2"] = false
	c.dark["db1"], c.deaf["db1"] = true, true
	c.restart(clusterOf(six, "db1", "db2"), old)
	c.until("db2", time.Minute)

	for _, dark := range []bool{false, true} {
		c = settled(t, six, "db1", "db2")
		c.dark["db2"] = dark
		c.pass(time.Second)
		c.top = clusterOf(long, "db1", "db2")
		c.pass(time.Second)
		if got := c.state.Epoch.Terms; got.Lease != long || len(c.holders()) != 1 {
			t.Errorf("db2 unreachable %v: terms %s, holders %v", dark, got, c.holders())
		}
	}
}

// TestShorterLease: after the lease has been made shorter, the longer one is waited for until it can't be held any
// more.
func TestShorterLease(t *testing.T) {
	c := settled(t, Lease(30*time.Second), "db1", "db2")
	c.restart(clusterOf(six, "db1", "db2"), c.state.Durable())
	c.pass(500 * time.Millisecond)
	if want := (Terms{Candidates: "db1,db2", Lease: six,
		Longest: Lease(30 * time.Second)}); c.state.Epoch.Terms != want {
		t.Fatalf("terms %s, want %s", c.state.Epoch.Terms, want)
	}
	c.dark["db1"], c.deaf["db1"] = true, true
	c.until("db2", time.Minute)

	c = settled(t, Lease(30*time.Second), "db1", "db2")
	c.restart(clusterOf(six, "db1", "db2"), c.state.Durable())
	c.pass(time.Minute)
	if want := (Terms{Candidates: "db1,db2", Lease: six, Longest: six}); c.state.Epoch.Terms != want {
		t.Fatalf("after a minute: terms %s, want %s", c.state.Epoch.Terms, want)
	}
	c.dark["db1"], c.deaf["db1"] = true, true
	if took := c.until("db2", time.Minute); took > six.Over()+time.Second {
		t.Errorf("it still waits for the lease of before: %v", took)
	}
}

// TestLeaseOffAndOn: the lease is switched off for a while, in which the role moves, and on again. What was held before
// that is not held again.
func TestLeaseOffAndOn(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.restart(clusterOf(0, "db1", "db2"), c.state.Durable())
	c.pass(20 * time.Second)
	if !c.agents["db1"].Holds(c.now+1000*time.Hour) || !c.state.Endless {
		t.Fatal("the lease has not been taken away")
	}
	c.step("move_role", "writer", "db2")
	c.until("db2", 20*time.Second)
	c.restart(clusterOf(six, "db1", "db2"), c.state.Durable())
	c.pass(20 * time.Second)
	if left := c.agents["db2"].Left(c.now); left <= 0 || left > time.Duration(six) || c.state.Endless {
		t.Errorf("db2 has %v left, want a lease", left)
	}
	c.dark["db2"], c.deaf["db2"] = true, true
	c.until("db1", time.Minute)
}

// TestFirstLease: the monitor gets a lease while the writer, which never had one, can't be reached. The writer's role
// does not end by time: only kill_host frees it.
func TestFirstLease(t *testing.T) {
	c := begin(t, clusterOf(0, "db1", "db2"), Durable{Writer: "db1", Hosts: map[string]StoredHost{
		"db1": {State: Online, Roles: []RoleIP{writerIP}}, "db2": {State: Online}, "db3": {State: Online}}})
	// db1 holds the role without a lease
	c.agents["db1"] = lease.New("db1", "b", nil, lease.Saved{Epoch: Epoch{Number: 1, Holder: "db1"}, Taken: "b"}, 0, 0)
	saved := c.state.Durable()
	c.dark["db1"], c.deaf["db1"] = true, true
	c.restart(clusterOf(six, "db1", "db2"), saved)
	c.pass(time.Minute)
	if slices.Contains(c.holders(), "db2") || len(c.kills) == 0 {
		t.Fatalf("holders %v, kill_host asked for %v", c.holders(), c.kills)
	}
	var out Output
	c.agents["db1"] = lease.New("db1", "another", nil, lease.Saved{}, 0, c.now)
	c.state, out = MustStep(c.top, c.state, Input{Now: c.now, NetworkUp: true, Verdicts: c.verdicts(),
		Killed: []KillResult{{Host: "db1"}}})
	c.note(out)
	c.until("db2", 20*time.Second)
}

// TestEndlessThatOthersKnow: a monitor without a state hears from an agent of an epoch without a lease. Whoever holds
// the role by it holds it for ever, so that no time proves that it is free: the word of that host is waited for.
func TestEndlessThatOthersKnow(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.restart(clusterOf(0, "db1", "db2"), c.state.Durable())
	c.pass(20 * time.Second)
	if e := c.agents["db2"].Saved.Epoch; e.Holder != "db1" || e.Terms.Lease != 0 {
		t.Fatalf("db2 knows epoch %s %s", e, e.Terms)
	}
	c.dark["db1"], c.deaf["db1"] = true, true
	c.restart(clusterOf(six, "db1", "db2"), Durable{})
	c.pass(5 * time.Minute) // two holders end the test
	if h := c.holders(); !slices.Equal(h, []string{"db1"}) || !c.state.Endless {
		t.Fatalf("%v has the role", h)
	}
	c.dark["db1"], c.deaf["db1"] = false, false
	c.pass(20 * time.Second)
	if h := c.holders(); len(h) != 1 || c.state.Endless {
		t.Errorf("when db1 is back %v has the role, endless %v\n%s", h, c.state.Endless, strings.Join(c.events, "\n"))
	}
}

// TestLeaseWhileTheRoleLeaves: a cluster without a lease gets one, and its monitor is restarted, while the role is
// being taken from a host that can't be reached. That host may hold the role for ever, though the status file gives it
// none.
func TestLeaseWhileTheRoleLeaves(t *testing.T) {
	for _, reached := range []bool{false, true} {
		c := begin(t, clusterOf(0, "db1", "db2"), Durable{Writer: "db1", Hosts: map[string]StoredHost{
			"db1": {State: Online, Roles: []RoleIP{writerIP}}, "db2": {State: Online}, "db3": {State: Online}}})
		saved := c.state.Durable()
		saved.Hosts["db1"] = StoredHost{State: HardOffline}
		c.dark["db1"] = !reached
		c.restart(clusterOf(six, "db1", "db2"), saved)
		c.pass(5 * time.Minute)
		if h := c.holders(); (len(h) > 0) != reached || c.state.Endless != !reached {
			t.Errorf("reached %v: %v has the role, endless %v", reached, h, c.state.Endless)
		}
	}
}

// TestForceIsAWord: a dead host may hold the role without a lease. An operator's word that it is off (move_role
// --force) lets another host have the role.
func TestForceIsAWord(t *testing.T) {
	c := begin(t, clusterOf(0, "db1", "db2"), Durable{Writer: "db1", Hosts: map[string]StoredHost{
		"db1": {State: Online, Roles: []RoleIP{writerIP}}, "db2": {State: Online}, "db3": {State: Online}}})
	saved := c.state.Durable()
	c.dark["db1"], c.deaf["db1"] = true, true
	c.restart(clusterOf(six, "db1", "db2"), saved)
	c.pass(time.Minute)
	if len(c.holders()) > 0 {
		t.Fatalf("%v has the role", c.holders())
	}
	c.step("move_role", "--force", "writer", "db2")
	c.until("db2", 20*time.Second)
}

// TestForceFromTheUnreachable: a writer whose agent is dead and whose server answers is ONLINE. A forced move from it
// is no planned one: it waits for the end of the lease, and does not go back.
func TestForceFromTheUnreachable(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.dark["db1"], c.deaf["db1"], c.alive["db1"] = true, true, true
	c.pass(time.Second)
	h := c.state.Hosts["db2"]
	h.State = ReplicationFail
	c.state.Hosts["db2"] = h
	c.step("move_role", "--force", "writer", "db2")
	if st := c.state.Hosts["db1"].State; st != Online {
		t.Fatalf("db1 is %s", st)
	}
	c.until("db2", six.Over()+time.Second)
	if said := strings.Join(c.events, "\n"); strings.Contains(said, "stays on host 'db1': ") || len(c.kills) > 0 {
		t.Error(said)
	}
}

// TestFirstLeaseOfALivingWriter: a writer that holds the role without a lease is given one, and does not lose the role
// for a moment.
func TestFirstLeaseOfALivingWriter(t *testing.T) {
	c := begin(t, clusterOf(0, "db1", "db2"), Durable{})
	c.agents["db1"].Order(c.now, Epoch{Number: 1, Holder: "db1", Since: 1, Terms: Terms{Candidates: "db1,db2"}}, 0,
		Stamp{}, true)
	c.restart(clusterOf(six, "db1", "db2"), Durable{Epoch: c.agents["db1"].Saved.Epoch, Successors: "db1,db2",
		Endless: true, Writer: "db1"})
	for range 200 {
		c.step()
		if !slices.Equal(c.holders(), []string{"db1"}) {
			t.Fatalf("%v has the role\n%s", c.holders(), strings.Join(c.events, "\n"))
		}
	}
	if c.state.Endless || c.agents["db1"].Left(c.now) == lease.Forever {
		t.Error("it never got a lease")
	}
}

// TestNewCandidate: a host that becomes a candidate is not appointed because time has passed before the writer asks it
// for promises; later it is.
func TestNewCandidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		known time.Duration // how long before the cut the monitor knows it
		dark  bool          // the writer never hears of it
	}{{"the writer has never heard of it", 0, true}, {"decided, not yet heard", 100 * time.Millisecond, false},
		{"just heard", 300 * time.Millisecond, false}, {"long known", time.Minute, false}} {
		t.Run(c.name, func(t *testing.T) {
			b := settled(t, six, "db1", "db2")
			b.dark["db1"] = c.dark
			b.restart(clusterOf(six, "db1", "db2", "db3"), b.state.Durable())
			b.pass(c.known)
			// db1 goes on by the promise of db2, as far as it asks nobody else; the monitor reaches db3 alone.
			b.dark["db1"], b.dark["db2"] = true, true
			b.deaf["db3"] = true
			b.pass(time.Minute)
			switch {
			case c.dark && !slices.Equal(b.holders(), []string{"db1"}):
				t.Errorf("%v has the role, want db1", b.holders())
			case c.known > 200*time.Millisecond && slices.Equal(b.holders(), []string{"db1"}):
				t.Error("db1 goes on without the promise of db3")
			}
			clear(b.dark)
			clear(b.deaf)
			b.pass(time.Minute)
			if len(b.holders()) != 1 {
				t.Errorf("mended, %v has the role\n%s", b.holders(), strings.Join(b.events, "\n"))
			}
		})
	}
}

// TestCandidatesByReload: a change of the candidates moves nothing, and the writer holds the role all the time.
func TestCandidatesByReload(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	for _, candidates := range [][]string{{"db1", "db2", "db3"}, {"db1", "db3"}, {"db1"}, {"db1", "db2"}} {
		c.restart(clusterOf(six, candidates...), c.state.Durable())
		for range 300 {
			c.step()
			if !slices.Equal(c.holders(), []string{"db1"}) {
				t.Fatalf("%v: %v has the role\n%s", candidates, c.holders(), strings.Join(c.events, "\n"))
			}
		}
		if got := c.state.Epoch.Terms.Candidates; got != JoinHosts(candidates) || c.state.Successors != got {
			t.Errorf("candidates %s, successors %s, want %v", got, c.state.Successors, candidates)
		}
	}
}

// TestFormerCandidate: a host that is no candidate any more has no say in the role, and obeys orders.
func TestFormerCandidate(t *testing.T) {
	c := settled(t, six, "db1", "db2", "db3")
	c.restart(clusterOf(six, "db1", "db2"), c.state.Durable())
	c.pass(30 * time.Second)
	for _, o := range Orders(c.top, c.state) {
		if o.Host == "db3" && o.Epoch.Number != 0 {
			t.Errorf("db3 is told epoch %s", o.Epoch)
		}
	}
	if c.state.Epoch.Terms.Candidates != "db1,db2" {
		t.Errorf("candidates %s", c.state.Epoch.Terms.Candidates)
	}
}

// TestRoleStays: a planned move that fails prolongs the lease of the host that keeps the role, by the newest stamp of
// that host, which is echoed to it again.
func TestRoleStays(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.busy["db1"] = true
	c.step("move_role", "writer", "db2")
	c.pass(4 * time.Second)
	delete(c.busy, "db1")
	c.fails["db1"] = true
	for range 20 {
		if c.state.ActiveMaster(c.top) == "db1" {
			break
		}
		c.step()
	}
	if c.state.ActiveMaster(c.top) != "db1" {
		t.Fatal("the role does not stay\n" + strings.Join(c.events, "\n"))
	}
	delete(c.fails, "db1")
	o := Orders(c.top, c.state)[0]
	for _, o = range Orders(c.top, c.state) {
		if o.Host == "db1" { // the order reaches db1, and no answer comes back any more
			c.agents["db1"].Order(c.now, o.Epoch, o.Lease, c.state.Echo(c.top, o.Host, o.Epoch), false)
		}
	}
	c.dark["db1"], c.deaf["db1"] = true, true
	c.until("db2", time.Minute) // step looks for two holders
}

// TestErrorIsNotClassic: an agent of ours that answers an order with an error of the protocol, such as one that knows
// another name or secret, says nothing of leases, and is no original agent for that. One that obeys and says nothing of
// them is.
func TestErrorIsNotClassic(t *testing.T) {
	for _, ok := range []bool{false, true} {
		c := settled(t, six, "db1", "db2")
		c.plain["db1"], c.fails["db1"] = true, !ok
		c.pass(time.Second)
		if h := c.state.Hosts["db1"]; h.Classic != ok {
			t.Errorf("it obeys %v, and counts as an original agent: %v", ok, h.Classic)
		}
	}
}

// TestBusyIsNotClassic: an answer that says nothing about leases does not make its host one with an original agent.
func TestBusyIsNotClassic(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.mute["db1"] = true
	c.step()
	c.dark["db1"], c.deaf["db1"] = true, true
	for range 20 {
		c.step()
		for _, k := range c.kills {
			var out Output
			c.state, out = MustStep(c.top, c.state, Input{Now: c.now, NetworkUp: true, Verdicts: c.verdicts(),
				Killed: []KillResult{{Host: k.Host, Err: "exit status 1"}}})
			c.note(out)
		}
		c.kills = nil
	}
	if c.state.Hosts["db1"].Classic || len(c.state.Unprotected(c.top)) > 0 {
		t.Error("an agent that was busy once counts as an original one")
	}
	c.until("db2", time.Minute)
}

// TestStatePutBack: a monitor whose disk has lost the newest decisions does not revive the former writer.
func TestStatePutBack(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	old := c.state.Durable()
	c.dark["db1"], c.deaf["db1"] = true, true
	c.until("db2", time.Minute)
	c.pass(10 * time.Second)
	// db1 is back, and db2 can't be reached just when the monitor starts with what it had known before.
	clear(c.dark)
	c.dark["db2"], c.deaf["db1"] = true, false
	c.deaf["db2"] = true
	c.restart(clusterOf(six, "db1", "db2"), old)
	c.pass(time.Minute)
	clear(c.dark)
	clear(c.deaf)
	c.pass(time.Minute)
	if len(c.holders()) != 1 {
		t.Errorf("%v has the role\n%s", c.holders(), strings.Join(c.events, "\n"))
	}
}

// TestRestartWithoutAWriter: a monitor that had lost its state is restarted when all hosts have given their word and no
// host has been given the role yet. It then gives the role to one.
func TestRestartWithoutAWriter(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	top := clusterOf(six, "db2", "db3") // by the agents' epoch db1 may be the writer as well
	c.restart(top, Durable{})
	for range 600 {
		if c.state.Epoch.Holder == "" && !c.state.Epoch.Leaving && c.state.Epoch.Number > 1 {
			c.restart(top, c.state.Durable())
			c.until("db2", time.Minute)
			return
		}
		c.step()
	}
	t.Fatalf("every host has not given its word: %s\n%s", c.state.Epoch, strings.Join(c.events, "\n"))
}

// TestAllCandidatesReplaced: all candidates are replaced by other hosts, and the former ones are in no configuration
// any more. Nothing proves that none of those has the role: the monitor says so, and an operator's word is enough.
func TestAllCandidatesReplaced(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.dark["db1"], c.dark["db2"], c.deaf["db1"], c.deaf["db2"] = true, true, true, true
	c.pass(time.Second)
	top := clusterOf(six, "db3")
	top.Roles[0].Hosts = []string{"db3", "db4"}
	top.Hosts = append(slices.DeleteFunc(top.Hosts, func(h Host) bool { return h.Name != "db3" }),
		Host{Name: "db4", Master: true, Peer: "db3"})
	c.agents["db4"] = lease.New("db4", "b", []string{"db3", "db4"}, lease.Saved{}, 0, 0)
	c.restart(top, c.state.Durable())
	c.pass(10 * time.Second)
	c.nobody(time.Minute)
	if why, without := c.state.Exposed(top); !without || !strings.HasPrefix(why,
		"Nobody can be given role 'writer': only db1, db2 could say") {
		t.Errorf("it says %q", why)
	}
	c.step("move_role", "writer", "db3")
	if !strings.Contains(c.said, "db1, db2 may hold it, and the configuration has none of them any more") {
		t.Errorf("move_role: %q", c.said)
	}
	c.nobody(10 * time.Second)
	c.step("move_role", "--force", "writer", "db3")
	c.until("db3", time.Minute)
}

// TestRemovedHost: the writer's host is taken out of the configuration by a restart of the monitor while it can't be
// reached. Its lease is waited for, then another host is the writer, and the state does not name the former one any
// more.
func TestRemovedHost(t *testing.T) {
	c := settled(t, six, "db1", "db2")
	c.dark["db1"], c.deaf["db1"] = true, true
	c.pass(time.Second)
	top := clusterOf(six, "db2", "db3")
	top.Hosts = slices.DeleteFunc(top.Hosts, func(h Host) bool { return h.Name == "db1" })
	c.restart(top, c.state.Durable())
	c.until("db2", time.Minute)
	for range 50 {
		for _, k := range c.kills {
			var out Output
			c.state, out = MustStep(c.top, c.state, Input{Now: c.now, NetworkUp: true, Verdicts: c.verdicts(),
				Killed: []KillResult{{Host: k.Host, Err: "exit status 1"}}})
			c.note(out)
		}
		c.kills = nil
		c.step()
	}
	for name := range c.state.Durable().Hosts {
		if name == "db1" {
			t.Error("the status file has a line of a host that is not in the configuration")
		}
	}
	if !slices.Equal(c.holders(), []string{"db2"}) {
		t.Errorf("%v has the role", c.holders())
	}
}
