// Package e2e runs the real programs on real servers in the lab, a new cluster for each test.
package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"mysql-mmm/test/lab"
	"mysql-mmm/test/servers"
)

func TestMain(m *testing.M) {
	os.Exit(lab.Main(func(context.Context) int { return m.Run() }))
}

// each runs a test on every kind of server, by GTID and by position.
func each(t *testing.T, test func(t *testing.T, o lab.Options)) {
	for _, kind := range servers.Tested() {
		for _, position := range []bool{false, true} {
			name := servers.Kind{Name: kind}.String() + map[bool]string{false: " gtid", true: " position"}[position]
			t.Run(name, func(t *testing.T) { test(t, lab.Options{Server: kind, Position: position}) })
		}
	}
}

// bench is the cluster of one test.
type bench struct {
	*testing.T
	*lab.Cluster
	ctx context.Context

	said string // the doctor's remedy for the breakage that finds has found last
}

// patience is how long a test may use its cluster, in all. It ends tests that hang, and measures nothing: a busy
// machine takes three times as long as a quiet one. Tests measure by themselves what has to be quick.
const patience = 5 * time.Minute

// start makes a cluster, starts it, and waits until it is whole, with the writer on db1.
func start(t *testing.T, o lab.Options) *bench {
	t.Helper()
	b := prepare(t, o)
	b.must(b.StartAll(b.ctx))
	if w := b.writer(); w != "db1" {
		t.Fatalf("the writer is on %s, want db1", w)
	}
	return b
}

// prepare makes a cluster in which the servers run, and no daemon yet.
func prepare(t *testing.T, o lab.Options) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience+3**calmly)
	t.Cleanup(cancel)
	if o.Bin = os.Getenv("MMM_BIN"); o.Bin == "" {
		t.Fatal("MMM_BIN must name the folder of the programs: use make test")
	}
	if o.AutoSetOnline == 0 {
		o.AutoSetOnline = 1
	}
	c, err := lab.New(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, Cluster: c, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of the monitor:\n%s", c.Monitor.Log())
			for _, n := range c.DBs {
				r, err := n.Server.Replica(context.Background())
				t.Logf("replication of %s: %s %s %s %s %s (%v)", n.Name, r["Master_Host"], r["Slave_IO_Running"],
					r["Slave_SQL_Running"], r["Last_IO_Error"], r["Last_SQL_Error"], err)
				t.Logf("log of the agent on %s:\n%s", n.Name, n.Agent.Log())
			}
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// control runs mmm_control with words, and returns what it prints and its exit status.
func (b *bench) control(words string) (string, int) {
	b.Helper()
	out, status, err := b.Control(b.ctx, strings.Fields(words)...)
	b.must(err)
	return out, status
}

func (b *bench) show() string {
	out, _ := b.control("show")
	return out
}

// writer is the name of the host that has the writer role by `show`; "": none has it.
func (b *bench) writer() string {
	b.Helper()
	show := b.show()
	if n := b.Writer(show); n != nil {
		return n.Name
	}
	return ""
}

// until waits until `show` has what is wanted, and the addresses on the interfaces are as `show` says.
func (b *bench) until(what string, done func(show string) bool) {
	b.Helper()
	b.must(lab.Wait(b.ctx, what, func() (bool, string) {
		out, _, err := b.Control(b.ctx, "show")
		return err == nil && done(out) && b.Placed(out) == nil, out
	}))
}

// state waits until a host is in a state.
func (b *bench) state(host, state string) {
	b.Helper()
	b.until(host+" to be "+state, func(show string) bool {
		for line := range strings.Lines(show) {
			if strings.HasPrefix(line, "  "+host+"(") {
				return strings.Contains(line, "/"+state+".")
			}
		}
		return false
	})
}

// load starts a client that writes to db1, and waits until it has written some rows and db2 acknowledges them.
func (b *bench) load() *lab.Load {
	b.Helper()
	l, err := b.StartLoad(b.ctx, 200)
	b.must(err)
	b.Cleanup(l.Stop)
	b.must(l.WaitServer(b.ctx, 1))
	b.must(lab.Wait(b.ctx, "some writes", func() (bool, string) { n, _ := l.Acked(); return n > 100, fmt.Sprint(n) }))
	b.semiSync("db1")
	return l
}

// semiSync waits until the other master acknowledges what the writer commits: then kill -9 of its server loses no
// acknowledged write.
func (b *bench) semiSync(writer string) {
	b.Helper()
	b.must(b.Node(writer).Server.WaitSemiSync(b.ctx))
}

// rejoin starts a killed server and waits until its host is part of the cluster again. Where the server has a
// transaction that no other has, its host is set aside instead. rejoin returns false then: the test ends, after a look
// whether the other servers have all acknowledged rows.
func (b *bench) rejoin(name string, l *lab.Load) bool {
	b.Helper()
	joined, err := b.Rejoin(b.ctx, b.Node(name))
	b.must(err)
	if joined {
		return true
	}
	b.Logf("%s came back with a transaction that nobody else has and is set aside", name)
	l.Stop()
	var others []*lab.Node
	for _, n := range b.DBs {
		if n.Name != name {
			others = append(others, n)
		}
	}
	b.level(l, others)
	return false
}

// balance ends the load. All servers must have the same rows, and every acknowledged row.
func (b *bench) balance(l *lab.Load) {
	b.Helper()
	l.Stop()
	b.level(l, b.DBs)
}

// level waits until the servers of nodes have the same rows. They must have every acknowledged row of the load.
func (b *bench) level(l *lab.Load, nodes []*lab.Node) {
	b.Helper()
	b.must(b.WaitLevel(b.ctx, nodes...))
	for _, n := range nodes {
		lost, err := l.Lost(b.ctx, n.Server)
		b.must(err)
		if len(lost) > 0 {
			b.Errorf("%s lacks %d acknowledged rows: %v", n.Name, len(lost), lost)
		}
	}
}

// follows waits until a host replicates from another one, with both threads.
func (b *bench) follows(slave, master string) {
	b.Helper()
	n, m := b.Node(slave), b.Node(master)
	b.must(lab.Wait(b.ctx, slave+" to follow "+master, func() (bool, string) {
		r, err := n.Server.Replica(b.ctx)
		if err != nil {
			return false, err.Error()
		}
		return r["Master_Host"] == m.IP.String() && r["Slave_IO_Running"] == "Yes" && r["Slave_SQL_Running"] == "Yes",
			r["Master_Host"] + " " + r["Slave_IO_Running"] + " " + r["Slave_SQL_Running"] + " " + r["Last_Error"]
	}))
}

// logged waits until a log has a text.
func (b *bench) logged(d *lab.Daemon, text string) {
	b.Helper()
	b.must(lab.Wait(b.ctx, "the log to say "+text, func() (bool, string) {
		return strings.Contains(d.Log(), text),
			d.Log()
	}))
}
