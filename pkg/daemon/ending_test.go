package daemon

import (
	"os"
	"strings"
	"syscall"
	"testing"

	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/store"
)

// A monitor that was told to end, and is still saving, leads. One that is killed does not.
func TestLeadsUntilTheEnd(t *testing.T) {
	p := newProbe(t, "lead")
	watcher := p.start(t)
	p.worker(t, 1)
	lead := store.NewFile(p.config+".status", durable.Disk{}).Lead
	expect := func(what string) {
		t.Helper()
		if err := lead(); err == nil || !strings.Contains(err.Error(), "another monitor works on this status file") {
			t.Fatalf("%s: %v", what, err)
		}
	}
	expect("running")
	kill(t, p.worker(t, 1), syscall.SIGKILL)
	p.worker(t, 2)
	expect("running again")
	kill(t, watcher, syscall.SIGTERM)
	eventually(t, "the worker saves", func() bool { return strings.Contains(read(t, p.log), "saving") })
	expect("saving")
	if err := os.WriteFile(p.config+".saved", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p.expectGone(t, watcher)
	if err := lead(); err != nil {
		t.Errorf("after the end: %v", err)
	}
}
