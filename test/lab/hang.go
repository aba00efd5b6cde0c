package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// hangDisk makes the disk seem to hang under small files that a program replaces (package durable): the files can be
// read, and a program that begins to write one waits. A named pipe takes the place of the file into which the next
// content is written: to open a pipe for writing takes until somebody opens it for reading.
func hangDisk(files ...string) error {
	for _, f := range files {
		pipe := f + ".hangs"
		if err := unix.Mkfifo(pipe, 0o640); err != nil {
			return fmt.Errorf("let the disk of %s hang: %w", f, err)
		}
		if err := os.Rename(pipe, f+".spare"); err != nil {
			return fmt.Errorf("let the disk of %s hang: %w", f, err)
		}
	}
	return nil
}

// freeDisk ends hangDisk. A program that waits gets an error, and succeeds when it tries to write again.
func freeDisk(files ...string) error {
	var errs []error
	for _, f := range files {
		spare := f + ".spare"
		if info, err := os.Lstat(spare); err != nil {
			errs = append(errs, fmt.Errorf("free the disk of %s: %w", f, err))
			continue
		} else if info.Mode().Type() != os.ModeNamedPipe {
			errs = append(errs, fmt.Errorf("free the disk of %s: %s is no pipe any more", f, spare))
			continue
		}
		pipe, err := os.OpenFile(spare, os.O_RDONLY|unix.O_NONBLOCK, 0)
		if err == nil {
			err = errors.Join(os.Remove(spare), pipe.Close())
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stateFiles are the files in which the agent of a host keeps what must outlive it.
func (c *Cluster) stateFiles(n *Node) []string {
	state := filepath.Join(c.dir, n.Name, "mmm_agentd.state")
	return []string{state, state + ".embargo", state + ".servers"}
}

// statusFile is the monitor's status file, where Options.StatusDir is not set.
func (c *Cluster) statusFile() string { return filepath.Join(c.dir, "mmm_mond.status") }
