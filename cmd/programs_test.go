// Package cmd tests the three programs as they are built and installed; what they do to servers and addresses is tested
// end to end elsewhere.
package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience bounds every wait of these tests; a test that passes never waits that long.
const patience = 30 * time.Second

var programs = []string{"mmm_mond", "mmm_agentd", "mmm_control"}

// build gives the folder of the programs, made as the Makefile makes them.
func build(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	cmd := exec.Command("go", "build", "-ldflags", "-X main.version=1.2.3-test", "-o", bin+"/", "./mmm_mond",
		"./mmm_agentd", "./mmm_control")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return bin
}

// result is what a call left behind.
type result struct {
	code        int
	out, errors string
}

func call(t *testing.T, program string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second // a daemon in the background must not hold the output open
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%s %v: %v", program, args, err)
	}
	return result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// configure writes a configuration of two masters on which nothing runs, and gives its folder. The monitor's pid file
// is mond.pid in that folder.
func configure(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	common := fmt.Sprintf(`
active_master_role writer
<host default>
	cluster_interface lo
	pid_path %[1]s/agentd.pid
	bin_path %[1]s
	agent_port %[2]d
	mysql_port %[2]d
	agent_user a
	agent_password a
	monitor_user m
	monitor_password m
	replication_user r
	replication_password r
</host>
<host db1>
	ip 127.77.0.1
	mode master
	peer db2
</host>
<host db2>
	ip 127.77.0.2
	mode master
	peer db1
</host>
<role writer>
	hosts db1, db2
	ips 192.0.2.77
	mode exclusive
</role>
`, dir, freePort(t))
	monitor := fmt.Sprintf(`include mmm_common.conf
<monitor>
	ip 127.0.0.1
	port %[1]d
	pid_path %[2]s/mond.pid
	bin_path %[2]s
	status_path %[2]s/status
	ping_ips 127.0.0.1
</monitor>
`, freePort(t), dir)
	for name, text := range map[string]string{
		"mmm_common.conf": common, "mmm_mon.conf": monitor, "mmm_agent.conf": "include mmm_common.conf\nthis db1\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestPrograms(t *testing.T) {
	bin := build(t)
	t.Run("version", func(t *testing.T) { testVersion(t, bin) })
	t.Run("completion", func(t *testing.T) { testCompletion(t, bin) })
	t.Run("configtest", func(t *testing.T) { testConfigtest(t, bin) })
	t.Run("start with a wrong configuration", func(t *testing.T) { testWrongConfiguration(t, bin) })
	t.Run("monitor in the background", func(t *testing.T) { testMonitor(t, bin) })
}

func testVersion(t *testing.T, bin string) {
	for _, name := range programs {
		if got, want := call(t, filepath.Join(bin, name), "--version"),
			(result{out: name + " 1.2.3-test\n"}); got != want {
			t.Errorf("%s: %+v", name, got)
		}
		for _, option := range []string{"--help", "-h"} {
			got := call(t, filepath.Join(bin, name), option)
			if got.code != 0 || got.errors != "" || !strings.HasPrefix(got.out, "Usage: "+name+" [@CLUSTER] ") {
				t.Errorf("%s %s: %+v", name, option, got)
			}
		}
	}
}

// installed copies the configuration that is installed as an example, with the mode that files with passwords must
// have, and gives its folder.
func installed(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"mmm_common.conf", "mmm_mon.conf", "mmm_agent.conf"} {
		text, err := os.ReadFile(filepath.Join("../etc/mysql-mmm", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func testConfigtest(t *testing.T, bin string) {
	for _, dir := range []string{configure(t), installed(t)} {
		for _, name := range []string{"mmm_mond", "mmm_agentd"} {
			got := call(t, filepath.Join(bin, name), "--config-dir", dir, "configtest")
			if got.code != 0 || got.out != "OK\n" {
				t.Errorf("%s with %s: %+v", name, dir, got)
			}
		}
	}
	dir := configure(t)
	// The main file of cluster c1, found by --config, and by the name of the cluster.
	if err := os.Rename(filepath.Join(dir, "mmm_mon.conf"), filepath.Join(dir, "mmm_mon_c1.conf")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--config", dir + "/mmm_mon_c1.conf"}, {"@c1", "--config-dir", dir}} {
		if got := call(t, filepath.Join(bin, "mmm_mond"), append(args, "configtest")...); got.code != 0 ||
			got.out != "OK\n" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := call(t, filepath.Join(bin, "mmm_control"), "--config-dir", t.TempDir(), "help"); got.code != 0 ||
		!strings.HasPrefix(got.out, "Valid commands are:\n") {
		t.Errorf("help without a configuration: %+v", got)
	}
	got := call(t, filepath.Join(bin, "mmm_mond"), "--config-dir", dir, "configtest")
	if got.code != 1 || got.out != "" || !strings.Contains(got.errors, "mmm_mon.conf") {
		t.Errorf("without the cluster's name: %+v", got)
	}
}

// Every error is printed, by configtest and by a start; nothing is left running or lying about.
func testWrongConfiguration(t *testing.T, bin string) {
	dir := configure(t)
	file := filepath.Join(dir, "mmm_common.conf")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wrong := strings.NewReplacer("192.0.2.77", "no-address", "peer db1", "peer db2").Replace(string(text))
	if err := os.WriteFile(file, []byte(wrong), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"mmm_mond", "mmm_agentd"} {
		for _, word := range []string{"configtest", "--foreground", ""} {
			args := append([]string{"--config-dir", dir, "--log-file", dir + "/log", "--pid-file", dir + "/pid"},
				strings.Fields(word)...)
			got := call(t, filepath.Join(bin, name), args...)
			if got.code != 1 || got.out != "" || !strings.Contains(got.errors, "no-address") ||
				!strings.Contains(got.errors, "peer") {
				t.Errorf("%s %s: %+v", name, word, got)
			}
			if _, err := os.Stat(dir + "/pid"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s %s: pid file: %v", name, word, err)
			}
		}
	}
}

func testMonitor(t *testing.T, bin string) {
	dir := configure(t)
	mond := []string{"--config-dir", dir, "--log-file", dir + "/log"}
	control := func(line string) result {
		t.Helper()
		return call(t, filepath.Join(bin, "mmm_control"), append([]string{"--config-dir", dir},
			strings.Fields(line)...)...)
	}
	if got := control("ping"); got.code != 1 || got.out != "ERROR: Can't connect to monitor daemon!\n" {
		t.Errorf("ping without a monitor: %+v", got)
	}
	if got := call(t, filepath.Join(bin, "mmm_mond"), mond...); got != (result{}) {
		t.Fatalf("start: %+v", got)
	}
	text, err := os.ReadFile(dir + "/mond.pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSuffix(string(text), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	defer end(t, pid, dir)

	if got := call(t, filepath.Join(bin, "mmm_mond"), mond...); got != (result{1, "",
		"Can't run second copy of mmm_mond\n"}) {
		t.Errorf("second copy: %+v", got)
	}
	for deadline := time.Now().Add(20 * time.Second); strings.Contains(control("show").out,
		"The monitor is starting"); {
		if time.Now().After(deadline) {
			t.Fatal("the monitor does not get ready")
		}
	}
	for line, want := range map[string]result{
		"ping":             {out: "OK: Pinged successfully!\n"},
		"set_online bogus": {code: 2, out: "ERROR: Unknown host name 'bogus'!\n"},
	} {
		if got := control(line); got != want {
			t.Errorf("%s: %+v", line, got)
		}
	}
	if got := control("bogus"); got.code != 2 || !strings.HasPrefix(got.out,
		"Invalid command 'bogus'\n\nValid commands are:\n") {
		t.Errorf("bogus: %+v", got)
	}
	if got := control("show"); got.code != 0 || !strings.Contains(got.out, "\n  db2(127.77.0.2) master/") {
		t.Errorf("show: %+v", got)
	}
}

// end ends a daemon as an init script does, and sees to it that nothing stays behind.
func end(t *testing.T, pid int, dir string) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); running(dir); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // the daemon leads a session, and so a process group
			t.Fatalf("still running %v after SIGTERM", patience)
		}
	}
	if _, err := os.Stat(dir + "/mond.pid"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pid file: %v", err)
	}
}

// running tells whether any process has been started with the configuration in dir.
func running(dir string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if text, err := os.ReadFile(f); err == nil && bytes.Contains(text, []byte(dir)) {
			return true
		}
	}
	return false
}
