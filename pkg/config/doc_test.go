package config

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the tables of docs/configuration.md anew")

const (
	page  = "../../docs/configuration.md"
	begin = "<!-- begin: generated from pkg/config/rules.go by: go test ./pkg/config -run TestReferencePage -update -->\n"
	end   = "<!-- end -->\n"
)

// The reference page has every variable with its meaning, unit and default, and the programs that need it.
func TestReferencePage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	tables, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s lacks the lines %s%s", page, begin, end)
	}
	want := reference()
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if tables != want {
		t.Errorf("the tables of %s are not what the rules say; run: go test ./pkg/config -run TestReferencePage -update", page)
	}
}

// The error messages that the page shows are real ones.
func TestReferencePageExamples(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "```text broken.conf\n")
	file, rest, ok := strings.Cut(rest, "```\n")
	_, rest, _ = strings.Cut(rest, "```text errors\n")
	want, _, closed := strings.Cut(rest, "```\n")
	if !ok || !closed {
		t.Fatalf("%s lacks its example", page)
	}
	nodes, errs := parse("broken.conf", []byte(file))
	_, errs = build(Monitor, "broken.conf", nodes, errs, true)
	if got := errs.sorted([]string{"broken.conf"}).Error() + "\n"; got != want {
		t.Errorf("the example gives\n%s\nthe page says\n%s", got, want)
	}
}

func reference() string {
	var b strings.Builder
	for _, s := range ruleset() {
		title := "Top level"
		if s.typ != "" {
			title = "`" + s.tag() + "`"
		}
		fmt.Fprintf(&b, "\n### %s\n\n%s", title, s.doc)
		if s.names != nil {
			fmt.Fprintf(&b, " NAME is %s.", either(s.names))
		}
		if s.template {
			fmt.Fprintf(&b, " `<%s %s>` is a template for the others.", s.typ, templateName)
		}
		if s.needs != 0 {
			fmt.Fprintf(&b, " Needed by %s.", letters(s.needs))
		}
		b.WriteString("\n\n| variable | value | default | needed by | read by | meaning |\n|---|---|---|---|---|---|\n")
		for _, r := range s.vars {
			needs := letters(r.needs)
			if r.when != "" {
				needs += " where " + r.when
			}
			def := r.def
			if def != "" {
				def = "`" + def + "`"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", r.name, unit(r), def, needs, letters(r.reads), r.doc)
		}
	}
	return b.String() + "\n"
}

func letters(set programs) string {
	var list []string
	for i, letter := range []string{"M", "A", "C"} {
		if set.has([]Program{Monitor, Agent, Control}[i]) {
			list = append(list, letter)
		}
	}
	return strings.Join(list, " ")
}

func unit(r rule) string {
	switch r.kind {
	case textKind:
		return "text"
	case secretKind:
		return "password"
	case choiceKind:
		return either(r.choices)
	case choicesKind:
		return "list of " + either(r.choices)
	case nameKind:
		return "name"
	case namesKind:
		return "list of names"
	case boolKind:
		return "yes or no"
	case countKind:
		return "whole number, 0 or more"
	case portKind:
		return "port, 1 to 65535"
	case durationKind:
		return "seconds, 0 or more"
	case periodKind:
		return "seconds, above 0"
	case hostKind:
		return "IP address or name"
	case hostsKind:
		return "list of IP addresses or names"
	case addrsKind:
		return "list of IP addresses"
	case secretFileKind, certsFileKind:
		return "file"
	case tableKind:
		return "DB.TABLE"
	case serverKind:
		return "HOST:PORT"
	case urlKind:
		return "URL"
	case listenKind:
		return "IP address:port"
	case ignoredKind:
	}
	return "anything"
}
