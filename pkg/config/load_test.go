package config

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// install copies the *.conf files of a folder into a fresh one with the mode that real installations have.
func install(t *testing.T, from string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(from, "*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("files of %s: %v, %v", from, files, err)
	}
	dir := t.TempDir()
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, filepath.Base(file)), string(text))
	}
	return dir
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func mode(t *testing.T, file string, perm os.FileMode) {
	t.Helper()
	if err := os.Chmod(file, perm); err != nil {
		t.Fatal(err)
	}
}

func mustLoad(t *testing.T, p Program, src Source, classic ...string) *Config {
	t.Helper()
	c, err := load(p, src, classic)
	if err != nil {
		t.Fatalf("%v:\n%v", p, err)
	}
	return c
}

func wantError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// Configurations that people have published can be loaded for the programs they were written for.
func TestPublishedConfigurations(t *testing.T) {
	tests := []struct {
		dir      string
		programs []Program
	}{
		{"testdata/two-masters", []Program{Monitor, Agent, Control}},
		{"testdata/two-masters-one-slave", []Program{Monitor, Agent, Control}},
		{"testdata/m3-multi-channel", []Program{Monitor, Control}},
		{"../../etc/mysql-mmm", []Program{Monitor, Agent, Control}},
	}
	for _, tt := range tests {
		dir := install(t, tt.dir)
		for _, p := range tt.programs {
			name := mainName(p, "") + classicSuffix
			for _, src := range []Source{{Dir: dir}, {File: filepath.Join(dir, name)}} {
				c, err := Load(p, src)
				if err != nil {
					t.Errorf("%s, %v:\n%v", tt.dir, p, err)
					continue
				}
				if c.File != filepath.Join(dir, name) {
					t.Errorf("%s, %v: file %s", tt.dir, p, c.File)
				}
			}
		}
	}
}

func TestTwoMasters(t *testing.T) {
	dir := install(t, "testdata/two-masters")
	c := mustLoad(t, Monitor, Source{Dir: dir})
	if got := fmt.Sprint(c.Monitor.PingIPs, c.Monitor.AutoSetOnline, c.Roles); got !=
		"[192.168.8.32 192.168.8.33] 10s [{reader false [MySQL-M1 MySQL-M2] [192.168.8.34 192.168.8.35] } {writer true [MySQL-M1 MySQL-M2] [192.168.8.30] }]" {
		t.Error(got)
	}
	a := mustLoad(t, Agent, Source{Dir: dir})
	if h := a.Local(); h.Name != "MySQL-M1" || h.Peer != "MySQL-M2" || h.AgentPassword.Reveal() != "mmm_agent" ||
		h.ReplicationUser != "repl" {
		t.Errorf("%+v", h)
	}
}

func TestTwoMastersOneSlave(t *testing.T) {
	dir := install(t, "testdata/two-masters-one-slave")
	if a := mustLoad(t, Agent, Source{Dir: dir}); a.This != "db2" || a.Local().BinPath != "/usr/libexec/mysql-mmm/" {
		t.Errorf("%+v", a)
	}
	c := mustLoad(t, Monitor, Source{Dir: dir})
	if h, ok := c.Host("db3"); !ok || h.Mode != Slave || h.Peer != "" || h.MonitorPassword.Reveal() != "qhdks123" {
		t.Errorf("%+v", h)
	}
	if c.Roles[0].IPs[0] != netip.MustParseAddr("172.17.0.103") || len(c.Monitor.PingIPs) != 3 {
		t.Errorf("%+v", c)
	}
}

func TestMultiChannel(t *testing.T) {
	c := mustLoad(t, Monitor, Source{Dir: install(t, "testdata/m3-multi-channel")})
	h, _ := c.Host("db2")
	if h.ReplicationChannel != "mmm" || c.Monitor.Port != 10001 || c.Monitor.Mode != ModeActive ||
		c.Checks["rep_backlog"] != (Check{Period: time.Minute, Trap: 8 * time.Hour, Timeout: 2 * time.Second,
			MaxBacklog: 8 * time.Hour}) ||
		c.Checks["mysql"].Timeout != 3*time.Second || c.Checks["ping"].Period != 5*time.Second {
		t.Errorf("%+v", c)
	}
}

