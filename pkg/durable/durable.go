// Package durable replaces small files that must survive a crash at any moment and be replaceable on a full disk: a
// cluster whose monitor can't write down a decision can't move the writer role, and a full disk is often what the
// trouble began with.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Replace puts content in the file's place and has it on disk when it returns. After a crash the file has the old or
// the new content, whole. The folder is made where it is missing.
//
// Beside the file stays PATH.spare, which the next content is written to and which then changes places with the file
// (RENAME_EXCHANGE, renameat2(2)). It keeps its disk block, so that content of up to a block, 4 KiB on common file
// systems, needs no space on a disk that has become full since. Where the file system can't exchange files, or writes
// nothing in place (btrfs), a full disk is an error.
func Replace(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	spare := path + ".spare"
	if err := overwrite(spare, content); err != nil {
		return err
	}
	err := unix.Renameat2(unix.AT_FDCWD, spare, unix.AT_FDCWD, path, unix.RENAME_EXCHANGE)
	if err != nil {
		// There is no file yet, or the file system can't exchange files: the spare becomes the file, and a new spare is
		// made below.
		err = os.Rename(spare, path)
	}
	if err != nil {
		return fmt.Errorf("put %s in the place of %s: %w", spare, path, err)
	}
	if _, err := os.Stat(spare); errors.Is(err, fs.ErrNotExist) {
		_ = overwrite(spare, content) // so that the next content has its block; no room for a spare is no error
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// Disk is the disk of this machine, for callers that have another disk in tests.
type Disk struct{}

// ReadFile reads a whole file. A missing one is an fs.ErrNotExist.
func (Disk) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }

// Replace does what the function Replace of this package does.
func (Disk) Replace(path string, content []byte) error { return Replace(path, content) }

// Rename gives a file another name, in the place of what has that name (rename(2)).
func (Disk) Rename(from, to string) error { return os.Rename(from, to) }

// Replaceable returns nil where Replace could work, as far as access rights and the kind of the file system go, and
// else an error that names the path. It changes nothing, so it does not notice a full disk.
func Replaceable(path string) error {
	if err := unix.Access(path, unix.W_OK); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: %w", path, err)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		switch err := unix.Access(dir, unix.W_OK|unix.X_OK); {
		case err == nil:
			if st, err := os.Stat(dir); err == nil && !st.IsDir() {
				return fmt.Errorf("write in %s: %w", dir, unix.ENOTDIR)
			}
			return nil
		case !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir):
			return fmt.Errorf("write in %s: %w", dir, err)
		}
		// Replace would make this folder: look at the one above.
	}
}

// overwrite writes content over what the file has and shortens the file only then. So the disk blocks that content
// needs are never given back: a full disk might not give them again.
func overwrite(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Truncate(int64(len(content)))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
