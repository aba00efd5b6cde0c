package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/config"
	"mysql-mmm/pkg/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// monitor answers every line with answer until the test ends, and passes on what it was asked.
func monitor(t *testing.T, answer string) (load func(config.Source) (*config.Config, error), asked <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 10)
	s := &wire.Server{Handler: func(_ context.Context, line string) (string, bool) {
		if line == "quit" {
			return "", true
		}
		lines <- line
		return answer, false
	}}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return at(l.Addr().String()), lines
}

// at loads a configuration whose monitor is at addr.
func at(addr string) func(config.Source) (*config.Config, error) {
	return func(config.Source) (*config.Config, error) {
		ap := netip.MustParseAddrPort(addr)
		return &config.Config{Monitor: config.MonitorConfig{IP: ap.Addr(), Port: int(ap.Port())}}, nil
	}
}

// result is what a call left behind.
type result struct {
	Out, Err string
	Code     int
}

func invoke(load func(config.Source) (*config.Config, error), args ...string) result {
	var stdout, stderr strings.Builder
	code := run(args, &stdout, &stderr, load)
	return result{stdout.String(), stderr.String(), code}
}

// Every answer of an original monitor is printed as the original printed it.
func TestRecordedAnswers(t *testing.T) {
	text, err := os.ReadFile("testdata/control.txt")
	if err != nil {
		t.Fatal(err)
	}
	blocks := strings.Split(string(text), "\n## ")[1:]
	if len(blocks) < 60 {
		t.Fatalf("only %d blocks", len(blocks))
	}
	for _, block := range blocks {
		situation, rest, _ := strings.Cut(block, "\n$ mmm_control ")
		line, rest, _ := strings.Cut(rest, "\n")
		printed, status, ok := strings.Cut(rest, "[exit ")
		if !ok || status[0] != '0' {
			t.Fatalf("%s, %s: no exit status 0", situation, line)
		}
		if line == "--help" {
			continue // the original asks the monitor, which refuses it; ours asks nobody: TestUsageNeedsNothing
		}
		t.Run(situation+": "+line, func(t *testing.T) {
			load, asked := monitor(t, strings.TrimSuffix(printed, "\n"))
			want := result{Out: printed}
			if strings.HasPrefix(printed, "ERROR:") || strings.HasPrefix(printed, "Invalid command") {
				want.Code = 2
			}
			if diff := cmp.Diff(want, invoke(load, strings.Fields(line)...)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			t.Setenv(statusVariable, "classic")
			load, again := monitor(t, strings.TrimSuffix(printed, "\n"))
			if diff := cmp.Diff(result{Out: printed}, invoke(load, strings.Fields(line)...)); diff != "" {
				t.Errorf("with the original's exit status (-want +got):\n%s", diff)
			}
			if line != "quit" {
				<-again
			}
			if line == "quit" {
				return // ends the connection before anything is asked
			}
			if got := <-asked; got != line {
				t.Errorf("the monitor was asked %q", got)
			}
		})
	}
}

func TestWithoutMonitor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	got := invoke(at(l.Addr().String()), "show")
	if got.Out != "ERROR: Can't connect to monitor daemon!\n" || got.Code != 1 ||
		!strings.HasPrefix(got.Err, "# connect to 127.0.0.1:") {
		t.Errorf("%+v", got)
	}
}

func TestMonitorBreaksOff(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		_, _ = c.Write([]byte("half"))
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = c.Read(make([]byte, 1))
		// A reset, as from a monitor that dies.
		_ = c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}()
	got := invoke(at(l.Addr().String()), "show")
	if got.Code != 1 || !strings.HasPrefix(got.Err, "# ask 127.0.0.1:") || strings.Contains(got.Out, "Can't connect") {
		t.Errorf("%+v", got)
	}
	l.Close()
	<-done
}

