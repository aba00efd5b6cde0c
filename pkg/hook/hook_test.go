package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/pkg/event"
)

// logbook is a log that can be read while others write to it.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// bench is a folder for scripts and the files that they write.
type bench struct {
	*testing.T
	dir string
	log *logbook
}

func newBench(t *testing.T) *bench { return &bench{T: t, dir: t.TempDir(), log: &logbook{}} }

func (b *bench) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b.log, nil)) }

// script writes a shell script; DIR in its text is replaced by the bench's folder.
func (b *bench) script(name, text string, mode os.FileMode) string {
	b.Helper()
	path := filepath.Join(b.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "DIR", b.dir)+"\n"), mode); err != nil {
		b.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // WriteFile leaves out what the umask says
		b.Fatal(err)
	}
	return path
}

func (b *bench) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(b.dir, name)) // the file may not be there yet
	return string(text)
}

func (b *bench) until(what string, done func() bool) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("%s did not come; log:\n%s", what, b.log)
		}
	}
}

// start runs a Runner until the returned function is called, which waits for its end.
func (b *bench) start(r *Runner) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(stop)
	return stop
}

func all(name, path string) Hook {
	return Hook{Name: name, Path: path, Events: []event.Name{event.All}, Timeout: 5 * time.Second}
}

func promoted(n int) event.Event {
	return event.Event{Name: event.AfterPromotion, Cluster: "c1", At: time.Unix(1700000000, 0).UTC(), Level: "INFO",
		Host: "db2", Role: "writer", IP: "10.0.0.100", From: "db1", To: "db2",
		Text: fmt.Sprintf("number %d\nof many", n), Seconds: 0.25}
}

