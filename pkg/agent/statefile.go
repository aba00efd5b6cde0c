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

// The agent's state file has one line: the newest epoch, its terms, the boot in which this host took the writer role in
// the epoch's holding, the lease in milliseconds, and released=1 where the newest order was of a monitor that knows no
// epochs. Later versions may add fields. The file is on disk before the agent says that it knows the epoch, and before
// it takes the role.
//
//	epoch=7,db1,6,0,|terms=db1,db2;3000;3000|taken=8f3a…|lease=3000

// Keys of the fields.
const (
	keyEpoch = "epoch"
	keyTerms = "terms"
	keyTaken = "taken"
	keyLease = "lease"

	keyReleased = "released"
)

// loadState reads the state file. A missing one is an agent's first start. One that can't be understood is an error,
// and its content is kept beside it, as PATH.unreadable. boot is the present boot: the oldest versions of the file say
// that the role was taken, and not in which boot; it counts as taken in this one.
func loadState(disk Disk, path, boot string) (lease.Saved, error) {
	text, err := disk.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return lease.Saved{}, nil
	}
	if err != nil {
		return lease.Saved{}, fmt.Errorf("read the state file: %w", err)
	}
	saved, err := parseState(string(text), boot)
	if err == nil {
		return saved, nil
	}
	err = fmt.Errorf("read the state file %s: %w", path, err)
	if keep := disk.Replace(path+".unreadable", text); keep != nil {
		err = errors.Join(err, fmt.Errorf("keep what it has: %w", keep))
	}
	return lease.Saved{}, err
}

func parseState(text, boot string) (lease.Saved, error) {
	line, whole := strings.CutSuffix(text, "\n")
	if !whole || strings.Contains(line, "\n") {
		return lease.Saved{}, errors.New("it is not one whole line")
	}
	if !strings.Contains(line, "=") {
		return parseOldState(line, boot)
	}
	pairs := map[string]string{}
	for f := range strings.SplitSeq(line, "|") {
		key, value, ok := strings.Cut(f, "=")
		if !ok {
			return lease.Saved{}, fmt.Errorf("%q is not KEY=VALUE", f)
		}
		pairs[key] = value
	}
	var s lease.Saved
	var err error
	if s.Epoch, err = cluster.ParseEpoch(pairs[keyEpoch]); err != nil {
		return lease.Saved{}, err
	}
	if s.Epoch.Terms, err = cluster.ParseTerms(pairs[keyTerms]); err != nil {
		return lease.Saved{}, err
	}
	s.Taken, s.Released = pairs[keyTaken], pairs[keyReleased] == "1"
	s.Lease, err = parseMilliseconds(pairs[keyLease])
	return s, err
}

// parseOldState reads a file of an older version: EPOCH|TAKEN|MILLISECONDS, TAKEN being 0 or 1.
func parseOldState(line, boot string) (lease.Saved, error) {
	fields := strings.Split(line, "|")
	if len(fields) != 3 || fields[1] != "0" && fields[1] != "1" {
		return lease.Saved{}, errors.New("it is of no version that this program knows")
	}
	e, err := cluster.ParseEpoch(fields[0])
	if err != nil {
		return lease.Saved{}, err
	}
	s := lease.Saved{Epoch: e}
	if fields[1] == "1" {
		s.Taken = boot
	}
	s.Lease, err = parseMilliseconds(fields[2])
	return s, err
}

func parseMilliseconds(s string) (cluster.Lease, error) {
	ms, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no lease in milliseconds", s)
	}
	return cluster.Lease(time.Duration(ms) * time.Millisecond), nil
}

func formatState(s lease.Saved) string {
	line := fmt.Sprintf("%s=%s|%s=%s|%s=%s|%s=%d", keyEpoch, s.Epoch, keyTerms, s.Epoch.Terms, keyTaken, s.Taken,
		keyLease, time.Duration(s.Lease).Milliseconds())
	if s.Released {
		line += "|" + keyReleased + "=1"
	}
	return line + "\n"
}
