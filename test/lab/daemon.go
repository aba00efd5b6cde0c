package lab

import (
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Daemon is one of our daemons on a host.
type Daemon struct {
	host    *Host
	program string
	config  string
	dir     string
	proc    *Process
	clock   *Clock // of its own; nil: the kernel's clock
}

// Start starts the daemon in the foreground, as systemd would.
func (d *Daemon) Start() error {
	args := []string{"--config", d.config, "--foreground", "--log-file", d.LogPath(),
		"--pid-file", filepath.Join(d.dir, filepath.Base(d.program)+".pid")}
	cmd, answer := exec.Command(d.program, args...), func() error { return nil }
	if d.clock != nil {
		var err error
		if cmd, answer, err = d.clock.command(d.program, args...); err != nil {
			return err
		}
	}
	p, err := start(d.host, cmd, filepath.Join(d.dir, filepath.Base(d.program)+".out"))
	d.proc = p
	if err != nil {
		return err
	}
	return answer()
}

// Config is the daemon's configuration file.
func (d *Daemon) Config() string { return d.config }

// LogPath is where the daemon logs.
func (d *Daemon) LogPath() string { return filepath.Join(d.dir, filepath.Base(d.program)+".log") }

// Log returns what the daemon has logged so far; where that can't be read, why.
func (d *Daemon) Log() string {
	text, err := os.ReadFile(d.LogPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Kill ends the daemon as kill -9 does, and waits for its end.
func (d *Daemon) Kill() error { return d.proc.Signal(syscall.SIGKILL) }

// Signal sends the daemon a signal.
func (d *Daemon) Signal(s syscall.Signal) error { return d.proc.Signal(s) }

// Usage is how much memory the daemon has now, and how much CPU time it has used so far.
func (d *Daemon) Usage() (Usage, error) { return d.proc.Usage() }

// Stop ends the daemon cleanly (SIGTERM) and waits for its end.
func (d *Daemon) Stop(ctx context.Context) error {
	if err := d.proc.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return Wait(ctx, filepath.Base(d.program)+" to end", func() (bool, string) { return d.proc.Ended(), "it runs" })
}

// Name is the name of the daemon's program.
func (d *Daemon) Name() string { return filepath.Base(d.program) }

// WaitListening waits until the agents of hosts accept connections from the monitor's host. An original monitor takes
// an agent that it can't reach at its start for one that is down.
func (c *Cluster) WaitListening(ctx context.Context, hosts ...*Node) error {
	for _, n := range hosts {
		addr := netip.AddrPortFrom(n.IP, 9989).String()
		err := Wait(ctx, "the agent of "+n.Name+" to listen", func() (bool, string) {
			conn, err := c.Mon.Dial(ctx, addr)
			if err != nil {
				return false, err.Error()
			}
			return conn.Close() == nil, ""
		})
		if err != nil {
			return err
		}
	}
	return nil
}
