package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/identity"
	"mysql-mmm/pkg/mysqlctl"
	"mysql-mmm/pkg/replication"
)

// How often servers are asked who they are, and how long an answer may take.
const (
	learnPeriod    = 2 * time.Second  // between two looks for what is due
	askedAnew      = time.Minute      // after an answer: a server may be set up anew, a name may move
	triedAgain     = 10 * time.Second // after a failure
	saveTimeout    = time.Second
	resolveTimeout = 2 * time.Second
)

var errDiskHangs = errors.New("the disk hangs")

// Identities knows the server_id and server_uuid of all hosts' servers, so that the source of a replica is recognised
// by more than the text of its address, above all when the source is dead. It learns in its own goroutine, and answers
// without asking anybody. What it knows is kept in a file (state_path and ".servers"), since a dead server can't be
// asked after the agent's restart. The file has a line for each host: NAME|SERVER_ID|SERVER_UUID|ADDRESS,…, where
// ADDRESS is one at which this host's server has replicated from that host.
type Identities struct {
	path    string
	disk    Disk
	local   ReplicaStatus
	ask     func(ctx context.Context, host string) (id uint32, uuid string, err error)
	resolve func(ctx context.Context, name string) ([]netip.Addr, error)
	log     *slog.Logger

	known atomic.Pointer[identity.Known] // what it points to never changes

	// Only Run uses these:
	due     map[string]time.Time // when each host, or name, is to be asked for again
	saved   string               // what the file holds
	problem string               // with the file, as logged last; "": none

	writing chan struct{} // one slot, taken while the file is being written: the disk may hang
}

// NewIdentities makes Identities of a configuration; local is this host's server.
func NewIdentities(c *config.Config, local ReplicaStatus, log *slog.Logger) *Identities {
	ask := func(ctx context.Context, name string) (uint32, string, error) {
		h, _ := c.Host(name)
		s := mysqlctl.New(Account(c, h))
		defer s.Close() // a question each minute is not worth a connection that is kept
		return s.Identity(ctx)
	}
	resolve := func(ctx context.Context, name string) ([]netip.Addr, error) {
		return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	}
	a := &Identities{path: c.Local().StatePath + ".servers", disk: durable.Disk{}, local: local, ask: ask,
		resolve: resolve,
		log:     log, due: map[string]time.Time{}, writing: make(chan struct{}, 1)}
	k := identity.Known{Met: map[string]string{}, Resolved: map[string][]netip.Addr{}}
	for _, h := range c.Hosts {
		k.Hosts = append(k.Hosts, identity.Host{Name: h.Name, IP: h.IP, Port: h.MySQLPort})
	}
	a.known.Store(&k)
	return a
}

// String names the task.
func (a *Identities) String() string { return "server identities" }

// source names the configured host that a server with the status r replicates from, as far as is known. It asks nobody.
func (a *Identities) source(r mysqlctl.Replica) (name string, ok bool) {
	return a.known.Load().Of(identity.SourceOf(r))
}

// addresses are those that the text of a source's address stands for, as far as is known. It asks nobody.
func (a *Identities) addresses(source string) []netip.Addr { return a.known.Load().Addresses(source) }

