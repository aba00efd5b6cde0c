package cmd

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mysql-mmm/pkg/cluster"
)

// shells has for each shell a command that sources the completion script and prints what the script offers after a
// line, the command's first argument. What a shell itself does with an answer, such as leaving out words that don't
// begin with what is typed, is not tested.
var shells = map[string][]string{
	"bash": {"bash", "--norc", "-uc", `
		source <(mmm_control completion bash)
		compopt() { :; }
		COMP_LINE=$1 COMP_POINT=${#1}
		COMP_WORDBREAKS=$' \t\n"\'@><=;|&(:'
		_mmm_control
		printf '%s\n' "${COMPREPLY[@]}"`, "bash"},
	"zsh": {"zsh", "-fc", `
		compdef() { :; }
		_describe() { print -rl -- "${(@P)4%%:*}"; }
		_files() { if [[ ${1-} == -/ ]]; then print -l -- */; else print -l -- *; fi; }
		source <(mmm_control completion zsh)
		words=("${(@z)1}")
		[[ $1 == *' ' ]] && words+=("")
		CURRENT=$#words
		_mmm_control`, "zsh"},
	"fish": {"fish", "--no-config", "-c", `mmm_control completion fish | source; complete -C "$argv[1]"`},
}

// testCompletion tries the scripts in their shells: in bash certainly, in the others where they are installed.
func testCompletion(t *testing.T, bin string) {
	dir := configure(t)
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "some.conf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(here, "folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	var commands []string
	for _, m := range regexp.MustCompile(`(?m)^(?:#|   ) ([a-z_]+)`).FindAllStringSubmatch(cluster.Help, -1) {
		commands = append(commands, m[1])
	}
	if len(commands) < 17 {
		t.Fatalf("only %d commands", len(commands))
	}
	at := "mmm_control --config-dir " + dir + " "
	lines := map[string][]string{
		"mmm_control ":              append([]string{"--config", "--json"}, commands...),
		"mmm_control set_on":        {"set_online"},
		"mmm_control doctor --v":    {"--verbose"},
		"mmm_control config ":       {"check", "convert"},
		"mmm_control config check ": {"some.conf"},
		"mmm_control --config-dir ": {"folder"},
		"mmm_control completion ":   {"bash", "zsh", "fish"},
		at + "move_role ":           {"writer", "--force"},
		at + "move_role writer ":    {"db1", "db2"},
		at + "set_ip 192.0.2.":      {"192.0.2.77"},
		at + "checks db1 rep_":      {"rep_threads", "rep_backlog"},
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		if _, err := exec.LookPath(shell); err != nil && shell != "bash" {
			t.Logf("%s is not installed", shell)
			continue
		}
		script := filepath.Join(t.TempDir(), shell)
		if err := os.WriteFile(script, []byte(call(t, filepath.Join(bin, "mmm_control"), "completion", shell).out),
			0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), shell, "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s does not parse: %v\n%s", shell, err, out)
		}
		for line, want := range lines {
			offered := complete(t, bin, here, shell, line)
			for _, w := range want {
				if !slices.Contains(offered, w) {
					t.Errorf("%s: after %q it does not offer %s: %q", shell, line, w, offered)
				}
			}
		}
	}
}

// complete gives the words that a shell offers after a line, in a folder.
func complete(t *testing.T, bin, folder, shell, line string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	args := append(slices.Clone(shells[shell]), line)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = folder
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s, %q: %v\n%s", shell, line, err, out)
	}
	var words []string
	for l := range strings.Lines(string(out)) {
		word, _, _ := strings.Cut(strings.TrimSuffix(l, "\n"), "\t")
		words = append(words, strings.TrimSuffix(word, "/")) // the / of a folder, which bash adds later
	}
	return words
}
