package daemon

import (
	"bytes"
	"cmp"
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

	"mysql-mmm/pkg/durable"
	"mysql-mmm/pkg/store"
)

// patience bounds every wait of these tests; a test that passes never waits that long.
const patience = 30 * time.Second

// probeVar in the environment makes the test program a daemon.
const probeVar = "MMM_DAEMON_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(probeVar) != "" {
		os.Exit(Main(Program{Name: "probe", Version: "1.2.3", Load: loadProbe}, os.Args[1:], os.Stdout, os.Stderr))
	}
	if mode := os.Getenv(responsiveVar); mode != "" {
		os.Exit(beResponsive(mode))
	}
	goleak.VerifyTestMain(m)
}

// behaviour is the configuration file of the daemon: words that say how it behaves.
type behaviour string

func (b behaviour) has(word string) bool { return strings.Contains(string(b), word) }

func (b behaviour) style() LogStyle { return LogStyle{JSON: b.has("json"), Zone: b.has("zone")} }

// readBehaviour reads the file, each time anew.
func readBehaviour(inv Invocation) (behaviour, error) {
	text, err := os.ReadFile(inv.ConfigFile)
	if err != nil {
		return "", err
	}
	if b := behaviour(text); !b.has("refuse") {
		return b, nil
	}
	return "", errors.New("line 1: wrong\nline 2: wrong")
}

func loadProbe(inv Invocation) (Settings, error) {
	b, err := readBehaviour(inv)
	if err != nil {
		return Settings{}, err
	}
	var warnings []string
	if b.has("odd") {
		warnings = []string{"line 1: odd", "line 2: odd"}
	}
	return Settings{
		PIDFile: inv.ConfigFile + ".pid", Warnings: warnings,
		Debug: b.has("debug"), Log: b.style(),
		Build: func(log *slog.Logger) (Service, error) {
			first, err := buildProbe(inv, b, log)
			if err != nil {
				return nil, err
			}
			return NewGenerations("probe", first, log), nil
		},
	}, nil
}

func buildProbe(inv Invocation, b behaviour, log *slog.Logger) (Generation, error) {
	if b.has("nobuild") {
		return Generation{}, errors.New("listen: no")
	}
	log.Debug("some detail")
	if b.has("lead") {
		if err := store.NewFile(inv.ConfigFile+".status", durable.Disk{}).Lead(); err != nil {
			return Generation{}, err
		}
	}
	if b.has("panic") {
		panic("on purpose")
	}
	// A child must inherit no file and no variable of ours.
	seen, err := exec.Command("/bin/sh", "-c",
		"readlink /proc/self/fd/*; echo stage=$MMM_DAEMON_STAGE notify=$NOTIFY_SOCKET$WATCHDOG_USEC$WATCHDOG_PID").Output()
	if err != nil {
		return Generation{}, err
	}
	log.Info("child", "sees", strings.Join(strings.Fields(string(seen)), ","))
	next := func(context.Context) (Generation, error) {
		now, err := readBehaviour(inv)
		if err != nil || !b.has("reload") {
			return Generation{}, cmp.Or(err, ErrUnchanged)
		}
		return buildProbe(inv, now, log)
	}
	return Generation{Next: next, Log: b.style(), Tasks: []Task{task{"probe", func(ctx context.Context) error {
		log.Info("running", "pid", os.Getpid())
		if b.has("fail") {
			return errors.New("no more")
		}
		<-ctx.Done()
		if b.has("lead") {
			log.Info("saving")
			for !exists(inv.ConfigFile + ".saved") {
				time.Sleep(5 * time.Millisecond)
			}
		}
		if b.has("hang") {
			select {}
		}
		if b.has("late") {
			return errors.New("too late")
		}
		return nil
	}}}}, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// probe is the daemon with its files.
type probe struct {
	config, pid, log string
}

func newProbe(t *testing.T, behaviour string) probe {
	t.Helper()
	file := filepath.Join(t.TempDir(), "probe.conf")
	p := probe{config: file, pid: file + ".pid", log: file + ".log"}
	t.Cleanup(func() {
		eventually(t, "all processes of the test end", func() bool {
			left := p.processes()
			for _, id := range left {
				_ = syscall.Kill(id, syscall.SIGKILL)
			}
			return len(left) == 0
		})
	})
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
	cmd.WaitDelay = time.Second // a daemon in the background must not hold the output open
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

// start starts the daemon in the background, and gives the id of its watcher.
func (p probe) start(t *testing.T) (watcher int) {
	t.Helper()
	if code, stdout, stderr := p.call(t); code != 0 || stdout != "" || stderr != "" {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	return p.watcher(t)
}

// watcher is the id in the pid file.
func (p probe) watcher(t *testing.T) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimSuffix(read(t, p.pid), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// processes are the ids of all that this test has started and that have not ended.
func (p probe) processes() []int {
	entries, _ := os.ReadDir("/proc")
	var ids []int
	for _, e := range entries {
		if id, err := strconv.Atoi(e.Name()); err == nil && p.owns(id) {
			ids = append(ids, id)
		}
	}
	return ids
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
		_, id, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "running pid=")
		if !ok {
			_, id, ok = strings.Cut(strings.TrimSuffix(line, "}\n"), `"msg":"running","pid":`)
		}
		if ok {
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
