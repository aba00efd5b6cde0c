package daemon

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestShortCalls(t *testing.T) {
	tests := []struct {
		behaviour, args string
		code            int
		stdout, stderr  string // stderr: its beginning
	}{
		{"", "--version", 0, "probe 1.2.3\n", ""},
		{"refuse", "--version", 0, "probe 1.2.3\n", ""},
		{"", "configtest", 0, "OK\n", ""},
		{"odd", "configtest", 0, "OK\n", "# warning: line 1: odd\n# warning: line 2: odd\n"},
		{"refuse", "configtest", 1, "", "line 1: wrong\nline 2: wrong\n"},
		{"refuse", "", 1, "", "line 1: wrong\nline 2: wrong\n"},
		{"refuse", "--foreground", 1, "", "line 1: wrong\nline 2: wrong\n"},
		{"", "--bogus", 2, "", "probe: unknown option --bogus\nUsage: probe"},
		{"", "-V", 2, "", "probe: unknown option -V\nUsage: probe"},
		{"", "@c1 --config", 2, "", "probe: --config needs a value\nUsage: probe"},
		{"", "start", 2, "", "probe: unknown argument \"start\"\nUsage: probe"},
		{"", "--help", 0, Usage("probe"), ""},
		{"refuse", "-h", 0, Usage("probe"), ""},
		{"refuse", "@c1 --foreground --help", 0, Usage("probe"), ""},
		{"nobuild", "", 1, "", "listen: no\n"},
		{"panic", "", 1, "", "probe died during its start: exit status 2\n"},
		{"", "--log-file /dev/null/x", 1, "", "open log: "},
		{"", "--pid-file /dev/null/x", 1, "", "make folder of pid file: "},
	}
	for _, tt := range tests {
		t.Run(tt.behaviour+" "+tt.args, func(t *testing.T) {
			p := newProbe(t, tt.behaviour)
			code, stdout, stderr := p.call(t, strings.Fields(tt.args)...)
			if code != tt.code || stdout != tt.stdout || !strings.HasPrefix(stderr, tt.stderr) ||
				(tt.stderr == "" && stderr != "") {
				t.Errorf("exit %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			// The watcher removes the pid file after the parent has heard the news.
			eventually(t, "no pid file", func() bool {
				_, err := os.Stat(p.pid)
				return errors.Is(err,
					os.ErrNotExist)
			})
			if tt.behaviour == "panic" && !strings.Contains(read(t, p.log), "panic: on purpose") {
				t.Errorf("no trace in the log: %q", read(t, p.log))
			}
		})
	}
}

func TestForeground(t *testing.T) {
	// By the option --foreground, and by debug in the configuration.
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
			if _, err := stdout.Read(mirrored); err != nil ||
				!strings.HasPrefix(log, strings.SplitAfter(string(mirrored), "\n")[0]) {
				t.Errorf("stdout %q, log %q, %v", mirrored, log, err)
			}
			if !strings.Contains(log, `,notify="`) {
				t.Errorf("a child may talk to the service manager:\n%s", log)
			}
			if strings.Contains(log, "DEBUG some detail") != (behaviour == "debug") {
				t.Errorf("log:\n%s", log)
			}
			// Nobody reads stdout any more: the next lines must not kill the program.
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
