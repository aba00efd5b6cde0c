package agent

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mount mounts a file system until the end of the test.
func mount(t *testing.T, source, dir, kind string, flags uintptr, data string) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, flags, data); err != nil {
		t.Fatalf("mount %s (root can): %v", kind, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// TestDisks takes a real file system through four states: well, read-only for this process alone, full, and read-only
// for everybody.
func TestDisks(t *testing.T) {
	data, seen := t.TempDir(), t.TempDir()
	mount(t, "tmpfs", data, "tmpfs", 0, "size=64k")
	d := Disks{}
	if free, readOnly, err := d.Stat(data); free == 0 || free > 64<<10 || readOnly || err != nil {
		t.Errorf("a file system of 64 KiB: %d, %v, %v", free, readOnly, err)
	}
	if err := d.Write(data); err != nil {
		t.Errorf("write: %v", err)
	}
	if left, err := os.ReadDir(data); len(left) > 0 || err != nil {
		t.Errorf("a write leaves %v, %v", left, err)
	}

	mount(t, data, seen, "", unix.MS_BIND, "")
	if err := unix.Mount("", seen, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if _, readOnly, err := d.Stat(seen); readOnly || err != nil {
		t.Errorf("a folder that only we see read-only is called read-only (%v)", err)
	}
	if err := d.Write(seen); err != nil {
		t.Errorf("write where we may not: %v", err)
	}

	filler, err := os.Create(filepath.Join(data, "filler"))
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if err := filler.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Write(data); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write to a full disk: %v", err)
	}
	if err := (Disks{Own: data}).Write(seen); !errors.Is(err, unix.ENOSPC) {
		t.Errorf("write beside a folder on the same device: %v", err)
	}

	if err := unix.Mount("", data, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=64k"); err != nil {
		t.Fatal(err)
	}
	for _, folder := range []string{data, seen} {
		if _, readOnly, err := d.Stat(folder); !readOnly || err != nil {
			t.Errorf("%s: %v, %v, want it read-only", folder, readOnly, err)
		}
	}
	if _, _, err := d.Stat(filepath.Join(data, "none")); !errors.Is(err, syscall.ENOENT) {
		t.Errorf("no such folder: %v", err)
	}
	if err := d.Write(filepath.Join(data, "none")); err != nil {
		t.Errorf("write where there is no such folder: %v", err)
	}
}
