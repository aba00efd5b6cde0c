package store

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"mysql-mmm/pkg/cluster"
	"mysql-mmm/pkg/durable"
)

func knownHost(h string) bool { return h == "db1" || h == "db2" || h == "db3" }

// TestClassicStatusFiles: what the original wrote is read without a complaint, and written again with the same lines.
func TestClassicStatusFiles(t *testing.T) {
	text, err := os.ReadFile("testdata/status_files.txt")
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Split(string(text), "## ")[1:]
	if len(files) < 9 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		name, body, _ := strings.Cut(f, "\n")
		body = strings.TrimRight(body, "\n") + "\n"
		d, warnings := parse(body, knownHost)
		if len(warnings) > 0 || len(d.Hosts) != 3 {
			t.Errorf("%s: %v, %d hosts", name, warnings, len(d.Hosts))
		}
		again := format(d)
		for line := range strings.Lines(body) {
			if !strings.Contains(again, line) {
				t.Errorf("%s: %q is missing in\n%s", name, line, again)
			}
		}
	}
}

func TestStatusRoundTrip(t *testing.T) {
	d := cluster.Durable{
		Hosts: map[string]cluster.StoredHost{"db1": {State: cluster.HardOffline, Fitness: cluster.Lacking,
			LackOf: "db2", Boot: "4c0a-11",
			Audit: cluster.Audit{At: "bin.000001:4"}},
			"db2": {State: cluster.Online, Fitness: cluster.Fit,
				Audit: cluster.Audit{At: "bin.000002:4", Waived: true, Past: true}},
			"db3": {State: cluster.Online, Fitness: cluster.Acknowledged,
				Audit: cluster.Audit{At: "bin.000003:4", Waived: true}}},
		Writer: "db2", Switch: cluster.Switch{From: "db1", After: "bin.000001:4", To: "db2", Start: "bin.000009:77"},
	}
	got, warnings := parse(format(d), knownHost)
	if len(warnings) > 0 || !reflect.DeepEqual(got, d) {
		t.Errorf("%+v, want %+v, warnings %v", got, d, warnings)
	}
}

// TestTermsRoundTrip: what the newest decision rests on is read as it was written; of a version without terms there
// are none, and those that can't be understood are the worst.
func TestTermsRoundTrip(t *testing.T) {
	d := cluster.Durable{
		Hosts: map[string]cluster.StoredHost{"db1": {State: cluster.Online, Classic: true},
			"db2": {State: cluster.Online}}, Writer: "db1",
		Epoch: cluster.Epoch{Number: 7, Holder: "db1", Since: 6,
			Terms: cluster.Terms{Candidates: "db1,db2", Lease: cluster.Lease(3 * time.Second),
				Longest: cluster.Lease(time.Minute)}},
		Successors: "db1", Endless: true,
	}
	text := format(d)
	got, warnings := parse(text, knownHost)
	if len(warnings) > 0 || !reflect.DeepEqual(got, d) {
		t.Errorf("%+v, want %+v, warnings %v", got, d, warnings)
	}
	terms := text[strings.Index(text, termsLine):]
	terms = terms[:strings.Index(terms, "\n")+1]
	before, warnings := parse(strings.ReplaceAll(text, terms, ""), knownHost)
	if len(warnings) > 0 || before.Epoch.Number != 7 || before.Epoch.Terms != (cluster.Terms{}) || before.Endless {
		t.Errorf("of an older version: %+v, %v", before, warnings)
	}
	for _, line := range []string{"#terms|x|db1|0\n", "#terms|db1;1;0|db1|0\n", "#terms\n", "#terms||db1|0\n"} {
		got, warnings := parse(strings.ReplaceAll(text, terms, line), knownHost)
		if len(warnings) != 1 || !got.Endless || got.Successors != "db1" || got.Epoch.Terms.Candidates != "db1" {
			t.Errorf("%q: %+v, %v", line, got, warnings)
		}
	}
}

func TestBrokenStatus(t *testing.T) {
	for text, want := range map[string]string{
		"db1|ONLINE":              "it is truncated: its last line is ignored",
		"db1|ONLINE\n":            `line "db1|ONLINE" is not HOST|STATE|ROLES: ignored`,
		"nobody|ONLINE|\n":        `host "nobody" is not in the configuration: ignored`,
		"db1|SLEEPING|\n":         `unknown host state "SLEEPING"`,
		"db1|ONLINE|writer\n":     `parse role "writer": want NAME(IP)`,
		"#fit|db1|fit|\n":         "is not HOST|STATE|ROLES: ignored",
		"#boot|db1|4c0a\n":        `host "#boot" is not in the configuration: ignored`,
		"#switch|nobody|||db2|\n": "is not HOST|STATE|ROLES: ignored",
	} {
		d, warnings := parse(text, knownHost)
		if len(d.Hosts) > 0 || len(warnings) != 1 || !strings.Contains(warnings[0], want) {
			t.Errorf("%q: %v, %v, want %s", text, d.Hosts, warnings, want)
		}
	}
}

func FuzzStatus(f *testing.F) {
	f.Add("db1|ONLINE|reader(10.0.0.1),writer(10.0.0.2)\n#switch|db1|db2|a:1|db1|b:2\n")
	f.Add("db1|ONL")
	f.Fuzz(func(t *testing.T, text string) {
		d, _ := parse(text, knownHost)
		again, warnings := parse(format(d), knownHost)
		if len(warnings) > 0 || len(again.Hosts) != len(d.Hosts) || again.Switch != d.Switch {
			t.Errorf("%q gives %+v, read again %+v, %v", text, d, again, warnings)
		}
	})
}

