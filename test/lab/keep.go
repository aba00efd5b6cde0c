package lab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Keep copies the files from which one can tell afterwards what happened into a folder outside of the lab: all logs,
// the servers' binary logs and relay logs, the state files and the configuration.
func (c *Cluster) Keep(folder string) error {
	return filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // the daemons still run, and remove files
		}
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		within, err := filepath.Rel(c.dir, path)
		if err != nil {
			return err
		}
		name := d.Name()
		if strings.Contains(within, "/data/") && !strings.HasPrefix(name, "bin.") && !strings.HasPrefix(name, "relay") {
			return nil
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		to := filepath.Join(folder, within)
		return errors.Join(err, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o644))
	})
}
