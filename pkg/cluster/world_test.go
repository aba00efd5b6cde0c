package cluster

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// lab is the small cluster of most tests: two masters, a slave, one writer and three reader addresses.
func lab() Topology {
	t := Topology{
		ActiveMasterRole: "writer", AutoSetOnline: 10 * time.Second, FlapDuration: time.Hour, FlapCount: 3,
		WaitForOtherMaster: 120 * time.Second, WriteTimeout: 10 * time.Second, Interruption: 10 * time.Second,
		CarefulStartup: true,
		ReleaseTimeout: 15 * time.Second, SwitchTimeout: 10 * time.Second, NetworkGrace: 17 * time.Second,
		Roles: []Role{
			{Name: "reader", Hosts: []string{"db1", "db2", "db3"},
				IPs: ips("10.77.0.101", "10.77.0.102", "10.77.0.103")},
			{Name: "writer", Exclusive: true, Hosts: []string{"db1", "db2"}, IPs: ips("10.77.0.100")},
		},
	}
	for i, peer := range []string{"db2", "db1", ""} {
		t.Hosts = append(t.Hosts, Host{Name: fmt.Sprintf("db%d", i+1),
			IP: netip.MustParseAddr(fmt.Sprintf("10.77.0.%d", 11+i)), Master: i < 2, Peer: peer})
	}
	return t
}

