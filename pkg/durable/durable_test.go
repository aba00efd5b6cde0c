package durable

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new folder", "state")
	for _, content := range []string{"first, the longest\n", "second\n", "", "fourth\n"} {
		if err := Replace(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != content {
			t.Errorf("got %q, want %q", got, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o137 != 0 {
		t.Errorf("mode %v (%v): others may read or execute it", info.Mode(), err)
	}
	if err := Replace(filepath.Join(path, "below a file"), nil); err == nil {
		t.Error("a folder that can't be made is no error")
	}
}

// TestReplaceOnFullDisk: on a full disk content that fits into a block is written all the same; longer content is an
// error, and the file keeps what it had.
func TestReplaceOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatalf("mount a small disk (root can): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	path := filepath.Join(dir, "state")
	if err := Replace(path, []byte("before\n")); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(dir, "filler"))
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{strings.Repeat("x", 4000), "a\n", strings.Repeat("y", 4096)} {
		if err := Replace(path, []byte(content)); err != nil || read(t, path) != content {
			t.Fatalf("%d bytes: %v, the file has %d", len(content), err, len(read(t, path)))
		}
	}
	last := read(t, path)
	if err := Replace(path, make([]byte, 100_000)); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("more than there is room for: %v", err)
	}
	if read(t, path) != last {
		t.Error("an error has changed the file")
	}
	if err := Replace(filepath.Join(dir, "another"), []byte("z")); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("a new file: %v", err)
	}
}

func TestReplaceable(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := Replaceable(filepath.Join(dir, "new", "newer", "state")); err != nil {
		t.Errorf("a folder that would be made: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Replaceable(file); err != nil {
		t.Errorf("a file that is there: %v", err)
	}
	if err := Replaceable(filepath.Join(file, "state")); err == nil {
		t.Error("a folder is made where a file is")
	}
}
