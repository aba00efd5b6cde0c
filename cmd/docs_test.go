package cmd

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// pages gives the documents that people read: the text of each by its name.
func pages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../docs/*.md")
	if err != nil || len(names) < 8 {
		t.Fatalf("documents: %v, %v", names, err)
	}
	found := map[string]string{}
	for _, name := range append(names, "../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		found[name] = string(text)
	}
	return found
}

// anchors are the names that a page's headings get: small letters, no punctuation, hyphens for blanks.
func anchors(page string) []string {
	var names []string
	code := false
	for line := range strings.Lines(page) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
		}
		title := strings.TrimLeft(line, "#")
		if code || title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		title = regexp.MustCompile(`[^\p{L}\p{N}_ -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(title)), "")
		names = append(names, strings.ReplaceAll(title, " ", "-"))
	}
	return names
}

// TestLinks: what the documents link to within the project is there, headings included.
func TestLinks(t *testing.T) {
	all := pages(t)
	links := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(all[name], -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := name
			if file != "" {
				target = filepath.Join(filepath.Dir(name), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", name, m[1], err)
			} else if anchor != "" && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s links to %s, which has no such heading", name, m[1])
			}
		}
	}
	if links < 50 {
		t.Errorf("only %d links found", links)
	}
}

// TestTestsThatAreNamed: the tests and make targets that the documents name exist.
func TestTestsThatAreNamed(t *testing.T) {
	tests := map[string]bool{}
	err := filepath.WalkDir("..", func(path string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(text), -1) {
			tests[m[1]] = true
		}
		return err
	})
	if err != nil || len(tests) < 100 {
		t.Fatalf("%d tests found, %v", len(tests), err)
	}
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	all := pages(t)
	named := 0
	for _, name := range slices.Sorted(maps.Keys(all)) {
		for _, test := range regexp.MustCompile(`\bTest[A-Z]\w+`).FindAllString(all[name], -1) {
			named++
			if !tests[test] {
				t.Errorf("%s names %s, which does not exist", name, test)
			}
		}
		for _, m := range regexp.MustCompile("(?m)(?:`|^ {4})make ([a-z][a-z-]*)").FindAllStringSubmatch(all[name],
			-1) {
			if !strings.Contains("\n"+string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s names make %s, which does not exist", name, m[1])
			}
		}
	}
	if named < 50 {
		t.Errorf("only %d tests are named", named)
	}
}

// TestTextsAreExplained: docs/operations.md explains every FATAL line of the log and every line of `show` that begins
// with #.
func TestTextsAreExplained(t *testing.T) {
	page := pages(t)["../docs/operations.md"]
	texts := spoken(t)
	if len(texts) < 35 {
		t.Errorf("only %d texts found: %q", len(texts), texts)
	}
	for _, text := range texts {
		if !strings.Contains(page, text) {
			t.Errorf("docs/operations.md lacks: %s", text)
		}
	}
}

// spoken are the FATAL texts of monitor and agent and the remarks of `show`, as the page writes them: … for what
// varies.
func spoken(t *testing.T) []string {
	t.Helper()
	verbs := regexp.MustCompile(`%(\[\d\])?[.\d]*[a-z]`)
	var texts []string
	for _, dir := range []string{"../pkg/cluster", "../pkg/monitor", "../pkg/agent"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || strings.HasSuffix(file, "_test.go") {
					return true
				}
				if text, ok := fatal(call); ok {
					// What varies at the end is a cause, which the page leaves out.
					text = strings.TrimSuffix(verbs.ReplaceAllString(text, "…"), "……")
					texts = append(texts, strings.TrimRight(text, "…\n "))
				}
				return true
			})
		}
	}
	return texts
}

// fatal is the text of a call that logs at level FATAL, or that writes a remark of `show`.
func fatal(call *ast.CallExpr) (string, bool) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	level := func(i int) bool {
		id, ok := call.Args[min(i, len(call.Args)-1)].(*ast.Ident)
		return ok && (id.Name == "Fatal" || id.Name == "levelFatal")
	}
	switch fun.Sel.Name {
	case "add":
		return literal(call.Args[min(2, len(call.Args)-1)]), level(0)
	case "changed":
		return literal(call.Args[min(3, len(call.Args)-1)]), len(call.Args) > 3
	case "Log":
		text := literal(call.Args[len(call.Args)-1])
		return text, level(1) && text != ""
	case "Fprintf", "WriteString", "Sprintf":
		text := literal(call.Args[min(1, len(call.Args)-1)])
		if fun.Sel.Name != "Fprintf" {
			text = literal(call.Args[0])
		}
		return text, strings.HasPrefix(text, "# ")
	}
	return "", false
}

// literal is the text that an expression begins with; "" where it begins with none.
func literal(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, _ := strconv.Unquote(e.Value)
		return text
	case *ast.BinaryExpr:
		return literal(e.X)
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" {
			return literal(e.Args[0])
		}
	}
	return ""
}

// TestNotes: packaging/notes prints the section of a version, and fails where there is none.
func TestNotes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "CHANGELOG.md")
	text := "# Changes\n\n## Unreleased\n\n- New.\n\n## 3.1.0 (2026-11-21)\n\n- One\n  of two lines.\n\n- Two.\n\n## 3.10.0\n\n- Other.\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for version, want := range map[string]string{
		"Unreleased": "- New.\n", "3.1.0": "- One\n  of two lines.\n\n- Two.\n",
		"v3.1.0": "- One\n  of two lines.\n\n- Two.\n", "3.10.0": "- Other.\n",
		"3.1": "", "3.1.0.1": "", "3x1.0": "",
	} {
		out, err := exec.Command("../packaging/notes", version, file).Output()
		if string(out) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v", version, out, err)
		}
	}
	if out, err := exec.Command("../packaging/notes", "Unreleased").Output(); err != nil ||
		!strings.HasPrefix(string(out), "- ") {
		t.Errorf("of this project: %q, %v", out, err)
	}
}

// TestProtocolIsWritten: docs/protocol.md has every key and every command of package wire.
func TestProtocolIsWritten(t *testing.T) {
	page := pages(t)["../docs/protocol.md"]
	sources, err := filepath.Glob("../pkg/wire/*.go")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != len(spec.Names) {
				return true
			}
			for i, id := range spec.Names {
				lit, ok := spec.Values[i].(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					continue
				}
				word, err := strconv.Unquote(lit.Value)
				key := strings.HasPrefix(id.Name, "ext")
				command := regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`).MatchString(word)
				if err != nil || !key && !command {
					continue
				}
				found++
				if !regexp.MustCompile("[`|]" + regexp.QuoteMeta(word) +
					"[`=|\\\\]").MatchString(strings.ReplaceAll(page, "    > ", "`")) {
					t.Errorf("docs/protocol.md lacks %s (%s)", word, id.Name)
				}
			}
			return true
		})
	}
	if found < 50 {
		t.Errorf("only %d words were looked for", found)
	}
}

// TestModulesAreExplained: docs/design.md says of each module that go.mod asks for what it is good for.
func TestModulesAreExplained(t *testing.T) {
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	_, page, _ := strings.Cut(pages(t)["../docs/design.md"], "### Modules of others\n")
	page, _, _ = strings.Cut(page, "\n## ")
	modules := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllStringSubmatch(string(text), -1)
	if len(modules) < 15 {
		t.Errorf("only %d modules found", len(modules))
	}
	for _, m := range modules {
		short := "…/" + m[1][strings.LastIndex(m[1], "/")+1:]
		if !strings.Contains(page, "`"+m[1]+"`") && !strings.Contains(page, "`"+short+"`") {
			t.Errorf("docs/design.md does not say what %s is good for", m[1])
		}
	}
}
