package lab

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// Process is a program that runs, or ran, on a host.
type Process struct {
	cmd   *exec.Cmd
	log   string        // file that it prints into
	ended chan struct{} // closed when it has ended
}

// start starts a command on a host. What it prints is appended to the file log.
func start(h *Host, cmd *exec.Cmd, log string) (*Process, error) {
	f, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	cmd.Stdout, cmd.Stderr = f, f
	if err := h.Start(cmd); err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, log: log, ended: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(p.ended)
	}()
	return p, nil
}

// Ended says whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// Signal sends a signal; after SIGKILL it waits for the end.
func (p *Process) Signal(s syscall.Signal) error {
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.cmd.Path, err)
	}
	if s == syscall.SIGKILL {
		<-p.ended
	}
	return nil
}

// Usage is how much of the machine a process uses.
type Usage struct {
	ResidentKB int64   // resident memory now
	CPU        float64 // CPU time so far, in seconds
}

// Usage reads what the process uses from /proc (proc(5), status and stat).
func (p *Process) Usage() (Usage, error) {
	var u Usage
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			_, err = fmt.Sscan(rest, &u.ResidentKB)
		}
	}
	if err != nil {
		return u, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return u, err
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(after)
	var user, system float64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return u, err
	}
	u.CPU = (user + system) / 100 // USER_HZ
	return u, nil
}
