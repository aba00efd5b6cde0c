// Package replication brings the local server's replication into line with the orders: which source it follows, from
// which place in the source's log, and what it still has to execute before it is opened for writes
// (docs/replication.md). It knows servers and their logs, and nothing of addresses, firewalls or leases.
package replication

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
)

const levelFatal = slog.Level(12) // as in pkg/daemon

// PeerTimeout bounds a question to another host's server: a dead server must not hold up the new writer.
const PeerTimeout = time.Second

// Server is the local database server.
type Server interface {
	Following
	OwnLog
}

// Disk keeps the small files that outlive an agent (package durable).
type Disk interface {
	ReadFile(path string) ([]byte, error)
	Replace(path string, content []byte) error
}

// Config is what a Replication is made of.
type Config struct {
	Host      string       // this host's name
	Slave     bool         // this host is a slave: it follows whoever is the writer
	Addresses []netip.Addr // the addresses of the roles: nobody is to replicate from those
	// Writer says whether an order makes this host the writer.
	Writer  func(o cluster.Order) bool
	Local   Server
	Peers   Peers
	Sources func(host string) (Source, bool) // how this host replicates from another
	// Patience bounds the fetching of what other hosts have received of a dead writer ("catch_up_timeout").
	Patience time.Duration
	Appliers Appliers // of the local server; nil: nobody can tell whether they are at work
	Dumps    Dumps    // nil: the connections by which a former writer replicates from this host are left alone
	// HangUp ends this host's TCP connections to an address and returns how many it has ended; nil: they are left
	// alone.
	HangUp    func(ctx context.Context, to netip.AddrPort) (int, error)
	Disk      Disk
	StatePath string // the notes are kept in files beside this one; "": they don't outlive the agent
	Log       *slog.Logger
}

// Replication is the local server's part in the cluster's replication.
type Replication struct {
	follower *follower
	catchUp  catchUp
	embargo  *embargo
	progress *atomic.Pointer[string]
	log      *slog.Logger
}

// New makes a Replication and starts nothing.
func New(c Config) *Replication {
	e := newEmbargo("", c.Disk, func(host string) bool { _, _, ok := c.Peers.ByName(host); return ok })
	stop := &stopped{disk: c.Disk}
	if c.StatePath != "" {
		e.path, stop.path = c.StatePath+".embargo", c.StatePath+".stopped"
	}
	progress := &atomic.Pointer[string]{}
	return &Replication{
		follower: newFollower(c, e, stop),
		catchUp: catchUp{self: c.Host, local: c.Local, own: c.Local, peers: c.Peers, sources: c.Sources, embargo: e,
			patience: c.Patience, appliers: c.Appliers, dumps: c.Dumps, connections: c.HangUp, log: c.Log,
			stopping: &sync.WaitGroup{}, progress: progress},
		embargo:  e,
		progress: progress,
		log:      c.Log,
	}
}

// Load reads the notes of the agent that ran before this one. It is called before anything else. A note that can't be
// read is logged, and counts as if there were none.
func (r *Replication) Load(ctx context.Context) {
	if err := durable.Within(ctx, r.embargo.load); err != nil {
		r.log.Log(ctx, levelFatal,
			fmt.Sprintf("Couldn't read from which former writer nothing may be replicated: %v. Going on as if there were none", err))
	}
	r.follower.stopped.load(ctx, r.log)
}

// Run carries the orders out that Follow is given, until ctx ends.
func (r *Replication) Run(ctx context.Context) error {
	return r.follower.Run(ctx)
}

// Wait returns when everything that CatchUp left running has ended. It is called after Run and CatchUp have returned.
func (r *Replication) Wait() { r.catchUp.stopping.Wait() }

// Follow hands over the newest order; only one goroutine may call it. The channel is closed when the replication has
// been brought into line with the order, when that has failed, or when it was given up for a newer order.
func (r *Replication) Follow(o cluster.Order) <-chan struct{} { return r.follower.want(o) }

// CatchUp executes what the former writer has written, as far as that can be had, and returns the places in both logs
// at which this host takes over. An error says why this host must not be opened for writes.
func (r *Replication) CatchUp(ctx context.Context, o cluster.Order) (cluster.Switch, error) {
	return r.catchUp.run(ctx, o)
}

// State is what the agent reports of the replication.
type State struct {
	Problem string // what is wrong; "" for nothing
	Embargo cluster.Embargo
	Audit   cluster.Audit  // what was found in the own log
	Across  cluster.Across // what was found in the log of a former writer whose agent can't look
	Astray  bool           // this server has executed transactions that the writer lacks
}

// State returns the present state; any goroutine may call it.
func (r *Replication) State() State {
	f := r.follower
	return State{Problem: f.problem(), Embargo: r.embargo.get(), Audit: *f.audit.Load(), Across: *f.across.Load(),
		Astray: f.astray.Load()}
}

// Progress says, for people, what CatchUp waits for; "" while it waits for nothing.
func (r *Replication) Progress() string {
	if text := r.progress.Load(); text != nil {
		return *text
	}
	return ""
}
