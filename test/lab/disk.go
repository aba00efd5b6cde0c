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

// Disk is a file system on a loop device for the data of one server. It can be made to hang, as a disk does whose
// storage is unreachable for a while.
type Disk struct {
	dir   string
	image string
}

const diskSize = 768 << 20 // sparse

// newDisk makes a Disk and mounts it on a folder.
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
	// No blocks are kept for root (-m 0): the servers run as root here, and could use them.
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-m", "0", d.image).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make a file system in %s: %w: %s", d.image, err, out)
	}
	if err := d.mount(); err != nil {
		return nil, err
	}
	return d, os.Remove(filepath.Join(dir, "lost+found")) // a server would take it for a database
}

// Hang makes every write wait until GoOn (ioctl_fsfreeze(2)). A process that waits can't be killed.
func (d *Disk) Hang() error { return d.freeze("FIFREEZE", 0xc0045877) }

// GoOn ends Hang. It is no error where the disk does not hang.
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

// remove unmounts the disk and deletes its image. No process may use the disk any more; it waits for reads and writes
// that a killed server had begun.
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

// losePower kills the server, and undoes all writes that had not reached its disk. They are in the kernel's memory and
// not in the disk's image: the image is copied, the disk is removed, and the copy takes its place.
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

// sync puts all that was written so far onto the disk (syncfs(2)).
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

// Insert writes one row at the host's own address, as a client that waits for the answer without a limit. The channel
// gets the result of the statement.
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
