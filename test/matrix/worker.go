package main

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mysql-mmm/test/lab"
)

// workerFlag makes this process a worker: it has a cluster, reads cells from standard input and writes results to
// standard output, each a line of JSON.
const workerFlag = "worker"

// cell is one trial to make.
type cell struct {
	State string
	Fault string
	Heal  time.Duration
}

// result is what came of the trial of a cell.
type result struct {
	Number int // of the cell
	lab.Trial
	Failed string // why there was no trial
}

func (r result) good() bool { return r.Failed == "" && r.Verdict == "" }

// String is the result's row of the table.
func (r result) String() string {
	if r.Failed != "" {
		return fmt.Sprintf("%-25s %-25s %3.0f s  NO TRIAL: %s", r.Fault, r.State, r.Heal.Seconds(), r.Failed)
	}
	return r.Trial.String()
}

// manner is how all trials are made.
type manner struct {
	classic bool
	keep    string
}

func (m *manner) flags(set *flag.FlagSet) {
	set.BoolVar(&m.classic, "classic", false, "without a lease, as MMM 2.2")
	set.StringVar(&m.keep, "keep", "", "a folder for the logs of cells that are not good")
}

func (m *manner) arguments() []string {
	return []string{fmt.Sprintf("-classic=%t", m.classic), "-keep=" + m.keep}
}

// worker has one cluster at a time, on which it makes the trials of several cells of the same state.
type worker struct {
	manner
	cluster *lab.Cluster
	state   string // that the cluster was made for
}

// work is a worker's process.
func work(ctx context.Context) int {
	var w worker
	set := flag.NewFlagSet("worker", flag.ExitOnError)
	set.Bool(workerFlag, true, "")
	w.flags(set)
	if err := set.Parse(os.Args[1:]); err != nil {
		return 2
	}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() && ctx.Err() == nil {
		var c cell
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			fmt.Fprintln(os.Stderr, "matrix:", err)
			return 1
		}
		if err := out.Encode(w.try(ctx, c)); err != nil {
			return 1
		}
	}
	return 0
}

// try makes one trial: on the worker's cluster, or on a new one where it has none, or one for another state. A cluster
// that can't be brought back to what it was in the beginning is taken away afterwards.
func (w *worker) try(ctx context.Context, c cell) result {
	states, faults := lab.States(), lab.Faults()
	s := states[slices.IndexFunc(states, func(s lab.State) bool { return s.Name == c.State })]
	f := faults[slices.IndexFunc(faults, func(f lab.Fault) bool { return f.Name == c.Fault })]
	ctx, cancel := context.WithTimeout(ctx, c.Heal+3*time.Minute)
	defer cancel()
	none := lab.Trial{State: c.State, Fault: c.Fault, Heal: c.Heal}
	if err := w.prepare(ctx, s); err != nil {
		w.discard()
		return result{Trial: none, Failed: line(err)}
	}
	t, err := w.cluster.TryIn(ctx, s, f, c.Heal)
	if w.keep != "" && (err != nil || t.Verdict != "") {
		name := fmt.Sprintf("%s-%s-%g", c.State, c.Fault, c.Heal.Seconds())
		name = strings.NewReplacer(" ", "_", "'", "").Replace(name)
		if err := w.cluster.Keep(filepath.Join(w.keep, name)); err != nil {
			fmt.Fprintln(os.Stderr, "matrix:", err)
		}
	}
	if err != nil {
		w.discard()
		return result{Trial: t, Failed: line(err)}
	}
	if s.Fresh && t.Writer != "db1" || w.cluster.Refresh(ctx) != nil {
		w.discard()
	}
	return result{Trial: t}
}

// prepare makes a cluster for a state and waits until it is whole, unless the worker has one for this state.
func (w *worker) prepare(ctx context.Context, s lab.State) error {
	if w.cluster != nil && w.state == s.Name {
		return nil
	}
	w.discard()
	o := lab.Options{Bin: os.Getenv("MMM_BIN"), AutoSetOnline: 1, TrapPeriod: time.Second, FastFailover: true,
		Lease: 3, Mon: "flap_count 0"}
	if w.classic {
		o.Lease = -1
	}
	if s.Options != nil {
		s.Options(&o)
	}
	var err error
	if w.cluster, err = lab.New(ctx, o); err != nil {
		return err
	}
	w.state = s.Name
	return w.cluster.StartAll(ctx)
}

func (w *worker) discard() {
	if w.cluster == nil {
		return
	}
	if err := w.cluster.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "matrix: take a cluster away:", err)
	}
	w.cluster = nil
}

// line is an error as one line of at most 300 bytes: an error of the lab may have pages of logs.
func line(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return text[:min(len(text), 300)]
}
