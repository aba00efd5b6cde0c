package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"mysql-mmm/pkg/event"
)

const (
	keptOutput = 4 << 10 // how many of the last bytes of a program's output are kept
	maxValue   = 4 << 10 // bytes of a variable of the environment
	pipeGrace  = time.Second
)

// run runs a hook once: without a shell, in a process group of its own, with an environment and open files of its own.
// It returns the end of the program's output. When it returns, all processes of the group have been killed.
func run(ctx context.Context, h Hook, e event.Event) (said string, err error) {
	if err := usable(h.Path); err != nil {
		return "", err
	}
	input, err := json.Marshal(e)
	if err != nil {
		return "", fmt.Errorf("encode the event: %w", err)
	}
	out := &tail{}
	cmd := exec.Command(h.Path)
	cmd.Env, cmd.Dir = environment(e), "/"
	cmd.Stdin = bytes.NewReader(append(input, '\n'))
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = pipeGrace // a process that has left the group may still hold our pipe
	// Files that we opened ourselves are closed on exec anyway; files that we were started with are not. Kernels before
	// 5.11 don't know this call: there the latter stay open.
	_ = unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC)
	if err := cmd.Start(); err != nil {
		return "", startError(err)
	}
	group := -cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- untilDead(cmd.Process.Pid) }()
	limit := time.NewTimer(h.Timeout)
	defer limit.Stop()
	var cut error
	select {
	case err = <-ended:
	case <-limit.C:
		cut = fmt.Errorf("it did not end within %s and was killed; make it quicker, or raise its timeout", h.Timeout)
	case <-ctx.Done():
		cut = errors.New("it was killed, as the monitor does not wait any longer")
	}
	// The program is reaped only after this, so that no other process or group can have its number yet.
	_ = unix.Kill(group, unix.SIGKILL)
	if cut != nil {
		err = <-ended
	}
	if waited := cmd.Wait(); err == nil {
		err = waited
	}
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case cut != nil:
		err = cut
	case errors.Is(err, exec.ErrWaitDelay):
		err = nil // the program has succeeded; a process that it started goes on
	case exited:
		err = exitError(exit)
	}
	return out.String(), err
}

// untilDead waits until a child process has ended, without reaping it.
func untilDead(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// usable says what is wrong with a program, with the remedy.
func usable(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file; put it there, or take the hook out of the configuration")
	case err != nil:
		if reason, ok := errors.AsType[*fs.PathError](err); ok {
			err = reason.Err
		}
		return fmt.Errorf("it can't be found: %w", err)
	case !info.Mode().IsRegular():
		return errors.New("it is no file; name a program")
	case info.Mode()&0o111 == 0:
		return fmt.Errorf("it is not executable; run: chmod +x %s", path)
	case info.Mode()&0o002 != 0:
		return fmt.Errorf("everybody may write to it; run: chmod o-w %s", path)
	}
	return nil
}

func startError(err error) error {
	if reason, ok := errors.AsType[*fs.PathError](err); ok {
		err = reason.Err
	}
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("it can't be started: %w; a script needs a first line such as #!/bin/sh", err)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("it can't be started: the interpreter of its first line is missing: %w", err)
	}
	return fmt.Errorf("it can't be started: %w", err)
}

func exitError(exit *exec.ExitError) error {
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("it was killed by signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return exitStatus(exit.ExitCode())
}

// exitStatus is an exit status other than 0: the program has ended by itself.
type exitStatus int

func (s exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(s)) }

// environment is the whole environment of a hook: it inherits nothing of the monitor's.
func environment(e event.Event) []string {
	seconds, planned := "", ""
	if e.Seconds > 0 {
		seconds = strconv.FormatFloat(e.Seconds, 'f', 3, 64)
	}
	if e.Planned {
		planned = "1"
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, v := range [][2]string{
		{"EVENT", string(e.Name)}, {"CLUSTER", e.Cluster}, {"AT", e.At.Format(time.RFC3339Nano)}, {"LEVEL", e.Level},
		{"HOST", e.Host}, {"ROLE", e.Role}, {"IP", e.IP},
		{"FROM", e.From}, {"TO", e.To}, {"TEXT", e.Text}, {"CAUSE", e.Cause}, {"PLANNED", planned},
		{"SECONDS", seconds},
	} {
		value := strings.ReplaceAll(v[1], "\x00", "")
		env = append(env, "MMM_"+v[0]+"="+strings.ToValidUTF8(value[:min(len(value), maxValue)], ""))
	}
	return env
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p[max(0, len(p)-keptOutput):]...)
	t.kept = t.kept[max(0, len(t.kept)-keptOutput):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}
