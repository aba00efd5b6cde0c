package cluster

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew")

// TestScenarios runs the scripts in testdata: lines that begin with "> " are done, and what follows each is what they
// lead to. Lines before the first are prose that says what the scenario is about.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 8 {
		t.Fatalf("scenarios: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := transcript(string(text))
			if again := transcript(string(text)); again != got {
				t.Errorf("a second run differs:\n%s", cmp.Diff(got, again))
			}
			if *rewrite {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(text), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func transcript(script string) string {
	var b strings.Builder
	var w *world
	topology := lab()
	for line := range strings.Lines(script) {
		line = strings.TrimSuffix(line, "\n")
		command, ok := strings.CutPrefix(line, "> ")
		switch {
		case strings.HasPrefix(line, "topology: prefer "):
			topology.Roles[1].Prefer = strings.TrimPrefix(line, "topology: prefer ")
			b.WriteString(line + "\n")
		case line == "topology: no auto_set_online":
			topology.AutoSetOnline = 0
			b.WriteString(line + "\n")
		case ok:
			if w == nil {
				w = newWorld(topology)
			}
			b.WriteString("\n" + line + "\n" + w.do(command))
		case w == nil && line != "":
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
