package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// scripts is a folder for hooks, and for the files that they write.
type scripts struct {
	*testing.T
	dir string
}

// add writes a shell script, in whose text DIR stands for the folder, and returns its path.
func (s scripts) add(name, text string, mode os.FileMode) string {
	s.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "DIR", s.dir)+"\n"), mode); err != nil {
		s.Fatal(err)
	}
	return path
}

func (s scripts) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(s.dir, name)) // the file may not be there yet
	return string(text)
}

// inbox is a web server on the monitor's host that keeps what is posted to it.
type inbox struct {
	addr string
	mu   sync.Mutex
	got  []string // header and body
}

// receive starts an inbox. A mute one takes requests and does not answer them.
func receive(b *bench, mute bool) *inbox {
	b.Helper()
	box := &inbox{}
	var l net.Listener
	b.must(b.Mon.Do(func() (err error) {
		l, err = net.Listen("tcp", "127.0.0.1:0")
		return err
	}))
	box.addr = l.Addr().String()
	ended := make(chan struct{})
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		box.mu.Lock()
		box.got = append(box.got, r.Header.Get("Authorization")+" "+string(body))
		box.mu.Unlock()
		if mute {
			select {
			case <-ended:
			case <-r.Context().Done():
			}
		}
	})}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	b.Cleanup(func() { close(ended); s.Close(); <-served })
	return box
}

func (i *inbox) all() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return strings.Join(i.got, "\n")
}

// reconfigure adds text to the monitor's configuration file.
func reconfigure(b *bench, text string) {
	b.Helper()
	file := b.Monitor.Config()
	old, err := os.ReadFile(file)
	b.must(err)
	b.must(os.WriteFile(file, append(old, text...), 0o640))
}

