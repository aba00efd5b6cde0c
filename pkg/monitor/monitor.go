package monitor

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"mysql-mmm/pkg/agentclient"
	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/history"
	"mysql-mmm/pkg/store"
)

const (
	tick          = 250 * time.Millisecond // for what the state machine does because of time alone
	saveTimeout   = time.Second            // orders wait for the status file this long, those with a new epoch longer
	repeatWarning = 10 * time.Second
	levelFatal    = slog.Level(12) // as in pkg/daemon
)

// Checks are the checks to run: each calls emit after each of its probes.
type Checks struct {
	Registry check.Registry // what Hosts checks
	Network  func(doubt <-chan struct{}, emit func(up bool)) Task
	Hosts    func(emit func(check.Update)) []Task
	Servers  func(emit func(Surveyed)) []Task // surveys of the servers; nil: none
	// Lasting is how long a finding that a move of a role can cause must last before people are warned of it.
	Lasting time.Duration
	// Brief sets whether each question to a host's server gets a connection of its own, which is closed after the
	// answer. nil: connections are always kept.
	Brief func(host string, brief bool)
}

// Task is something that runs until its context ends.
type Task interface {
	Run(ctx context.Context) error
}

// Config is what a Monitor is made of.
type Config struct {
	Topology   cluster.Topology
	Mode       cluster.Mode // to start in
	StatusPath string       // the status file's, for people too
	Store      Store
	KillBin    string // kill_host program, absolute
	// Kill switches a host off; nil: by running KillBin.
	Kill       func(ctx context.Context, k cluster.Kill) cluster.KillResult
	AgentPorts map[string]int
	Agents     agentclient.Asker
	Repeats    agentclient.Asker // for orders that are repeated, which nobody waits for; nil: Agents
	Checks     Checks
	// Links are what the addresses of the roles are pinged by (Echo; nil: they are not), and what a new configuration is
	// tried with before a reload.
	Links   Links
	PingIPs []netip.Addr // the addresses that Checks.Network pings, to name them in messages
	// Behind asks how far a host's replication is behind; 0 where that is not known.
	Behind   func(ctx context.Context, host string) time.Duration
	Warnings []string // about the configuration, logged at start
	// Known are results of checks from before the start. The start waits for all other checks to run once.
	Known []check.Update
	// After is the monitor that this one takes over from; its Run must have returned before that of the new one begins.
	// nil: none.
	After       *Monitor
	History     *history.Book // nil: in memory only
	Observer    Observer      // nil: nobody
	Cluster     string        // the cluster's name in events; "" for none
	Subscribers []Subscriber  // who hears of events
	Approver    Approver      // who is asked before planned moves; nil: nobody
	Log         *slog.Logger
}

// Store keeps what must outlive the monitor (package store). A reload makes a new Store of the same place; its Run
// begins when that of the one before has returned. CONTRIBUTING.md says what it takes to add one.
type Store interface {
	// Load returns what was saved last, with warnings about the parts of it that can't be read. known says whether the
	// configuration has a host of that name.
	Load(known func(host string) bool) (cluster.Durable, []string, error)
	// Save asks for d to be kept. It does not wait for that. It returns the number of this save, which rises, and
	// whether d differs from what was to be saved before. The owner alone calls it.
	Save(d cluster.Durable) (number uint64, changed bool)
	// Saved tells the number of the newest save that is kept, or why it could not be kept. No agent hears of a decision
	// about the writer before it is kept (docs/design.md, "Never two writers").
	Saved() <-chan store.Saved
	// Run does the work until ctx ends. Where this process ceases to be the one that decides, Run returns an error, which
	// ends the process.
	Run(ctx context.Context) error
}

// Snapshot is the state as everybody but the owner sees it. A Snapshot never changes; the owner publishes a newer one.
type Snapshot struct {
	State      cluster.State
	checkTable checkTable
	remarks    map[checkKey]string
	history    []history.Record
	at         time.Time
	changed    chan struct{} // closed when there is a newer one
}

