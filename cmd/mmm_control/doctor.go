package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/doctor"
)

// doctorTimeout bounds a whole examination: each of its questions has a shorter one of its own.
const doctorTimeout = 30 * time.Second

// exitUnhealthy is the exit code where the doctor found errors or warnings, and where `config check` found errors.
const exitUnhealthy = 1

const doctorUsage = `mmm_control doctor [--verbose] [--json]   find out what is wrong, and how to mend it; changes nothing
It ends with 1 where it finds errors or warnings.
`

// examine looks for what is wrong with the cluster (docs/doctor.md). It needs no monitor.
func examine(c call, stdout, stderr io.Writer) int {
	var asJSON, verbose bool
	for _, w := range c.words[1:] {
		switch w {
		case "--json":
			asJSON = true
		case "--verbose", "-v":
			verbose = true
		default:
			fmt.Fprintf(stderr, "mmm_control: doctor takes --verbose and --json, not %q\n", w)
			return exitRefused
		}
	}
	conf, err := config.Load(config.Monitor, c.source)
	if err != nil {
		return report(doctor.NewReport(doctor.Unusable(err), verbose), asJSON, stdout, stderr)
	}
	ctx, cancel := context.WithTimeout(context.Background(), doctorTimeout)
	defer cancel()
	findings, err := doctor.Examine(ctx, conf, version)
	if err != nil {
		fmt.Fprintf(stderr, "mmm_control: examine the cluster: %v\n", err)
		return exitRefused
	}
	return report(doctor.NewReport(findings, verbose), asJSON, stdout, stderr)
}

func report(r doctor.Report, asJSON bool, stdout, stderr io.Writer) int {
	write := r.WriteText
	if asJSON {
		write = r.WriteJSON
	}
	if err := write(stdout); err != nil {
		fmt.Fprintf(stderr, "mmm_control: print the report: %v\n", err)
		return exitRefused
	}
	if !r.Healthy() {
		return exitUnhealthy
	}
	return exitOK
}
