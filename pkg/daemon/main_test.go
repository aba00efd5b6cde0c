package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// patience bounds every wait of these tests; nothing waits for it to pass.
const patience = 30 * time.Second

// probeVar makes the test program a daemon.
const probeVar = "MMM_DAEMON_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(probeVar) != "" {
		os.Exit(Main(Program{Name: "probe", Version: "1.2.3", Load: loadProbe}, os.Args[1:], os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// loadProbe takes the behaviour of the daemon from the words in its configuration file, each time anew.
func loadProbe(inv Invocation) (Settings, error) {
	text, err := os.ReadFile(inv.ConfigFile)
	if err != nil {
		return Settings{}, err
	}
	has := func(word string) bool { return strings.Contains(string(text), word) }
	if has("refuse") {
		return Settings{}, errors.New("line 1: wrong\nline 2: wrong")
	}
	return Settings{
		PIDFile: inv.ConfigFile + ".pid",
		Debug:   has("debug"),
		Build: func(log *slog.Logger) (Service, error) {
			if has("nobuild") {
				return Service{}, errors.New("listen: no")
			}
			log.Debug("some detail")
			if has("panic") {
				panic("on purpose")
			}
			// A child must inherit nothing of ours.
			seen, err := exec.Command("/bin/sh", "-c", "readlink /proc/self/fd/*; echo stage=$MMM_DAEMON_STAGE notify=$NOTIFY_SOCKET").Output()
			if err != nil {
				return Service{}, err
			}
			log.Info("child", "sees", strings.Join(strings.Fields(string(seen)), ","))
			return Service{Tasks: []Task{task{"probe", func(ctx context.Context) error {
				log.Info("running", "pid", os.Getpid())
				if has("fail") {
					return errors.New("no more")
				}
				<-ctx.Done()
				if has("late") {
					return errors.New("too late")
				}
				return nil
			}}}}, nil
		},
	}, nil
}

// probe is the daemon with its files.
type probe struct {
	config, pid, log string
}

func newProbe(t *testing.T, behaviour string) probe {
	t.Helper()
	file := filepath.Join(t.TempDir(), "probe.conf")
	p := probe{config: file, pid: file + ".pid", log: file + ".log"}
	p.behave(t, behaviour)
	return p
}

func (p probe) behave(t *testing.T, behaviour string) {
	t.Helper()
	if err := os.WriteFile(p.config, []byte(behaviour), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (p probe) command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, os.Args[0], append([]string{"--config", p.config, "--log-file", p.log}, args...)...)
	cmd.Env = append(os.Environ(), probeVar+"=1")
	cmd.WaitDelay = time.Second // the output must not be held open by the background
	return cmd
}

// call runs the first process to its end.
func (p probe) call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := p.command(t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// start starts it in the background, and ends it with the test.
func (p probe) start(t *testing.T) (watcher int) {
	t.Helper()
	if code, stdout, stderr := p.call(t); code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(read(t, p.pid), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, id := range append([]int{pid}, p.workers(t)...) {
			if p.owns(id) {
				_ = syscall.Kill(id, syscall.SIGKILL)
				eventually(t, "process ends", func() bool { return !p.owns(id) })
			}
		}
	})
	return pid
}

// owns tells whether the process with this id is one of this test's.
func (p probe) owns(pid int) bool {
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && bytes.Contains(cmdline, []byte(p.config))
}

// workers are the ids of the workers that have ever run, in order.
func (p probe) workers(t *testing.T) []int {
	t.Helper()
	var ids []int
	for line := range strings.Lines(read(t, p.log)) {
		if _, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "running pid="); ok {
			pid, err := strconv.Atoi(id)
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, pid)
		}
	}
	return ids
}

// worker waits for the nth worker.
func (p probe) worker(t *testing.T, n int) int {
	t.Helper()
	eventually(t, fmt.Sprintf("worker %d runs", n), func() bool { return len(p.workers(t)) >= n })
	return p.workers(t)[n-1]
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func (p probe) expectGone(t *testing.T, watcher int) {
	t.Helper()
	eventually(t, "the watcher ends", func() bool { return !p.owns(watcher) })
	for _, id := range p.workers(t) {
		if p.owns(id) {
			t.Errorf("worker %d has outlived its watcher", id)
		}
	}
	if _, err := os.Stat(p.pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file: %v", err)
	}
}

func kill(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatalf("send %v to %d: %v", s, pid, err)
	}
}

