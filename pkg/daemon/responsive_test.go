package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// responsiveVar in the environment makes the test program call KeepResponsive and print the result. This is a process
// of its own, as KeepResponsive must not change the process of the tests.
const responsiveVar = "MMM_DAEMON_RESPONSIVE"

func beResponsive(mode string) int {
	startThreads(5)
	if mode == "powerless" {
		runtime.LockOSThread() // capabilities belong to threads
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			fmt.Println(err)
			return 1
		}
		if err := unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: 1 << 16, Max: 1 << 16}); err != nil {
			fmt.Println(err)
			return 1
		}
	}
	KeepResponsive(slog.New(slog.NewTextHandler(os.Stdout, nil)))
	if mode == "powerless" {
		if err := setOOMScore(100); err != nil { // raising the score needs no capability
			fmt.Println(err)
			return 1
		}
	}
	startThreads(5)
	more, err := unix.Mmap(-1, 0, 8<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		fmt.Println(err)
		return 1
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println("locked:", memory("status", "", "VmLck"))
	fmt.Println("8 MB more are locked:", locked(&more[0]))
	fmt.Println("program:", memory("smaps", self, "Size"))
	fmt.Println("program in memory:", memory("smaps", self, "Rss"))
	fmt.Println("all in memory:", memory("status", "", "VmRSS"))
	score, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Printf("OOM score: %s", score)
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		fmt.Println(err)
		return 1
	}
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/stat")
		if err != nil {
			continue // the thread has ended
		}
		// Field 19, counted from the name, field 2, which ends with a parenthesis (proc_pid_stat(5)).
		fields := strings.Fields(string(text[strings.LastIndex(string(text), ")"):]))
		fmt.Println("thread nice:", fields[19-2])
	}
	return 0
}

// memory adds up the kilobytes that a file in /proc/self has under a name; where program is not "", only for the
// mappings of that program file.
func memory(file, program, name string) (sum int) {
	text, _ := os.ReadFile("/proc/self/" + file)
	inside := program == ""
	for line := range strings.Lines(string(text)) {
		key, value, _ := strings.Cut(line, ":")
		if strings.Contains(key, "-") { // the addresses of a mapping
			inside = strings.HasSuffix(line, " "+program+"\n")
		}
		kb := 0
		if n, _ := fmt.Sscanf(value, "%d kB", &kb); n == 1 && inside && key == name {
			sum += kb
		}
	}
	return sum
}

// locked is 1 where the mapping of an address is locked, by its flags in /proc/self/smaps (proc_pid_smaps(5)). The sum
// of all locked memory would not show that, as the Go runtime maps and unmaps memory meanwhile.
func locked(at *byte) int {
	address, inside := uint64(uintptr(unsafe.Pointer(at))), false
	text, _ := os.ReadFile("/proc/self/smaps")
	for line := range strings.Lines(string(text)) {
		var from, to uint64
		if n, _ := fmt.Sscanf(line, "%x-%x ", &from, &to); n == 2 {
			inside = from <= address && address < to
		}
		if flags, ok := strings.CutPrefix(line, "VmFlags:"); ok && inside &&
			slices.Contains(strings.Fields(flags), "lo") {
			return 1
		}
	}
	return 0
}

// startThreads starts n threads that don't end.
func startThreads(n int) {
	for range n {
		ready := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(ready)
			select {}
		}()
		<-ready
	}
}

// told runs beResponsive in a process of its own. It gives the numbers that are printed, by name, and the warnings.
func told(t *testing.T, mode string) (told map[string][]int, warnings []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, self)
	cmd.Env = append(os.Environ(), responsiveVar+"="+mode)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	told = map[string][]int{}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "level=") {
			warnings = append(warnings, line)
			continue
		}
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.Atoi(value)
		if err != nil {
			t.Fatalf("%v:\n%s", err, out)
		}
		told[name] = append(told[name], n)
	}
	return told, warnings
}

// able tells whether the tests have a capability.
func able(t *testing.T, capability int) bool {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&header, &sets[0]); err != nil {
		t.Fatal(err)
	}
	return sets[capability/32].Effective&(1<<(capability%32)) != 0
}

func TestKeepResponsive(t *testing.T) {
	told, warnings := told(t, "root")
	// In some containers root has no CAP_SYS_RESOURCE.
	score, refused := oomScore, 0
	if !able(t, unix.CAP_SYS_RESOURCE) {
		score, refused = number(t, read(t, "/proc/self/oom_score_adj")), 1
	}
	if len(warnings) != refused || (refused == 1 && !strings.Contains(warnings[0], "Can't lower the OOM score")) {
		t.Errorf("warnings: %q", warnings)
	}
	if got := told["OOM score"]; !slices.Equal(got, []int{score}) {
		t.Errorf("OOM score %d, want %d", got, score)
	}
	nices := told["thread nice"]
	if len(nices) < 11 || slices.Min(nices) != niceness || slices.Max(nices) != niceness {
		t.Errorf("threads with niceness %d", nices)
	}
	if got := told["8 MB more are locked"]; !slices.Equal(got, []int{1}) {
		t.Errorf("8 MB that were mapped later are locked: %d, want 1", got)
	}
	if size, present := told["program"], told["program in memory"]; size[0] == 0 || !slices.Equal(size, present) {
		t.Errorf("%d kB of the program's %d kB are in memory", present, size)
	}
	// The Go runtime maps more than a gigabyte. Locking must not bring all of it into memory.
	if used := told["all in memory"]; used[0] > 100<<10 {
		t.Errorf("%d kB are in memory", used)
	}
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestKeepResponsiveWithoutPower(t *testing.T) {
	told, warnings := told(t, "powerless")
	if len(warnings) != 3 {
		t.Errorf("warnings %q, want three", warnings)
	}
	for _, w := range warnings {
		if !strings.Contains(w, "level=WARN") || !strings.Contains(w, "cause=") {
			t.Errorf("%q", w)
		}
	}
	if got := told["OOM score"]; !slices.Equal(got, []int{100}) {
		t.Errorf("OOM score %d, want 100, which was set", got)
	}
	if got := told["locked"]; !slices.Equal(got, []int{0}) {
		t.Errorf("%d kB are locked", got)
	}
	if got := told["8 MB more are locked"]; !slices.Equal(got, []int{0}) {
		t.Errorf("8 MB that were mapped later are locked: %d, want 0", got)
	}
}

// A limit of locked memory is refused however large it is: the mappings may grow beyond it.
func TestMayLock(t *testing.T) {
	const able = 1 << unix.CAP_IPC_LOCK
	for _, tt := range []struct {
		limit     uint64
		effective uint32
		want      bool
	}{
		{unix.RLIM_INFINITY, 0, true}, {0, able, true}, {1 << 40, 0, false}, {1 << 40, ^uint32(able), false},
	} {
		if err := mayLock(tt.limit, tt.effective); (err == nil) != tt.want {
			t.Errorf("limit %d, capabilities %x: %v", tt.limit, tt.effective, err)
		}
	}
}
