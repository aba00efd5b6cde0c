package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"

	"mysql-mmm/test/lab"
)

// each makes all trials, on several clusters at once: each cluster has a process, and so namespaces, of its own. It
// calls tell with the results in the order of the cells. When ctx ends it returns the results that there are.
func each(ctx context.Context, cells []cell, clusters int, how manner, tell func(result)) []result {
	todo, done := make(chan int), make(chan result)
	go func() {
		defer close(todo)
		for i := range cells {
			select {
			case todo <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var group sync.WaitGroup
	for range clusters {
		group.Go(func() {
			if err := employ(ctx, cells, how, todo, done); err != nil {
				fmt.Fprintln(os.Stderr, "matrix: a worker:", err)
			}
		})
	}
	go func() { group.Wait(); close(done) }()
	var all []result
	early := map[int]result{}
	for r := range done {
		early[r.Number] = r
		for next, ok := early[len(all)]; ok; next, ok = early[len(all)] {
			tell(next)
			all = append(all, next)
		}
	}
	return all
}

// employ starts a worker and gives it one cell after the other.
func employ(ctx context.Context, cells []cell, how manner, todo <-chan int, done chan<- result) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", append([]string{"-" + workerFlag}, how.arguments()...)...)
	cmd.Args[0], cmd.Stderr = os.Args[0], os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	write, lines := json.NewEncoder(in), bufio.NewReader(out)
	for i := range todo {
		r := result{Trial: lab.Trial{State: cells[i].State, Fault: cells[i].Fault, Heal: cells[i].Heal}}
		err := write.Encode(cells[i])
		var text []byte
		if err == nil {
			text, err = lines.ReadBytes('\n')
		}
		if err == nil {
			err = json.Unmarshal(text, &r)
		}
		if err != nil {
			r.Failed = "its worker ended: " + err.Error()
		}
		r.Number = i
		done <- r
		if err != nil {
			break
		}
	}
	_ = in.Close() // the worker may have ended, which Wait tells
	return cmd.Wait()
}

// grid is all results at a glance: a row for each fault, a column for each state.
func grid(results []result) string {
	var b strings.Builder
	var states, rows []string
	cells := map[string]map[string]string{}
	for _, r := range results {
		if !slices.Contains(states, r.State) {
			states = append(states, r.State)
		}
		row := fmt.Sprintf("%s, %g s", r.Fault, r.Heal.Seconds())
		if cells[row] == nil {
			rows, cells[row] = append(rows, row), map[string]string{}
		}
		mark := ""
		if !r.good() {
			mark = "!"
		}
		cells[row][r.State] = fmt.Sprintf("%.1f%s", r.Gap.Seconds(), mark)
	}
	fmt.Fprintf(&b, "Longest time without a write in seconds; ! marks trials that are not good.\n%-32s", "")
	for i := range states {
		fmt.Fprintf(&b, "%8d", i+1)
	}
	for _, row := range rows {
		fmt.Fprintf(&b, "\n%-32s", row)
		for _, s := range states {
			fmt.Fprintf(&b, "%8s", cells[row][s])
		}
	}
	b.WriteByte('\n')
	for _, s := range lab.States() {
		if i := slices.Index(states, s.Name); i >= 0 {
			fmt.Fprintf(&b, "%2d %s: %s\n", i+1, s.Name, s.What)
		}
	}
	return b.String()
}
