// Matrix lets every fault strike a real cluster under load, mends it after 1, 10 and 30 seconds, and prints what became of it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"mysql-mmm/test/lab"
)

func main() {
	os.Exit(lab.Main(run))
}

func run(ctx context.Context) int {
	fault := flag.String("fault", "", "only faults whose name has this")
	heal := flag.Duration("heal", 0, "only this time until it is mended")
	classic := flag.Bool("classic", false, "without a lease, as MMM 2.2")
	flag.Parse()
	times := []time.Duration{time.Second, 10 * time.Second, 30 * time.Second}
	if *heal > 0 {
		times = []time.Duration{*heal}
	}
	status := 0
	for _, f := range lab.Faults() {
		for _, h := range times {
			if !strings.Contains(f.Name, *fault) || ctx.Err() != nil {
				continue
			}
			t, err := try(ctx, f, h, *classic)
			if err != nil {
				t.Verdict = strings.TrimPrefix(t.Verdict+"; "+err.Error(), "; ")
			}
			if t.Verdict != "" {
				status = 1
			}
			fmt.Println(t)
		}
	}
	return status
}

// try makes a cluster for one trial.
func try(ctx context.Context, f lab.Fault, heal time.Duration, classic bool) (lab.Trial, error) {
	ctx, cancel := context.WithTimeout(ctx, heal+90*time.Second)
	defer cancel()
	o := lab.Options{Bin: os.Getenv("MMM_BIN"), AutoSetOnline: 1, TrapPeriod: time.Second, FastFailover: true, Lease: 3, Mon: "flap_count 0"}
	if classic {
		o.Lease = -1
	}
	c, err := lab.New(ctx, o)
	if err != nil {
		return lab.Trial{Fault: f.Name, Heal: heal}, err
	}
	defer c.Close()
	if err := c.StartAll(ctx); err != nil {
		return lab.Trial{Fault: f.Name, Heal: heal}, err
	}
	return c.Try(ctx, f, heal)
}
