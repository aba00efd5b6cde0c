package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Disk is a file system of its own under a server's data, on a loop device: it can be made to hang, as one whose
// storage is gone for a while.
type Disk struct {
	dir   string
	image string
}

const diskSize = 768 << 20 // sparse

// newDisk makes and mounts it on a folder.
func newDisk(dir string) (*Disk, error) {
	d := &Disk{dir: dir, image: dir + ".image"}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, diskSize); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"mkfs.ext4", "-q", "-F", "-m", "0", d.image}, // servers here are root's, and may use what is kept for root
		{"mount", "-o", "loop", d.image, dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%v: %w: %s", args, err, out)
		}
	}
	return d, os.Remove(filepath.Join(dir, "lost+found")) // a server would take it for a database
}

// Hang lets every write wait until GoOn (ioctl_fsfreeze(2)). Who waits can't be killed.
func (d *Disk) Hang() error { return d.freeze("FIFREEZE", 0xc0045877) }

// GoOn ends that; to end what has not begun is no error.
func (d *Disk) GoOn() error {
	if err := d.freeze("FITHAW", 0xc0045878); err != nil && !errors.Is(err, unix.EINVAL) {
		return err
	}
	return nil
}

func (d *Disk) freeze(what string, request uint) error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), request, 0); err != nil {
		return fmt.Errorf("%s of %s: %w", what, d.dir, err)
	}
	return nil
}

// remove unmounts it. Nobody may use it any more; what a server that was killed has begun to read or write may keep it
// busy for a moment.
func (d *Disk) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	thawed := d.GoOn()
	var err error
	free := Wait(ctx, d.dir+" to be unmounted", func() (bool, string) {
		err = unix.Unmount(d.dir, 0)
		return !errors.Is(err, unix.EBUSY), fmt.Sprint(err)
	})
	return errors.Join(thawed, free, err, os.Remove(d.image))
}

// Insert writes one row by the host's own address, as a client that waits for its answer for as long as it takes. The
// channel has what came of it.
func (c *Cluster) Insert(ctx context.Context, n *Node, id int64) (<-chan error, error) {
	db, err := c.OpenClient(n.IP.String()+":3306", 0)
	if err != nil {
		return nil, err
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	done := make(chan error, 1)
	go func() {
		defer db.Close()
		_, err := conn.ExecContext(ctx, "INSERT INTO t VALUES (?, 0, 0)", id)
		done <- err
	}()
	return done, nil
}