func TestLookup(t *testing.T) {
	a, b, c := t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(b, "mmm_agent.conf"), valid)
	write(t, filepath.Join(c, "mmm_agent.conf"), "rubbish")
	write(t, filepath.Join(c, "mmm_agent_east.conf"), valid)
	write(t, filepath.Join(a, "mmm_mon_east.conf"), valid)
	write(t, filepath.Join(c, "mmm_mon.conf"), valid)
	tests := []struct {
		p    Program
		src  Source
		want string
	}{
		{Agent, Source{}, b + "/mmm_agent.conf"},
		{Agent, Source{Cluster: "east"}, c + "/mmm_agent_east.conf"},
		{Monitor, Source{}, c + "/mmm_mon.conf"},
		{Control, Source{}, c + "/mmm_mon.conf"},
		{Monitor, Source{Cluster: "east"}, a + "/mmm_mon_east.conf"},
		{Control, Source{Cluster: "east"}, a + "/mmm_mon_east.conf"},
		{Monitor, Source{Dir: c}, c + "/mmm_mon.conf"},
		{Agent, Source{Dir: c, Cluster: "east"}, c + "/mmm_agent_east.conf"},
		{Monitor, Source{File: b + "/mmm_agent.conf", Cluster: "east", Dir: c}, b + "/mmm_agent.conf"},
	}
	for _, tt := range tests {
		if got := mustLoad(t, tt.p, tt.src, a, b, c).File; got != tt.want {
			t.Errorf("%v %+v: %s, want %s", tt.p, tt.src, got, tt.want)
		}
	}

	// What can't be read is passed over.
	if err := os.Mkdir(filepath.Join(a, "mmm_agent.conf"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := mustLoad(t, Agent, Source{}, a, b, c).File; got != b+"/mmm_agent.conf" {
		t.Errorf("a folder was taken for the file: %s", got)
	}
	_, err := load(Agent, Source{Dir: a}, []string{b})
	wantError(t, err, a+"/mmm_agent.conf: no readable configuration file; looked for "+a+"/mmm_agent.conf (open "+a+
		"/mmm_agent.conf: is a directory); there is no mmm_agent.hcl nor mmm.hcl there either")
	if err := os.Symlink("loop.conf", filepath.Join(a, "loop.conf")); err != nil {
		t.Fatal(err)
	}
	_, err = load(Agent, Source{File: a + "/loop.conf"}, nil)
	wantError(t, err, a+"/loop.conf: no readable configuration file; looked for "+a+"/loop.conf (open "+a+
		"/loop.conf: too many levels of symbolic links)")
}

func TestClassicFolders(t *testing.T) {
	_, err := Load(Control, Source{Cluster: "none-of-that-name"})
	const name = "/mmm_mon_none-of-that-name.conf"
	wantError(t, err, "/etc/mysql-mmm"+name+": no readable configuration file; looked for /etc"+name+", /etc/mmm"+name+
		", /etc/mysql-mmm"+name+
		"; there is no mmm_mon_none-of-that-name.hcl nor mmm_none-of-that-name.hcl there either")
	var single *Error
	if !errors.As(err, &single) || single.Line != 0 {
		t.Errorf("no single error within %T", err)
	}
}

func TestIncludes(t *testing.T) {
	one, two, main := t.TempDir(), t.TempDir(), t.TempDir()
	common := strings.SplitN(valid, "\n", 2)[1]
	write(t, one+"/mmm_agent.conf", "include mmm_common\nthis db1")
	write(t, two+"/mmm_common.conf", common)
	if c := mustLoad(t, Agent, Source{}, one, two); c.This != "db1" || len(c.Hosts) != 2 {
		t.Errorf("looked up in the classic folders: %+v", c)
	}

	// Without options includes are looked for in the classic folders only, in their order. With --config or
	// --config-dir the folder of the including file comes first.
	write(t, main+"/mmm_agent.conf", "this db1\ninclude sub/mmm_part.conf # one more")
	write(t, main+"/sub/mmm_part.conf", "include mmm_common.conf\ndebug 1")
	write(t, main+"/sub/mmm_common.conf", common+"max_kill_retries 33\n")
	for _, src := range []Source{{Dir: main}, {File: main + "/mmm_agent.conf"}} {
		if c := mustLoad(t, Agent, src, one, two); !c.Debug || c.MaxKillRetries != 33 {
			t.Errorf("%+v: %+v", src, c)
		}
	}
	if c := mustLoad(t, Agent, Source{}, main, two); !c.Debug || c.MaxKillRetries != 10 {
		t.Errorf("an include was found beside the file: %+v", c)
	}
	write(t, main+"/other.conf", "this db2\ninclude mmm_common.conf")
	if c := mustLoad(t, Agent, Source{File: main + "/other.conf"}, one, two); c.This != "db2" {
		t.Errorf("not beside the file, but in a classic folder: %+v", c)
	}
	write(t, main+"/abs.conf", "this db2\ninclude "+two+"/mmm_common.conf")
	mustLoad(t, Agent, Source{File: main + "/abs.conf"})

	// An include in a section is read at top level, and the section goes on behind it.
	write(t, main+"/in.conf", "this db1\n<host db1>\nmysql_port 1\ninclude mmm_common.conf\nagent_port 2\n</host>")
	if h := mustLoad(t, Agent, Source{File: main + "/in.conf"}, two).Local(); h.MySQLPort != 1 || h.AgentPort != 2 ||
		h.Peer != "db2" {
		t.Errorf("include in a section: %+v", h)
	}
	write(t, main+"/port.conf", "<host db1>\nmysql_port 9\n</host>")
	write(t, main+"/in.conf",
		"this db1\n<host db1>\nmysql_port 1\ninclude mmm_common.conf\ninclude port\nagent_port 2\n</host>")
	if h := mustLoad(t, Agent, Source{File: main + "/in.conf"}, two).Local(); h.MySQLPort != 9 || h.AgentPort != 2 {
		t.Errorf("the section before an include beats the include: %+v", h)
	}
	// The last value counts, across files too; one file may be included twice.
	write(t, main+"/twice.conf",
		"this db1\nmax_kill_retries 5\ninclude sub/mmm_common.conf\ninclude sub/mmm_common.conf\nmax_kill_retries 6")
	if c := mustLoad(t, Agent, Source{File: main + "/twice.conf"}); c.MaxKillRetries != 6 {
		t.Errorf("the last value does not count: %d", c.MaxKillRetries)
	}
}

func TestIncludeErrors(t *testing.T) {
	d, e := t.TempDir(), t.TempDir()
	write(t, d+"/missing.conf", "this db1\ninclude mmm_common")
	_, err := load(Agent, Source{File: d + "/missing.conf"}, []string{e})
	wantError(t, err,
		fmt.Sprintf("%[1]s/missing.conf:2: include mmm_common: no readable configuration file; looked for %[1]s/mmm_common.conf, %[2]s/mmm_common.conf", d, e))

	write(t, d+"/a.conf", valid+"include b.conf")
	write(t, d+"/b.conf", "debug 0\ninclude a.conf")
	_, err = load(Monitor, Source{File: d + "/a.conf"}, nil)
	wantError(t, err,
		fmt.Sprintf("%[1]s/b.conf:2: include a.conf: the file includes itself: %[1]s/a.conf -> %[1]s/b.conf -> %[1]s/a.conf", d))
	write(t, d+"/self.conf", valid+"include self")
	_, err = load(Control, Source{File: d + "/self.conf"}, nil)
	wantError(t, err,
		fmt.Sprintf("%[1]s/self.conf:41: include self: the file includes itself: %[1]s/self.conf -> %[1]s/self.conf",
			d))

	for i := range maxDepth + 1 {
		write(t, fmt.Sprintf("%s/%d.conf", d, i), fmt.Sprintf("include %d", i+1))
	}
	_, err = load(Monitor, Source{File: d + "/0.conf"}, nil)
	wantError(t, err, fmt.Sprintf("%s/15.conf:1: include 16: files are nested more than 16 deep", d))

	// Errors of all files, in the order they were read; each names its own file, and a file read twice is reported
	// once.
	write(t, d+"/z.conf", valid+"include y\ninclude y\ndebug maybe")
	write(t, d+"/y.conf", "colour red\n<host db3>\n</host>")
	_, err = load(Control, Source{File: d + "/z.conf"}, nil)
	wantError(t, err,
		fmt.Sprintf("%[1]s/z.conf:43: 'debug' must be 0, no, off or false, or 1, yes, on or true; not \"maybe\"\n%[1]s/y.conf:1: unknown variable 'colour' in the top level", d))

	// A section ends with its file.
	write(t, d+"/open.conf", valid+"include half\n</monitor>")
	write(t, d+"/half.conf", "<monitor>\nport 1")
	_, err = load(Control, Source{File: d + "/open.conf"}, nil)
	wantError(t, err,
		fmt.Sprintf("%[1]s/open.conf:42: closing tag </monitor>, but no section is open\n%[1]s/half.conf:1: section <monitor> is never closed; add </monitor>", d))
}

func TestFileModes(t *testing.T) {
	d := t.TempDir()
	file := d + "/mmm_mon.conf"
	write(t, file, valid)
	for perm, want := range map[os.FileMode]string{
		0o600: "", 0o640: "", 0o660: "", 0o400: "", 0o751: "",
		0o644: "mode 0644: the file is world-readable",
		0o604: "mode 0604: the file is world-readable",
		0o642: "mode 0642: the file is world-writable",
		0o666: "mode 0666: the file is world-readable and writable",
	} {
		mode(t, file, perm)
		_, err := Load(Monitor, Source{Dir: d})
		if want == "" {
			if err != nil {
				t.Errorf("mode %04o: %v", perm, err)
			}
			continue
		}
		wantError(t, err, file+": "+want+", and it holds passwords; run: chmod o-rwx "+file)
	}

	// An included file is refused as well, and what it may have held is not called missing.
	write(t, d+"/main.conf", "this db1\ndebug maybe\ninclude 'x")
	write(t, d+"/'x.conf", valid)
	mode(t, d+"/'x.conf", 0o644)
	_, err := load(Agent, Source{File: d + "/main.conf"}, nil)
	wantError(t, err, d+"/main.conf:2: 'debug' must be 0, no, off or false, or 1, yes, on or true; not \"maybe\"\n"+
		d+"/'x.conf: mode 0644: the file is world-readable, and it holds passwords; run: chmod o-rwx '"+d+
		`/'\''x.conf'`)
}

func TestHugeFile(t *testing.T) {
	file := t.TempDir() + "/mmm_mon.conf"
	write(t, file, strings.Repeat("# nothing\n", maxSize/10+1))
	_, err := Load(Monitor, Source{File: file})
	wantError(t, err, file+": larger than 1048576 bytes: this is no configuration file")
}