// Monitor is one cluster's monitor.
type Monitor struct {
	cfg      Config
	agents   map[string]*agentclient.Client
	answers  chan cluster.Answer
	updates  chan check.Update
	network  chan bool
	doubt    chan struct{} // one slot: a host has become suspect, and this monitor's own network is to be checked now
	killed   chan cluster.KillResult
	commands chan command
	seen     chan reachability
	surveys  chan Surveyed
	store    Store
	snapshot atomic.Pointer[Snapshot]
	awaited  atomic.Pointer[string] // what the start waits for, for messages
	begin    time.Time              // the zero of the monitor's clock
}

// command is an operator's command on its way to the owner.
type command struct {
	asked cluster.Command
	reply chan cluster.Output
}

// New makes a Monitor and starts nothing.
func New(c Config) *Monitor {
	if c.Kill == nil {
		c.Kill = func(ctx context.Context, k cluster.Kill) cluster.KillResult { return killHost(ctx, c.KillBin, k) }
	}
	m := &Monitor{
		cfg:      c,
		agents:   map[string]*agentclient.Client{},
		answers:  make(chan cluster.Answer),
		updates:  make(chan check.Update),
		network:  make(chan bool),
		doubt:    make(chan struct{}, 1),
		killed:   make(chan cluster.KillResult),
		commands: make(chan command),
		seen:     make(chan reachability),
		surveys:  make(chan Surveyed),
		store:    c.Store,
		begin:    time.Now(),
	}
	if m.cfg.History == nil {
		m.cfg.History = history.Open("", c.Log)
	}
	if m.cfg.Observer == nil {
		m.cfg.Observer = unobserved{}
	}
	m.connectAgents()
	return m
}

// String names the task.
func (m *Monitor) String() string { return "monitor" }

// now is the monitor's clock. It is never 0, as a time of 0 in a State means "before this monitor began".
func (m *Monitor) now() time.Duration { return time.Since(m.begin) + 1 }

// Run monitors until ctx ends. It leaves all roles where they are when it returns.
func (m *Monitor) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return m.cfg.Checks.Network(m.doubt, send(ctx, m.network)).Run(ctx) })
	group.Go(func() error { return m.own(ctx, group) })
	group.Go(func() error { return m.cfg.History.Run(ctx) })
	if m.cfg.Links.Echo != nil {
		v := vipProbe{monitor: m, echo: m.cfg.Links.Echo, missing: map[netip.Addr]bool{}}
		group.Go(func() error { return v.Run(ctx) })
	}
	return group.Wait()
}

// send makes an emit function that gives up when ctx ends.
func send[T any](ctx context.Context, to chan<- T) func(T) {
	return func(v T) {
		select {
		case to <- v:
		case <-ctx.Done():
		}
	}
}

// owner is the state of the one goroutine that decides.
type owner struct {
	m          *Monitor
	group      *errgroup.Group
	state      cluster.State
	checkTable checkTable
	good       map[string]cluster.Verdicts // what the check table says of each host; made anew when a verdict changes
	up         bool                        // this monitor's own network is up
	pending    *pending
	sent       uint64 // Seq of the orders that are out
	clear      bool   // the next orders are to be followed by CLEAR_BAD_ROLES

	out        map[string]cluster.Order // what every agent is being told
	outSeq     uint64
	savedEpoch cluster.Epoch // the epoch that was last handed to the store
	suspects   *suspects
	refused    map[string]bool // hosts whose server's port refused the newest connection
	lags       map[string]time.Duration
	received   *receptions
	told       map[string]cluster.Verdicts // the verdicts that the brain was given in the newest step

	surveys  map[string]Surveyed // newest of each host
	notices  notices
	warnings []string
	remarks  map[checkKey]string
}

