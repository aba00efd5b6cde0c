// Histories lets clients append to lists and read them through the writer's address while pairs of faults strike a real
// cluster, and has a checker decide whether what they saw is linearizable.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/test/lab"
)

func main() { os.Exit(lab.Main(run)) }

// limit is how long the checker may think about one list.
const limit = time.Minute

// ackTimeout is longer than a pair of faults lasts, so that the writer does not fall back to asynchronous replication
// while they last. It has a price: in a ring of masters each commit of a replica waits itself for an acknowledgement of
// its source. Where that never comes, as on a host that was set up anew, the replica stands still until this timeout.
const ackTimeout = 45 * time.Second

// mode is one way of replicating.
type mode struct {
	name    string
	options lab.Options
	prepare func(ctx context.Context, c *lab.Cluster) error // nil: nothing is to be done
	control bool                                            // a control: the checker must find something wrong
	faults  []lab.Fault                                     // nil: the usual ones
	once    *lab.Fault                                      // strikes once, alone; nil: random pairs of faults
}

func (m mode) usual() bool { return m.faults == nil && m.once == nil }

func modes() []mode {
	var list []mode
	for _, kind := range []string{"", "mysql-9.7"} {
		server := map[bool]string{true: "MariaDB", false: "MySQL"}[kind == ""]
		semiSync := lab.Options{Server: kind, AckTimeout: ackTimeout, AckAlways: true}
		position, async := semiSync, semiSync
		position.Position, async.Async = true, true
		unheard := []lab.Fault{lab.Unheard()}
		views, cut := lab.TwoViews(), lab.PowerCut()
		leased, alone := semiSync, lab.Options{Server: kind, Async: true, Disk: true}
		leased.SecondClient, leased.AckAlways = true, false // the successor has nobody who acknowledges
		unleased := leased
		unleased.Lease = -1
		list = append(list,
			mode{name: server + " semi-sync GTID", options: semiSync},
			mode{name: server + " semi-sync position", options: position},
			mode{name: server + " async GTID", options: async},
			mode{name: server + " unheard", options: semiSync, faults: unheard},
			mode{name: server + " unheard, AFTER_COMMIT", options: semiSync, faults: unheard, control: true,
				prepare: afterCommit},
			mode{name: server + " unheard, async, losses kept", options: async, faults: unheard, control: true},
			mode{name: server + " two views", options: leased, once: &views},
			mode{name: server + " two views, no lease", options: unleased, once: &views, control: true},
			mode{name: server + " power cut", options: alone, once: &cut},
			mode{name: server + " power cut, sync_binlog=0", options: alone, once: &cut, prepare: lazily,
				control: true})
	}
	return list
}

// afterCommit makes the masters wait for acknowledgements after the commit (AFTER_COMMIT): other clients see a row
// before a replica has it.
func afterCommit(ctx context.Context, c *lab.Cluster) error {
	word := "master"
	if c.Server != "" {
		word = "source"
	}
	var errs []error
	for _, n := range c.DBs[:2] {
		errs = append(errs, n.Server.Exec(ctx, "SET GLOBAL rpl_semi_sync_"+word+"_wait_point=AFTER_COMMIT"))
	}
	return errors.Join(errs...)
}

// lazily lets the writer db1 acknowledge transactions that are not on its disk yet.
func lazily(ctx context.Context, c *lab.Cluster) error {
	return c.DBs[0].Server.Exec(ctx, "SET GLOBAL sync_binlog=0", "SET GLOBAL innodb_flush_log_at_trx_commit=2")
}

func run(ctx context.Context) int {
	runs := flag.Int("runs", 1, "how many clusters of each mode")
	lasts := flag.Duration("for", 5*time.Minute, "how long faults strike each cluster")
	only := flag.String("mode", "", "only modes with this `text` in their name")
	controls := flag.Bool("controls", false,
		"only modes that the checker must find wrong, and those with the same faults that it must not")
	seed := flag.Uint64("seed", uint64(time.Now().Unix()),
		"of the random faults in the first of the runs; each further run has the next number")
	keep := flag.String("keep", "", "`folder` for the logs of clusters with something wrong")
	told := flag.Bool("v", false, "tell each pair of faults on standard error")
	flag.Parse()
	trace := io.Discard
	if *told {
		trace = os.Stderr
	}
	fmt.Printf("%-30s %8s %6s %8s %8s %8s %6s %6s\n", "", "seed", "pairs", "appends", "unknown", "reads", "lost",
		"aside")
	status := 0
	for i := range *runs {
		for _, m := range modes() {
			wanted := strings.Contains(strings.ToLower(m.name), strings.ToLower(*only)) && m.usual() != *controls
			if !wanted || ctx.Err() != nil {
				continue
			}
			r := &trial{mode: m, seed: *seed + uint64(i), lasts: *lasts, trace: trace}
			if *keep != "" {
				r.keep = filepath.Join(*keep, strings.ReplaceAll(fmt.Sprint(m.name, r.seed), " ", "-"))
			}
			r.run(ctx)
			fmt.Println(r)
			if len(r.wrong) > 0 || (len(r.found) > 0) != m.control {
				status = 1
			}
			for _, text := range slices.Concat(r.wrong, r.found) {
				fmt.Fprintln(os.Stderr, "    "+text)
			}
		}
	}
	return status
}

