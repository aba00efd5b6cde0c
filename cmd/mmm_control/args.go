package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

// call is what the arguments ask for.
type call struct {
	source  config.Source
	version bool
	words   []string // the command and its arguments, for the monitor
}

// asksHelp tells whether the command is `help`. Help is printed also without a configuration and without a monitor; but
// a monitor that answers is asked first, since it knows best which commands it has.
func (c call) asksHelp() bool { return len(c.words) == 1 && c.words[0] == "help" }

// asksUsage tells whether --help or -h is among the words, in the place of a command or of an argument. No command of
// the monitor takes such a word for anything else.
func asksUsage(words []string) bool {
	return slices.ContainsFunc(beforeDashes(words), func(w string) bool { return w == "--help" || w == "-h" })
}

// asksVersion tells whether --version is among the words. Before all words it is an option that parseArgs reads.
func asksVersion(words []string) bool { return slices.Contains(beforeDashes(words), "--version") }

// beforeDashes are the words before "--". What follows that word is no option.
func beforeDashes(words []string) []string {
	if i := slices.Index(words, "--"); i >= 0 {
		return words[:i]
	}
	return words
}

// usageOf is the text for --help with this command. The commands of the monitor are all in one text.
func usageOf(command string) string {
	switch command {
	case "doctor":
		return doctorUsage
	case "config":
		return configUsage
	case "completion":
		return completionUsage
	}
	return callUsage()
}

// options are the options that stand before a command.
func options() []candidate {
	return []candidate{
		{"--config", "read this file"},
		{"--config-dir", "look for the configuration in this folder"},
		{"--json", "print JSON"},
		{"--version", "print the version and end"},
		{"--help", "print how mmm_control is used and end"},
	}
}

// callUsage is the text for --help.
func callUsage() string {
	return `Usage: mmm_control [@CLUSTER] [OPTION…] COMMAND [ARGUMENT…]

    @CLUSTER           talk to the monitor of this cluster
    --config FILE      read this file
    --config-dir DIR   look for the configuration in this folder
    --json             print JSON; for ` + enumerate(jsonCommands()) + `
    --version          print the version and end
    --help, -h         print this text and end

` + cluster.Help
}

// jsonCommands are the commands that take --json. docs/api/schema has a schema for each.
func jsonCommands() []string {
	return []string{"show", "checks", "mode", "history", "explain", "watch", "doctor"}
}

func knowsJSON(command string) bool { return slices.Contains(jsonCommands(), command) }

// enumerate writes "a, b and c".
func enumerate(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

// parseArgs reads the options of mmm_control itself. Everything from the first other word or unknown option on is the
// command, which the monitor judges: only the monitor knows what an option such as --force means.
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

// command moves --json to the end of a command that takes it, wherever it was given: the monitor expects it there.
func command(words []string, json bool) ([]string, error) {
	if knowsJSON(words[0]) {
		rest := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return w == "--json" })
		if json || len(rest) < len(words) {
			rest = append(rest, "--json")
		}
		return rest, nil
	}
	if json && !asksUsage(words) && !asksVersion(words) {
		return nil, errors.New("--json is for " + enumerate(jsonCommands()))
	}
	return words, nil
}
