package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/lease"
)

// The agent's state file has one line: the newest epoch, whether the role was taken in it, and the lease in milliseconds.
// It is on disk before the agent acts on what it says.

// loadState reads the state file. A missing one is an agent's first start.
func loadState(disk Disk, path string) (lease.Saved, error) {
	text, err := disk.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lease.Saved{}, nil
	}
	if err != nil {
		return lease.Saved{}, err
	}
	fields := strings.Split(strings.TrimSuffix(string(text), "\n"), "|")
	if len(fields) != 3 || fields[1] != "0" && fields[1] != "1" {
		return lease.Saved{}, fmt.Errorf("read %s: want EPOCH|TAKEN|MILLISECONDS; remove the file to let the monitor decide anew", path)
	}
	e, err := cluster.ParseEpoch(fields[0])
	if err != nil {
		return lease.Saved{}, fmt.Errorf("read %s: %w", path, err)
	}
	ms, err := strconv.ParseInt(fields[2], 10, 32)
	if err != nil {
		return lease.Saved{}, fmt.Errorf("read %s: %w", path, err)
	}
	return lease.Saved{Epoch: e, Taken: fields[1] == "1", Lease: cluster.Lease(time.Duration(ms) * time.Millisecond)}, nil
}

// saveState replaces the file and has it on disk when it returns.
func saveState(disk Disk, path string, s lease.Saved) error {
	taken := "0"
	if s.Taken {
		taken = "1"
	}
	text := fmt.Sprintf("%s|%s|%d\n", s.Epoch, taken, time.Duration(s.Lease).Milliseconds())
	return disk.Replace(path, []byte(text))
}
