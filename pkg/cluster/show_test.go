package cluster

import (
	"slices"
	"strings"
	"testing"
)

// Warnings about the servers are shown for as long as they come in, and decide nothing.
func TestWarningsAreShown(t *testing.T) {
	w := newWorld(lab())
	before, seq := Show(w.t, w.s), w.s.Seq
	w.step(Input{Warnings: []string{"db1 is slow", "db2 too"}})
	want := strings.Replace(before, "  db1(", "# Warning: db1 is slow\n# Warning: db2 too\n  db1(", 1)
	if got := Show(w.t, w.s); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if v := MakeView(w.t, w.s); !slices.Equal(v.Warnings, []string{"db1 is slow", "db2 too"}) {
		t.Errorf("in JSON: %v", v.Warnings)
	}
	w.step(Input{})
	if got := Show(w.t, w.s); strings.Contains(got, "slow") || got != before || w.s.Seq != seq {
		t.Errorf("afterwards %s", got)
	}
}