func TestNothingIsAskedWithoutNeed(t *testing.T) {
	load := func(config.Source) (*config.Config, error) { return nil, errors.New("line one\nline two") }
	tests := []struct {
		args []string
		want result
	}{
		{nil, result{Err: "See 'mmm_control help' for usage information\n", Code: 255}},
		{[]string{"@c1"}, result{Err: "See 'mmm_control help' for usage information\n", Code: 255}},
		{[]string{"--json"}, result{Err: "See 'mmm_control help' for usage information\n", Code: 255}},
		{[]string{"--version"}, result{Out: "mmm_control dev\n"}},
		{[]string{"@c1", "--version"}, result{Out: "mmm_control dev\n"}},
		{[]string{"show"}, result{Err: "line one\nline two\n", Code: 2}},
		{[]string{"--config"}, result{Err: "mmm_control: --config needs a value\n", Code: 2}},
		{[]string{"@", "show"}, result{Err: "mmm_control: no cluster name after @\n", Code: 2}},
		{[]string{"--json", "ping"},
			result{Err: "mmm_control: --json is for show, checks, mode, history, explain, watch and doctor\n",
				Code: 2}},
	}
	for _, tt := range tests {
		if diff := cmp.Diff(tt.want, invoke(load, tt.args...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
	}
}

// TestHelpNeedsNothing: neither a configuration nor a monitor that answers.
func TestHelpNeedsNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	want := result{Out: cluster.Help + "\n"}
	for name, load := range map[string]func(config.Source) (*config.Config, error){
		"no configuration":     func(config.Source) (*config.Config, error) { return nil, errors.New("no file") },
		"no monitor":           at(l.Addr().String()),
		"a monitor that hangs": at(mute.Addr().String()),
		"no certificate": func(config.Source) (*config.Config, error) {
			return &config.Config{Socket: config.Socket{SSL: true, CertFile: "/nonexistent"}}, nil
		},
	} {
		if diff := cmp.Diff(want, invoke(load, "help")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if name == "a monitor that hangs" {
			continue // `help me` would wait for its answer for minutes
		}
		if got := invoke(load, "help", "me"); got.Code == 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestUsageNeedsNothing: mmm_control itself says how it and its own commands are used, and which version it is,
// wherever the option stands. It asks no monitor and reads no configuration.
func TestUsageNeedsNothing(t *testing.T) {
	const versionText = "mmm_control dev\n"
	none := func(config.Source) (*config.Config, error) {
		t.Error("the configuration is read")
		return nil, errors.New("not to be loaded")
	}
	for args, want := range map[string]string{
		"--help": callUsage(), "-h": callUsage(), "@c1 --help": callUsage(), "--config f -h": callUsage(),
		"--json --help": callUsage(), "--help show": callUsage(), "config --help": configUsage,
		"config -h": configUsage, "doctor --help": doctorUsage, "--json doctor -h": doctorUsage,
		"completion --help": completionUsage,
		// anywhere before --
		"show --help": callUsage(), "@c1 show -h": callUsage(), "show --json --help": callUsage(),
		"--json ping -h": callUsage(), "help --help": callUsage(), "watch --help": callUsage(),
		"move_role --force writer db2 --help": callUsage(), "bogus --help": callUsage(),
		"show --help --": callUsage(), "show --version --help": callUsage(), "config check f --help": configUsage,
		"doctor --json -h": doctorUsage, "completion bash --help": completionUsage,
		"show --version": versionText, "@c1 --json ping --version": versionText, "config check f --version": versionText,
		"doctor --version": versionText, "move_role writer db2 --version": versionText,
	} {
		if diff := cmp.Diff(result{Out: want}, invoke(none, strings.Fields(args)...)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
	for _, o := range options() {
		if !strings.Contains(callUsage(), "\n    "+o.word) {
			t.Errorf("--help lacks %s", o.word)
		}
	}
	if !strings.HasSuffix(callUsage(), "\n\n"+cluster.Help) {
		t.Error("--help lacks the commands")
	}
}

// TestUsageIsNotAsked: behind -- no word is an option, and what a shell asks to complete is no call.
func TestUsageIsNotAsked(t *testing.T) {
	for _, line := range []string{"show -- --help", "-- --help", "show -- -h", "show -- --version"} {
		load, asked := monitor(t, "Invalid command '"+line+"'")
		if got := invoke(load, strings.Fields(line)...); got.Code != exitRefused {
			t.Errorf("%s: %+v", line, got)
			continue
		}
		if got := <-asked; got != line {
			t.Errorf("%s: the monitor was asked %q", line, got)
		}
	}
	none := func(config.Source) (*config.Config, error) { return nil, errors.New("not to be loaded") }
	for _, line := range []string{"__complete --help", "__complete help -h", "__complete ping --version"} {
		if got := invoke(none, strings.Fields(line)...); got.Code != exitOK || got.Out != string(noPaths)+"\n" {
			t.Errorf("%s: %+v", line, got)
		}
	}
}

func TestParseArgs(t *testing.T) {
	tests := []struct {
		args   string
		source config.Source
		line   string
	}{
		{args: "show", line: "show"},
		{args: "@c1 show", source: config.Source{Cluster: "c1"}, line: "show"},
		{args: "--config f @c1 show", source: config.Source{Cluster: "c1", File: "f"}, line: "show"},
		{args: "--config=f --config-dir=d show", source: config.Source{File: "f", Dir: "d"}, line: "show"},
		{args: "--config-dir d show @x --config y", source: config.Source{Dir: "d"}, line: "show @x --config y"},
		{args: "move_role --force writer db2", line: "move_role --force writer db2"},
		{args: "move_role --json writer", line: "move_role --json writer"},
		{args: "--help", line: "--help"},
		{args: "--bogus show", line: "--bogus show"},
		{args: "show --version", line: "show --version"},
		{args: "--json show", line: "show --json"},
		{args: "show --json", line: "show --json"},
		{args: "--json mode --json", line: "mode --json"},
		{args: "checks --json db1 ping", line: "checks db1 ping --json"},
		{args: "--json doctor --verbose", line: "doctor --verbose --json"},
	}
	for _, tt := range tests {
		c, err := parseArgs(strings.Fields(tt.args))
		if err != nil || c.version {
			t.Errorf("%s: version %v, %v", tt.args, c.version, err)
		}
		if line := strings.Join(c.words, " "); line != tt.line || c.source != tt.source {
			t.Errorf("%s: %q, %+v", tt.args, line, c.source)
		}
	}
}

// A command goes the whole way, with a configuration that is read from a file.
func TestClassicFile(t *testing.T) {
	load, asked := monitor(t, "OK: Pinged successfully!")
	conf, err := load(config.Source{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mmm_mon.conf")
	addr := netip.AddrPortFrom(conf.Monitor.IP, uint16(conf.Monitor.Port)).String()
	ip, port, _ := strings.Cut(addr, ":")
	text := "<monitor>\n  ip " + ip + "\n  port " + port + "\n</monitor>\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	real := func(src config.Source) (*config.Config, error) { return config.Load(config.Control, src) }
	if diff := cmp.Diff(result{Out: "OK: Pinged successfully!\n"}, invoke(real, "--config", file, "ping")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := <-asked; got != "ping" {
		t.Errorf("the monitor was asked %q", got)
	}
	if got := invoke(real, "--config", file+".missing", "ping"); got.Code != 2 || got.Out != "" || got.Err == "" {
		t.Errorf("missing file: %+v", got)
	}
}

// The doctor needs no monitor, and a configuration that can't be used is one of its findings.
func TestDoctor(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mmm_mon.conf")
	if err := os.WriteFile(file, []byte("bogus 1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(config.Source) (*config.Config, error) { return nil, errors.New("not to be loaded") }
	got := invoke(none, "--config", file, "doctor")
	if got.Code != 1 || got.Err != "" || !strings.HasPrefix(got.Out, "monitor\n  error    config-invalid: ") ||
		!strings.HasSuffix(got.Out, " 0 warnings\n") {
		t.Errorf("%+v", got)
	}
	got = invoke(none, "--config", file, "doctor", "--json")
	if got.Code != 1 || !strings.Contains(got.Out, `"name": "config-invalid"`) {
		t.Errorf("%+v", got)
	}
	got = invoke(none, "--config", file, "doctor", "db1")
	if got.Code != 2 || got.Out != "" || got.Err != "mmm_control: doctor takes --verbose and --json, not \"db1\"\n" {
		t.Errorf("%+v", got)
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	got = invoke(none, "--config", file, "doctor")
	if got.Code != 1 || !strings.Contains(got.Out, "mend: chmod o-rwx "+file+"\n") {
		t.Errorf("%+v", got)
	}
}

// `config` looks at the file that it is given: it needs neither a monitor nor the configuration of this machine.
func TestConfig(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "mmm_common.conf")
	if err := os.WriteFile(file, []byte("debug 1 # loud\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	none := func(config.Source) (*config.Config, error) { return nil, errors.New("not to be loaded") }
	const hcl = "debug = true # loud\n"
	const note = "# save it with mode 640; the classic file and the HCL file can't both stay: only one of them can count\n"
	for _, args := range [][]string{{file}, {file, "--to", "hcl"}, {"--to=hcl", file}} {
		if diff := cmp.Diff(result{Out: hcl, Err: note}, invoke(none,
			append([]string{"config", "convert"}, args...)...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
	}
	if got := invoke(none, "config", "check", file); got.Code != 0 || got.Out != "OK\n" {
		t.Errorf("%+v", got)
	}
	main := filepath.Join(dir, "mmm_mon.hcl")
	if err := os.WriteFile(main, []byte("include = [\"mmm_common.hcl\"]\n"+hcl), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := invoke(none, "config", "check", main); got.Code != 1 || got.Err != "" ||
		!strings.HasPrefix(got.Out, main+":1:1: include mmm_common.hcl: no readable") {
		t.Errorf("%+v", got)
	}
	want := result{Out: "include mmm_common.conf\ndebug  true  # loud\n",
		Err: "# it includes mmm_common.hcl: convert that file too\n" + note}
	if diff := cmp.Diff(want, invoke(none, "config", "convert", main)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, args := range []string{"", "check", "convert", "convert --to hcl", "convert --to perl x", "convert a b",
		"check a b", "show"} {
		if diff := cmp.Diff(result{Err: configUsage, Code: 2},
			invoke(none, append([]string{"config"}, strings.Fields(args)...)...)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", args, diff)
		}
	}
	if got := invoke(none, "config", "convert", file, "--to", "classic"); got.Code != 2 || got.Out != "" ||
		got.Err != file+": is in that syntax already, as its name says\n" {
		t.Errorf("%+v", got)
	}
}
