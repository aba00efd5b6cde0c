package e2e

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
)

// secrets are all secrets in the configuration of TestSecretsStaySecret, and the parts of URLs that must not be shown.
var secrets = []string{"monpw", "agentpw", "replpw", "4g3nt-s3cr3t-0123456789", "sm7p-p4ss", "w3bh00k-t0k3n",
	"w3bh00k-k3y", "w3bh00k-p4th", "w3bh00k-us3r"}

// TestSecretsStaySecret: no secret is in a log, in a file that a daemon writes, in an answer of mmm_control or over
// HTTP, in the list of processes, or in what hooks and alerts are given.
func TestSecretsStaySecret(t *testing.T) {
	s := scripts{t, t.TempDir()}
	b := prepare(t, lab.Options{Lease: 3, FastFailover: true, TrapPeriod: time.Second,
		Common: "debug 1\nagent_secret 4g3nt-s3cr3t-0123456789\n<host default>\nmetrics_listen 0.0.0.0:9991\n</host>",
		Mon:    "flap_count 0\nmetrics_listen 127.0.0.1:9990\nhook_dir " + s.dir + "/hooks.d"})
	s.add("hooks.d/look",
		"{ cat; tr '\\0' '\\n' </proc/self/environ; tr '\\0' ' ' </proc/self/cmdline; cat /proc/$PPID/cmdline; } >>DIR/hook.txt", 0o755)
	refused := receive(b, false)
	reconfigure(b, "<hook missing>\nprogram /nowhere\n</hook>\n<alert chat>\nwebhook http://w3bh00k-us3r:w3bh00k-p4ss@"+
		refused.addr+
		"/w3bh00k-p4th?key=w3bh00k-k3y\nwebhook_token w3bh00k-t0k3n\nmin_interval 0\nevents all\n</alert>\n"+
		"<alert dead>\nwebhook https://w3bh00k-us3r@127.0.0.1:1/w3bh00k-p4th?key=w3bh00k-k3y\nwebhook_token w3bh00k-t0k3n\nmin_interval 0\n</alert>\n"+
		"<alert mail>\nsmtp 127.0.0.1:1\nsmtp_user mmm\nsmtp_password sm7p-p4ss\nmail_from a@example.com\nmail_to b@example.com\nmin_interval 0\n</alert>\n")
	b.must(b.StartAll(b.ctx))
	l := b.load()

	var heard strings.Builder // all answers
	ask := func(words string) {
		t.Helper()
		out, _ := b.control(words)
		fmt.Fprintf(&heard, "%s:\n%s\n", words, out)
	}
	askAll := func() {
		t.Helper()
		for _, words := range []string{"show", "checks", "history 1000", "explain db1", "mode", "doctor --verbose"} {
			ask(words)
			ask(words + " --json")
		}
		ask("config check " + b.Monitor.Config())
		for _, url := range []string{"http://127.0.0.1:9990/", "http://127.0.0.1:9990/metrics",
			"http://127.0.0.1:9990/api/v1/show", "http://127.0.0.1:9990/api/v1/checks",
			"http://127.0.0.1:9990/api/v1/history",
			"http://127.0.0.1:9990/readyz", "http://10.77.0.12:9991/metrics", "http://10.77.0.12:9991/role/writer"} {
			fmt.Fprintf(&heard, "%s:\n%s\n", url, b.get(url))
		}
	}
	askAll()
	b.must(b.Node("db1").Server.Kill())
	b.must(l.WaitServer(b.ctx, 2))
	askAll()

	// The accounts get other passwords on the servers.
	b.must(b.Node("db2").Server.Exec(b.ctx, "ALTER USER mmm_monitor@'10.77.0.%' IDENTIFIED BY 'other'",
		"ALTER USER mmm_agent@'10.77.0.%' IDENTIFIED BY 'other'", "ALTER USER repl@'10.77.0.%' IDENTIFIED BY 'other'"))
	b.must(b.Monitor.Kill())
	b.must(b.Monitor.Start())
	b.logged(b.Monitor, "Access denied")
	askAll()
	b.must(b.Node("db3").Agent.Kill()) // refused accounts cause no alert; an agent that is away does
	b.logged(b.Monitor, "Alert 'dead' can't be sent to https://127.0.0.1:1: post: ")
	b.logged(b.Monitor, "Alert 'mail' can't be sent to mail server 127.0.0.1:1: ")
	b.must(b.Node("db3").Agent.Start())
	l.Stop()

	// Secrets in lines that the configuration's parser refuses.
	for i, line := range []string{"agent_secrt 4g3nt-s3cr3t-0123456789", "<smtp_password sm7p-p4ss>",
		"<alert x>\nwebhok_token w3bh00k-t0k3n\n</alert>", "<alert x>\nwebhook w3bh00k-k3y\n</alert>",
		"monitor_password=monpw", "<hook x>\nsmtp_password sm7p-p4ss\n</hook>"} {
		file := filepath.Join(s.dir, fmt.Sprintf("wrong%d.conf", i))
		b.must(os.WriteFile(file, []byte(line+"\n"), 0o640))
		ask("config check " + file)
	}
	b.lookForSecrets("answers", heard.String())
	if text := s.read("hook.txt"); !strings.Contains(text, "MMM_EVENT=") || !strings.Contains(text, `"event":`) ||
		!strings.Contains(text, "mmm_mond") {
		t.Errorf("the hook saw:\n%s", text)
	}
	b.lookForSecrets("what the hook saw", s.read("hook.txt"))
	refused.mu.Lock()
	for _, got := range refused.got {
		_, body, _ := strings.Cut(got, "{")
		b.lookForSecrets("the alert", body)
	}
	if len(refused.got) == 0 {
		t.Error("no alert has come")
	}
	refused.mu.Unlock()
	b.lookAtFiles(filepath.Dir(b.Monitor.Config()))
	b.lookAtProcesses()
}

