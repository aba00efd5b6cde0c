package main

import (
	"fmt"
	"io"
	"strings"

	"mysql-mmm/pkg/config"
)

const configUsage = `mmm_control config check FILE                       print what is wrong with a configuration file, or OK
mmm_control config convert FILE [--to hcl|classic]  print the file in the other syntax
`

// configure does what concerns configuration files only. It needs no monitor.
func configure(words []string, stdout, stderr io.Writer) int {
	switch {
	case len(words) == 2 && words[0] == "check":
		return checkFile(words[1], stdout, stderr)
	case len(words) >= 2 && words[0] == "convert":
		if file, to, ok := convertArgs(words[1:]); ok {
			return convert(file, to, stdout, stderr)
		}
	}
	fmt.Fprint(stderr, configUsage)
	return exitRefused
}

func checkFile(file string, stdout, stderr io.Writer) int {
	programs, warnings, err := config.CheckFile(file)
	if err != nil {
		fmt.Fprintln(stdout, err)
		return exitUnhealthy
	}
	fmt.Fprintln(stdout, "OK")
	for _, w := range warnings {
		fmt.Fprintf(stderr, "# warning: %s\n", w)
	}
	if len(programs) == 0 {
		fmt.Fprintln(stderr, "# the file is a part of a configuration: whether anything is missing was not checked")
		return exitOK
	}
	var names []string
	for _, p := range programs {
		names = append(names, p.String())
	}
	fmt.Fprintf(stderr, "# for %s\n", strings.Join(names, ", "))
	return exitOK
}

// convertArgs gives the file and the wanted syntax. Without --to a file *.hcl is to become a classic one, and any other
// file HCL.
func convertArgs(words []string) (file, to string, ok bool) {
	for i := 0; i < len(words); i++ {
		value, inline := strings.CutPrefix(words[i], "--to=")
		switch {
		case inline:
			to = value
		case words[i] == "--to" && i+1 < len(words):
			i++
			to = words[i]
		case file != "" || strings.HasPrefix(words[i], "-"):
			return "", "", false
		default:
			file = words[i]
		}
	}
	if to == "" {
		to = "hcl"
		if strings.HasSuffix(file, ".hcl") {
			to = "classic"
		}
	}
	return file, to, file != "" && (to == "hcl" || to == "classic")
}

func convert(file, to string, stdout, stderr io.Writer) int {
	change := config.ToHCL
	if to == "classic" {
		change = config.ToClassic
	}
	c, err := change(file)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return exitRefused
	}
	fmt.Fprint(stdout, c.Text)
	for _, name := range c.Includes {
		fmt.Fprintf(stderr, "# it includes %s: convert that file too\n", name)
	}
	fmt.Fprintln(stderr,
		"# save it with mode 640; the classic file and the HCL file can't both stay: only one of them can count")
	return exitOK
}
