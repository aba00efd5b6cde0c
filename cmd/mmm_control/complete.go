package main

import (
	"embed"
	"fmt"
	"io"
	"slices"
	"strings"

	"mysql-mmm/pkg/check"
	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

// scripts are the completion scripts, each named after its shell. They contain no list of commands: a script gives the
// words before the one that is being typed to `mmm_control __complete`, which prints the words that may follow.
//
//go:embed completion
var scripts embed.FS

const completionUsage = `mmm_control completion bash|zsh|fish   print a script that completes mmm_control in this shell
The packages have installed it. Without them:
    source <(mmm_control completion bash)    # in ~/.bashrc
    source <(mmm_control completion zsh)     # in ~/.zshrc, after compinit
    mmm_control completion fish | source     # in ~/.config/fish/config.fish
`

// completion prints the script of a shell. It needs neither a configuration nor a monitor.
func completion(words []string, stdout, stderr io.Writer) int {
	if len(words) != 1 || !slices.Contains([]string{"bash", "zsh", "fish"}, words[0]) {
		fmt.Fprint(stderr, completionUsage)
		return exitRefused
	}
	script, err := scripts.ReadFile("completion/" + words[0])
	if err != nil {
		fmt.Fprintf(stderr, "mmm_control: print the script: %v\n", err)
		return exitRefused
	}
	fmt.Fprintf(stdout, "%s", script)
	return exitOK
}

// paths says whether a shell is to offer files or folders besides the candidates. Its text is the first line of the
// answer to the shell.
type paths string

const (
	noPaths paths = "words"
	files   paths = "files"
	folders paths = "folders"
)

// candidate is a word that may come next.
type candidate struct{ word, meaning string }

// answerShell prints what may follow the words: which paths, then a candidate a line, with its meaning after a tab.
func answerShell(words []string, stdout io.Writer) int {
	kind, found := next(words, loadNames)
	fmt.Fprintln(stdout, kind)
	for _, c := range found {
		fmt.Fprintf(stdout, "%s\t%s\n", c.word, c.meaning)
	}
	return exitOK
}

// usage is how a command is used, by its line in cluster.Help.
type usage struct {
	name, meaning string
	options       []string   // before the arguments
	arguments     [][]string // the alternatives for each
}

// usages reads all commands from cluster.Help, the only list of them.
func usages() []usage {
	var all []usage
	for line := range strings.Lines(cluster.Help) {
		synopsis, meaning, ok := strings.Cut(strings.TrimPrefix(line, "#"), " - ")
		words := strings.Fields(synopsis)
		if !ok || len(words) == 0 {
			continue
		}
		u := usage{name: words[0], meaning: strings.TrimSpace(meaning)}
		for _, w := range words[1:] {
			if w = strings.Trim(w, "[]"); strings.HasPrefix(w, "--") {
				u.options = append(u.options, w)
			} else {
				u.arguments = append(u.arguments, strings.Split(w, "|"))
			}
		}
		all = append(all, u)
	}
	return all
}

// names are the names of the hosts and roles of a configuration, and the addresses of its roles.
type names struct{ hosts, roles, ips []string }

// loadNames reads the names from the configuration. Addresses are in the part that only the monitor needs, which is
// read only where ips are wanted. A configuration with errors gives no names.
func loadNames(src config.Source, ips bool) names {
	program := config.Control
	if ips {
		program = config.Monitor
	}
	c, err := config.Load(program, src)
	if err != nil {
		return names{} // an error message in the middle of a command line would only disturb
	}
	var n names
	for _, h := range c.Hosts {
		n.hosts = append(n.hosts, h.Name)
	}
	for _, r := range c.Roles {
		n.roles = append(n.roles, r.Name)
		for _, ip := range r.IPs {
			n.ips = append(n.ips, ip.String())
		}
	}
	return n
}

// next says what may come after the words that follow mmm_control.
func next(before []string, load func(src config.Source, ips bool) names) (paths, []candidate) {
	c, err := parseArgs(before)
	switch {
	case err != nil && before[len(before)-1] == "--config":
		return files, nil
	case err != nil && before[len(before)-1] == "--config-dir":
		return folders, nil
	case err != nil:
		return noPaths, nil
	case len(c.words) == 0:
		return noPaths, beginning(before)
	}
	all := usages()
	i := slices.IndexFunc(all, func(u usage) bool { return u.name == c.words[0] })
	if i < 0 {
		return noPaths, nil
	}
	return following(all[i], c, load)
}

// beginning are the commands, and the options that come before them.
func beginning(before []string) []candidate {
	json := slices.Contains(before, "--json")
	var found []candidate
	for _, u := range usages() {
		if !json || knowsJSON(u.name) {
			found = append(found, candidate{u.name, u.meaning})
		}
	}
	for _, o := range options() {
		if !slices.Contains(before, o.word) {
			found = append(found, o)
		}
	}
	return found
}

// following is what may come after a command and some arguments.
func following(u usage, c call, load func(src config.Source, ips bool) names) (paths, []candidate) {
	kind, found := noPaths, []candidate(nil)
	given := slices.DeleteFunc(slices.Clone(c.words[1:]), func(w string) bool { return strings.HasPrefix(w, "--") })
	if len(given) < len(u.arguments) {
		for _, a := range u.arguments[len(given)] {
			switch a {
			case "<host>":
				found = append(found, meaning("host", load(c.source, false).hosts)...)
			case "<role>":
				found = append(found, meaning("role", load(c.source, false).roles)...)
			case "<ip>":
				found = append(found, meaning("address of a role", load(c.source, true).ips)...)
			case "<check>":
				for _, n := range check.Known().Names() {
					found = append(found, candidate{string(n), "check"})
				}
			case "<file>":
				kind = files
			case "<n>":
			default:
				found = append(found, candidate{a, ""})
			}
		}
	}
	if len(given) == 0 {
		found = append(found, meaning("", u.options)...)
	}
	if knowsJSON(u.name) {
		found = append(found, candidate{"--json", "print JSON"})
	}
	return kind, slices.DeleteFunc(found, func(f candidate) bool {
		return strings.HasPrefix(f.word, "--") && slices.Contains(c.words, f.word)
	})
}

func meaning(what string, words []string) []candidate {
	var found []candidate
	for _, w := range words {
		found = append(found, candidate{w, what})
	}
	return found
}
