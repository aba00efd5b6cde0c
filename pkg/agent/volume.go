package agent

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// Volume asks the file system of a folder. A call may hang for ever, as the disk may.
type Volume interface {
	// Stat says how many bytes the file system has left for users other than root, and whether it is read-only for
	// everybody.
	Stat(folder string) (free uint64, readOnly bool, err error)
	// Write writes a block through to the disk, into a file without a name, which nobody else sees. It is an error where
	// the disk is full or broken, and nil too where this program may not write there.
	Write(folder string) error
}

// Disks are the file systems of this machine.
type Disks struct {
	// Own is a folder of this program's. Write uses it in place of a folder that this program may not write to, where both
	// are on the same device.
	Own string
}

// Stat asks statfs(2), and the mounts for the options of the file system itself (proc_pid_mountinfo(5), field 11): a
// service may see a folder read-only that is not (ProtectHome= of systemd.exec(5)).
func (Disks) Stat(folder string) (free uint64, readOnly bool, err error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, false, err
	}
	free = s.Bavail * uint64(s.Bsize)
	if s.Flags&unix.ST_RDONLY == 0 {
		return free, false, nil
	}
	device, err := deviceOf(folder)
	if err != nil {
		return free, false, err
	}
	mounts, err := mountinfo.GetMounts(func(m *mountinfo.Info) (skip, stop bool) {
		return m.Major != int(unix.Major(device)) || m.Minor != int(unix.Minor(device)), false
	})
	if err != nil {
		return free, false, err
	}
	return free, slices.ContainsFunc(mounts, func(m *mountinfo.Info) bool {
		return slices.Contains(strings.Split(m.VFSOptions, ","), "ro")
	}), nil
}

// Write uses O_TMPFILE (open(2)).
func (d Disks) Write(folder string) error {
	err := writeBlock(folder)
	if may := !errors.Is(err, unix.EACCES) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EROFS); !may {
		err = nil
		if sameDevice(folder, d.Own) {
			err = writeBlock(d.Own)
		}
	}
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT), errors.Is(err, unix.EIO):
		return fmt.Errorf("write a block: %w", err)
	}
	return nil // among others: no such folder here, or a file system that knows no files without a name
}

func writeBlock(folder string) error {
	fd, err := unix.Open(folder, unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
		return err
	}
	return unix.Fdatasync(fd)
}

func sameDevice(a, b string) bool {
	x, err := deviceOf(a)
	if err != nil || b == "" {
		return false
	}
	y, err := deviceOf(b)
	return err == nil && x == y
}

func deviceOf(folder string) (uint64, error) {
	var s unix.Stat_t
	if err := unix.Stat(filepath.Clean(folder), &s); err != nil {
		return 0, err
	}
	return s.Dev, nil
}