// Run learns until ctx ends.
func (a *Identities) Run(ctx context.Context) error {
	if err := a.read(ctx); err != nil {
		a.log.Warn(fmt.Sprintf("Couldn't %v. Asking the servers", err))
	}
	ticker := time.NewTicker(learnPeriod)
	defer ticker.Stop()
	for {
		a.learn(ctx, time.Now())
		a.note(a.save(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// learn asks all servers that are due, at the same time, and resolves the name of this host's source where that is due.
func (a *Identities) learn(ctx context.Context, now time.Time) {
	next := a.known.Load().Clone()
	var mu sync.Mutex // guards next and a.due while the questions run
	var all sync.WaitGroup
	for _, h := range a.known.Load().Hosts {
		mu.Lock()
		early := now.Before(a.due[h.Name])
		mu.Unlock()
		if early {
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, 2*replication.PeerTimeout)
			defer cancel()
			id, uuid, err := a.ask(ctx, h.Name)
			mu.Lock()
			defer mu.Unlock()
			a.due[h.Name] = now.Add(triedAgain)
			if err == nil {
				next.Introduce(h.Name, id, uuid)
				a.due[h.Name] = now.Add(askedAnew)
			}
		})
	}
	asking, cancel := context.WithTimeout(ctx, queryTimeout)
	r, err := a.local.Replica(asking)
	cancel()
	mu.Lock()
	unresolved := err == nil && a.unresolved(r.SourceHost, now)
	mu.Unlock()
	if unresolved {
		all.Go(func() {
			found, ok := a.lookUp(ctx, r.SourceHost)
			mu.Lock()
			defer mu.Unlock()
			a.due["name "+r.SourceHost] = now.Add(triedAgain)
			if ok {
				a.due["name "+r.SourceHost] = now.Add(askedAnew)
				// this drops the names of former sources, which are of no use any more
				next.Resolved = map[string][]netip.Addr{r.SourceHost: found}
			}
		})
	}
	all.Wait()
	if err == nil {
		next.Meet(identity.SourceOf(r))
	}
	a.known.Store(&next)
}

// unresolved says whether the name of a source is to be resolved now, for the first time or anew.
func (a *Identities) unresolved(name string, now time.Time) bool {
	_, err := netip.ParseAddr(name)
	return err != nil && !now.Before(a.due["name "+name])
}

func (a *Identities) lookUp(ctx context.Context, name string) ([]netip.Addr, bool) {
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	found, err := a.resolve(ctx, name)
	return found, err == nil && len(found) > 0
}

// read loads the file. It waits for a disk that hangs for no longer than durable.ReadTimeout.
func (a *Identities) read(ctx context.Context) error {
	if err := durable.Within(ctx, a.load); err != nil {
		return fmt.Errorf("read the servers' ids (%s): %w", a.path, err)
	}
	return nil
}

// load reads the file. Lines about hosts that are not in the configuration any more are left out.
func (a *Identities) load() error {
	text, err := a.disk.ReadFile(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	next := a.known.Load().Clone()
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		if len(fields) != 4 {
			return errors.New("want NAME|SERVER_ID|SERVER_UUID|ADDRESS,… in each line")
		}
		id, err := strconv.ParseUint(fields[1], 10, 32)
		if err != nil {
			return fmt.Errorf("read SERVER_ID: %w", err)
		}
		i := slices.IndexFunc(next.Hosts, func(h identity.Host) bool { return h.Name == fields[0] })
		if i < 0 {
			continue
		}
		next.Hosts[i].ID, next.Hosts[i].UUID = uint32(id), fields[2]
		for address := range strings.SplitSeq(fields[3], ",") {
			if address != "" {
				next.Met[address] = fields[0]
			}
		}
	}
	a.saved = string(text)
	a.known.Store(&next)
	return nil
}

// note logs what is wrong with the file, once.
func (a *Identities) note(err error) {
	text := ""
	if err != nil {
		text = fmt.Sprintf("Couldn't save the servers' ids: %v", err)
	}
	if text != "" && text != a.problem && !errors.Is(err, context.Canceled) {
		a.log.Warn(text)
	}
	a.problem = text
}

// save writes what is known to the file, where the file says something else. It waits for a disk that hangs for no
// longer than saveTimeout.
func (a *Identities) save(ctx context.Context) error {
	k := a.known.Load()
	var b strings.Builder
	for _, h := range k.Hosts {
		var met []string
		for _, address := range slices.Sorted(maps.Keys(k.Met)) {
			if k.Met[address] == h.Name {
				met = append(met, address)
			}
		}
		fmt.Fprintf(&b, "%s|%d|%s|%s\n", h.Name, h.ID, h.UUID, strings.Join(met, ","))
	}
	text := b.String()
	if text == a.saved {
		return nil
	}
	select {
	case a.writing <- struct{}{}:
	default:
		return errDiskHangs
	}
	written := make(chan error, 1)
	go func() {
		defer func() { <-a.writing }()
		written <- a.disk.Replace(a.path, []byte(text))
	}()
	late := time.NewTimer(saveTimeout)
	defer late.Stop()
	select {
	case err := <-written:
		if err == nil {
			a.saved = text
		}
		return err
	case <-late.C:
		return errDiskHangs
	case <-ctx.Done():
		return nil
	}
}