// trial is one run of a mode: a cluster with its clients.
type trial struct {
	mode
	seed  uint64
	lasts time.Duration
	keep  string // folder for its logs; "": none
	trace io.Writer

	history history
	pairs   int
	aside   int      // how often a host was set aside and set up anew
	wrong   []string // what has kept the trial from its end, or should not have happened in it
	found   []string // what the checker has found wrong
}

// String is the trial's row of the table.
func (r *trial) String() string {
	appended, unknown, read := 0, 0, len(r.history.readers)
	for _, op := range r.history.operations {
		switch {
		case op.unknown:
			unknown++
		case op.value != "":
			appended++
		default:
			read++
		}
	}
	verdict := map[bool]string{true: "NOT LINEARIZABLE", false: "linearizable"}[len(r.found) > 0]
	switch {
	case len(r.wrong) > 0:
		verdict = "WRONG"
	case r.control:
		verdict = map[bool]string{true: "found wrong, as it must be", false: "NOT FOUND"}[len(r.found) > 0]
	}
	return fmt.Sprintf("%-30s %8d %6d %8d %8d %8d %6d %6d %s",
		r.name, r.seed, r.pairs, appended, unknown, read, len(r.history.lost), r.aside, verdict)
}

func (r *trial) run(ctx context.Context) {
	o := r.options
	o.Bin, o.AutoSetOnline, o.TrapPeriod, o.Lease = os.Getenv("MMM_BIN"), 1, time.Second, cmp.Or(o.Lease, 3)
	o.FastFailover, o.Mon = true, "flap_count 0"
	c, err := lab.New(ctx, o)
	if err != nil {
		r.fail("%v", err)
		return
	}
	defer func() {
		if err := c.Close(); err != nil {
			r.fail("take the cluster away: %v", err)
		}
	}()
	if err := r.on(ctx, c); err != nil {
		r.fail("%v", err)
	}
	if r.history.final != nil {
		r.found = r.history.verdict(limit)
	}
	if len(r.wrong)+len(r.found) > 0 && r.keep != "" {
		if err := errors.Join(c.Keep(r.keep), r.history.keep(filepath.Join(r.keep, "history.txt"))); err != nil {
			r.fail("keep the logs: %v", err)
		}
	}
}

