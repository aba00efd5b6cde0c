package daemon

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseArgs(t *testing.T) {
	tests := []struct {
		args string
		want Invocation
	}{
		{"", Invocation{}},
		{"@c1", Invocation{Cluster: "c1"}},
		{"@c1 --foreground", Invocation{Cluster: "c1", Foreground: true}},
		{"--foreground @c1", Invocation{Cluster: "c1", Foreground: true}},
		{"--config /f configtest @c1", Invocation{Cluster: "c1", ConfigFile: "/f", ConfigTest: true}},
		{"configtest --config=/f", Invocation{ConfigFile: "/f", ConfigTest: true}},
		{"--config-dir /d --log-file /l --pid-file /p", Invocation{ConfigDir: "/d", LogFile: "/l", PIDFile: "/p"}},
		{"-version", Invocation{Version: true}},
		{"@c1 @c1", Invocation{Cluster: "c1"}},
	}
	for _, tt := range tests {
		got, err := ParseArgs(strings.Fields(tt.args))
		if err != nil {
			t.Errorf("%q: %v", tt.args, err)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.args, diff)
		}
		again, err := ParseArgs(got.Args())
		if diff := cmp.Diff(got, again); diff != "" || err != nil {
			t.Errorf("%q becomes %q: %v\n%s", tt.args, got.Args(), err, diff)
		}
	}
	for _, args := range []string{"start", "--bogus", "--config", "@", "@a/b", "@../a", "@a @b", "--foreground=maybe"} {
		if inv, err := ParseArgs(strings.Fields(args)); err == nil {
			t.Errorf("%q: no error, %+v", args, inv)
		}
	}
	if _, err := ParseArgs([]string{"@c1", "--help"}); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("--help: %v", err)
	}
}

// The background has another working directory.
func TestParseArgsMakesFilesAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	got, err := ParseArgs([]string{"--config", "f", "--config-dir", ".", "--log-file", "l", "--pid-file", "../p"})
	if err != nil {
		t.Fatal(err)
	}
	want := Invocation{ConfigFile: dir + "/f", ConfigDir: dir, LogFile: dir + "/l",
		PIDFile: dir[:strings.LastIndex(dir, "/")] + "/p"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestLogPath(t *testing.T) {
	for want, inv := range map[string]Invocation{
		"/var/log/mysql-mmm/mmm_mond.log":    {},
		"/var/log/mysql-mmm/mmm_mond_c1.log": {Cluster: "c1"},
		"/l":                                 {Cluster: "c1", LogFile: "/l"},
	} {
		if got := inv.LogPath("mmm_mond"); got != want {
			t.Errorf("%+v: %s, want %s", inv, got, want)
		}
	}
}
