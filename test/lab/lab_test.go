package lab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/test/servers"
)

// markVariable is in the environment of all processes of the lab under test. Its value tells them from those of others.
const markVariable = "MMM_LAB_TEST_MARK"

func TestMain(m *testing.M) {
	if os.Getenv(tellTimeVariable) != "" && os.Getenv(clockVariable) == "" {
		os.Exit(tellTime())
	}
	os.Exit(Main(func(ctx context.Context) int {
		if os.Getenv(markVariable) != "" {
			return runServer(ctx)
		}
		return m.Run()
	}))
}

// runServer is the lab under test: a host with a server on it, until it is told to end.
func runServer(ctx context.Context) int {
	err := makeBridge()
	if err == nil {
		var h *Host
		if h, err = newHost("db1", netip.MustParseAddr("10.77.0.11")); err == nil {
			var s *Server
			if s, err = newServer(ctx, h, servers.Kind{}, 1, true); err == nil {
				err = s.Start(ctx)
			}
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("ready")
	<-ctx.Done()
	return 130
}

// TestNothingIsLeftBehind: however the first process ends, all others end, and mounts, links and files are as before.
func TestNothingIsLeftBehind(t *testing.T) {
	for signal, want := range map[syscall.Signal]int{syscall.SIGKILL: -1, syscall.SIGINT: 130, syscall.SIGTERM: 130} {
		t.Run(signal.String(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			before := surroundings(t)
			mark := fmt.Sprintf("%s=%d-%d", markVariable, os.Getpid(), signal)
			cmd := exec.CommandContext(ctx, "/proc/self/exe")
			env := slices.DeleteFunc(os.Environ(), func(v string) bool {
				return strings.HasPrefix(v, innerVariable+
					"=")
			})
			cmd.Env, cmd.Stderr = append(env, mark), os.Stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			text := bufio.NewReader(out)
			line, err := text.ReadString('\n')
			if line != "ready\n" {
				rest, _ := io.ReadAll(text) // for the message, as far as it can be read
				t.Fatalf("the lab says %s%s (%v)", line, rest, err)
			}
			if p := marked(t, mark); len(p) < 3 { // the program twice and a server
				t.Errorf("the lab has only the processes %v", p)
			}
			if err := cmd.Process.Signal(signal); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // the exit status is compared below
			if got := cmd.ProcessState.ExitCode(); got != want {
				t.Errorf("exit status %d, want %d", got, want)
			}
			if err := Wait(ctx, "all processes of the lab to end", func() (bool, string) {
				p := marked(t, mark)
				return len(p) == 0, strings.Join(p, ", ")
			}); err != nil {
				t.Error(err)
			}
			if after := surroundings(t); after != before {
				t.Errorf("before:\n%s\nafter:\n%s", before, after)
			}
		})
	}
}

// marked finds the processes that have a text in their environment.
func marked(t *testing.T, mark string) []string {
	t.Helper()
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, dir := range dirs {
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err == nil && bytes.Contains(env, []byte(mark)) { // an error: the process has ended
			found = append(found, filepath.Base(dir))
		}
	}
	return found
}

// surroundings are the mounts, the links and the files in /run: what a lab could leave behind besides processes.
func surroundings(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	links, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/run/*")
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%s%v\n%v", mounts, links, files)
}
