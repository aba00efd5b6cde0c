package bubble

import (
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/wire"
)

// Ablation is a rule of the lease that a world leaves out, to show that the rule is needed. R1 to R14 are the rules in
// docs/design.md, "Never two writers". The programs keep to the rules: the world around them makes one worth nothing,
// by changing what they say to each other, or what they read.
type Ablation struct {
	Echo           bool // R1: the agent finds in an order, as the echoed moment, the moment at which the order arrives
	Wait           bool // R6: the monitor counts a shorter lease than the agents are given
	Numbers        bool // R2: agents take older epochs
	Promise        bool // R5: a promise is answered in the name of an agent that is not asked, and so does not keep it
	PromiseAtStart bool // R5: an agent that starts believes that it started an hour ago
	Slack          bool // K: agents are given leases that are longer by K, as if no time were reckoned for the kernel
	Lifetime       bool // R8: addresses stay for ever
	BootID         bool // R1: every boot has the same id
	Gone           bool // R5: whichever host is gone, the epoch names the one to which its holder has promised
	Saved          bool // R2: the monitor's disk says that it has written before it has
	OwnTerms       bool // R2: instead of an epoch's terms each agent reads those of its own configuration
	Settled        bool // R12: a monitor that starts reads in its file that nobody has a lease longer than the present
	Endless        bool // R13: a monitor that starts reads in its file that nobody may hold the role without a lease
	Heard          bool // R14: agents that the monitor can't reach seem to answer that they know no epoch
	Ignorance      bool // R14: a monitor that finds no status file reads one that says that nobody had the role
	Close          bool // R9: a server that is to be closed for writes says that it is, and stays open
	Fit            bool // nobody asks what a host lacks: failover_loss is "any"
	Adds           bool // R8: the kernel adds an address that is to be renewed, where it has ended

	state *rewritten
}

// rewritten is what an ablation remembers of the lines that it changes.
type rewritten struct {
	gone   map[uint64]string                   // by the number of the epoch: the host that agents hear is gone
	was    map[uint64]string                   // and the host that the monitor says is gone
	local  map[string]map[uint64]uint64        // by host: its own number of each epoch, by the monitor's number
	top    map[string]uint64                   // by host: the highest of its own numbers
	last   map[string]uint64                   // by host: the monitor's number of the epoch that it heard of last
	epochs map[uint64]cluster.Epoch            // the epochs as the monitor has them
	terms  map[string]map[uint64]cluster.Terms // by host: the terms that it has read in each epoch
	// settled are the epochs of which a monitor has read that nobody has a longer lease. The answers of agents say so
	// too.
	settled map[uint64]bool
}

func (a *Ablation) prepare() {
	a.state = &rewritten{gone: map[uint64]string{}, was: map[uint64]string{}, local: map[string]map[uint64]uint64{},
		top: map[string]uint64{}, last: map[string]uint64{}, epochs: map[uint64]cluster.Epoch{},
		terms: map[string]map[uint64]cluster.Terms{}, settled: map[uint64]bool{}}
}

// rewrites says whether agents are sent other epochs than the monitor has decided.
func (a Ablation) rewrites() bool { return a.Gone || a.Numbers || a.Saved || a.OwnTerms || a.Settled }

// request changes a line on its way to an agent. Where answer is not "" it is returned to the asker, and the agent is
// not asked.
func (a Ablation) request(w *World, from string, to *host, line string) (changed, answer string) {
	if !a.Echo && !a.Wait && !a.Slack && !a.Promise && !a.rewrites() {
		return line, ""
	}
	req, err := wire.ParseRequest(line)
	if err != nil {
		return line, ""
	}
	switch req.Command {
	case wire.SetStatus:
		if o, err := wire.ParseOrder(req); err == nil && o.Lease > 0 {
			a.order(w, to, &o)
			return wire.OrderRequest(to.name, o).String(), ""
		}
	case wire.PeerStatus:
		q, err := wire.ParseQuestion(req)
		if err != nil {
			return line, ""
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if a.Promise && !to.kernel.has(writerIP) {
			return line, wire.Answer{Text: wire.PromisedText, Uptime: 1000}.String()
		}
		if a.OwnTerms {
			q.Epoch.Terms = a.state.own(to, q.Epoch)
			return q.Request(to.name).String(), ""
		}
		if a.Numbers {
			q.Epoch.Number, q.Epoch.Since = a.state.to(to.name, a.state.from(from, q.Epoch.Number)),
				a.state.to(to.name, a.state.from(from, q.Epoch.Since))
			return q.Request(to.name).String(), ""
		}
	}
	return line, ""
}

// order changes an order on its way to an agent.
func (a Ablation) order(w *World, to *host, o *cluster.Order) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if a.Echo && o.Echo != (cluster.Stamp{}) {
		o.Echo.At = to.clock.now()
	}
	if (a.Wait || a.Slack) && o.Epoch.Terms.Lease > 0 {
		o.Lease, o.Epoch.Terms = o.Epoch.Terms.Lease, cluster.Terms{} // as a version of the monitor that knows no terms
	}
	if a.OwnTerms && o.Epoch.Number > 0 {
		a.state.epochs[o.Epoch.Number] = o.Epoch
		o.Epoch.Terms = a.state.own(to, o.Epoch)
		o.Lease = o.Epoch.Terms.Lease
	}
	if a.Wait {
		o.Lease = w.brain.setup.lease
	}
	if a.Slack {
		o.Lease += cluster.Lease(1250 * time.Millisecond)
	}
	if a.Gone {
		n := o.Epoch.Number
		if _, known := a.state.gone[n]; !known {
			a.state.gone[n], a.state.was[n] = o.Epoch.Gone, o.Epoch.Gone
			if v := w.vows[o.Epoch.Holder]; o.Epoch.Gone != "" && v.to != "" {
				a.state.gone[n] = v.to
			}
		}
		o.Epoch.Gone = a.state.gone[n]
	}
	if a.Numbers {
		n := o.Epoch.Number
		a.state.epochs[n] = o.Epoch
		if a.state.last[to.name] != n {
			delete(a.state.numbers(to.name), n)
		}
		if a.state.last[to.name] > n {
			w.note("network", "%s takes epoch %d for a new one", to.name, n)
		}
		a.state.last[to.name] = n
		o.Epoch.Since = a.state.to(to.name, o.Epoch.Since)
		o.Epoch.Number = a.state.to(to.name, n)
	}
}

