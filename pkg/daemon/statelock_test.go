package daemon

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

const taken = "another monitor works on this status file"

func TestLockState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "status")
	if err := LockState(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the state file itself was touched: %v", err)
	}
	runtime.GC()
	runtime.GC() // files that nobody refers to are closed
	if err := LockState(path); err == nil || !strings.Contains(err.Error(), taken) {
		t.Errorf("a second lock: %v", err)
	}
	if err := LockState(path + "2"); err != nil {
		t.Errorf("another state file: %v", err)
	}
	if err := LockState(filepath.Join(path+".lock", "status")); err == nil {
		t.Error("a file was taken for a folder")
	}
	seen, err := exec.Command("/bin/sh", "-c", "readlink /proc/self/fd/*").Output()
	if len(seen) == 0 || strings.Contains(string(seen), ".lock") {
		t.Errorf("a program that we start has %s, %v", seen, err)
	}
}

// A monitor that was told to end, and is still saving, has its lock. One that is killed has none.
func TestStateIsLockedUntilTheEnd(t *testing.T) {
	p := newProbe(t, "lock")
	watcher := p.start(t)
	p.worker(t, 1)
	expect := func(what string) {
		t.Helper()
		if err := LockState(p.config + ".status"); err == nil || !strings.Contains(err.Error(), taken) {
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
	if err := LockState(p.config + ".status"); err != nil {
		t.Errorf("after the end: %v", err)
	}
}