func ips(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, t := range texts {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

// world is a cluster around the brain: hosts with checks, and with agents that obey their orders unless a scenario
// makes them fail.
type world struct {
	t        Topology
	s        State
	now      time.Duration
	network  bool
	verdicts map[string]Verdicts
	agents   map[string]*simAgent
	killErr  string
	log      []string
	events   []Event
	behind   map[string]time.Duration
	answered map[string]time.Duration
	received map[string]time.Duration
}

type simAgent struct {
	mode string // up, down, stuck (keeps its addresses and says so), classic, busy
	have []RoleIP
	boot time.Duration // when its host was booted

	hidden  bool // its server answers this monitor, and no other host
	backup  string
	astray  bool
	stalled time.Duration // since when its server writes nothing; 0: it does

	embargo Embargo // the host that it replicates nothing more from, until an order trusts that host
	audit   Audit   // what it finds in its own log when told to look
	across  Audit   // what it finds in the log of the host of its embargo when told to look
}

func newWorld(t Topology) *world {
	w := &world{t: t, now: time.Second, network: true, verdicts: map[string]Verdicts{}, agents: map[string]*simAgent{},
		answered: map[string]time.Duration{}, received: map[string]time.Duration{}, killErr: "no kill_host program"}
	found := map[string]Found{}
	for _, h := range t.Hosts {
		w.verdicts[h.Name] = Verdicts{Ping: true, MySQL: true, RepThreads: true, RepBacklog: true}
		w.agents[h.Name] = &simAgent{mode: "up", boot: -1000 * time.Second}
		found[h.Name] = Found{Agent: &StoredHost{State: Unknown}, System: &SystemFound{}}
	}
	var out Output
	w.s, out = Start(t, Active, Durable{}, found, w.verdicts, w.now)
	w.note(out)
	w.settle()
	return w
}

func (w *world) note(out Output) {
	w.events = append(w.events, out.Events...)
	for _, e := range out.Events {
		if !e.Logged() {
			continue
		}
		w.log = append(w.log, fmt.Sprintf("%s %s", []string{" INFO", " WARN", "ERROR", "FATAL"}[e.Level], e.Text))
	}
}

// step feeds one input and runs kill_host where that is asked for.
func (w *world) step(in Input) Output {
	in.Now, in.NetworkUp, in.Verdicts = w.now, w.network, w.seen()
	var out Output
	before := w.s
	w.s, out = mustStep(w.t, w.s, in)
	if !mayOrder(before, w.s) && !slices.EqualFunc(Orders(w.t, before), Orders(w.t, w.s), Order.Equal) {
		panic("orders differ where nothing has changed that they are made of")
	}
	w.note(out)
	for _, k := range out.Kills {
		if w.killErr == "" {
			w.agents[k.Host].have = nil
		}
		w.step(Input{Killed: []KillResult{{Host: k.Host, Err: w.killErr}}})
	}
	return out
}

// seen are the verdicts, with the times at which each server last answered and last received.
func (w *world) seen() map[string]Verdicts {
	all := map[string]Verdicts{}
	for name, v := range w.verdicts {
		if v.MySQL {
			w.answered[name] = w.now
		}
		if v.MySQL && v.Lost == 0 {
			w.received[name] = w.now
		}
		v.Answered, v.Received = w.answered[name], w.received[name]
		all[name] = v
	}
	return all
}

// mustStep is Step, and panics where an event is missing for what has changed: see mustTell.
func mustStep(t Topology, s State, in Input) (State, Output) {
	next, out := Step(t, s, in)
	mustTell(s, next, out)
	return next, out
}

// mustTell: each change of a host's state, and each address that goes to another host, is an event that says from what
// what. An event has a text if the log has a line about it.
func mustTell(before, after State, out Output) {
	at := map[string]HostState{}
	holder := map[RoleIP]string{}
	for _, a := range before.Addresses {
		holder[a.RoleIP] = a.Holder
	}
	for name, h := range before.Hosts {
		at[name] = h.State
	}
	for _, e := range out.Events {
		wrong := false
		switch f := e.Fact.(type) {
		case StateChanged:
			wrong = at[e.Host] != f.From
			at[e.Host] = f.To
		case RoleLeaving:
			wrong = holder[f.Role] != f.From || e.Host != f.From
			holder[f.Role] = ""
		case RoleGiven:
			wrong = holder[f.Role] != "" || e.Host != f.To
			holder[f.Role] = f.To
		case RoleArrived:
			wrong = holder[f.Role] != f.To || e.Host != f.To
		}
		if wrong || e.Logged() != (e.Text != "") {
			panic(fmt.Sprintf("event %+v, but the states were %v and the holders %v", e, at, holder))
		}
	}
	for _, a := range after.Addresses {
		if a.Holder != holder[a.RoleIP] {
			panic(fmt.Sprintf("%s came from '%s' to '%s' without an event", a.RoleIP, holder[a.RoleIP], a.Holder))
		}
	}
	for name, h := range after.Hosts {
		if h.State != at[name] {
			panic(fmt.Sprintf("host %s came to %s without an event", name, h.State))
		}
	}
}

// settle delivers orders until nothing changes any more.
func (w *world) settle() {
	for range 20 {
		before := w.s.Seq
		for _, h := range w.t.Hosts {
			w.deliver(h.Name)
		}
		if w.s.Seq == before {
			return
		}
	}
	panic("it does not settle")
}

// deliver brings one host its present order.
func (w *world) deliver(host string) {
	for _, o := range Orders(w.t, w.s) {
		if o.Host == host && w.network {
			w.step(Input{Answers: []Answer{w.answer(o)}})
		}
	}
}

// answer lets the agent of a host carry out its order.
func (w *world) answer(o Order) Answer {
	a := w.agents[o.Host]
	ans := Answer{Host: o.Host, Seq: w.s.Seq, Reached: true, OK: true, Text: "OK: Status applied successfully!",
		Uptime: (w.now - a.boot).Seconds(), Extended: true}
	switch a.mode {
	case "down":
		return Answer{Host: o.Host, Seq: w.s.Seq, Text: "connection refused"}
	case "stuck":
		ans.OK, ans.Text, ans.Problems = false, "ERROR: stuck", []string{"Couldn't do it"}
	case "busy":
		ans.OK, ans.Busy = false, true
	case "classic":
		ans.Extended = false
		a.have = o.Roles
		return ans
	default:
		a.have = o.Roles
		if o.Lacks && w.agents[o.Switch.From].hidden {
			a.have = slices.DeleteFunc(slices.Clone(o.Roles),
				func(r RoleIP) bool { return r.Role == w.t.ActiveMasterRole })
			ans.OK, ans.Problems = false, []string{"Couldn't catch up: the server of '" + o.Switch.From +
				"' does not answer"}
		}
	}
	ans.Have = a.have
	if Trusts(o.Trust, a.embargo) {
		a.embargo = Embargo{}
	}
	ans.Embargo = a.embargo
	if o.Left != "" && a.audit.Done {
		ans.Audit = a.audit
		ans.Audit.At = o.Left
	}
	if Trusts(o.Across, a.embargo) && a.across.Done {
		ans.Across = Across{Host: a.embargo.Host, Audit: a.across}
		ans.Across.Audit.At = a.embargo.At
	}
	ans.Writable = slices.ContainsFunc(a.have, func(r RoleIP) bool { return r.Role == w.t.ActiveMasterRole })
	ans.Backup, ans.Astray = a.backup, a.astray
	if a.stalled > 0 {
		lasts := w.now - a.stalled
		ans.Writing = Writing{Stalled: lasts, Stall: fmt.Sprintf("connection 7 has waited %d s for its commit (Commit)",
			int(lasts.Seconds())), Fenced: !ans.Writable}
	}
	if a.mode == "up" && ans.Writable {
		ans.Switch = w.s.Switch
		ans.Switch.To, ans.Switch.After, ans.Switch.Start = o.Host, "bin.000001:100", "bin.000001:200"
	}
	return ans
}

// do runs one line of a scenario.
func (w *world) do(line string) string {
	w.log = nil
	words := strings.Fields(line)
	answer := ""
	switch words[0] {
	case "after":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			panic(err)
		}
		for end := w.now + d; w.now < end; {
			w.now = min(w.now+time.Second, end)
			w.step(Input{})
			w.settle()
		}
	case "check":
		v := w.verdicts[words[1]]
		good := words[3] == "good"
		switch words[2] {
		case "ping":
			v.Ping = good
		case "mysql":
			v.MySQL = good
		case "rep_threads":
			v.RepThreads, v.Lost = good, 0
			if !good {
				v.Lost = w.now
			}
		case "sql_thread":
			v.RepThreads, v.Stuck = good, !good
		case "rep_backlog":
			v.RepBacklog = good
		default:
			panic(line)
		}
		w.verdicts[words[1]] = v
		w.step(Input{})
	case "survey": // HOST from OTHER [gtid] [logs] [waits N] [acks]
		v := w.verdicts[words[1]]
		v.From, v.Surveyed = words[3], w.now
		v.GTID, v.Logs, v.Acks = slices.Contains(words, "gtid"), slices.Contains(words, "logs"),
			slices.Contains(words, "acks")
		if i := slices.Index(words, "waits"); i > 0 {
			n, err := strconv.Atoi(words[i+1])
			if err != nil {
				panic(err)
			}
			v.Waits, v.Ackers = true, n
		}
		w.verdicts[words[1]] = v
	case "stall": // HOST [over]
		if w.agents[words[1]].stalled = w.now; len(words) > 2 {
			w.agents[words[1]].stalled = 0
		}
	case "hidden": // HOST [over]
		w.agents[words[1]].hidden = len(words) == 2
	case "ended": // HOST: its server has ended, and is back
		v := w.verdicts[words[1]]
		v.Ended = w.now
		w.verdicts[words[1]] = v
		w.step(Input{})
	case "backup": // HOST [PROGRAM]
		w.agents[words[1]].backup = strings.Join(words[2:], " ")
	case "delay": // HOST SECONDS
		n, err := strconv.Atoi(words[2])
		if err != nil {
			panic(err)
		}
		v := w.verdicts[words[1]]
		v.Delay = time.Duration(n) * time.Second
		w.verdicts[words[1]] = v
		w.step(Input{})
	case "write_timeout":
		d, err := time.ParseDuration(words[1] + "s")
		if err != nil {
			panic(err)
		}
		w.t.WriteTimeout = d
	case "failover_loss":
		w.t.FailoverLoss = Loss(words[1])
	case "wait_for_other_master":
		d, err := time.ParseDuration(words[1] + "s")
		if err != nil {
			panic(err)
		}
		w.t.WaitForOtherMaster = d
	case "lag": // HOST DURATION, as the checks see it
		d, err := time.ParseDuration(words[2])
		if err != nil {
			panic(err)
		}
		v := w.verdicts[words[1]]
		v.Lag = d
		w.verdicts[words[1]] = v
		w.step(Input{})
	case "behind": // HOST DURATION
		d, err := time.ParseDuration(words[2])
		if err != nil {
			panic(err)
		}
		w.behind = map[string]time.Duration{words[1]: d}
	case "embargo": // HOST on OTHER at POSITION
		w.agents[words[1]].embargo = Embargo{Host: words[3], At: words[5]}
	case "audit": // HOST finds N...
		n, err := strconv.Atoi(words[3])
		if err != nil {
			panic(err)
		}
		w.agents[words[1]].audit = Audit{Done: true, Beyond: n}
		if n > 0 {
			w.agents[words[1]].audit.Finding = fmt.Sprintf("it has %d transactions that nobody else has", n)
		}
	case "across": // HOST finds N...
		n, err := strconv.Atoi(words[3])
		if err != nil {
			panic(err)
		}
		w.agents[words[1]].across = Audit{Done: true, Beyond: n}
		if n > 0 {
			w.agents[words[1]].across.Finding = fmt.Sprintf("it has %d transactions that nobody else has", n)
		}
	case "orders":
		text := ""
		for _, o := range Orders(w.t, w.s) {
			text += fmt.Sprintf("%s: left %q, trust %q, forced %v", o.Host, o.Left, o.Trust, o.Forced)
			if o.Cut {
				text += ", cut"
			}
			if o.Lacks {
				text += ", lacks"
			}
			if o.Across != "" {
				text += fmt.Sprintf(", across %q", o.Across)
			}
			text += "\n"
		}
		return text
	case "agent":
		w.agents[words[1]].mode = words[2]
	case "auto_set_online":
		d, err := time.ParseDuration(words[1] + "s")
		if err != nil {
			panic(err)
		}
		w.t.AutoSetOnline = d
	case "reboot":
		w.agents[words[1]].boot = w.now
	case "network":
		w.network = words[1] == "up"
		w.step(Input{})
	case "kill_host":
		w.killErr = map[bool]string{true: "", false: "exit status 1"}[words[1] == "works"]
	case "show":
		return Show(w.t, w.s)
	case "switch":
		return fmt.Sprintf("%+v\n", w.s.Switch)
	default:
		up := map[string]bool{}
		for name, a := range w.agents {
			up[name] = a.mode != "down"
		}
		out := w.step(Input{Command: &Command{Words: words, AgentUp: up, Behind: w.behind}})
		answer = strings.TrimSuffix(out.Answer, "\n") + "\n"
		w.settle()
		if out.Move != nil {
			text, decided := out.Move.Outcome(w.s)
			answer = text + "\n"
			if !decided {
				answer = "(still under way)\n"
			}
		}
	}
	w.settle()
	var b strings.Builder
	for _, l := range w.log {
		b.WriteString(l + "\n")
	}
	return b.String() + answer
}
