package daemon

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A start in the background makes two more processes. The first process starts the watcher, waits until it hears how
// the start went, and ends. The watcher holds the pid file and starts the worker, which is the program proper. The
// environment variable stageVar tells a process which of the three it is. How the start went is written to a pipe to
// the parent, once: the text is the news below.
const (
	stageVar     = "MMM_DAEMON_STAGE"
	stageFirst   = ""
	stageWatcher = "watcher"
	stageWorker  = "worker"

	parentFD = 3 // write end of the pipe to the parent
	lockFD   = 4 // the worker's share in the lock of the pid file

	// started is the news of a successful start; all other news are errors.
	started = "started"

	// exitRefused is the worker's exit code where the configuration is wrong: to start it again would not help. It is
	// EX_CONFIG of sysexits.h.
	exitRefused = 78

	startTimeout = time.Minute
	restartPause = time.Second
)

// parent is the process that waits to hear how the start went. The zero parent is none.
type parent struct{ pipe *os.File }

// say tells the parent the news. Only the first call counts.
func (p parent) say(text string) {
	if p.pipe == nil {
		return
	}
	_, _ = io.WriteString(p.pipe, text) // a parent that is gone does not care
	p.pipe.Close()
}

// takeStage tells which process this is. It keeps the variable, the pipe and the lock from our own children.
func takeStage() (string, parent) {
	stage := os.Getenv(stageVar)
	os.Unsetenv(stageVar)
	if stage == stageFirst {
		return stage, parent{}
	}
	syscall.CloseOnExec(parentFD)
	if stage == stageWorker {
		syscall.CloseOnExec(lockFD)
	}
	return stage, parent{os.NewFile(parentFD, "parent")}
}

// self makes a command that runs this program as stage, and a pipe for its news.
func self(stage string, inv Invocation) (*exec.Cmd, *os.File, *os.File, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("find own program: %w", err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make pipe: %w", err)
	}
	cmd := exec.Command(exe, inv.Args()...)
	cmd.Args[0] = os.Args[0]
	cmd.Env = append(os.Environ(), stageVar+"="+stage)
	cmd.Dir = "/" // keep no file system busy
	cmd.ExtraFiles = []*os.File{write}
	return cmd, read, write, nil
}

// launch starts the watcher and returns the exit code once the program has started, or failed to.
func launch(inv Invocation, stderr io.Writer) int {
	cmd, read, write, err := self(stageWatcher, inv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	defer read.Close()
	// A daemon must not hold open what its caller has left open. Kernels before 5.11 don't know this call; there the
	// files stay open.
	_ = unix.CloseRange(parentFD, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	err = cmd.Start()
	write.Close()
	if err != nil {
		fmt.Fprintf(stderr, "start in the background: %v\n", err)
		return 1
	}
	if err := read.SetReadDeadline(time.Now().Add(startTimeout)); err != nil {
		fmt.Fprintf(stderr, "wait for the start: %v\n", err)
		return 1
	}
	news, err := io.ReadAll(read)
	switch {
	case err != nil:
		_ = cmd.Process.Signal(syscall.SIGTERM)
		fmt.Fprintf(stderr, "wait for the start: %v\n", err)
		return 1
	case string(news) == started:
		return 0
	case len(news) == 0:
		news = []byte("died during its start")
	}
	fmt.Fprintf(stderr, "%s\n", news)
	return 1
}

// watch runs workers, one after the other, until one ends with exit code 0, or the watcher is told to end.
func (p *process) watch() int {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	file, log, err := p.openLog(nil)
	if err != nil {
		p.parent.say(err.Error())
		return 1
	}
	defer file.Close()
	pid, err := p.acquire(log)
	if err != nil {
		p.parent.say(err.Error())
		return 1
	}
	w := watcher{process: p, log: log, file: file, pid: pid, signals: signals}
	code := w.run()
	if err := pid.Release(); err != nil {
		log.Warn("Can't remove the pid file", "cause", err)
	}
	return code
}

type watcher struct {
	process *process
	log     *slog.Logger
	file    *LogFile
	pid     *PIDFile
	signals <-chan os.Signal
	news    string // what the newest worker said of its start
	up      bool   // some worker has started successfully
	ending  bool   // the watcher was told to end
}

func (w *watcher) run() int {
	for {
		err := w.worker()
		switch {
		case !w.up:
			return 1 // the parent has heard the reason
		case w.ending || err == nil:
			return 0
		}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == exitRefused {
			Fatal(w.log, w.process.program.Name+" can't be started again: "+w.news)
			return 1
		}
		w.log.Error(w.process.program.Name+" died, starting it again", "cause", err, "pause", restartPause)
		if !w.pause() {
			return 0
		}
	}
}

// worker runs one worker to its end.
func (w *watcher) worker() error {
	cmd, read, write, err := self(stageWorker, w.process.inv)
	if err != nil {
		return w.failed(err)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, w.pid.file)
	// The Go runtime writes the trace of a panic to stderr: it is to be in the log.
	stderr, err := os.OpenFile(w.file.path, os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		cmd.Stderr = stderr
		defer stderr.Close()
	}
	err = cmd.Start()
	write.Close()
	if err != nil {
		read.Close()
		return w.failed(err)
	}
	news, dead := make(chan string, 1), make(chan error, 1)
	go func() {
		defer read.Close()
		text, _ := io.ReadAll(read) // the worker closes the pipe after its news, at the latest when it ends
		news <- string(text)
	}()
	go func() { dead <- cmd.Wait() }()
	for {
		select {
		case text := <-news:
			w.passOn(text)
			news = nil
		case s := <-w.signals:
			w.ending = true
			_ = cmd.Process.Signal(s) // fails only where the worker has ended
		case <-w.process.hup:
			w.reopen()
			_ = cmd.Process.Signal(syscall.SIGHUP)
		case err := <-dead:
			if news != nil {
				w.passOn(<-news)
			}
			return w.failed(err)
		}
	}
}

// passOn tells the parent what the first worker says of its start.
func (w *watcher) passOn(text string) {
	w.news = text
	if w.up || text == "" {
		return
	}
	w.up = text == started
	w.process.parent.say(text)
}

// failed makes sure that the parent hears of a first worker that died without saying anything.
func (w *watcher) failed(err error) error {
	if !w.up {
		w.process.parent.say(fmt.Sprintf("%s died during its start: %v", w.process.program.Name, err))
	}
	return err
}

func (w *watcher) reopen() {
	if err := w.file.Reopen(); err != nil {
		w.log.Warn("Can't reopen the log", "cause", err)
	}
}

// pause waits for restartPause. It reports false where the watcher was told to end meanwhile.
func (w *watcher) pause() bool {
	over := time.NewTimer(restartPause)
	defer over.Stop()
	for {
		select {
		case <-over.C:
			return true
		case <-w.signals:
			return false
		case <-w.process.hup:
			w.reopen()
		}
	}
}
