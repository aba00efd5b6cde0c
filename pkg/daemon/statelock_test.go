package daemon

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLockState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "status")
	first, err := LockState(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LockState(path); err == nil || !strings.Contains(err.Error(), "another monitor works on this status file") {
		t.Errorf("a second lock: %v", err)
	}
	if err := first.file.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := LockState(path)
	if err != nil {
		t.Fatal(err)
	}
	again.file.Close()
}
