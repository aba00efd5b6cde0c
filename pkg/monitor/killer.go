package monitor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"mysql-mmm/pkg/cluster"
)

// killTimeout is how long the kill_host program may run. After that it counts as failed: a power switch that hangs has
// not switched anything off.
const killTimeout = 30 * time.Second

// killable returns an error if there is no program at path that can be run.
func killable(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("no kill_host program: %w", err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not an executable program", path)
	}
	return nil
}

// killHost runs `kill_host HOST PING` (docs/security.md, "What the programs may"); PING is 1 if the host answers pings,
// else 0. Only exit status 0 means that the host is off.
func killHost(ctx context.Context, path string, k cluster.Kill) cluster.KillResult {
	r := cluster.KillResult{Host: k.Host}
	if err := killable(path); err != nil {
		r.Err = err.Error()
		return r
	}
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	ping := "0"
	if k.PingGood {
		ping = "1"
	}
	cmd := exec.CommandContext(ctx, path, k.Host, ping)
	cmd.WaitDelay = time.Second
	if out, err := cmd.CombinedOutput(); err != nil {
		r.Err = strings.TrimSpace(fmt.Sprintf("%s: %v %s", path, err, strings.Join(strings.Fields(string(out)), " ")))
	}
	return r
}