// answer changes an agent's answer on its way back.
func (a Ablation) answer(w *World, to string, by *host, answer, line string) string {
	if !a.Gone && !a.Numbers && !a.OwnTerms && !a.Settled {
		return answer
	}
	ans, err := wire.ParseAnswer(answer)
	if err != nil {
		return answer
	}
	req, err := wire.ParseRequest(line)
	if err != nil {
		return answer
	}
	back := func(e cluster.Epoch) cluster.Epoch {
		w.mu.Lock()
		defer w.mu.Unlock()
		if a.Numbers {
			e = a.state.epochs[a.state.from(by.name, e.Number)]
		}
		if original, known := a.state.epochs[e.Number]; known && a.OwnTerms {
			e.Terms = original.Terms
		}
		if a.state.settled[e.Number] {
			e.Terms.Longest = e.Terms.Lease
		}
		if was, known := a.state.was[e.Number]; known {
			e.Gone = was
		}
		return e
	}
	switch req.Command {
	case wire.SetStatus:
		if r := wire.ParseReport(ans); r.Extended && r.Epoch.Number > 0 {
			r.Epoch = back(r.Epoch)
			ans.Fields = r.Fields()
		}
	case wire.GetAgentStatus:
		if s, err := wire.ParseAgentStatus(ans); err == nil {
			s.Epoch = back(s.Epoch)
			ans.Fields = s.Fields()
		}
	}
	return ans.String()
}

// own are the terms of a host's configuration at the time at which it first heard of an epoch. The zero Terms stay:
// they are those of a version that knows no terms.
func (r *rewritten) own(h *host, e cluster.Epoch) cluster.Terms {
	if e.Terms == (cluster.Terms{}) {
		return e.Terms
	}
	if r.terms[h.name] == nil {
		r.terms[h.name] = map[uint64]cluster.Terms{}
	}
	if _, known := r.terms[h.name][e.Number]; !known {
		own := cluster.Terms{Candidates: cluster.JoinHosts(h.setup.candidates), Lease: h.setup.lease,
			Longest: h.setup.lease}
		r.terms[h.name][e.Number] = own
	}
	return r.terms[h.name][e.Number]
}

// stored changes what a monitor that starts reads in its status file (package store). The line of the terms is
// #terms|CANDIDATES;LEASE;LONGEST|SUCCESSORS|ENDLESS, where ENDLESS says whether somebody may hold the role without a
// lease.
func (a Ablation) stored(text string) string {
	if a.Ignorance && text == "" {
		return "#epoch|1,,1,0,\n#terms|db1,db2,db3;1000;1000|db1,db2,db3|0\n"
	}
	if !a.Settled && !a.Endless {
		return text
	}
	lines := strings.SplitAfter(text, "\n")
	var e cluster.Epoch
	for i, line := range lines {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		if len(f) == 2 && f[0] == "#epoch" {
			e, _ = cluster.ParseEpoch(f[1])
		}
		if len(f) != 4 || f[0] != "#terms" {
			continue
		}
		terms := strings.Split(f[1], ";")
		if a.Settled && len(terms) == 3 {
			a.state.settled[e.Number] = true
			terms[2] = terms[1]
			f[1], f[2] = strings.Join(terms, ";"), terms[0]
		}
		if a.Endless {
			f[3] = "0"
		}
		lines[i] = strings.Join(f, "|") + "\n"
	}
	return strings.Join(lines, "")
}

// instead is the made-up answer of an agent that the monitor can't reach; ok is false where there is none.
func (a Ablation) instead(from, line string) (answer string, ok bool) {
	req, err := wire.ParseRequest(line)
	if !a.Heard || err != nil || from != monitorName || req.Command != wire.GetAgentStatus {
		return "", false
	}
	nothing := wire.AgentStatus{State: cluster.AwaitingRecovery}
	return wire.Answer{Text: "OK: Returning status!", Uptime: 1000, Fields: nothing.Fields()}.String(), true
}

// numbers are a host's own numbers of epochs, by the monitor's.
func (r *rewritten) numbers(host string) map[uint64]uint64 {
	if r.local[host] == nil {
		r.local[host] = map[uint64]uint64{}
	}
	return r.local[host]
}

// to is a host's own number of the epoch that the monitor calls n: a new, higher one where the host has none yet.
func (r *rewritten) to(host string, n uint64) uint64 {
	m := r.numbers(host)
	if m[n] == 0 {
		r.top[host]++
		m[n] = r.top[host]
	}
	return m[n]
}

// from is the monitor's number of the epoch that a host calls n; 0: there is none.
func (r *rewritten) from(host string, n uint64) uint64 {
	for number, local := range r.numbers(host) {
		if local == n {
			return number
		}
	}
	return 0
}