// A program gets the event in its environment and as JSON, and nothing else of the monitor.
func TestWhatAHookGets(t *testing.T) {
	b := newBench(t)
	t.Setenv("MMM_TEST_SECRET", "qhdks-123")
	// Not closed on exec, like a file that the monitor was started with.
	inherited, err := syscall.Open(os.DevNull, syscall.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(inherited)
	path := b.script("hook",
		"env >DIR/env; cat >DIR/json; ls /proc/self/fd >DIR/fds; ps -o pgid= -p $$ >DIR/group; echo $$ >>DIR/group; pwd >DIR/pwd", 0o755)
	r := New([]Hook{all("h", path)}, "", b.logger())
	stop := b.start(r)
	r.Hear(promoted(1))
	stop()
	env := b.read("env")
	for _, want := range []string{"MMM_EVENT=after_promotion\n", "MMM_CLUSTER=c1\n", "MMM_HOST=db2\n",
		"MMM_ROLE=writer\n", "MMM_IP=10.0.0.100\n", "MMM_FROM=db1\n", "MMM_TO=db2\n", "MMM_LEVEL=INFO\n",
		"MMM_TEXT=number 1\nof many\n", "MMM_SECONDS=0.250\n", "MMM_PLANNED=\n", "MMM_AT=2023-11-14T22:13:20Z\n",
		"PATH=/usr/local/sbin:"} {
		if !strings.Contains("\n"+env, want) {
			t.Errorf("lacks %q:\n%s", want, env)
		}
	}
	if strings.Contains(env, "SECRET") || strings.Contains(env, "HOME=") {
		t.Errorf("inherits:\n%s", env)
	}
	var got event.Event
	if err := json.Unmarshal([]byte(b.read("json")), &got); err != nil || got.Name != event.AfterPromotion ||
		got.Text != "number 1\nof many" || got.To != "db2" {
		t.Errorf("%v: %s", err, b.read("json"))
	}
	// ls itself has the folder open.
	if fds := strings.Fields(b.read("fds")); strings.Join(fds, " ") != "0 1 2 3" {
		t.Errorf("open files: %v", fds)
	}
	if g := strings.Fields(b.read("group")); len(g) != 2 || g[0] != g[1] {
		t.Errorf("group and process: %v", g)
	}
	if b.read("pwd") != "/\n" {
		t.Errorf("in %q", b.read("pwd"))
	}
}

// Each mistake of a hook is one clear line in the log, and the other hooks are run.
func TestBadHooks(t *testing.T) {
	b := newBench(t)
	plain := b.script("plain", "", 0o644)
	open := b.script("open", "", 0o757)
	fails := b.script("fails", "echo to stdout; echo no such proxy >&2; exit 3", 0o755)
	killed := b.script("killed", "kill -9 $$", 0o755)
	hangs := b.script("hangs", "sleep 1000 & sleep 1000", 0o755)
	loud := b.script("loud", "yes 0123456789 | head -c 100000; echo the end; exit 1", 0o755)
	interpreter := filepath.Join(b.dir, "interpreter")
	binary := filepath.Join(b.dir, "binary")
	for path, text := range map[string]string{interpreter: "#!/no/such/interpreter\n", binary: "no program"} {
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	good := b.script("good", "touch DIR/done", 0o755)
	short := all("hangs", hangs)
	short.Timeout = 200 * time.Millisecond
	r := New([]Hook{all("missing", b.dir+"/none"), all("folder", b.dir), all("plain", plain), all("open", open),
		all("fails", fails), all("killed", killed), short, all("loud", loud),
		all("interpreter", interpreter), all("binary", binary), all("good", good)}, "", b.logger())
	stop := b.start(r)
	r.Hear(promoted(1))
	wants := []string{
		"Hook 'missing' (" + b.dir +
			"/none) failed on after_promotion: there is no such file; put it there, or take the hook out of the configuration",
		"Hook 'folder' (" + b.dir + ") failed on after_promotion: it is no file; name a program",
		"Hook 'plain' (" + plain + ") failed on after_promotion: it is not executable; run: chmod +x " + plain,
		"Hook 'open' (" + open + ") failed on after_promotion: everybody may write to it; run: chmod o-w " + open,
		"Hook 'fails' (" + fails + `) failed on after_promotion: exit status 3" output="to stdout\nno such proxy"`,
		"Hook 'killed' (" + killed + ") failed on after_promotion: it was killed by signal 9 (killed)",
		"Hook 'hangs' (" + hangs +
			") failed on after_promotion: it did not end within 200ms and was killed; make it quicker, or raise its timeout",
		`the end"`,
		"Hook 'interpreter' (" + interpreter +
			") failed on after_promotion: it can't be started: the interpreter of its first line is missing",
		"Hook 'binary' (" + binary +
			") failed on after_promotion: it can't be started: exec format error; a script needs a first line such as #!/bin/sh",
	}
	b.until("all lines", func() bool {
		for _, want := range wants {
			if !strings.Contains(b.log.String(), want) {
				return false
			}
		}
		return true
	})
	b.until("the good hook", func() bool { _, err := os.Stat(b.dir + "/done"); return err == nil })
	stop()
	if n := strings.Count(b.log.String(), "\n"); n != 10 {
		t.Errorf("%d lines:\n%s", n, b.log)
	}
	for line := range strings.Lines(b.log.String()) {
		if len(line) > 6000 {
			t.Errorf("a line of %d bytes", len(line))
		}
	}
}

// Processes that a hook leaves in its group are killed when it ends. A process that has left the group does not delay
// the end of the hook.
func TestLeftovers(t *testing.T) {
	b := newBench(t)
	leaves := b.script("leaves", "sleep 1000 & echo $! >DIR/child", 0o755)
	leaver := b.script("leaver", "setsid sleep 1000 & echo $! >DIR/leaver-child", 0o755)
	r := New([]Hook{all("leaves", leaves), all("leaver", leaver)}, "", b.logger())
	stop := b.start(r)
	r.Hear(promoted(1))
	gone := func(name string) bool {
		pid, err := strconv.Atoi(strings.TrimSpace(b.read(name)))
		if err != nil {
			return false
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	b.until("the end of the child", func() bool { return gone("child") })
	b.until("the other child", func() bool { return b.read("leaver-child") != "" })
	stop()
	if pid, err := strconv.Atoi(strings.TrimSpace(b.read("leaver-child"))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if text := b.log.String(); text != "" {
		t.Errorf("log:\n%s", text)
	}
}

// A hook gets its events one by one, in their order. A hook that hangs does not delay others.
func TestOrder(t *testing.T) {
	b := newBench(t)
	hangs := b.script("hangs", "sleep 1000", 0o755)
	slow := b.script("slow", `echo "begin $MMM_TEXT" | head -1 >>DIR/order; sleep 0.02; echo "end" >>DIR/order`, 0o755)
	r := New([]Hook{all("hangs", hangs), all("slow", slow)}, "", b.logger())
	stop := b.start(r)
	want := ""
	for i := range 10 {
		began := time.Now()
		r.Hear(promoted(i))
		if d := time.Since(began); d > 100*time.Millisecond {
			t.Errorf("Hear took %v", d)
		}
		want += fmt.Sprintf("begin number %d\nend\n", i)
	}
	b.until("all events", func() bool { return b.read("order") == want })
	began := time.Now()
	stop()
	if d := time.Since(began); d < farewell/2 || d > farewell+2*time.Second {
		t.Errorf("the end took %v", d)
	}
	if text := b.log.String(); !strings.Contains(text, "it was killed, as the monitor does not wait any longer") ||
		!strings.Contains(text, "was not run on the last 9 events: the monitor ended") {
		t.Errorf("log:\n%s", text)
	}
}

// At most four hooks run at once. For a hook that can't keep up the oldest events are left out, which is logged once.
func TestLimits(t *testing.T) {
	b := newBench(t)
	var hooks []Hook
	for i := range 10 {
		name := fmt.Sprintf("h%d", i)
		hooks = append(hooks, all(name, b.script(name, "mkdir DIR/in."+name+
			"; ls -d DIR/in.* | wc -l >>DIR/count; sleep 0.05; rmdir DIR/in."+name, 0o755)))
	}
	r := New(hooks, "", b.logger())
	stop := b.start(r)
	r.Hear(promoted(1))
	b.until("all hooks", func() bool { return strings.Count(b.read("count"), "\n") == 10 })
	stop()
	for n := range strings.FieldsSeq(b.read("count")) {
		if at, _ := strconv.Atoi(n); at > together {
			t.Errorf("%s at once", n)
		}
	}

	blocked := b.script("blocked", "read -r line <DIR/pipe; echo $MMM_TEXT >>DIR/told", 0o755)
	if err := syscall.Mkfifo(b.dir+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	h := all("blocked", blocked)
	h.Timeout = 20 * time.Second
	r = New([]Hook{h}, "", b.logger())
	stop = b.start(r)
	for i := range queueLimit + 50 {
		r.Hear(promoted(i))
	}
	b.until("a line", func() bool { return strings.Contains(b.log.String(), "can't keep up") && len(r.inbox) == 0 })
	pipe, err := os.OpenFile(b.dir+"/pipe", os.O_RDWR, 0) // also for reading, so that it is never without a reader
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	go func() { _, _ = pipe.WriteString(strings.Repeat("go\n", 2*queueLimit)) }()
	b.until("the last event", func() bool {
		return strings.Contains(b.read("told"), fmt.Sprintf("number %d of many\n", queueLimit+49))
	})
	stop()
	// The hook may have been at work on one more already.
	if n := strings.Count(b.read("told"), "\n"); n != queueLimit && n != queueLimit+1 {
		t.Errorf("told of %d events", n)
	}
	if n := strings.Count(b.log.String(), "can't keep up"); n != 1 {
		t.Errorf("said %d times:\n%s", n, b.log)
	}
}

// The folder is read on every event. That a file in it can't be a hook is logged once.
func TestFolder(t *testing.T) {
	b := newBench(t)
	dir := b.dir + "/hooks.d"
	r := New(nil, dir, b.logger())
	stop := b.start(r)
	r.Hear(promoted(0))
	b.until("a line about the folder", func() bool {
		return strings.Contains(b.log.String(), "The programs in hook_dir can't be run: open "+dir)
	})
	b.script("hooks.d/10-first", "echo first $MMM_TEXT >>DIR/ran", 0o755)
	b.script("hooks.d/notify.sh", "echo never >>DIR/ran", 0o755)
	b.script("hooks.d/README", "echo never >>DIR/ran", 0o644)
	b.script("hooks.d/.hidden", "echo never >>DIR/ran", 0o755)
	b.script("hooks.d/old~", "echo never >>DIR/ran", 0o755)
	r.Hear(promoted(1))
	b.until("the first", func() bool { return b.read("ran") == "first number 1 of many\n" })
	r.Hear(promoted(2))
	b.until("the second", func() bool { return b.read("ran") == "first number 1 of many\nfirst number 2 of many\n" })
	if err := os.Remove(dir + "/10-first"); err != nil {
		t.Fatal(err)
	}
	r.Hear(promoted(3))
	stop()
	if b.read("ran") != "first number 1 of many\nfirst number 2 of many\n" {
		t.Errorf("ran:\n%s", b.read("ran"))
	}
	if text := b.log.String(); strings.Count(text, "\n") != 3 ||
		!strings.Contains(text, dir+
			"/notify.sh is not run: names in hook_dir are made of letters, digits, _ and - only; rename it") ||
		!strings.Contains(text, dir+"/README is not run: it is not executable; run: chmod +x "+dir+"/README") {
		t.Errorf("log:\n%s", text)
	}
}

func TestAsk(t *testing.T) {
	b := newBench(t)
	asked := func(name, text string) Hook {
		h := all(name, b.script(name, text, 0o755))
		h.Events, h.MayAbort, h.Timeout = []event.Name{event.BeforePlannedMove}, true, 200*time.Millisecond
		return h
	}
	move := event.Event{Name: event.BeforePlannedMove, Text: "move", From: "db1", To: "db2"}
	yes := asked("yes", "exit 0")
	missing := asked("missing", "")
	missing.Path = b.dir + "/none"
	for _, c := range []struct {
		hooks []Hook
		want  string
	}{
		{nil, ""},
		{[]Hook{yes}, ""},
		{[]Hook{yes, asked("no", `echo thinking; printf "backup runs \033[1muntil 5\n\n"; exit 1`),
			asked("never", "touch DIR/asked")}, "Hook 'no' says no: backup runs  [1muntil 5"},
		{[]Hook{asked("mute", "exit 2")}, "Hook 'mute' says no: exit status 2"},
		{[]Hook{asked("late", "echo well; sleep 1000")},
			"Hook 'late' says no: it did not end within 200ms and was killed; make it quicker, or raise its timeout"},
		{[]Hook{missing},
			"Hook 'missing' says no: there is no such file; put it there, or take the hook out of the configuration"},
	} {
		r := New(c.hooks, "", b.logger())
		if got := r.Approve(context.Background(), move); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	if _, err := os.Stat(b.dir + "/asked"); err == nil {
		t.Error("asked after a no")
	}
	// Hooks that can't abort the move are told of it; hooks that can are not told a second time.
	r := New([]Hook{all("other", b.script("other", "echo told >>DIR/told", 0o755)),
		asked("count", "echo asked >>DIR/told")}, "", b.logger())
	stop := b.start(r)
	if got := r.Approve(context.Background(), move); got != "" {
		t.Error(got)
	}
	stop()
	if got := b.read("told"); got != "asked\ntold\n" && got != "told\nasked\n" {
		t.Errorf("%q", got)
	}
}

// docs/hooks.md explains every variable.
func TestEveryVariableIsExplained(t *testing.T) {
	page, err := os.ReadFile("../../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range environment(event.Event{}) {
		name, _, _ := strings.Cut(v, "=")
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/hooks.md lacks %s", name)
		}
	}
}