func (m *Monitor) own(ctx context.Context, group *errgroup.Group) error {
	o := &owner{m: m, group: group, out: map[string]cluster.Order{}, suspects: newSuspects(m.cfg.Topology.NetworkGrace),
		refused: map[string]bool{}, lags: map[string]time.Duration{}, received: newReceptions(m.cfg.Topology),
		surveys: map[string]Surveyed{}, notices: notices{grace: m.cfg.Checks.Lasting}}
	for _, c := range m.agents {
		group.Go(func() error { return c.Run(ctx) })
	}
	out, ok := o.start(ctx)
	if !ok {
		return nil
	}
	group.Go(func() error { return m.store.Run(ctx) })
	if m.cfg.Checks.Servers != nil {
		for _, t := range m.cfg.Checks.Servers(send(ctx, m.surveys)) {
			group.Go(func() error { return t.Run(ctx) })
		}
	}
	o.settle(ctx, out, true)
	ticker := time.NewTicker(m.tick())
	defer ticker.Stop()
	for {
		in := cluster.Input{}
		var cmd *command
		select {
		case <-ctx.Done():
			return nil
		case u := <-m.updates:
			if o.note(u); !o.news(u.Host) {
				continue
			}
		case a := <-m.answers:
			in.Answers = []cluster.Answer{a}
		case k := <-m.killed:
			m.cfg.Observer.Killed(k.Host, k.Err == "")
			in.Killed = []cluster.KillResult{k}
		case up := <-m.network:
			o.seeNetwork(up)
		case c := <-m.commands:
			cmd, in.Command = &c, &c.asked
		case s := <-m.store.Saved():
			o.saved(s)
			continue
		case w := <-m.seen:
			in.ReachedBy = o.suspects.receive(w)
		case s := <-m.surveys:
			o.survey(s)
		case <-ticker.C:
			o.overdue()
			o.question(ctx)
			o.look()
		}
		out := o.step(ctx, in)
		for _, a := range in.Answers {
			o.refresh(a.Host)
			o.disturbLess(a.Host)
		}
		if cmd != nil {
			cmd.reply <- out
		}
	}
}

// disturbLess sees to it that no connections to the server of an original agent are kept: with blocking_type soft such
// an agent waits until all clients are gone before it gives the writer role up, and this monitor is one of the clients.
func (o *owner) disturbLess(host string) {
	if o.m.cfg.Checks.Brief != nil {
		o.m.cfg.Checks.Brief(host, o.state.Hosts[host].Classic)
	}
}

// seeNetwork takes in whether this monitor's own network is up.
func (o *owner) seeNetwork(up bool) {
	o.up = up
	if up {
		o.suspects.up = time.Now()
	}
}

// note puts the result of a check into the check table.
func (o *owner) note(u check.Update) {
	logCheck(o.m.cfg.Log, u)
	o.m.cfg.Observer.Probed(u)
	o.recordCheck(u)
	o.checkTable = o.checkTable.with(u)
	if o.suspects.note(u) {
		select {
		case o.m.doubt <- struct{}{}:
		default: // a check of the network is due already
		}
	}
	o.received.note(u, keptOut(o.state.Hosts[u.Host]), o.m.now())
	if u.Name == check.MySQL && u.Result.Refused != o.refused[u.Host] {
		o.refused[u.Host] = u.Result.Refused
		o.good = nil
		if order, ok := o.out[u.Host]; ok && u.Result.Refused && o.m.cfg.Topology.FastFailover {
			o.m.agents[u.Host].Post(o.message(order)) // the agent's answer says whether the server's process is gone
		}
	}
	if u.Name == check.RepBacklog && u.Result.Lag != o.lags[u.Host] {
		o.lags[u.Host] = u.Result.Lag
		o.good = nil
	}
	if u.Change != check.None || o.good == nil || o.good[u.Host] == (cluster.Verdicts{}) {
		o.good = o.checkTable.verdicts(o.m.cfg.Checks.Registry, o.m.cfg.Topology)
		for host, v := range o.good {
			v.Refused, v.Lag = o.refused[host], o.lags[host]
			o.good[host] = v
		}
	}
}

// verdicts returns what the brain is told of all hosts now.
func (o *owner) verdicts() map[string]cluster.Verdicts {
	all := make(map[string]cluster.Verdicts, len(o.good))
	for host := range o.good {
		all[host] = o.verdict(host)
	}
	return all
}

func (o *owner) verdict(host string) cluster.Verdicts {
	v := o.suspects.judge(host, o.good[host])
	v.Reception = o.received.of[host]
	return v
}

// news says whether the brain has to be told of a host before the next tick. Most checks find what the checks before
// them found. Where nothing but the times of the newest answers has changed the next tick is soon enough.
func (o *owner) news(host string) bool {
	now, told := o.verdict(host), o.told[host]
	for _, v := range []*cluster.Verdicts{&now, &told} {
		v.Answered, v.Received, v.Surveyed = 0, 0, 0
	}
	return now != told
}

