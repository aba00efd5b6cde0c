package daemon

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "x.pid")
	p, err := AcquirePID(path, "mmm_mond")
	if err != nil {
		t.Fatal(err)
	}
	if p.Stale {
		t.Error("a new file is stale")
	}
	if got, want := read(t, path), strconv.Itoa(os.Getpid())+"\n"; got != want {
		t.Errorf("the file has %q, want %q", got, want)
	}
	_, err = AcquirePID(path, "mmm_mond")
	if second, ok := errors.AsType[*SecondCopyError](err); !ok || second.PID != os.Getpid() ||
		err.Error() != "Can't run second copy of mmm_mond" {
		t.Errorf("a second copy gets %v", err)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after the release: %v", err)
	}
}

func TestPIDFileFoundAtStart(t *testing.T) {
	ended := exec.Command("/bin/true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	// A zombie: a process that has ended, and that we don't wait for yet.
	zombie := exec.Command("/bin/true")
	if err := zombie.Start(); err != nil {
		t.Fatal(err)
	}
	defer zombie.Wait()
	eventually(t, "a zombie", func() bool {
		return strings.Contains(read(t, fmt.Sprintf("/proc/%d/stat", zombie.Process.Pid)), ") Z ")
	})
	tests := []struct {
		name, text   string
		stale, alive bool
	}{
		{"ended process that nobody has waited for", strconv.Itoa(zombie.Process.Pid) + "\n", true, false},
		{"process of the original, which does not lock", strconv.Itoa(os.Getppid()) + "\n", false, true},
		{"the same without newline", strconv.Itoa(os.Getppid()), false, true},
		{"ended process", strconv.Itoa(ended.Process.Pid) + "\n", true, false},
		{"our own id, as in a container", strconv.Itoa(os.Getpid()) + "\n", true, false},
		{"longer than what we write", fmt.Sprintf("%d\nand more\nand more\n", ended.Process.Pid), true, false},
		{"rubbish", "rubbish", true, false},
		{"nobody", "-1\n", true, false},
		{"everybody", "0\n", true, false},
		{"empty", "", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "x.pid")
			if err := os.WriteFile(path, []byte(tt.text), 0o644); err != nil {
				t.Fatal(err)
			}
			p, err := AcquirePID(path, "x")
			if tt.alive {
				if _, ok := errors.AsType[*SecondCopyError](err); !ok {
					t.Errorf("got %v", err)
				}
				if got := read(t, path); got != tt.text {
					t.Errorf("the file of a living process became %q", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.Release()
			if p.Stale != tt.stale {
				t.Errorf("stale: %v", p.Stale)
			}
			if got, want := read(t, path), strconv.Itoa(os.Getpid())+"\n"; got != want {
				t.Errorf("the file has %q, want %q", got, want)
			}
		})
	}
}

// Of many that start at once one gets the pid file, also while others release it.
func TestPIDFileRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.pid")
	var mu sync.Mutex
	holders, wins := 0, 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				p, err := AcquirePID(path, "x")
				if err != nil {
					if _, ok := errors.AsType[*SecondCopyError](err); !ok {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				holders++
				wins++
				if holders > 1 {
					t.Errorf("%d hold it", holders)
				}
				mu.Unlock()
				mu.Lock()
				holders--
				mu.Unlock()
				if err := p.Release(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if wins == 0 {
		t.Error("nobody ever won")
	}
}
