package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mysql-mmm/pkg/config"
)

// call is what the arguments ask for.
type call struct {
	source  config.Source
	version bool
	words   []string // the command and its arguments, for the monitor
}

// asksHelp tells that what the command is for needs neither configuration nor monitor.
func (c call) asksHelp() bool {
	return len(c.words) == 1 && slices.Contains([]string{"help", "--help", "-h"}, c.words[0])
}

// parseArgs takes off what is ours; everything from the first word or unknown option on is the command. The monitor
// judges it: it is the monitor that says that "--help" is invalid, and what "--force" means.
func parseArgs(args []string) (call, error) {
	var c call
	json := false
	for len(args) > 0 {
		name, value, inline := strings.Cut(args[0], "=")
		switch {
		case strings.HasPrefix(args[0], "@"):
			c.source.Cluster = args[0][1:]
			if c.source.Cluster == "" {
				return call{}, errors.New("no cluster name after @")
			}
		case args[0] == "--version":
			c.version = true
		case args[0] == "--json":
			json = true
		case name == "--config" || name == "--config-dir":
			if !inline {
				if len(args) < 2 {
					return call{}, fmt.Errorf("%s needs a value", name)
				}
				value, args = args[1], args[1:]
			}
			if name == "--config" {
				c.source.File = value
			} else {
				c.source.Dir = value
			}
		default:
			var err error
			c.words, err = command(args, json)
			return c, err
		}
		args = args[1:]
	}
	return c, nil
}

// command puts --json, given before or after the commands that know it, behind them: there they are expected.
func command(words []string, json bool) ([]string, error) {
	switch words[0] {
	case "show", "checks", "mode", "doctor", "history", "explain", "watch":
		rest := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "--json" })
		if json || len(rest) < len(words) {
			rest = append(rest, "--json")
		}
		return rest, nil
	}
	if json {
		return nil, errors.New("--json is for show, checks, mode, history, explain, watch and doctor")
	}
	return words, nil
}
