package cmd

import (
	"errors"
	"fmt"
	gobuild "go/build"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// module is this module's name, as import paths begin with it.
const module = "mysql-mmm/"

// allowed gives for each package of this module the packages of this module that it may import. Tests may import more:
// only the files count that are built without them. Whoever adds an import adds it here, and looks first at the rule of
// the room that the package is in.
func allowed() map[string]string {
	return map[string]string{
		// The rules decide, and touch nothing of ours that does I/O. cluster imports nothing of ours at all, and lease
		// only cluster, for the words that both halves of the rules use.
		"pkg/cluster": "",
		"pkg/lease":   "pkg/cluster",

		// Names and settings: nothing of ours that acts.
		"pkg/event":  "",
		"pkg/config": "pkg/event",

		// One kind of thing outside each: a server, the kernel's network, the firewall, files, what happened, a process.
		// They know neither the rules nor each other, so that each can be tested against the real thing alone.
		"pkg/mysqlctl": "",
		"pkg/vip":      "",
		"pkg/fence":    "",
		"pkg/durable":  "",
		"pkg/history":  "",
		"pkg/daemon":   "",
		"pkg/hook":     "pkg/event",
		"pkg/alert":    "pkg/event",

		// These bring the rules' words (orders, roles, states) to one kind of thing: a connection, the status file, an
		// address. They know neither the agent nor the monitor.
		"pkg/wire":     "pkg/cluster",
		"pkg/store":    "pkg/cluster",
		"pkg/endpoint": "pkg/cluster pkg/vip",

		// These look at servers through mysqlctl. identity does no I/O: it takes from mysqlctl what a replica says of its
		// source. replication knows nothing of addresses (vip, endpoint) and leases (lease).
		"pkg/identity":    "pkg/mysqlctl",
		"pkg/check":       "pkg/identity pkg/mysqlctl",
		"pkg/replication": "pkg/cluster pkg/durable pkg/mysqlctl",

		// The two programs' halves. They know nothing of each other: what they say to each other is in wire. The agent
		// reaches addresses through endpoint only, and never through vip.
		"pkg/agent": "pkg/cluster pkg/config pkg/durable pkg/endpoint pkg/fence pkg/identity pkg/lease pkg/mysqlctl " +
			"pkg/replication pkg/wire",
		"pkg/agentclient": "pkg/cluster pkg/wire",
		"pkg/monitor": "pkg/agentclient pkg/check pkg/cluster pkg/config pkg/event pkg/history pkg/identity " +
			"pkg/mysqlctl pkg/store",

		// These look at a cluster and change nothing in it. web shows what agent and monitor publish. doctor asks from
		// outside, and needs neither of them.
		"pkg/web":    "docs/api pkg/agent pkg/check pkg/cluster pkg/event pkg/monitor",
		"pkg/doctor": "pkg/check pkg/cluster pkg/config pkg/durable pkg/identity pkg/mysqlctl pkg/wire",

		// app puts a program together, so it may import all that a program is made of. It decides nothing, so it needs
		// neither cluster nor lease.
		"pkg/app": "pkg/agent pkg/alert pkg/check pkg/config pkg/daemon pkg/durable pkg/endpoint pkg/event pkg/fence " +
			"pkg/history pkg/hook pkg/monitor pkg/mysqlctl pkg/replication pkg/store pkg/vip pkg/web pkg/wire",

		// The daemons import what puts them together, and nothing else. mmm_control is a client: it imports what it says
		// to a monitor (wire, cluster), and what it does without a monitor (config, check, doctor).
		"cmd":             "",
		"cmd/mmm_mond":    "pkg/app pkg/config pkg/daemon",
		"cmd/mmm_agentd":  "pkg/app pkg/config pkg/daemon",
		"cmd/mmm_control": "pkg/check pkg/cluster pkg/config pkg/doctor pkg/wire",

		"docs/api": "",

		// Help for tests. No program imports any of these. A package in pkg imports nothing of test/, with one exception:
		// mysqltest starts the servers that test/servers has unpacked, and only tests import it.
		"pkg/nstest":             "",
		"pkg/mysqlctl/mysqltest": "test/servers",
		"docs/api/apitest":       "docs/api",

		// test/bubble puts the monitor and agents together as app does, around a simulated world. The other packages run
		// the built programs, so they need no package that a program is put together from.
		"test/bubble": "pkg/agent pkg/check pkg/cluster pkg/config pkg/endpoint pkg/event pkg/history pkg/identity pkg/monitor " +
			"pkg/mysqlctl pkg/replication pkg/store pkg/vip pkg/wire",
		"test/original":  "",
		"test/servers":   "",
		"test/lab":       "pkg/cluster pkg/wire test/original test/servers",
		"test/balancer":  "",
		"test/bench":     "test/lab",
		"test/demo":      "test/lab",
		"test/e2e":       "",
		"test/histories": "pkg/cluster test/lab",
		"test/matrix":    "test/lab",
		"test/page":      "",
		"test/soak":      "test/lab",
	}
}

// drivers gives for each module of others that talks to a server or to the kernel's network the only packages that may
// import it. Tests and help for tests (nstest, mysqltest, test/) may import them as well.
func drivers() map[string]string {
	return map[string]string{
		"github.com/go-sql-driver/mysql": "pkg/mysqlctl",
		"github.com/vishvananda/netlink": "pkg/vip",
		"github.com/mdlayher/arp":        "pkg/vip",
		"github.com/mdlayher/ethernet":   "pkg/vip",
		"github.com/mdlayher/ndp":        "pkg/vip",
		"github.com/mdlayher/packet":     "pkg/vip",
		"github.com/google/nftables":     "pkg/fence",
		"github.com/mdlayher/netlink":    "pkg/fence",
	}
}

// imports gives the imports of every package of this module, without those of its tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir("..", func(dir string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case d.Name() == "testdata", d.Name() == "build", dir != ".." && d.Name()[0] == '.':
			return filepath.SkipDir
		}
		// The go command would say the same, but the cache of tests does not know what a command has read.
		p, err := gobuild.ImportDir(dir, 0)
		if _, none := errors.AsType[*gobuild.NoGoError](err); none {
			return nil
		} else if err != nil {
			return fmt.Errorf("read the imports of %s: %w", dir, err)
		}
		found[strings.TrimPrefix(filepath.ToSlash(dir), "../")] = p.Imports
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestImports: the table allows every import of one package of this module by another, and has no entry that is not
// used.
func TestImports(t *testing.T) {
	found, table := imports(t), allowed()
	for _, name := range slices.Sorted(maps.Keys(found)) {
		may, known := table[name]
		if !known {
			t.Errorf("%s is not in the table", name)
			continue
		}
		var does []string
		for _, path := range found[name] {
			if own, ok := strings.CutPrefix(path, module); ok {
				does = append(does, own)
			}
		}
		for _, own := range does {
			if !slices.Contains(strings.Fields(may), own) {
				t.Errorf("%s imports %s, which the table does not allow", name, own)
			}
		}
		for _, own := range strings.Fields(may) {
			if !slices.Contains(does, own) {
				t.Errorf("the table allows %s to import %s, which it does not import", name, own)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(table)) {
		if _, ok := found[name]; !ok {
			t.Errorf("the table has %s, and there is no such package", name)
		}
	}
}

// TestDriversStayInside: one package talks to each kind of thing outside, and the others talk to that package.
func TestDriversStayInside(t *testing.T) {
	used := map[string]bool{}
	for name, paths := range imports(t) {
		if name == "pkg/nstest" || name == "pkg/mysqlctl/mysqltest" || strings.HasPrefix(name, "test/") {
			continue
		}
		for _, path := range paths {
			for driver, home := range drivers() {
				if path != driver && !strings.HasPrefix(path, driver+"/") {
					continue
				}
				used[driver] = true
				if name != home {
					t.Errorf("%s imports %s, which is for %s alone", name, path, home)
				}
			}
		}
	}
	for driver, home := range drivers() {
		if !used[driver] {
			t.Errorf("%s does not import %s any more", home, driver)
		}
	}
}