// TestHooksDelayNothing: a hook and a webhook that hang delay neither a failover, nor a reload, nor the end of the
// monitor, and other hooks and alerts hear of the failover.
func TestHooksDelayNothing(t *testing.T) {
	s := scripts{t, t.TempDir()}
	b := prepare(t, leased())
	mute, chat := receive(b, true), receive(b, false)
	hooks := ""
	for name, text := range map[string]string{
		"hangs": "program " + s.add("hangs", "sleep 1000", 0o755) + "\ntimeout 60",
		"promoted": "program " + s.add("promoted", "cat >DIR/$MMM_EVENT.json; env >DIR/$MMM_EVENT.env", 0o755) +
			"\nevents before_promotion, after_promotion, unprotected",
		"fails":   "program " + s.add("fails", "echo no such proxy; exit 7", 0o755) + "\nevents after_promotion",
		"killed":  "program " + s.add("killed", "kill -9 $$", 0o755) + "\nevents after_promotion",
		"plain":   "program " + s.add("plain", "", 0o644) + "\nevents after_promotion",
		"missing": "program " + s.dir + "/none\nevents after_promotion",
	} {
		hooks += "<hook " + name + ">\n" + text + "\n</hook>\n"
	}
	s.add("hooks.d/all", "echo $MMM_EVENT $MMM_FROM $MMM_TO >>DIR/all.txt", 0o755)
	reconfigure(b, hooks+"<monitor>\nhook_dir "+s.dir+"/hooks.d\n</monitor>\n<alert mute>\nwebhook http://"+mute.addr+
		"/\nmin_interval 0\n</alert>\n"+
		"<alert chat>\nwebhook http://"+chat.addr+
		"/\nwebhook_token t0k3n\nmin_interval 0\nevents fatal, after_promotion\n</alert>\n")
	b.must(b.StartAll(b.ctx))
	l := b.load()
	from := b.writer()
	to := map[string]string{"db1": "db2", "db2": "db1"}[from]
	b.must(lab.Wait(b.ctx, "the webhook to hang", func() (bool, string) { return mute.all() != "", "" }))
	since := time.Now()
	b.must(b.Node(from).Server.Kill())
	b.must(l.WaitServer(b.ctx, b.Node(to).Server.ID()))
	if gap := l.Gap(since); gap > 2*time.Second {
		t.Errorf("write gap %v", gap)
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		b.must(lab.Wait(b.ctx, what, func() (bool, string) { return done(), b.Monitor.Log() }))
	}
	wait("the hook of the promotion", func() bool {
		return strings.Contains(s.read("after_promotion.env"), "MMM_FROM="+
			from+"\n")
	})
	for _, name := range []string{"before_promotion", "after_promotion"} {
		var e struct{ Event, Role, IP, From, To, Host string }
		if err := json.Unmarshal([]byte(s.read(name+".json")), &e); err != nil || e.Event != name ||
			e.Role != "writer" || e.IP != lab.WriterIP || e.From != from || e.To != to || e.Host != to {
			t.Errorf("%v: %s", err, s.read(name+".json"))
		}
		for _, want := range []string{"MMM_EVENT=" + name, "MMM_ROLE=writer", "MMM_IP=" + lab.WriterIP, "MMM_TO=" + to,
			"MMM_LEVEL=INFO"} {
			if !strings.Contains(s.read(name+".env"), want+"\n") {
				t.Errorf("lacks %s:\n%s", want, s.read(name+".env"))
			}
		}
	}
	for _, line := range []string{
		"Hook 'fails' (" + s.dir + "/fails) failed on after_promotion: exit status 7 output=\"no such proxy\"",
		"Hook 'killed' (" + s.dir + "/killed) failed on after_promotion: it was killed by signal 9 (killed)",
		"Hook 'plain' (" + s.dir + "/plain) failed on after_promotion: it is not executable; run: chmod +x " + s.dir +
			"/plain",
		"Hook 'missing' (" + s.dir +
			"/none) failed on after_promotion: there is no such file; put it there, or take the hook out of the configuration",
		"Nobody could take role 'writer' over from '" + to + "': '" + from + "' is HARD_OFFLINE",
	} {
		b.logged(b.Monitor, line)
	}
	wait("the hooks of the folder", func() bool {
		return strings.Contains(s.read("all.txt"), "state ONLINE HARD_OFFLINE\n") &&
			strings.Contains(s.read("all.txt"), "after_promotion "+from+" "+to+"\n") &&
			strings.Contains(s.read("all.txt"), "unprotected")
	})
	wait("the alert", func() bool {
		all := chat.all()
		return strings.Contains(all, "Bearer t0k3n {") && strings.Contains(all, "State of host '"+from+
			"' changed from ONLINE to HARD_OFFLINE") && strings.Contains(all, `"event":"after_promotion"`)
	})
	if text := b.Monitor.Log(); strings.Contains(text, "t0k3n") {
		t.Error("the token is in the log")
	}
	// A reload and the end of the monitor do not wait for what hangs either. The check has to have failed before the
	// reload, or the monitor would refuse the new configuration for it.
	b.logged(b.Monitor, "Check 'rep_threads' on '"+to+"' has failed")
	since = time.Now()
	reconfigure(b, "<hook late>\nprogram "+s.add("late", "echo $MMM_TEXT >>DIR/late.txt", 0o755)+
		"\nevents note\n</hook>\n")
	b.must(b.Monitor.Signal(syscall.SIGHUP))
	b.logged(b.Monitor, "The new configuration counts")
	if d := time.Since(since); d > 6*time.Second {
		t.Errorf("the new configuration took %v", d)
	}
	wait("the new hook", func() bool { return strings.Contains(s.read("late.txt"), "Monitor started in active mode.") })
	since = time.Now()
	ctx, cancel := context.WithTimeout(b.ctx, 15*time.Second)
	defer cancel()
	b.must(b.Monitor.Stop(ctx))
	if d := time.Since(since); d > 5*time.Second {
		t.Errorf("the end took %v", d)
	}
	if out, err := b.Mon.Run(b.ctx, "pgrep", "-f", s.dir+"/hangs"); err == nil {
		t.Errorf("a hook is left: %s", out)
	}
}