func TestShortCalls(t *testing.T) {
	tests := []struct {
		behaviour, args string
		code            int
		stdout, stderr  string // stderr: its beginning
	}{
		{"", "--version", 0, "probe 1.2.3\n", ""},
		{"refuse", "--version", 0, "probe 1.2.3\n", ""},
		{"", "configtest", 0, "OK\n", ""},
		{"refuse", "configtest", 1, "", "line 1: wrong\nline 2: wrong\n"},
		{"refuse", "", 1, "", "line 1: wrong\nline 2: wrong\n"},
		{"refuse", "--foreground", 1, "", "line 1: wrong\nline 2: wrong\n"},
		{"", "--bogus", 2, "", "probe: flag provided but not defined: -bogus\nUsage: probe"},
		{"", "start", 2, "", "probe: unknown argument \"start\"\nUsage: probe"},
		{"", "--help", 0, Usage("probe"), ""},
		{"nobuild", "", 1, "", "listen: no\n"},
		{"panic", "", 1, "", "probe died during its start: exit status 2\n"},
		{"", "--log-file /dev/null/x", 1, "", "open log: "},
		{"", "--pid-file /dev/null/x", 1, "", "make folder of pid file: "},
	}
	for _, tt := range tests {
		t.Run(tt.behaviour+" "+tt.args, func(t *testing.T) {
			p := newProbe(t, tt.behaviour)
			code, stdout, stderr := p.call(t, strings.Fields(tt.args)...)
			if code != tt.code || stdout != tt.stdout || !strings.HasPrefix(stderr, tt.stderr) || (tt.stderr == "" && stderr != "") {
				t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			// The watcher removes it after the news have been told.
			eventually(t, "no pid file", func() bool { _, err := os.Stat(p.pid); return errors.Is(err, os.ErrNotExist) })
			if tt.behaviour == "panic" && !strings.Contains(read(t, p.log), "panic: on purpose") {
				t.Errorf("no trace in the log: %q", read(t, p.log))
			}
		})
	}
}

func TestBackground(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(s.String(), func(t *testing.T) {
			p := newProbe(t, "")
			watcher := p.start(t)
			worker := p.worker(t, 1)
			if session, err := sid(watcher); err != nil || session != watcher {
				t.Errorf("session %d of watcher %d, %v", session, watcher, err)
			}
			if dir, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", worker)); dir != "/" {
				t.Errorf("the worker is in %s, %v", dir, err)
			}
			log := read(t, p.log)
			// Its three standard files and nothing else.
			child, _, _ := strings.Cut(log[strings.Index(log, "child sees="):], "\n")
			if !strings.HasSuffix(child, `,stage=,notify="`) || strings.Count(child, ",") > 4 || strings.Contains(child, p.pid) {
				t.Errorf("a child inherits something: %s", child)
			}
			if strings.Contains(log, "some detail") {
				t.Errorf("debug lines without debug: %s", log)
			}
			code, _, stderr := p.call(t)
			if code != 1 || stderr != "Can't run second copy of probe\n" {
				t.Errorf("second copy: exit %d, %q", code, stderr)
			}
			kill(t, watcher, s)
			p.expectGone(t, watcher)
			log = read(t, p.log)
			for _, want := range []string{"FATAL Can't run second copy of probe\n", " INFO Ending cause="} {
				if !strings.Contains(log, want) {
					t.Errorf("no %q in the log:\n%s", want, log)
				}
			}
			if n := len(p.workers(t)); n != 1 {
				t.Errorf("%d workers", n)
			}
		})
	}
}

// sid is the session of a process, from proc_pid_stat(5).
func sid(pid int) (int, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	after := stat[bytes.LastIndexByte(stat, ')')+1:]
	return strconv.Atoi(strings.Fields(string(after))[3])
}

func TestWorkerIsStartedAgain(t *testing.T) {
	p := newProbe(t, "")
	watcher := p.start(t)
	kill(t, p.worker(t, 1), syscall.SIGKILL)
	p.worker(t, 2)
	p.behave(t, "fail")
	kill(t, p.worker(t, 2), syscall.SIGSEGV)
	p.worker(t, 4) // 3 has failed
	p.behave(t, "nobuild")
	eventually(t, "a start fails", func() bool { return strings.Contains(read(t, p.log), "FATAL listen: no\n") })
	p.behave(t, "")
	p.worker(t, len(p.workers(t))+1)
	log := read(t, p.log)
	for _, want := range []string{
		`ERROR probe died, starting it again cause="signal: killed" pause=1s`,
		`ERROR probe died, starting it again cause="exit status 2" pause=1s`, // the runtime's way to die
		`FATAL probe: no more`,
		`ERROR probe died, starting it again cause="exit status 1" pause=1s`,
	} {
		if !strings.Contains(log, want) {
			t.Errorf("no %q in the log:\n%s", want, log)
		}
	}
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
}

func TestFailureWhileEndingIsTheEnd(t *testing.T) {
	p := newProbe(t, "late")
	watcher := p.start(t)
	p.worker(t, 1)
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
	if log := read(t, p.log); !strings.Contains(log, "FATAL probe: too late\n") || strings.Contains(log, "again") {
		t.Errorf("log:\n%s", log)
	}
}

