// Soak lets real clusters of two masters and two slaves fail over and move their writer again and again under load, in
// every way of replicating, and prints what became of the data.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mysql-mmm/test/lab"
)

func main() { os.Exit(lab.Main(run)) }

// mode is one way of replicating.
type mode struct {
	name string
	lab.Options
}

func modes() []mode {
	var list []mode
	for _, server := range []string{"", "mysql-9.7"} {
		for _, position := range []bool{true, false} {
			for _, async := range []bool{false, true} {
				name := map[bool]string{true: "MySQL", false: "MariaDB"}[server != ""] +
					map[bool]string{true: " position", false: " GTID"}[position] +
					map[bool]string{true: " async", false: " semi-sync"}[async]
				list = append(list, mode{name, lab.Options{Server: server, Position: position, Async: async}})
			}
		}
	}
	return list
}

func run(ctx context.Context) int {
	n := flag.Int("n", 50, "how many failovers and how many moves in each mode")
	only := flag.String("mode", "", "only modes with this `text` in their name")
	keep := flag.String("keep", "", "`folder` for the logs of modes with something wrong")
	told := flag.Bool("v", false, "tell each step on standard error")
	flag.Parse()
	fmt.Printf("%-28s %9s %5s %8s %5s %6s %5s %19s %19s %s\n", "", "failovers", "moves", "acked", "lost", "named",
		"aside", "gap median, max ms", "moves: median, max", "")
	status := 0
	for _, m := range modes() {
		if !strings.Contains(strings.ToLower(m.name), strings.ToLower(*only)) || ctx.Err() != nil {
			continue
		}
		var trace io.Writer = io.Discard
		if *told {
			trace = os.Stderr
		}
		folder := ""
		if *keep != "" {
			folder = filepath.Join(*keep, strings.ReplaceAll(m.name, " ", "-"))
		}
		s := soak(ctx, m.Options, *n, trace, folder)
		verdict := "good"
		if len(s.Wrong) > 0 {
			verdict, status = "WRONG", 1
		}
		fmt.Printf("%-28s %9d %5d %8d %5d %6d %5d %19s %19s %s\n", m.name, s.Failovers, s.Moves, s.Acked, s.Lost,
			s.Named, len(s.Aside), spread(s.Gaps), spread(s.MoveGaps), verdict)
		if s.Restarted > 0 {
			fmt.Fprintf(os.Stderr, "    %d I/O threads acknowledged nothing before they were started again\n",
				s.Restarted)
		}
		if s.Hung > 0 {
			fmt.Fprintf(os.Stderr,
				"    %d threads of MariaDB hung and were freed by turning semi-synchronous replication off and on\n",
				s.Hung)
		}
		for _, text := range slices.Concat(s.Aside, s.Wrong) {
			fmt.Fprintln(os.Stderr, "    "+text)
		}
	}
	return status
}

// soak makes a cluster for one mode and returns what became of it. Where something is wrong the logs are copied into
// folder, unless that is "".
func soak(ctx context.Context, o lab.Options, n int, trace io.Writer, folder string) *lab.Soak {
	o.Bin, o.Slaves, o.AutoSetOnline, o.TrapPeriod, o.Lease, o.FastFailover = os.Getenv("MMM_BIN"), 2, 1, time.Second,
		3, true
	o.Mon = "flap_count 0"         // the same hosts die again and again here
	o.AckTimeout = 2 * time.Second // so that a busy machine does not make the writer asynchronous
	c, err := lab.New(ctx, o)
	if err != nil {
		return &lab.Soak{Wrong: []string{err.Error()}}
	}
	defer c.Close()
	starting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s := &lab.Soak{}
	if err = c.StartAll(starting); err == nil {
		s, err = c.Soak(ctx, n, trace)
	}
	if err != nil {
		s.Wrong = append(s.Wrong, err.Error())
	}
	if len(s.Wrong) > 0 && folder != "" {
		if err := c.Keep(folder); err != nil {
			s.Wrong = append(s.Wrong, err.Error())
		}
	}
	return s
}

// spread is the median and the longest of the gaps, in milliseconds.
func spread(gaps []time.Duration) string {
	if len(gaps) == 0 {
		return "-"
	}
	slices.Sort(gaps)
	return fmt.Sprintf("%d, %d", gaps[len(gaps)/2].Milliseconds(), gaps[len(gaps)-1].Milliseconds())
}
