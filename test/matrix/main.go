// Matrix lets every fault strike a real cluster under load in every state that it may be in, mends it, and prints what
// became of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"mysql-mmm/test/lab"
)

func main() {
	if lab.Inside() || slices.Contains(os.Args, "-"+workerFlag) {
		os.Exit(lab.Main(work))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	status := run(ctx)
	stop()
	os.Exit(status)
}

func run(ctx context.Context) int {
	fault := flag.String("fault", "", "only faults with this `text` in their name")
	state := flag.String("state", "", "only states with this `text` in their name")
	seconds := flag.String("seconds", "10", "how many seconds a fault lasts; a list (1,10,30) tries one after the other")
	clusters := flag.Int("clusters", 3, "how many clusters at once: they wait more than they compute")
	var how manner
	how.flags(flag.CommandLine)
	flag.Parse()
	times, err := durations(*seconds)
	if err != nil {
		fmt.Fprintln(os.Stderr, "matrix:", err)
		return 2
	}
	var cells []cell
	for _, s := range lab.States() {
		for _, f := range lab.Faults() {
			for _, h := range times {
				if strings.Contains(s.Name, *state) && strings.Contains(f.Name, *fault) {
					cells = append(cells, cell{State: s.Name, Fault: f.Name, Heal: h})
				}
			}
		}
	}
	began := time.Now()
	results := each(ctx, cells, *clusters, how, func(r result) { fmt.Println(r) })
	bad := slices.DeleteFunc(slices.Clone(results), result.good)
	fmt.Printf("\n%s\n%d of %d cells are good; it took %.0f minutes\n",
		grid(results), len(results)-len(bad), len(cells), time.Since(began).Minutes())
	if len(bad) > 0 || len(results) < len(cells) {
		return 1
	}
	return 0
}

func durations(list string) ([]time.Duration, error) {
	var times []time.Duration
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("-seconds %s: want numbers above 0, with commas between them", list)
		}
		times = append(times, time.Duration(n*float64(time.Second)))
	}
	return times, nil
}
