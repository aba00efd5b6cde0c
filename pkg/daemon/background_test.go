package daemon

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

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
			// The child has its three standard files (and the folder that readlink reads) and nothing else.
			child, _, _ := strings.Cut(log[strings.Index(log, "child sees="):], "\n")
			if !strings.HasSuffix(child, `,stage=,notify="`) || strings.Count(child, ",") > 4 ||
				strings.Contains(child, p.pid) {
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
		`ERROR probe died, starting it again cause="exit status 2" pause=1s`, // as the Go runtime ends after a SIGSEGV
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
	if log := read(t, p.log); !strings.Contains(log,
		"FATAL probe can't be started again: line 1: wrong\nline 2: wrong\n") {
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

// When the watcher is killed, its worker goes on and still holds the lock of the pid file.
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
	// Without a signal the rotation is noticed with the next line. A new file before any line comes from the signal.
	kill(t, watcher, syscall.SIGHUP)
	eventually(t, "a new log", func() bool { _, err := os.Stat(p.log); return err == nil })
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
	if log := read(t, p.log); !strings.Contains(log, "Ending") {
		t.Errorf("new log: %q", log)
	}
}

// Of several copies that are started at once one runs, and the others say why they don't.
func TestOneOfManyStartsWins(t *testing.T) {
	p := newProbe(t, "")
	const copies = 6
	type end struct {
		code   int
		stderr string
	}
	ends := make(chan end, copies)
	var commands []*exec.Cmd
	for range copies {
		commands = append(commands, p.command(t))
	}
	for _, cmd := range commands {
		go func() {
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			_ = cmd.Run() // the exit code tells
			ends <- end{cmd.ProcessState.ExitCode(), stderr.String()}
		}()
	}
	won := 0
	for range copies {
		switch e := <-ends; {
		case e == end{}:
			won++
		case e != end{1, "Can't run second copy of probe\n"}:
			t.Errorf("exit %d, %q", e.code, e.stderr)
		}
	}
	if won != 1 {
		t.Errorf("%d starts succeeded", won)
	}
	watcher := p.watcher(t)
	kill(t, watcher, syscall.SIGTERM)
	p.expectGone(t, watcher)
	if n := len(p.workers(t)); n != 1 {
		t.Errorf("%d workers", n)
	}
}

// A second signal ends the program at once, without a clean end.
func TestSecondSignalEndsAtOnce(t *testing.T) {
	p := newProbe(t, "hang")
	watcher := p.start(t)
	p.worker(t, 1)
	kill(t, watcher, syscall.SIGTERM)
	eventually(t, "the worker begins to end", func() bool { return strings.Contains(read(t, p.log), "Ending") })
	if !p.owns(watcher) {
		t.Fatal("the watcher has not waited for its worker")
	}
	eventually(t, "the watcher ends", func() bool {
		_ = syscall.Kill(watcher, syscall.SIGTERM) // it may have ended just now
		return !p.owns(watcher)
	})
	p.expectGone(t, watcher)
}
