package cluster

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestPure: the brain does no I/O, reads no clock, starts nothing and keeps nothing outside of its values.
func TestPure(t *testing.T) {
	allowed := []string{"bufio", "cmp", "errors", "fmt", "maps", "net/netip", "slices", "strconv", "strings", "time"}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		checked++
		for _, problem := range impurities(t, f.Name(), allowed) {
			t.Errorf("%s: %s", f.Name(), problem)
		}
	}
	if checked < 8 {
		t.Fatalf("only %d files found", checked)
	}
}

func impurities(t *testing.T, name string, allowed []string) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, imp := range file.Imports {
		if path, _ := strconv.Unquote(imp.Path.Value); !slices.Contains(allowed, path) {
			found = append(found, "imports "+path)
		}
	}
	clocks := []string{"Now", "Since", "Until", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "Sleep"}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, "starts a goroutine")
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
				found = append(found, "uses time."+n.Sel.Name)
			}
		}
		return true
	})
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			found = append(found, "has a package variable")
		}
	}
	return found
}
