package event

import (
	"os"
	"strings"
	"testing"
)

func TestSelected(t *testing.T) {
	for _, c := range []struct {
		event     Event
		selectors []Name
		want      bool
	}{
		{Event{Name: State, Level: "FATAL"}, []Name{State}, true},
		{Event{Name: State, Level: "FATAL"}, []Name{Role, Fatal}, true},
		{Event{Name: State, Level: "INFO"}, []Name{Fatal}, false},
		{Event{Name: Note, Level: "INFO"}, []Name{All}, true},
		{Event{Name: AfterPromotion}, []Name{Role}, true},
		{Event{Name: BeforePromotion}, []Name{Role}, false},
		{Event{Name: Role}, []Name{AfterPromotion}, false},
		{Event{Name: Role}, nil, false},
	} {
		if got := c.event.Selected(c.selectors); got != c.want {
			t.Errorf("%+v by %v: %v", c.event, c.selectors, got)
		}
	}
	for _, n := range Names() {
		if !(Event{Name: Name(n)}).Selected([]Name{Name(n)}) {
			t.Errorf("%s does not select itself", n)
		}
	}
}

// docs/hooks.md explains every event.
func TestEveryEventIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range Names() {
		if !strings.Contains(string(page), "\n| `"+n+"` | ") {
			t.Errorf("docs/hooks.md lacks %s", n)
		}
	}
}