func (r *trial) fail(format string, args ...any) {
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// on lets clients work on a cluster while faults strike it, and notes what they saw and what the lists are in the end.
func (r *trial) on(ctx context.Context, c *lab.Cluster) error {
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := c.StartAll(starting); err != nil {
		return err
	}
	if r.prepare != nil {
		if err := r.prepare(starting, c); err != nil {
			return err
		}
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	work := &clients{cluster: c, began: time.Now()}
	ended := make(chan error, 1)
	go func() { ended <- work.run(working, []string{"10.77.0.101", "10.77.0.102", "10.77.0.103"}) }()
	r.history.lost, r.history.vanished = map[string]struct{}{}, map[string]struct{}{}
	if r.once != nil {
		err := r.strike(ctx, c)
		stop()
		err = errors.Join(err, <-ended)
		// The reads by the readers' addresses don't count: this fault may leave the hosts of those behind.
		r.history.operations, r.history.readers = work.operations, nil
		return errors.Join(err, r.ending(ctx, c))
	}
	faults := r.faults
	if faults == nil {
		faults = lab.Faults()
	}
	d, err := c.Disturb(ctx, faults, r.lasts, rand.New(rand.NewPCG(r.seed, 1)), r.trace, r.lose(c))
	stop()
	if e := <-ended; err == nil {
		err = e
	}
	r.history.operations, r.history.readers = work.operations, work.readers
	r.pairs, r.aside, r.wrong = d.Pairs, len(d.Aside), append(r.wrong, d.Wrong...)
	if err != nil {
		return err
	}
	level, cancel := context.WithTimeout(ctx, 2*ackTimeout)
	defer cancel()
	final, err := c.WaitLists(level)
	if err != nil {
		return err
	}
	r.end(final)
	return nil
}

// end notes the lists that the servers have in the end.
func (r *trial) end(lists map[int64]string) {
	r.history.final = map[int64][]string{}
	for id, text := range lists {
		r.history.final[id] = split(text)
	}
}

// strike lets the one fault strike. The clients work for 5 s before it, 12 s during it and 5 s after it.
func (r *trial) strike(ctx context.Context, c *lab.Cluster) error {
	r.pairs = 1
	for _, step := range []func() error{
		func() error { return pass(ctx, 5*time.Second) },
		func() error { return r.once.Strike(c) },
		func() error { return pass(ctx, 12*time.Second) },
		func() error { return r.once.Mend(c) },
		func() error { return pass(ctx, 5*time.Second) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ending notes the lists that the writer has in the end. Other hosts don't count: they may have been left behind, or
// have transactions of their own.
func (r *trial) ending(ctx context.Context, c *lab.Cluster) error {
	return lab.Wait(ctx, "a writer", func() (bool, string) {
		show, _, err := c.Control(ctx, "show")
		w := c.Writer(show)
		if err != nil || w == nil {
			return false, show + fmt.Sprint(err)
		}
		lists, err := w.Server.Lists(ctx)
		if err != nil {
			return false, err.Error()
		}
		r.end(lists)
		return true, ""
	})
}

// lose returns a function that notes the values that a host which is set aside (old) has and the writer (now) lacks. Of
// a former writer there must be exactly as many as `show` names transactions, unless `show` says that nobody could look
// yet. Nobody was told that they are there; but a slave may have got them before the writer's peer, or from a former
// writer that went on after another host had taken over, and shown them to readers (docs/replication.md).
func (r *trial) lose(c *lab.Cluster) func(ctx context.Context, old, now *lab.Node) error {
	return func(ctx context.Context, old, now *lab.Node) error {
		audit, err := audited(ctx, c, old.Name)
		if err != nil {
			return err
		}
		slave := old != c.DBs[0] && old != c.DBs[1]
		only, err := onlyOn(ctx, old, now, audit.At)
		if err != nil {
			return err
		}
		if !slave && audit.Looked && len(only) != audit.Beyond {
			r.fail("`show` names %d transactions that only %s has, but it has %d: %v", audit.Beyond, old.Name, len(only),
				only)
			return nil
		}
		noted := r.history.vanished
		if r.options.Async && !r.control && !slave {
			noted = r.history.lost
		}
		for _, v := range only {
			noted[v] = struct{}{}
		}
		return nil
	}
}

// onlyOn lists the values that old has and now lacks: in its tables, and in its binary log from the place at on, where
// that is known. What replication brings from now replaces in the tables what only old had there.
func onlyOn(ctx context.Context, old, now *lab.Node, at string) ([]string, error) {
	var log []byte
	if at != "" {
		var err error
		if log, err = old.Server.Logged(at); err != nil {
			return nil, err
		}
	}
	had, err := old.Server.Lists(ctx)
	if err != nil {
		return nil, err
	}
	have, err := now.Server.Lists(ctx) // after the others: what old has got from there is there
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, text := range have {
		for _, v := range split(text) {
			there[v] = true
		}
	}
	only := map[string]bool{}
	for _, text := range had {
		for _, v := range split(text) {
			only[v] = !there[v]
		}
	}
	for _, v := range valueForm.FindAllString(string(log), -1) {
		only[v] = !there[v]
	}
	maps.DeleteFunc(only, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(only)), nil
}

// valueForm is what a value looks like (clients.go), so that it is found between other bytes.
var valueForm = regexp.MustCompile(`\([0-9]+\.[0-9]+\)`)

// patience is how long a former writer that is back may take to look into its log. It can't while its server hangs, or
// while its commits wait for acknowledgements that don't come.
const patience = 10 * time.Second

// audited is what `show` says of the log of a former writer that is back. It waits until somebody has looked. The zero
// Finding, as one that was looked at, stands for a host that is no former writer.
func audited(ctx context.Context, c *lab.Cluster, host string) (found cluster.Finding, err error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_ = lab.Wait(waiting, host+" to look into its log", func() (bool, string) {
		found = cluster.Finding{Looked: true}
		text, _, asked := c.Control(waiting, "show", "--json")
		if asked != nil {
			return false, asked.Error()
		}
		var view cluster.View
		if err = json.Unmarshal([]byte(text), &view); err != nil {
			err = fmt.Errorf("read what show says: %w: %s", err, text)
			return true, ""
		}
		for _, h := range view.Hosts {
			if h.Name == host && h.Audit != nil {
				found = *h.Audit
			}
		}
		return found.Looked, "not yet"
	})
	return found, err
}