// TestSave: a version that the disk does not take is tried again until it does; the newest one wins, and what has not
// changed is not written again.
func TestSave(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "status")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // a file where a folder is to be
		t.Fatal(err)
	}
	path := filepath.Join(blocked, "mmm_mond.status")
	in := func(state cluster.HostState) cluster.Durable {
		return cluster.Durable{Hosts: map[string]cluster.StoredHost{"db1": {State: state}}}
	}
	synctest.Test(t, func(t *testing.T) {
		f := NewFile(path, durable.Disk{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx) }()
		save := func(state cluster.HostState, wantNumber uint64, wantChanged bool) {
			t.Helper()
			if number, changed := f.Save(in(state)); number != wantNumber || changed != wantChanged {
				t.Errorf("saving %s: version %d, changed %v", state, number, changed)
			}
		}
		save(cluster.Online, 1, true)
		if s := <-f.Saved(); s.Err == nil || s.Version != 1 {
			t.Errorf("%+v", s)
		}
		began := time.Now()
		if s := <-f.Saved(); s.Err == nil || s.Version != 1 || time.Since(began) != retryPeriod {
			t.Errorf("%+v after %v", s, time.Since(began))
		}
		if err := os.Remove(blocked); err != nil {
			t.Fatal(err)
		}
		save(cluster.Online, 1, false)
		save(cluster.HardOffline, 2, true)
		if s := <-f.Saved(); s.Err != nil || s.Version != 2 {
			t.Errorf("%+v", s)
		}
		save(cluster.AwaitingRecovery, 3, true)
		save(cluster.AdminOffline, 4, true)
		for s := range f.Saved() {
			if s.Version == 4 {
				break
			}
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	text, err := os.ReadFile(path)
	if err != nil || string(text) != "db1|ADMIN_OFFLINE|\n" {
		t.Errorf("%q, %v", text, err)
	}
	left, err := os.ReadDir(blocked)
	if err != nil || len(left) != 2 { // the file and its spare
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// unreadable is a disk whose file can't be read, or only after a while.
type unreadable struct {
	durable.Disk
	fails error
	late  time.Duration
}

func (d unreadable) ReadFile(path string) ([]byte, error) {
	time.Sleep(d.late)
	if d.fails != nil {
		return nil, d.fails
	}
	return d.Disk.ReadFile(path)
}

// TestKeptAside: a file that could not be read whole is kept beside the one that takes its place, and the first result
// of writing says where. One that could be read is not.
func TestKeptAside(t *testing.T) {
	const good = "db1|ONLINE|\n"
	for name, c := range map[string]struct {
		text string // of the file; "": there is none
		disk unreadable
		kept bool
	}{
		"as it should be":       {good, unreadable{}, false},
		"there is none":         {"", unreadable{}, false},
		"a line is spoilt":      {good + "db2|SLEEPING|\n", unreadable{}, true},
		"truncated":             {"db1|ONL", unreadable{}, true},
		"of another cluster":    {"db8|ONLINE|writer(10.0.0.1)\n#epoch|7,db8,7,0,\n", unreadable{}, true},
		"the disk fails":        {good, unreadable{fails: syscall.EIO}, true},
		"the disk hangs":        {good, unreadable{late: time.Minute}, true},
		"read, but rather late": {good, unreadable{late: time.Second}, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "status")
			if c.text != "" {
				if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Test(t, func(t *testing.T) {
				f := NewFile(path, c.disk)
				go func() { _, _, _ = f.Load(knownHost) }()
				time.Sleep(2 * time.Second)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error, 1)
				go func() { ended <- f.Run(ctx) }()
				for i, state := range []cluster.HostState{cluster.Online, cluster.HardOffline} {
					f.Save(cluster.Durable{Hosts: map[string]cluster.StoredHost{"db3": {State: state}}})
					want := ""
					if c.kept && i == 0 {
						want = path + ".unreadable"
					}
					if s := <-f.Saved(); s.Err != nil || s.Aside != want {
						t.Errorf("version %d: %v, kept as %q, want %q", s.Version, s.Err, s.Aside, want)
					}
				}
				cancel()
				if err := <-ended; err != nil {
					t.Error(err)
				}
				time.Sleep(c.disk.late)
			})
			if text, err := os.ReadFile(path + ".unreadable"); c.kept != (err == nil) || string(text) != c.text && c.kept {
				t.Errorf("kept is %q, %v", text, err)
			}
		})
	}
}

// TestStatusOfAnotherCluster: it is refused whole, since by its epoch nobody here could ever be the writer. One in
// which a host is known is ours.
func TestStatusOfAnotherCluster(t *testing.T) {
	theirs := "db8|ONLINE|writer(10.0.0.1)\ndb9|ONLINE|\n#epoch|7,db8,7,0,\n#terms|db8,db9;3000;3000|db8,db9|0\n"
	nobody := "db8|HARD_OFFLINE|\ndb9|ONLINE|\n#epoch|8,,8,0,\n#terms|db8,db9;3000;3000|db8,db9|0\n"
	old := "db8|ONLINE|\n#epoch|7,db8,7,0,\n"
	for text, ours := range map[string]bool{theirs: false, nobody: false, old: false, theirs + "db1|ONLINE|\n": true,
		"": true} {
		path := filepath.Join(t.TempDir(), "status")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, _, err := NewFile(path, durable.Disk{}).Load(knownHost)
		if ours != (err == nil) || !ours && (!reflect.DeepEqual(d, cluster.Durable{}) ||
			!strings.Contains(err.Error(), "another cluster's")) {
			t.Errorf("%q: %+v, %v", text, d, err)
		}
	}
}
