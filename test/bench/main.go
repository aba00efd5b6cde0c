// Bench measures what the README claims, on this machine, and says how often it measured.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"mysql-mmm/test/lab"
)

func main() { os.Exit(lab.Main(run)) }

// figure is one row of the table: all values that were measured for it.
type figure struct {
	Name   string                      `json:"name"`
	Unit   string                      `json:"unit"`
	Target string                      `json:"target,omitempty"`
	Values []float64                   `json:"values"`
	judge  func(sorted []float64) bool // whether they are good; a row that is not has a "!". nil: nothing to judge
}

func (f figure) row() string {
	v := slices.Sorted(slices.Values(f.Values))
	mark := " "
	if f.judge != nil && !f.judge(v) {
		mark = "!"
	}
	return fmt.Sprintf("%s %-52s %3d %9.1f %9.1f %9.1f %-4s %s", mark, f.Name, len(v), v[0], median(v), v[len(v)-1],
		f.Unit, f.Target)
}

func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func within(limit, most float64) func([]float64) bool {
	return func(v []float64) bool { return median(v) <= limit && v[len(v)-1] <= most }
}

func allAtMost(limit float64) func([]float64) bool {
	return func(v []float64) bool { return v[len(v)-1] <= limit }
}

func run(ctx context.Context) int {
	out := flag.String("json", "", "write the figures to this `file`, too")
	n := flag.Int("n", 10, "how often to measure the fast events; slow ones are measured a third as often")
	only := flag.String("only", "", "only measurements with this `text` in their name")
	flag.Parse()
	b := &bench{bin: os.Getenv("MMM_BIN"), n: *n}
	var figures []figure
	for _, m := range []struct {
		name string
		run  func(context.Context) ([]figure, error)
	}{
		{"fast", b.fast}, {"lost", b.lost}, {"move_role", b.move}, {"burdens", b.burdens}, {"classic", b.classic},
		{"cost", b.cost}, {"watched", b.watched}, {"swarm", b.swarm},
	} {
		if !strings.Contains(m.name, *only) {
			continue
		}
		fmt.Fprintf(os.Stderr, "measuring: %s\n", m.name)
		f, err := m.run(ctx)
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", m.name, err)
			return 1
		}
		figures = append(figures, f...)
	}
	fmt.Printf("  %-52s %3s %9s %9s %9s\n", "", "n", "min", "median", "max")
	for _, f := range figures {
		fmt.Println(f.row())
	}
	if *out == "" {
		return 0
	}
	text, err := json.MarshalIndent(map[string]any{"date": time.Now().UTC(), "cpus": runtime.NumCPU(),
		"go": runtime.Version(), "figures": figures}, "", "  ")
	if err == nil {
		err = os.WriteFile(*out, append(text, '\n'), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}
