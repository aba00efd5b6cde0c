package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

// A daemon in the background is two processes: a watcher, which holds the pid file and starts the worker again when it dies,
// and the worker. The init system's own scripts did without; systemd watches by itself and uses --foreground.
const (
	stageVariable = "MMM_DAEMON_STAGE"
	stageWatcher  = "watcher"
	stageWorker   = "worker"

	// ExitRefused is the exit status of a worker that will fail again the same way: it is not started again.
	ExitRefused = 3

	restartPause = time.Second
	startTimeout = 30 * time.Second
)

// ready is the descriptor on which a child says that it has started, or why not.
const ready = 3

// Background takes care of going into the background. Of a process that is to do the work it returns false at once; of one that
// was called by a user, or that watches, it returns true and the exit status when it is done.
func Background(name, pidFile string, log func() (*slog.Logger, error)) (done bool, status int) {
	switch os.Getenv(stageVariable) {
	case stageWorker:
		return false, 0
	case stageWatcher:
		return true, watch(name, pidFile, log)
	}
	cmd, answer, err := child(stageWatcher)
	if err == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: go into the background: %v\n", name, err)
		return true, 1
	}
	cmd.ExtraFiles[0].Close()
	if problem := hear(answer); problem != "" {
		fmt.Fprintln(os.Stderr, problem)
		return true, 1
	}
	return true, 0
}

// InWorker says whether this process is the watched one; then the watcher holds the pid file.
func InWorker() bool { return os.Getenv(stageVariable) == stageWorker }

// Started tells whoever started this process that it works now, or why it can't.
func Started(err error) {
	notify("READY=1")
	if os.Getenv(stageVariable) == "" {
		return
	}
	f := os.NewFile(ready, "ready")
	if f == nil {
		return
	}
	text := "ok"
	if err != nil {
		text = err.Error()
	}
	_, _ = io.WriteString(f, text) // nobody listens after the first start
	f.Close()
}

// Stopping tells systemd that the daemon is ending.
func Stopping() { notify("STOPPING=1") }

// notify speaks to systemd where it asked for that (sd_notify(3)).
func notify(state string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" || os.Getenv(stageVariable) != "" {
		return
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, state)
}

func child(stage string) (*exec.Cmd, *os.File, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVariable+"="+stage)
	cmd.ExtraFiles = []*os.File{w}
	return cmd, r, nil
}

// hear waits for what a child says of its start; "" is that it works.
func hear(r *os.File) string {
	defer r.Close()
	_ = r.SetReadDeadline(time.Now().Add(startTimeout))
	text, err := io.ReadAll(r)
	switch {
	case string(text) == "ok":
		return ""
	case len(text) > 0:
		return string(text)
	case err != nil:
		return "it did not start in time"
	}
	return "it ended while starting; see its log"
}

// watch starts the worker, and starts it again when it dies.
func watch(name, pidFile string, openLog func() (*slog.Logger, error)) int {
	log, err := openLog()
	if err != nil {
		Started(err)
		return 1
	}
	pid, err := TakePIDFile(pidFile, name)
	if err != nil {
		log.Log(context.Background(), LevelFatal, err.Error())
		Started(err)
		return 1
	}
	defer pid.Release()
	if pid.Stale {
		log.Warn("Unclean start - found stale pid file!")
	}
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP)
	for first := true; ; first = false {
		ended, code, problem := work(signals)
		if first {
			if problem == "" {
				Started(nil)
			} else {
				Started(errors.New(problem))
			}
		}
		status := <-code
		if asked := <-ended; asked || first && problem != "" || status == ExitRefused || status == 0 {
			return status
		}
		log.Log(context.Background(), LevelFatal, fmt.Sprintf("%s died (%d), starting it again", name, status))
		select {
		case s := <-signals:
			if s != syscall.SIGHUP {
				return 0
			}
		case <-time.After(restartPause):
		}
	}
}

// work runs one worker. Signals are passed on to it; ended says whether one of them asked for the end.
func work(signals <-chan os.Signal) (ended <-chan bool, code <-chan int, problem string) {
	endedTo, codeTo := make(chan bool, 1), make(chan int, 1)
	cmd, answer, err := child(stageWorker)
	if err == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
		err = cmd.Start()
	}
	if err != nil {
		endedTo <- false
		codeTo <- 1
		return endedTo, codeTo, err.Error()
	}
	cmd.ExtraFiles[0].Close()
	exited := make(chan struct{})
	go func() {
		asked := false
		for {
			select {
			case s := <-signals:
				asked = asked || s != syscall.SIGHUP
				_ = cmd.Process.Signal(s)
			case <-exited:
				endedTo <- asked
				return
			}
		}
	}()
	problem = strings.TrimSpace(hear(answer))
	go func() {
		_ = cmd.Wait()
		codeTo <- cmd.ProcessState.ExitCode()
		close(exited)
	}()
	return endedTo, codeTo, problem
}
