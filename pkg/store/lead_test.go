package store

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"mysql-mmm/pkg/durable"
)

func TestOneLeads(t *testing.T) {
	lead := func(path string) error { return NewFile(path, durable.Disk{}).Lead() }
	path := filepath.Join(t.TempDir(), "new", "status")
	if err := lead(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the status file itself was touched: %v", err)
	}
	runtime.GC()
	runtime.GC() // files that nobody refers to are closed
	if err := lead(path); err == nil || !strings.Contains(err.Error(), "another monitor works on this status file") {
		t.Errorf("a second one: %v", err)
	}
	if err := lead(path + "2"); err != nil {
		t.Errorf("another status file: %v", err)
	}
	if err := lead(filepath.Join(path+".lock", "status")); err == nil {
		t.Error("a file was taken for a folder")
	}
	seen, err := exec.Command("/bin/sh", "-c", "readlink /proc/self/fd/*").Output()
	if len(seen) == 0 || strings.Contains(string(seen), ".lock") {
		t.Errorf("a program that we start has %s, %v", seen, err)
	}
}
