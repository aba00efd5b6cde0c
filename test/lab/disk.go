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
	// Servers here are root's, and may use what is kept for root.
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", d.image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a file system in %s: %w: %s", d.image, err, out)
	}
	if err := d.mount(); err != nil {
		return nil, err
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

// losePower kills the server and takes from its disk all that was not on it: what the kernel has kept in memory is in
// the file system that is left behind, and not in the copy that takes its place.
func (n *Node) losePower() error {
	d, cut := n.Disk, n.Disk.image+".cut"
	if err := n.Server.Kill(); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "--sparse=always", d.image, cut).CombinedOutput(); err != nil {
		return fmt.Errorf("copy what is on the disk: %w: %s", err, out)
	}
	if err := d.remove(); err != nil {
		return err
	}
	if err := os.Rename(cut, d.image); err != nil {
		return err
	}
	return d.mount()
}

// sync has all that was written so far on the disk (syncfs(2)).
func (d *Disk) sync() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

func (d *Disk) mount() error {
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("mount %s: %w: %s", d.image, err, out)
	}
	return nil
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