// get gets a URL from the monitor's host, and returns header and body of the answer.
func (b *bench) get(url string) string {
	b.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) { return b.Mon.Dial(ctx, addr) }}}
	resp, err := client.Get(url)
	b.must(err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	b.must(err)
	return fmt.Sprint(resp.Header, string(text))
}

// lookForSecrets fails the test where a secret is in a text. An empty text is an error too: there was nothing to test.
func (b *bench) lookForSecrets(where, text string) {
	b.Helper()
	if text == "" {
		b.Errorf("%s: nothing to look at", where)
	}
	for line := range strings.Lines(text) {
		for _, secret := range secrets {
			if strings.Contains(line, secret) {
				b.Errorf("%s: %s is in %q", where, secret, line)
			}
		}
	}
}

// lookAtFiles looks for secrets in all files that the daemons have written: logs, states, histories. It leaves out the
// configuration files, which have the secrets.
func (b *bench) lookAtFiles(dir string) {
	b.Helper()
	seen := map[string]bool{}
	b.must(filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || !strings.HasPrefix(e.Name(), "mmm_") ||
			strings.HasSuffix(path, ".conf") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if len(text) > 0 {
			seen[e.Name()] = true
			b.lookForSecrets(path, string(text))
		}
		return nil
	}))
	for _, name := range []string{"mmm_mond.log", "mmm_mond.status", "mmm_mond.status.history", "mmm_agentd.log",
		"mmm_agentd.state"} {
		if !seen[name] {
			b.Errorf("there is no %s in %v", name, seen)
		}
	}
}

// lookAtProcesses looks for secrets in the command lines and environments of our programs.
func (b *bench) lookAtProcesses() {
	b.Helper()
	found := 0
	dirs, err := filepath.Glob("/proc/[0-9]*")
	b.must(err)
	for _, dir := range dirs {
		line, err := os.ReadFile(dir + "/cmdline")
		if err != nil || !strings.HasPrefix(string(line), b.Bin) {
			continue // the process has ended, or is none of our programs
		}
		found++
		b.lookForSecrets("command line", string(line))
		if env, err := os.ReadFile(dir + "/environ"); err == nil && len(env) > 0 {
			b.lookForSecrets("environment", string(env))
		}
	}
	if found < 4 {
		b.Errorf("%d daemons found", found)
	}
}