// TestHookSaysNo: a hook can stop a planned move and say why. It can't stop a failover, which does not wait for it
// either, and is not asked about a move with --force.
func TestHookSaysNo(t *testing.T) {
	s := scripts{t, t.TempDir()}
	o := leased()
	o.MaxBacklog = 1
	b := prepare(t, o)
	guard := s.add("guard", `echo "$MMM_EVENT $MMM_FROM $MMM_TO" >>DIR/asked
if [ -e DIR/hang ]; then sleep 1000; fi
if [ -e DIR/no ]; then echo thinking; echo "the backup runs until 5"; exit 1; fi`, 0o755)
	reconfigure(b, "<hook guard>\nprogram "+guard+"\nmay_abort 1\ntimeout 8\n</hook>\n")
	b.must(b.StartAll(b.ctx))
	l := b.load()
	b.must(os.WriteFile(s.dir+"/no", nil, 0o600))
	from := b.writer()
	to := map[string]string{"db1": "db2", "db2": "db1"}[from]
	b.steps([]step{{"move_role writer " + to, "ERROR: Hook 'guard' says no: the backup runs until 5", 2}})
	if w := b.writer(); w != from || s.read("asked") != fmt.Sprintf("before_planned_move %s %s\n", from, to) {
		t.Errorf("the writer is on %s; asked: %s", w, s.read("asked"))
	}
	b.must(os.Remove(s.dir + "/no"))
	b.steps([]step{{"move_role writer " + to,
		fmt.Sprintf("OK: Role 'writer' has been moved from '%s' to '%s'. Now you can wait some time and check new roles info!", from, to), 0}})
	b.must(l.WaitServer(b.ctx, b.Node(to).Server.ID()))

	// The writer dies while the hook hangs: the failover does not wait.
	b.must(b.WaitWhole(b.ctx))
	b.semiSync(to)
	b.must(os.WriteFile(s.dir+"/hang", nil, 0o600))
	answer := make(chan string, 1)
	go func() {
		out, _, err := b.Control(b.ctx, "move_role", "writer", from)
		answer <- fmt.Sprint(out, err)
	}()
	b.must(lab.Wait(b.ctx, "the hook to be asked", func() (bool,
		string) {
		return strings.Count(s.read("asked"), "\n") == 3, s.read("asked")
	}))
	since := time.Now()
	b.must(b.Node(to).Server.Kill())
	b.must(l.WaitServer(b.ctx, b.Node(from).Server.ID()))
	if gap := l.Gap(since); gap > 2*time.Second {
		t.Errorf("write gap %v", gap)
	}
	if got := <-answer; !strings.Contains(got, "ERROR: Hook 'guard' says no: it did not end within 8s and was killed") {
		t.Error(got)
	}
	b.must(os.Remove(s.dir + "/hang"))
	if !b.rejoin(to, l) {
		return
	}

	// --force does not ask the hook, which says no.
	b.must(b.WaitWhole(b.ctx))
	b.must(os.WriteFile(s.dir+"/no", nil, 0o600))
	asked := s.read("asked")
	b.must(b.Node(to).Server.Exec(b.ctx, "STOP SLAVE SQL_THREAD"))
	b.must(b.Monitor.Kill()) // the new one gives replicas of the writer that it knows no minute of patience
	b.must(b.Monitor.Start())
	b.state(to, "REPLICATION_FAIL")
	b.steps([]step{
		{"move_role writer " + to, "ERROR: Can't move role to host with state REPLICATION_FAIL.", 2},
		{"move_role --force writer " + to, "OK: Role 'writer' has been moved from '" + from + "' to '" + to +
			"' enforcedly. Now you can wait some time and check new roles info!", 0}})
	if now := s.read("asked"); now != asked {
		t.Errorf("asked: %s", now)
	}
}

// TestHookHearsOfConflict: another machine has the address that a host is to get. Hooks hear of it as the event
// conflict.
func TestHookHearsOfConflict(t *testing.T) {
	s := scripts{t, t.TempDir()}
	b := prepare(t, leased())
	reconfigure(b, "<hook conflict>\nprogram "+s.add("conflict", "echo $MMM_LEVEL $MMM_HOST: $MMM_TEXT >>DIR/heard",
		0o755)+"\nevents conflict\n</hook>\n")
	b.must(b.StartAll(b.ctx))
	_, err := b.Client.Run(b.ctx, "ip", "addr", "add", lab.WriterIP+"/32", "dev", "eth0")
	b.must(err)
	if heard := s.read("heard"); heard != "" {
		t.Errorf("too early: %s", heard)
	}
	from := b.writer()
	to := map[string]string{"db1": "db2", "db2": "db1"}[from]
	if out, status := b.control("move_role writer " + to); status != 2 {
		t.Errorf("exit %d: %s", status, out)
	}
	b.must(lab.Wait(b.ctx, "the hook", func() (bool, string) {
		return strings.Contains(s.read("heard"), "ERROR "+to+": Agent on host '"+to+
			"' reports: Couldn't allow writes: the machine "), b.Monitor.Log()
	}))
	_, err = b.Client.Run(b.ctx, "ip", "addr", "del", lab.WriterIP+"/32", "dev", "eth0")
	b.must(err)
	b.must(b.WaitWhole(b.ctx))
}