func TestWatcherEndsWithACleanWorker(t *testing.T) {
	p := newProbe(t, "")
	watcher := p.start(t)
	kill(t, p.worker(t, 1), syscall.SIGTERM)
	p.expectGone(t, watcher)
}

func TestWatcherGivesUpOnAWrongConfiguration(t *testing.T) {
	p := newProbe(t, "")
	watcher := p.start(t)
	worker := p.worker(t, 1)
	p.behave(t, "refuse")
	kill(t, worker, syscall.SIGKILL)
	p.expectGone(t, watcher)
	if log := read(t, p.log); !strings.Contains(log, "FATAL probe can't be started again: line 1: wrong\nline 2: wrong\n") {
		t.Errorf("log:\n%s", log)
	}
}

func TestSignalDuringThePause(t *testing.T) {
	p := newProbe(t, "")
	watcher := p.start(t)
	kill(t, p.worker(t, 1), syscall.SIGKILL)
	eventually(t, "the watcher pauses", func() bool { return strings.Contains(read(t, p.log), "starting it again") })
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
	if n := len(p.workers(t)); n != 1 {
		t.Errorf("%d workers", n)
	}
}

// The lock outlives a watcher that was killed, for as long as its worker lives.
func TestNoSecondCopyBesideAnOrphan(t *testing.T) {
	p := newProbe(t, "")
	watcher := p.start(t)
	worker := p.worker(t, 1)
	kill(t, watcher, syscall.SIGKILL)
	eventually(t, "the watcher ends", func() bool { return !p.owns(watcher) })
	if code, _, stderr := p.call(t); code != 1 || stderr != "Can't run second copy of probe\n" {
		t.Errorf("exit %d, %q", code, stderr)
	}
	kill(t, worker, syscall.SIGKILL)
	eventually(t, "the worker ends", func() bool { return !p.owns(worker) })
	again := p.start(t)
	if log := read(t, p.log); !strings.Contains(log, " WARN Unclean start - found stale pid file!\n") {
		t.Errorf("log:\n%s", log)
	}
	kill(t, again, syscall.SIGTERM)
	p.expectGone(t, again)
}

func TestHangupReopensTheLog(t *testing.T) {
	p := newProbe(t, "")
	watcher := p.start(t)
	p.worker(t, 1)
	old := p.log + ".1"
	if err := os.Rename(p.log, old); err != nil {
		t.Fatal(err)
	}
	// Rotation is noticed on the next line only; a new file without any line is the signal's work.
	kill(t, watcher, syscall.SIGHUP)
	eventually(t, "a new log", func() bool { _, err := os.Stat(p.log); return err == nil })
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
	if log := read(t, p.log); !strings.Contains(log, "Ending") {
		t.Errorf("new log: %q", log)
	}
}

func TestForeground(t *testing.T) {
	// By option, and as debug does it.
	for behaviour, args := range map[string][]string{"": {"--foreground"}, "debug": nil} {
		t.Run(behaviour, func(t *testing.T) {
			p := newProbe(t, behaviour)
			socket := filepath.Join(t.TempDir(), "notify")
			c := manager(t, socket)
			cmd := p.command(t, args...)
			cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket, "WATCHDOG_USEC=60000000")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			for _, want := range []string{"READY=1", "WATCHDOG=1"} {
				if got := receive(t, c); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			if got := read(t, p.pid); got != strconv.Itoa(cmd.Process.Pid)+"\n" {
				t.Errorf("pid file %q, process %d", got, cmd.Process.Pid)
			}
			p.worker(t, 1)
			log := read(t, p.log)
			mirrored := make([]byte, len(log))
			if _, err := stdout.Read(mirrored); err != nil || !strings.HasPrefix(log, strings.SplitAfter(string(mirrored), "\n")[0]) {
				t.Errorf("stdout %q, log %q, %v", mirrored, log, err)
			}
			if !strings.Contains(log, `,notify="`) {
				t.Errorf("a child may talk to the service manager:\n%s", log)
			}
			if strings.Contains(log, "DEBUG some detail") != (behaviour == "debug") {
				t.Errorf("log:\n%s", log)
			}
			// Nobody reads any more: the next lines must not kill it.
			stdout.Close()
			kill(t, cmd.Process.Pid, syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("end: %v", err)
			}
			if got := receive(t, c); got != "STOPPING=1" {
				t.Errorf("got %q", got)
			}
			if _, err := os.Stat(p.pid); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("pid file: %v", err)
			}
			if log := read(t, p.log); !strings.Contains(log, "Ending") {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestForegroundFails(t *testing.T) {
	p := newProbe(t, "fail")
	code, stdout, _ := p.call(t, "--foreground")
	if code != 1 || !strings.HasSuffix(stdout, "FATAL probe: no more\n") {
		t.Errorf("exit %d, %q", code, stdout)
	}
	if _, err := os.Stat(p.pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file: %v", err)
	}
}