// step gives in to the brain, keeps the state that the brain returns, and does what the decision asks for.
func (o *owner) step(ctx context.Context, in cluster.Input) cluster.Output {
	in.Now, in.NetworkUp, in.Verdicts = o.m.now(), o.up, o.verdicts()
	in.Warnings, o.told = o.warnings, in.Verdicts
	last := o.state
	var out cluster.Output
	o.state, out = cluster.Step(o.m.cfg.Topology, last, in)
	o.recordStep(out)
	o.expose(ctx, out.Exposure)
	o.settle(ctx, out, o.state.Seq != last.Seq || o.state.Switch != last.Switch || o.state.Epoch != last.Epoch ||
		len(out.Events) > 0 || out.Save)
	return out
}

// settle does what a decision asks for, in this order: log, start kill_host, save, publish, send orders. changed is
// false where a step, as most do, has changed nothing that is worth saving.
func (o *owner) settle(ctx context.Context, out cluster.Output, changed bool) {
	for _, e := range out.Events {
		if e.Logged() {
			o.m.cfg.Log.Log(ctx, levelOf(e.Level), e.Text)
		}
	}
	for _, k := range out.Kills {
		o.group.Go(func() error {
			send(ctx, o.m.killed)(o.m.cfg.Kill(ctx, k))
			return nil
		})
	}
	o.clear = o.clear || out.Clear
	if changed {
		o.save()
	}
	o.publish()
	o.sendOrders()
}

func levelOf(l cluster.Level) slog.Level {
	switch l {
	case cluster.Info:
		return slog.LevelInfo
	case cluster.Warn:
		return slog.LevelWarn
	case cluster.Error:
		return slog.LevelError
	case cluster.Fatal:
		return levelFatal
	}
	panic(fmt.Sprintf("impossible level %d", l))
}

// sendOrders posts every agent its order, if the orders have changed and the decisions that they follow from are saved.
func (o *owner) sendOrders() {
	if o.pending != nil || o.state.Seq == o.sent && !o.clear && o.state.NetworkUp {
		return
	}
	orders := cluster.Orders(o.m.cfg.Topology, o.state)
	if !o.state.NetworkUp {
		orders = nil
		o.sent = 0 // so that all orders are sent again when the network is back
	} else {
		o.sent = o.state.Seq
	}
	if orders == nil {
		o.withdraw()
		return
	}
	o.outSeq = o.state.Seq
	for _, order := range orders {
		o.out[order.Host] = order
		message := o.message(order)
		message.Clear = o.clear
		o.m.agents[order.Host].Post(message)
	}
	o.clear = false
}

// withdraw stops sending orders, because nothing is decided now. The writer alone is sent its order as before, which
// vouches for it: its lease must not run out because an operator wants the monitor to be passive, or because the
// addresses in ping_ips don't answer.
func (o *owner) withdraw() {
	for name, c := range o.m.agents {
		if order, told := o.out[name]; told && order.Epoch == o.state.Epoch && order.Epoch.Grants(name) {
			continue
		}
		delete(o.out, name)
		c.Post(agentclient.Message{})
	}
}

// message makes the message that carries order. It echoes the newest stamp of the order's host if the rules of the
// lease allow that.
func (o *owner) message(order cluster.Order) agentclient.Message {
	order.Extended, order.Seq, order.Echo = true, o.outSeq, o.state.Echo(o.m.cfg.Topology, order.Host, order.Epoch)
	return agentclient.Message{Order: &order}
}

// refresh lets the next renewal of a host's order echo the newest stamp of that host. It does so also while newer
// orders wait for the disk.
func (o *owner) refresh(host string) {
	order, told := o.out[host]
	if !told || order.Lease == 0 && order.Epoch.Number == 0 {
		return
	}
	message := o.message(order)
	message.Repeat = true
	o.m.agents[host].Post(message)
}

func (o *owner) publish() {
	next := &Snapshot{State: o.state, checkTable: o.checkTable, remarks: o.allRemarks(),
		history: o.m.cfg.History.Records(), at: time.Now(), changed: make(chan struct{})}
	if old := o.m.snapshot.Swap(next); old != nil {
		close(old.changed)
	}
}
