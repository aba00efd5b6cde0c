// Package replication brings the local server's replication into line with the orders: whom it follows, from where in
// that one's log, and what it still has to execute before it is opened for writes (docs/replication.md). It knows
// servers and their logs, and nothing of addresses, firewalls or leases.
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

// PeerTimeout bounds a question to another host's server: one that is dead must not hold up the new writer.
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
	Slave     bool         // it follows the active master
	Addresses []netip.Addr // the cluster's virtual ones: nobody is to replicate from those
	// Writer says whether an order makes this host the writer.
	Writer  func(o cluster.Order) bool
	Local   Server
	Peers   Peers
	Sources func(host string) (Source, bool) // how this host replicates from another
	// for fetching what others have received of a dead writer ("catch_up_timeout")
	Patience time.Duration
	Dumps    Dumps // nil: those of a former writer are left alone
	// HangUp ends this host's TCP connections to an address; nil: they end by themselves.
	HangUp    func(ctx context.Context, to netip.AddrPort) (int, error)
	Disk      Disk
	StatePath string // its notes are beside this file; "": nothing is kept
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
			patience: c.Patience, dumps: c.Dumps, connections: c.HangUp, log: c.Log, stopping: &sync.WaitGroup{},
			progress: progress},
		embargo:  e,
		progress: progress,
		log:      c.Log,
	}
}

// Load reads what a former agent noted, before anything else is called. What can't be read is logged, and counts as
// nothing.
func (r *Replication) Load(ctx context.Context) {
	if err := durable.Within(ctx, r.embargo.load); err != nil {
		r.log.Log(ctx, levelFatal,
			fmt.Sprintf("Couldn't read from whom nothing may be replicated: %v. Going on as if from nobody", err))
	}
	r.follower.stopped.load(ctx, r.log)
}

// Run follows whom the newest order names until ctx ends.
func (r *Replication) Run(ctx context.Context) error {
	return r.follower.Run(ctx)
}

// Wait returns when all that Run and CatchUp have begun has ended; both have returned before.
func (r *Replication) Wait() { r.catchUp.stopping.Wait() }

// Follow hands over the newest order; only one goroutine may call it. The channel is closed when the replication has
// been brought into line with it, or that has failed.
func (r *Replication) Follow(o cluster.Order) <-chan struct{} { return r.follower.want(o) }

// CatchUp executes what the writer before this host has written, as far as it can be had, and returns where this host
// takes over. An error says why it must not be opened.
func (r *Replication) CatchUp(ctx context.Context, o cluster.Order) (cluster.Switch, error) {
	return r.catchUp.run(ctx, o)
}

// State is what there is to report.
type State struct {
	Problem string // what is wrong; "" for nothing
	Embargo cluster.Embargo
	Audit   cluster.Audit  // of the own log
	Across  cluster.Across // of a former writer's log, whose agent can't look
	Astray  bool           // this server has executed what the writer lacks
}

// State is how things are now; any goroutine may ask.
func (r *Replication) State() State {
	f := r.follower
	return State{Problem: f.problem(), Embargo: r.embargo.get(), Audit: *f.audit.Load(), Across: *f.across.Load(),
		Astray: f.astray.Load()}
}

// Progress says what the catching up waits for; "" while it does not.
func (r *Replication) Progress() string {
	if text := r.progress.Load(); text != nil {
		return *text
	}
	return ""
}
