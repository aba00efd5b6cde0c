package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
)

// some stands in for loadNames.
func some(config.Source, bool) names {
	return names{hosts: []string{"db1", "db2"}, roles: []string{"writer"}, ips: []string{"2001:db8::1"}}
}

// TestEveryCommandIsOffered: each command of the help is offered, and each placeholder in its line, such as <host>, is
// understood.
func TestEveryCommandIsOffered(t *testing.T) {
	named := regexp.MustCompile(`(?m)^(?:#|   ) ([a-z_]+)`).FindAllStringSubmatch(cluster.Help, -1)
	_, offered := next(nil, some)
	for _, m := range named {
		if !slices.ContainsFunc(offered, func(c candidate) bool { return c.word == m[1] && c.meaning != "" }) {
			t.Errorf("%s is not offered, or without its meaning", m[1])
		}
	}
	if len(named) < 17 || len(usages()) != len(named) {
		t.Errorf("%d commands in the help, %d usages", len(named), len(usages()))
	}
	for _, u := range usages() {
		before := []string{u.name}
		for range len(u.arguments) + 1 {
			_, found := next(before, some)
			for _, c := range found {
				if strings.ContainsAny(c.word, "<>|[]") || c.word == "" {
					t.Errorf("after %q it offers %q", before, c.word)
				}
			}
			before = append(before, "x")
		}
	}
	for _, name := range jsonCommands() {
		if !slices.ContainsFunc(usages(), func(u usage) bool { return u.name == name }) {
			t.Errorf("%s, which takes --json, is not in the help", name)
		}
	}
}

// TestManualHasEveryCommand: the manual page has every command with its options, and every option that stands before a
// command.
func TestManualHasEveryCommand(t *testing.T) {
	text, err := os.ReadFile("../../packaging/man/mmm_control.1")
	if err != nil {
		t.Fatal(err)
	}
	manual := strings.ReplaceAll(string(text), `\-`, "-")
	for _, u := range usages() {
		for _, word := range append(u.options, u.name) {
			if !regexp.MustCompile(`(^|[^a-z_-])` + word + `($|[^a-z_-])`).MatchString(manual) {
				t.Errorf("the manual page lacks %s", word)
			}
		}
	}
	for _, o := range options() {
		if !strings.Contains(manual, o.word) {
			t.Errorf("the manual page lacks %s", o.word)
		}
	}
}

func TestNext(t *testing.T) {
	tests := []struct {
		before string
		paths  paths
		words  string
	}{
		{"move_role", noPaths, "writer --force"},
		{"move_role --force", noPaths, "writer"},
		{"move_role writer", noPaths, "db1 db2"},
		{"move_role --force writer", noPaths, "db1 db2"},
		{"move_role writer db1", noPaths, ""},
		{"set_ip", noPaths, "2001:db8::1"},
		{"set_ip 2001:db8::1", noPaths, "db1 db2"},
		{"set_online", noPaths, "db1 db2"},
		{"explain", noPaths, "db1 db2 --json"},
		{"checks", noPaths, "db1 db2 all --json"},
		{"checks db1", noPaths, "ping mysql rep_threads rep_backlog all --json"},
		{"--json checks db1 ping", noPaths, ""},
		{"history", noPaths, "--json"},
		{"doctor", noPaths, "--verbose --json"},
		{"doctor --json", noPaths, "--verbose"},
		{"config", noPaths, "check convert"},
		{"config check", files, ""},
		{"config convert f", noPaths, ""},
		{"completion", noPaths, "bash zsh fish"},
		{"@c1 --config f watch", noPaths, "--json"},
		{"--config", files, ""},
		{"--config-dir", folders, ""},
		{"--json --config-dir=d", noPaths,
			"show checks mode doctor history explain watch --config --config-dir --version --help"},
		{"--json ping", noPaths, ""},
		{"bogus", noPaths, ""},
		{"@", noPaths, ""},
		{"help", noPaths, ""},
	}
	for _, tt := range tests {
		paths, found := next(strings.Fields(tt.before), some)
		var words []string
		for _, c := range found {
			words = append(words, c.word)
		}
		if got := strings.Join(words, " "); got != tt.words || paths != tt.paths {
			t.Errorf("%q: %s %q, want %s %q", tt.before, paths, got, tt.paths, tt.words)
		}
	}
}

// TestNamesComeFromTheConfiguration: from a file in HCL; a configuration with errors gives no names, and no message.
func TestNamesComeFromTheConfiguration(t *testing.T) {
	text, err := os.ReadFile("../../etc/mysql-mmm/mmm.hcl.sample")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mmm.hcl"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(config.Source) (*config.Config, error) { t.Error("loaded for the command"); return nil, nil }
	want := result{Out: "words\ndb1\thost\ndb2\thost\n"}
	if diff := cmp.Diff(want, invoke(none, "__complete", "--config-dir", dir, "set_online")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	got := invoke(none, "__complete", "--config-dir", dir, "set_ip")
	if !strings.Contains(got.Out, "\n192.168.100.250\taddress of a role\n") {
		t.Errorf("%+v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "mmm.hcl"), []byte("bogus = 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	want = result{Out: "words\nall\t\n--json\tprint JSON\n"}
	if diff := cmp.Diff(want, invoke(none, "__complete", "--config-dir", dir, "checks")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCompletionScripts(t *testing.T) {
	none := func(config.Source) (*config.Config, error) { t.Error("loaded"); return nil, nil }
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if got := invoke(none, "completion", shell); got.Code != 0 || got.Err != "" ||
			!strings.Contains(got.Out, "# Completion of mmm_control for "+shell) {
			t.Errorf("%s: %+v", shell, got)
		}
	}
	for _, args := range []string{"completion", "completion csh", "completion bash zsh", "completion ../args.go"} {
		if diff := cmp.Diff(result{Err: completionUsage, Code: 2}, invoke(none, strings.Fields(args)...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}
